/** The files of deploy/, as the tests beside this read them. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import { repository } from '../support/agnes.ts'

export const deploy = path.join(repository, 'deploy')

export function text(...name: string[]): string {
  return readFileSync(path.join(deploy, ...name), 'utf8')
}

/** Every document of a YAML file, by YAML 1.2 with the merge keys that compose files use. Its errors are thrown. */
export function yamlDocuments(...name: string[]): Record<string, unknown>[] {
  return parseAllDocuments(text(...name), { merge: true, uniqueKeys: true }).map((document) => {
    const [problem] = document.errors
    if (problem !== undefined) throw problem
    return document.toJS() as Record<string, unknown>
  })
}

/** Files in use, relative to deploy/; what an operator makes there is not ours. */
export function deployedFiles(): string[] {
  return readdirSync(deploy, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(deploy, path.join(entry.parentPath, entry.name)))
    .filter((name) => !/^(secrets|backups)\/|secrets\.env$|redaction\.key$/.test(name))
    .sort()
}
