/** Sessions from their lines to what people read, through the real engine. */
import { randomUUID } from 'node:crypto'
import type { ClickHouseClient } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { insertEvents } from '../../tests/support/events.ts'
import { storeSession, transcript } from '../../tests/support/stored-sessions.ts'
import { realClock } from './clock.ts'
import { processors } from './registry.ts'
import { runDue } from './run.ts'

// Each processes sessions several times, by some twenty questions to the engine.
vi.setConfig({ testTimeout: 120_000 })

let engine: TestEngine
let client: ClickHouseClient
beforeAll(async () => {
  engine = await startTestEngine()
  client = engine.client
})
afterAll(() => engine.stop())

const morning = new Date('2026-11-20T09:00:00Z')

async function rows<T = Record<string, unknown>>(query: string, tenant: string): Promise<T[]> {
  const result = await client.query({
    query,
    query_params: { tenant },
    format: 'JSONEachRow',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 0, date_time_output_format: 'iso' },
  })
  return result.json<T>()
}

async function processAll(some = processors): Promise<Record<string, { done: number; failed: number }>> {
  const totals: Record<string, { done: number; failed: number }> = {}
  for (const processor of some) {
    totals[processor.name] = await runDue(processor, {
      client,
      clock: realClock,
      fence: 1n,
      log: (line) => console.log(line),
      mayGoOn: () => true,
    })
  }
  return totals
}

const failing = (sessionId: string, start = morning) =>
  transcript(sessionId, start)
    .prompt('why is the build red?')
    .says('m1', 'I will look.', 3)
    .calls('m1', 't1', 'Bash', { command: 'npm test' }, 9)
    .result('t1', '<tool_use_error>String to replace not found in file.</tool_use_error>', true)
    .says('m2', 'It is green now.', 4)

test('a session becomes turns, a summary and findings, grows, and is opened again by what telemetry tells', async () => {
  const tenant = randomUUID()
  const whole = failing('s-1').lines
  const nothing = { done: 0, failed: 0 }
  const findings = () =>
    rows(
      'SELECT type, turn_index, session_file FROM session_findings WHERE tenant = {tenant:String} ORDER BY type',
      tenant,
    )
  await storeSession(client, { tenant, file: 's-1', lines: whole.slice(0, 2) })
  // Nobody has processed it yet: it is listed, without figures.
  expect(
    await rows(
      'SELECT session_file, turns, is_processed, started_at FROM sessions WHERE tenant = {tenant:String}',
      tenant,
    ),
  ).toEqual([{ session_file: 's-1', turns: 0, is_processed: false, started_at: null }])
  // What builds on its turns waits for them.
  expect(await processAll(processors.filter(({ after }) => after !== undefined))).toEqual({
    failure_scan: nothing,
    usage: nothing,
  })
  await processAll()
  expect(await findings()).toEqual([])
  await storeSession(client, { tenant, file: 's-1', lines: whole, fromLine: 3 })
  await processAll()
  // Only new turns were written.
  expect(await rows('SELECT count() AS n FROM session_turn_rows WHERE tenant = {tenant:String}', tenant)).toEqual([
    { n: 5 },
  ])
  const [session] = await rows('SELECT * FROM sessions WHERE tenant = {tenant:String}', tenant)
  expect(session).toMatchObject({
    user_name: 'anna',
    session_file: 's-1',
    session_id: 's-1',
    started_at: '2026-11-20T09:00:00.000Z',
    ended_at: '2026-11-20T09:00:04.000Z',
    duration_seconds: 4,
    turns: 5,
    prompts: 1,
    messages: 2,
    tool_calls: 1,
    errors: 1,
    // Of a message that spans several lines those of its last line, once.
    input_tokens: 20,
    output_tokens: 13,
    cache_read_tokens: 200,
    cache_creation_tokens: 2,
    git_branch: 'main',
    client_version: '2.1.214',
    title: 'why is the build red?',
    models: ['claude-opus-4-5'],
    tools: ['Bash'],
    findings: 1,
    finding_types: ['tool_error'],
    lines: 5,
    is_processed: true,
  })
  expect(JSON.stringify(session)).not.toContain('/home/anna')
  const turns = await rows(
    'SELECT turn_index, kind, tool_name FROM session_turns WHERE tenant = {tenant:String} ORDER BY turn_index',
    tenant,
  )
  expect(turns.map(({ kind }) => kind)).toEqual(['prompt', 'text', 'tool_use', 'tool_result', 'text'])
  expect(await findings()).toEqual([{ type: 'tool_error', turn_index: 3, session_file: 's-1' }])
  // What is processed is left alone.
  expect(await processAll()).toEqual({ transcripts: nothing, failure_scan: nothing, usage: nothing })

  await insertEvents(client, [
    {
      tenant,
      at: new Date('2026-11-20T09:00:02.500Z'),
      name: 'tool_decision',
      scope: 'com.anthropic.claude_code.events',
      attributes: {
        'session.id': 's-1',
        tool_use_id: 't1',
        decision: 'reject',
        source: 'config',
        'event.sequence': '3',
      },
    },
  ])
  expect(await processAll()).toEqual({ transcripts: nothing, failure_scan: { done: 1, failed: 0 }, usage: nothing })
  expect(await findings()).toContainEqual({ type: 'permission_denied', turn_index: 3, session_file: 's-1' })
  expect((await processAll()).failure_scan).toEqual(nothing)
})

