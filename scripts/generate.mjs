/** Writes the generated references; with --check it only compares, and fails if one is out of date. */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { configurationReference } from './configuration-reference.mjs'
import { eventsReference } from './events-reference.mjs'
import { schemaReference } from './schema-reference.mjs'

const root = path.join(import.meta.dirname, '..')
const documents = {
  'docs/configuration.md': configurationReference,
  'docs/events.md': eventsReference,
  'docs/schema.md': schemaReference,
}

const check = process.argv.includes('--check')
let stale = 0
for (const [name, generate] of Object.entries(documents)) {
  const text = await generate()
  const file = path.join(root, name)
  if (!check) writeFileSync(file, text)
  else if (read(file) !== text) {
    console.error(`${name} is out of date: run "npm run generate" and commit it`)
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
