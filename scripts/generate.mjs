/** Writes the generated references; with --check it only compares, and fails if one is out of date. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { configurationReference } from './configuration-reference.mjs'
import { eventsReference } from './events-reference.mjs'
import { grafanaFiles } from './grafana-files.mjs'
import { schemaReference } from './schema-reference.mjs'

const root = path.join(import.meta.dirname, '..')
const documents = {
  'docs/configuration.md': configurationReference,
  'docs/events.md': eventsReference,
  'docs/schema.md': schemaReference,
}

for (const [name, text] of Object.entries(grafanaFiles())) documents[name] = () => text
/** Nothing but generated files lies here: one that is no longer made goes. */
const generatedFolders = ['grafana/dashboards', 'grafana/provisioning']

const check = process.argv.includes('--check')
let stale = 0
for (const [name, generate] of Object.entries(documents)) {
  const text = await generate()
  const file = path.join(root, name)
  if (!check) {
    mkdirSync(path.dirname(file), { recursive: true })
    writeFileSync(file, text)
  } else if (read(file) !== text) {
    console.error(`${name} is out of date: run "npm run generate" and commit it`)
    stale++
  }
}
for (const name of generatedFolders.flatMap(filesIn).filter((name) => !Object.hasOwn(documents, name))) {
  if (!check) rmSync(path.join(root, name))
  else {
    console.error(`${name} is no longer generated: run "npm run generate" and commit that it is gone`)
    stale++
  }
}
process.exitCode = stale === 0 ? 0 : 1

function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

function filesIn(folder) {
  if (!existsSync(path.join(root, folder))) return []
  return readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
}