test('usage counts a day of a user by model and tool, and what a resumed session copied only once', async () => {
  const tenant = randomUUID()
  const first = failing('s-1').lines
  const resumed = transcript('s-2', new Date('2026-11-20T11:00:00Z')).prompt('go on').says('m3', 'done', 6).lines
  await storeSession(client, { tenant, file: 's-1', lines: first })
  await processAll()
  // A resumed session begins with a copy of the other one.
  await storeSession(client, { tenant, file: 's-2', lines: [...first, ...resumed] })
  await processAll()
  const usage = await rows(
    `SELECT day, dimension, name, sessions, turns, prompts, messages, tool_calls, output_tokens, errors, active_minutes
FROM usage_daily WHERE tenant = {tenant:String} ORDER BY dimension, name`,
    tenant,
  )
  expect(usage.find(({ dimension }) => dimension === 'total')).toEqual({
    day: '2026-11-20',
    dimension: 'total',
    name: '',
    sessions: 2,
    turns: 7,
    prompts: 2,
    messages: 3,
    tool_calls: 1,
    output_tokens: 19,
    errors: 1,
    active_minutes: 2,
  })
  expect(usage.find(({ dimension }) => dimension === 'tool')).toMatchObject({
    name: 'Bash',
    tool_calls: 1,
    output_tokens: 9,
  })
  expect(usage.find(({ dimension }) => dimension === 'model')).toMatchObject({ name: 'claude-opus-4-5', messages: 3 })
})

test('active users are those of the day, and of the week that ends with it', async () => {
  const tenant = randomUUID()
  const on = (day: string, user: string) =>
    storeSession(client, {
      tenant,
      user,
      file: `${user}-${day}`,
      lines: transcript(`${user}-${day}`, new Date(`${day}T12:00:00Z`)).prompt('hello').lines,
    })
  await on('2026-11-10', 'anna')
  await on('2026-11-16', 'ben')
  await on('2026-11-17', 'ben')
  await on('2026-11-17', 'cleo')
  await processAll()
  expect(
    await rows(
      'SELECT day, daily_users, weekly_users FROM active_users WHERE tenant = {tenant:String} ORDER BY day',
      tenant,
    ),
  ).toEqual([
    { day: '2026-11-10', daily_users: 1, weekly_users: 1 },
    { day: '2026-11-16', daily_users: 1, weekly_users: 2 },
    { day: '2026-11-17', daily_users: 2, weekly_users: 2 },
  ])
})
