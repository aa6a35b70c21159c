/**
 * Which room may import which (docs/architecture.md): by its package's name, and only along these arrows. Tests span
 * rooms, so they are free.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

const rooms = {
  events: [],
  config: [],
  wasm: [],
  instrumentation: ['events'],
  redaction: ['config', 'wasm'],
  clickhouse: ['config', 'events'],
  'ingest-gateway': ['clickhouse', 'config', 'events', 'instrumentation', 'redaction'],
  processors: ['clickhouse', 'config', 'grafana', 'instrumentation', 'wasm'],
  grafana: ['config'],
  'feedback-inbox': ['clickhouse', 'config', 'events', 'instrumentation', 'redaction'],
  cli: [
    'clickhouse',
    'config',
    'events',
    'feedback-inbox',
    'grafana',
    'ingest-gateway',
    'instrumentation',
    'processors',
    'redaction',
  ],
}
/** Half a gigabyte: only the engine's child process loads it. */
const engineOnly = { name: 'chdb', folder: 'clickhouse/src/engine/' }

const root = path.join(import.meta.dirname, '..')
const workspaces = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).workspaces
const problems = workspaces
  .filter((room) => !Object.hasOwn(rooms, room))
  .map((room) => `${room} is not listed in scripts/check-imports.mjs: say there what it may import`)
for (const [room, allowed] of Object.entries(rooms)) {
  for (const file of sourcesOf(room)) {
    for (const name of importsOf(file)) {
      const problem = problemWith(name, file, room, allowed)
      if (problem !== undefined) problems.push(`${path.relative(root, file)} imports ${name}: ${problem}`)
    }
  }
}
for (const problem of problems) console.error(problem)
process.exitCode = problems.length === 0 ? 0 : 1

function sourcesOf(room) {
  const directory = path.join(root, room, 'src')
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .map((name) => path.join(directory, name))
}

/** Of `import … from`, `export … from`, `import '…'` and `import('…')`. */
function importsOf(file) {
  return [...readFileSync(file, 'utf8').matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^'\n]+)'/g)].map(([, name]) => name)
}

function problemWith(name, file, room, allowed) {
  if (name.startsWith('.')) {
    const target = path.relative(path.join(root, room, 'src'), path.resolve(path.dirname(file), name))
    return target.startsWith('..') ? 'another room is imported by the name of its package' : undefined
  }
  if (name === engineOnly.name) {
    return path.relative(root, file).startsWith(engineOnly.folder) ? undefined : `only ${engineOnly.folder} may`
  }
  const [scope, other, ...inside] = name.split('/')
  if (scope !== '@agnes' || other === room) return undefined
  if (!allowed.includes(other)) return `${room} may import ${allowed.join(', ') || 'no other room'}`
  return inside[0] === 'src' || inside[0] === 'dist' ? 'a room is imported by its door only' : undefined
}
