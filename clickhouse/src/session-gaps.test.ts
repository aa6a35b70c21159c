/** What never arrived: drop events, and the report names exactly those. */
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { insertEvents, type TestEvent } from '../../tests/support/events.ts'
import { storeSession } from '../../tests/support/stored-sessions.ts'

let engine: TestEngine
beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

const start = Date.parse('2026-11-20T09:00:00Z')

interface Gap {
  readonly session_id: string
  readonly kind: string
  readonly first_missing: number | null
  readonly last_missing: number | null
  readonly missing: number
  readonly key: string
  readonly detail: string
  readonly after: string
  readonly until: string
}

async function gaps(tenant: string): Promise<Gap[]> {
  const result = await engine.client.query({
    query: `SELECT session_id, kind, first_missing, last_missing, missing, key, detail, after, until FROM session_gaps_of(sessions = [])
      WHERE tenant = {tenant:String} ORDER BY session_id, kind, first_missing, after, key`,
    query_params: { tenant },
    format: 'JSONEachRow',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 0, date_time_output_format: 'iso' },
  })
  return result.json<Gap>()
}

/** Milliseconds after the start. */
const event = (
  tenant: string,
  ms: number,
  sequence: number,
  name = 'user_prompt',
  attributes: Record<string, string> = {},
): TestEvent => ({
  tenant,
  at: new Date(start + ms),
  name,
  scope: 'com.anthropic.claude_code.events',
  attributes: { 'session.id': 's-1', 'event.sequence': String(sequence), ...attributes },
})

const ranges = (found: readonly Gap[]) => found.map((gap) => [gap.kind, gap.first_missing, gap.last_missing])

describe('event.sequence', () => {
  test('nothing is missing from a whole session', async () => {
    const tenant = randomUUID()
    await insertEvents(
      engine.client,
      Array.from({ length: 20 }, (_, i) => event(tenant, i * 1000, i)),
    )
    expect(await gaps(tenant)).toEqual([])
  })

  test('the report names exactly the events that were dropped, wherever they were', async () => {
    const tenant = randomUUID()
    const sessions = fc
      .sample(
        fc.record({
          length: fc.integer({ min: 2, max: 60 }),
          dropped: fc.array(fc.integer({ min: 1, max: 58 }), { maxLength: 20 }),
          stepMs: fc.integer({ min: 0, max: 30_000 }),
        }),
        100,
      )
      .map(({ length, dropped, stepMs }, i) => ({
        id: `s-${i}`,
        gone: new Set(dropped.filter((sequence) => sequence < length - 1)),
        events: Array.from({ length }, (_, sequence) =>
          event(tenant, sequence * stepMs, sequence, 'user_prompt', { 'session.id': `s-${i}` }),
        ),
      }))
    await insertEvents(
      engine.client,
      sessions.flatMap(({ events, gone }) => events.filter((_, sequence) => !gone.has(sequence))),
    )
    const found = await gaps(tenant)
    for (const { id, gone } of sessions) {
      const named = found
        .filter(({ session_id }) => session_id === id)
        .flatMap((gap) => Array.from({ length: gap.missing }, (_, i) => (gap.first_missing ?? 0) + i))
      expect(named, id).toEqual([...gone].sort((one, other) => one - other))
    }
    expect(found.some(({ missing }) => missing > 1)).toBe(true)
  })

  test('a gap tells between which events it lies', async () => {
    const tenant = randomUUID()
    await insertEvents(engine.client, [event(tenant, 0, 0), event(tenant, 1000, 1), event(tenant, 9000, 5)])
    expect(await gaps(tenant)).toEqual([
      expect.objectContaining({
        kind: 'sequence',
        first_missing: 2,
        last_missing: 4,
        missing: 3,
        after: '2026-11-20T09:00:01.000Z',
        until: '2026-11-20T09:00:09.000Z',
      }),
    ])
  })

  test('a session that is resumed counts anew, and each count has its own gaps', async () => {
    const tenant = randomUUID()
    await insertEvents(engine.client, [
      ...[0, 1, 3].map((i) => event(tenant, i * 1000, i)),
      ...[0, 1, 2, 5].map((i) => event(tenant, 600_000 + i * 1000, i)),
    ])
    expect(ranges(await gaps(tenant))).toEqual([
      ['sequence', 2, 2],
      ['sequence', 3, 4],
    ])
  })

  test('a clock that was set back a second in between makes no gap', async () => {
    const tenant = randomUUID()
    const times = [0, 1000, 2000, 1500, 1600, 3000]
    await insertEvents(
      engine.client,
      times.map((ms, i) => event(tenant, ms, i)),
    )
    expect(await gaps(tenant)).toEqual([])
  })

  test('an event that came twice is no gap', async () => {
    const tenant = randomUUID()
    await insertEvents(
      engine.client,
      [0, 1, 1, 2].map((i) => event(tenant, i * 1000, i)),
    )
    expect(await gaps(tenant)).toEqual([])
  })

  test('telemetry that begins in the middle of a count says so, and not that something was lost', async () => {
    const tenant = randomUUID()
    await insertEvents(
      engine.client,
      [57, 58].map((i) => event(tenant, i * 1000, i)),
    )
    expect(ranges(await gaps(tenant))).toEqual([['late_start', 0, 56]])
  })

  test('other sessions and tenants do not fill a gap', async () => {
    const [tenant, other] = [randomUUID(), randomUUID()]
    await insertEvents(engine.client, [
      event(tenant, 0, 0),
      event(tenant, 2000, 2),
      event(other, 1000, 1),
      { ...event(tenant, 1000, 1), attributes: { 'session.id': 's-2', 'event.sequence': '1' } },
    ])
    expect((await gaps(tenant)).map((gap) => [gap.session_id, gap.kind, gap.first_missing, gap.last_missing])).toEqual([
      ['s-1', 'sequence', 1, 1],
      ['s-2', 'late_start', 0, 0],
    ])
  })
})

