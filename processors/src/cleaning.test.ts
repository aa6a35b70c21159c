/** Turns of older versions: gone when newer ones count, and nothing else. */
import { randomUUID } from 'node:crypto'
import type { ClickHouseClient } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { storeSession, transcript } from '../../tests/support/stored-sessions.ts'
import { cleanTurns } from './cleaning.ts'
import { realClock } from './clock.ts'
import { runDue } from './run.ts'
import { startScheduler } from './scheduler.ts'
import { transcripts } from './transcripts/processor.ts'

vi.setConfig({ testTimeout: 120_000 })

let engine: TestEngine
let client: ClickHouseClient
beforeAll(async () => {
  engine = await startTestEngine()
  client = engine.client
})
afterAll(() => engine.stop())

const mayGoOn = (): boolean => true
const user = `o'Hara "\\`

async function rows(query: string, tenant: string): Promise<unknown[]> {
  const result = await client.query({ query, query_params: { tenant }, format: 'JSONCompactEachRow' })
  return result.json()
}
const stored = (tenant: string) =>
  rows(
    'SELECT session_file, parser_version, toUInt32(count()) FROM session_turn_rows WHERE tenant = {tenant:String} GROUP BY ALL ORDER BY ALL',
    tenant,
  )
const seen = (tenant: string) =>
  rows('SELECT * FROM session_turns WHERE tenant = {tenant:String} ORDER BY session_file, turn_index', tenant)

/** Sessions of four turns: of one day and of another. */
async function process(tenant: string, files: readonly string[], day: number): Promise<void> {
  for (const file of files) {
    const { lines } = transcript(file, new Date(Date.UTC(2026, 10, day, 9)))
      .prompt('go')
      .calls('m1', 't1', 'Bash', { command: 'ls' })
      .result('t1', 'a')
      .says('m2', 'Done.')
    await storeSession(client, { tenant, user, file, lines, firstReceivedAt: new Date(Date.UTC(2026, 10, day, 10)) })
  }
  await runDue(transcripts, { client, clock: realClock, fence: 1n, log: () => {}, mayGoOn })
}

/** As an older or a newer version of the processor would have written them. */
async function writtenBy(version: number, tenant: string, file: string): Promise<void> {
  await client.command({
    query: `INSERT INTO session_turn_rows SELECT * REPLACE(${version} AS parser_version) FROM (
      SELECT * FROM session_turn_rows WHERE tenant = {tenant:String} AND session_file = {file:String} AND parser_version = 1)`,
    query_params: { tenant, file },
    clickhouse_settings: { insert_deduplicate: 0 },
  })
}

test('what an older version wrote is removed, day by day; what people see stays as it was', async () => {
  const tenant = randomUUID()
  await process(tenant, ['a', 'b', 'untouched'], 20)
  await process(tenant, ['c'], 19)
  for (const file of ['a', 'b', 'c']) await writtenBy(0, tenant, file)
  // A newer version has begun to write, and its summary does not stand yet.
  await writtenBy(2, tenant, 'b')
  const before = await seen(tenant)
  expect(before).toHaveLength(16)

  expect(await cleanTurns({ client, mayGoOn: () => false })).toEqual({ days: 0, sessions: 0 })
  expect(await cleanTurns({ client, mayGoOn, days: 1 })).toEqual({ days: 1, sessions: 1 })
  expect(await stored(tenant)).toEqual([
    ['a', 0, 4],
    ['a', 1, 4],
    ['b', 0, 4],
    ['b', 1, 4],
    ['b', 2, 4],
    ['c', 1, 4],
    ['untouched', 1, 4],
  ])
  // One session at a time, to the end.
  expect(await cleanTurns({ client, mayGoOn, sessionsADay: 1 })).toEqual({ days: 1, sessions: 1 })
  expect(await cleanTurns({ client, mayGoOn })).toEqual({ days: 1, sessions: 1 })
  expect(await cleanTurns({ client, mayGoOn })).toEqual({ days: 0, sessions: 0 })
  expect(await stored(tenant)).toEqual([
    ['a', 1, 4],
    ['b', 1, 4],
    ['b', 2, 4],
    ['c', 1, 4],
    ['untouched', 1, 4],
  ])
  expect(await seen(tenant)).toEqual(before)
})

test('the process with the lease does it now and then; a job that fails holds nothing up', async () => {
  const tenant = randomUUID()
  await process(tenant, ['a'], 18)
  await writtenBy(0, tenant, 'a')
  const logged: string[] = []
  let cleaned: (sessions: number) => void = () => {}
  const done = new Promise<number>((resolve) => {
    cleaned = resolve
  })
  const scheduler = startScheduler({
    client,
    processors: [],
    jobs: [
      { name: 'broken', everyMs: 3_600_000, run: () => Promise.reject(new Error('of no use')) },
      {
        name: 'cleaning',
        everyMs: 3_600_000,
        run: async (mayGoOn) => cleaned((await cleanTurns({ client, mayGoOn })).sessions),
      },
    ],
    holder: 'test',
    log: (line) => logged.push(line),
  })
  expect(await done).toBe(1)
  await scheduler.stop()
  expect(logged).toEqual(['processors: broken failed: of no use'])
  expect(await stored(tenant)).toEqual([['a', 1, 4]])
})
