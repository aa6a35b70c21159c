/** A copy of what was built, with one thing broken on purpose: tests that stay green with it prove nothing. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const repository = path.resolve(import.meta.dirname, '../..')
const rooms = ['events', 'config', 'instrumentation', 'clickhouse', 'ingest-gateway', 'cli']

export interface Mutation {
  /** Below `ingest-gateway/dist`. */
  readonly file: string
  readonly from: string
  readonly to: string
}

export interface Mutant {
  /** The command to run instead. */
  readonly main: string
  remove(): void
}

/** @throws if the text to be broken is not there exactly once: then the mutation must follow the source */
export function buildMutant(mutations: readonly Mutation[]): Mutant {
  const root = mkdtempSync(path.join(tmpdir(), 'agnes-mutant-'))
  for (const room of rooms) {
    for (const part of ['package.json', 'dist', 'migrations']) {
      if (readdirSync(path.join(repository, room)).includes(part)) {
        cpSync(path.join(repository, room, part), path.join(root, room, part), { recursive: true })
      }
    }
  }
  mkdirSync(path.join(root, 'node_modules/@agnes'), { recursive: true })
  for (const name of readdirSync(path.join(repository, 'node_modules'))) {
    if (name !== '@agnes')
      symlinkSync(path.join(repository, 'node_modules', name), path.join(root, 'node_modules', name))
  }
  for (const room of rooms) symlinkSync(path.join(root, room), path.join(root, 'node_modules/@agnes', room))
  for (const { file, from, to } of mutations) {
    const target = path.join(root, 'ingest-gateway/dist', file)
    const source = readFileSync(target, 'utf8')
    if (source.split(from).length !== 2) throw new Error(`${file} does not hold exactly once: ${from}`)
    writeFileSync(
      target,
      source.replace(from, () => to),
    )
  }
  return { main: path.join(root, 'cli/dist/main.js'), remove: () => rmSync(root, { recursive: true }) }
}