describe('telemetry and transcript', () => {
  interface StoredTurn {
    readonly ms: number
    readonly kind: string
    readonly tool_use_id?: string
    readonly tool_name?: string
    readonly is_error?: boolean
    readonly error_class?: string
    readonly request_id?: string
    readonly uuid?: string
  }

  async function storeTurns(tenant: string, turns: readonly StoredTurn[]): Promise<void> {
    const key = { tenant, user_name: 'anna', session_file: 's-1', version: 'main' }
    await storeSession(engine.client, { tenant, file: 's-1', lines: turns.map(() => '{}') })
    await engine.client.insert({
      table: 'session_turn_rows',
      values: turns.map(({ ms, ...turn }, i) => ({
        ...key,
        parser_version: 1,
        turn_index: i,
        line: i + 1,
        session_id: 's-1',
        occurred_at: new Date(start + ms).toISOString(),
        ...turn,
      })),
      format: 'JSONEachRow',
      clickhouse_settings: { date_time_input_format: 'best_effort' },
    })
    await engine.client.insert({
      table: 'session_summaries',
      values: [{ ...key, rank: '1', parser_version: 1, turn_rows: turns.length, lines: turns.length }],
      format: 'JSONEachRow',
    })
  }

  const call = (ms: number, id: string): StoredTurn[] => [
    { ms, kind: 'tool_use', tool_use_id: id, tool_name: 'Bash' },
    { ms: ms + 500, kind: 'tool_result', tool_use_id: id, tool_name: 'Bash' },
  ]
  const told = (tenant: string, ms: number, sequence: number, id: string, success = 'true'): TestEvent =>
    event(tenant, ms, sequence, 'tool_result', { tool_use_id: id, tool_name: 'Bash', success })

  test('agree', async () => {
    const tenant = randomUUID()
    await storeTurns(tenant, [
      { ms: 0, kind: 'prompt', uuid: 'u1' },
      { ms: 900, kind: 'text', request_id: 'r1', uuid: 'u2' },
      ...call(1000, 't1'),
    ])
    await insertEvents(engine.client, [
      event(tenant, 0, 0, 'user_prompt', { 'message.uuid': 'u1' }),
      event(tenant, 800, 1, 'api_request', { request_id: 'r1' }),
      event(tenant, 850, 2, 'api_request', { request_id: 'r-title' }),
      told(tenant, 1400, 3, 't1'),
    ])
    expect(await gaps(tenant)).toEqual([])
  })

  test('each call, request and message that only one of them has is named', async () => {
    const tenant = randomUUID()
    await storeTurns(tenant, [
      { ms: 0, kind: 'prompt', uuid: 'u1' },
      { ms: 900, kind: 'text', request_id: 'r1', uuid: 'u2' },
      { ms: 950, kind: 'text', request_id: 'r2', uuid: 'u3' },
      ...call(1000, 't1'),
      ...call(2000, 't2'),
      { ms: 9000, kind: 'prompt', uuid: 'u9' },
    ])
    await insertEvents(engine.client, [
      event(tenant, 0, 0, 'user_prompt', { 'message.uuid': 'u1' }),
      event(tenant, 100, 1, 'user_prompt', { 'message.uuid': 'u-lost' }),
      event(tenant, 800, 2, 'api_request', { request_id: 'r1' }),
      told(tenant, 1400, 3, 't1'),
      told(tenant, 3000, 4, 't-lost'),
      // After the end of what has arrived of the transcript: it may still come.
      told(tenant, 60_000, 5, 't-later'),
    ])
    expect((await gaps(tenant)).map(({ kind, key, detail }) => [kind, key, detail])).toEqual([
      ['message', 'u-lost', ''],
      ['request', 'r2', ''],
      ['tool_result', 't2', 'Bash'],
      ['tool_use', 't-lost', 'Bash'],
    ])
  })

  test('that disagree on whether a call failed are told', async () => {
    const tenant = randomUUID()
    await storeTurns(tenant, [
      ...call(1000, 't1'),
      { ms: 2000, kind: 'tool_result', tool_use_id: 't2', tool_name: 'Edit', is_error: true, error_class: 'other' },
    ])
    await insertEvents(engine.client, [told(tenant, 1000, 0, 't1', 'false'), told(tenant, 2000, 1, 't2')])
    expect((await gaps(tenant)).map(({ kind, key, detail }) => [kind, key, detail])).toEqual([
      ['outcome', 't1', 'Bash: failed in telemetry, not in the transcript'],
      ['outcome', 't2', 'Edit: failed in the transcript, not in telemetry'],
    ])
  })

  test('a call that was rejected has no result in telemetry, and misses none', async () => {
    const tenant = randomUUID()
    await storeTurns(tenant, [
      ...call(1000, 't0'),
      { ms: 1000, kind: 'tool_result', tool_use_id: 't1', is_error: true, error_class: 'user_rejected' },
      { ms: 2000, kind: 'tool_result', tool_use_id: 't2', is_error: true, error_class: 'other' },
    ])
    await insertEvents(engine.client, [
      told(tenant, 900, 0, 't0'),
      event(tenant, 2000, 1, 'tool_decision', { tool_use_id: 't2', decision: 'reject', source: 'config' }),
    ])
    expect(await gaps(tenant)).toEqual([])
  })

  test('sessions that only one of them has are no gap', async () => {
    const tenant = randomUUID()
    await storeTurns(tenant, call(1000, 't1'))
    expect(await gaps(tenant)).toEqual([])
  })
})
