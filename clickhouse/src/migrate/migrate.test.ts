import { exitCodes } from '@agnes/config'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { loadMigrations, parseMigration } from './files.ts'
import { migrate } from './migrate.ts'
import { renderMigration } from './render.ts'

let engine: TestEngine

beforeAll(async () => {
  engine = await startTestEngine({ empty: true })
})
afterAll(() => engine.stop())

async function rows<T>(query: string): Promise<T[]> {
  const result = await engine.client.query({ query, format: 'JSONEachRow' })
  return result.json<T>()
}

test('an empty database is brought to the newest schema, and again changes nothing', async () => {
  const files = await loadMigrations()
  const first = await migrate(engine.client, { database: 'fresh' })
  expect(first).toEqual({ applied: files.map(({ version, name }) => `${version}_${name}`), alreadyApplied: 0 })
  expect(await migrate(engine.client, { database: 'fresh' })).toEqual({ applied: [], alreadyApplied: files.length })
  const tables = await rows<{ name: string }>("SELECT name FROM system.tables WHERE database = 'fresh' ORDER BY name")
  expect(tables.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'audit_log',
      'health_pulse',
      'otel_logs',
      'session_processor_runs',
      'sync_history',
      'timeline',
    ]),
  )
})

test('a database that holds rows keeps them, also when every file runs once more', async () => {
  await engine.client.command({
    query: `INSERT INTO fresh.otel_logs (Timestamp, LogAttributes, EventName)
      SELECT now64(9), map('agnes.action', 'kept'), 'agnes.audit' FROM numbers(1000)`,
  })
  const before = await rows('SELECT * FROM fresh.otel_logs ORDER BY Seq')
  await engine.client.command({ query: 'TRUNCATE TABLE fresh.schema_migrations' })
  const { applied } = await migrate(engine.client, { database: 'fresh' })
  expect(applied).toHaveLength((await loadMigrations()).length)
  expect(await rows('SELECT * FROM fresh.otel_logs ORDER BY Seq')).toEqual(before)
})

test('two runners at once both succeed, and each file is recorded once', async () => {
  await Promise.all([migrate(engine.client, { database: 'raced' }), migrate(engine.client, { database: 'raced' })])
  const recorded = await rows<{ version: string; n: number }>(
    'SELECT version, count() AS n FROM raced.schema_migrations GROUP BY version ORDER BY version',
  )
  const files = await loadMigrations()
  expect(recorded).toEqual(files.map(({ version }) => ({ version, n: 1 })))
})

test('a file that was applied with another text is refused with exit code 3, and nothing runs', async () => {
  const files = await loadMigrations()
  const added = parseMigration(
    '9999',
    'added',
    '-- Cost: none.\nCREATE TABLE IF NOT EXISTS agnes.added (a UInt8) ENGINE = MergeTree ORDER BY a',
  )
  const edited = [...files.slice(0, -1).map((file) => ({ ...file, checksum: 'edited' })), added]
  await expect(migrate(engine.client, { database: 'fresh', files: edited })).rejects.toMatchObject({
    exitCode: exitCodes.refused,
    message: expect.stringContaining('0001_base.sql was applied before with another text'),
    hint: expect.stringContaining('new file'),
  })
  expect(await rows("SELECT 1 FROM system.tables WHERE database = 'fresh' AND name = 'added'")).toEqual([])
})

test('a database of a newer release is left as it is, and that is said', async () => {
  const lines: string[] = []
  const files = (await loadMigrations()).slice(0, -1)
  await migrate(engine.client, { database: 'fresh', files, log: (line) => lines.push(line) })
  expect(lines).toEqual([expect.stringContaining('newer release')])
})

test('line ends rewritten by a checkout do not change the checksum', () => {
  const text = '-- Cost: none.\nCREATE DATABASE IF NOT EXISTS agnes;\n'
  expect(parseMigration('0001', 'base', text.replaceAll('\n', '\r\n')).checksum).toBe(
    parseMigration('0001', 'base', text).checksum,
  )
})

test('for a cluster the same files become DDL that ClickHouse itself can parse', async () => {
  for (const file of await loadMigrations()) {
    const statements = renderMigration(file, { cluster: 'main' })
    for (const sql of statements) {
      const result = await engine.client.query({
        query: 'SELECT formatQuery({sql:String}) AS formatted',
        query_params: { sql },
        format: 'JSONEachRow',
      })
      const [row] = await result.json<{ formatted: string }>()
      expect(row?.formatted).toContain('ON CLUSTER main')
      if (/^CREATE TABLE/.test(sql)) expect(row?.formatted).toMatch(/ENGINE = (Replicated\w*MergeTree|Distributed)\(/)
    }
    const tables = statements.filter((sql) => sql.startsWith('CREATE TABLE'))
    const sharded = file.sql.split('-- cluster: sharded').length - 1
    expect(tables.filter((sql) => sql.includes('ENGINE = Distributed('))).toHaveLength(sharded)
  }
})

test('a cluster gets its deduplication window and a local table of the same columns', async () => {
  const file = (await loadMigrations()).find(({ name }) => name === 'otel_logs')
  const [local = '', distributed = ''] = file === undefined ? [] : renderMigration(file, { cluster: 'main' })
  expect(local).toContain('agnes.otel_logs_local')
  expect(local).toContain(' replicated_deduplication_window = ')
  expect(local).not.toContain('non_replicated')
  expect(distributed).toContain('AS agnes.otel_logs_local')
})

test('columns that are added to a table one after the other are one statement', () => {
  const file = parseMigration(
    '0001',
    'columns',
    `-- Cost: none.
ALTER TABLE agnes.a ADD COLUMN IF NOT EXISTS x UInt8;
-- Of x.
ALTER TABLE agnes.a ADD COLUMN IF NOT EXISTS y UInt8 DEFAULT x;
ALTER TABLE agnes.b ADD COLUMN IF NOT EXISTS x UInt8;`,
  )
  expect(renderMigration(file)).toEqual([
    'ALTER TABLE agnes.a ADD COLUMN IF NOT EXISTS x UInt8,\n ADD COLUMN IF NOT EXISTS y UInt8 DEFAULT x',
    'ALTER TABLE agnes.b ADD COLUMN IF NOT EXISTS x UInt8',
  ])
  expect(renderMigration(file, { cluster: 'main' }).map((sql) => sql.split(' ADD ').length - 1)).toEqual([2, 2, 1, 1])
})

test('a statement that may not run twice is refused before anything runs', () => {
  const file = parseMigration('0001', 'bad', '-- Cost: none.\nCREATE TABLE agnes.twice (a UInt8) ENGINE = Memory')
  expect(() => renderMigration(file)).toThrow('0001_bad.sql: not a statement that may run twice')
})
