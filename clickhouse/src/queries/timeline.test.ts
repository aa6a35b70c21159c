import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { insertEvents, type TestEvent } from '../../../tests/support/events.ts'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { followTimeline } from './follow.ts'
import { fetchTimeline } from './timeline.ts'
import type { TimelineFilter, TimelineRow } from './types.ts'

let engine: TestEngine

beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

const start = new Date('2026-11-20T10:00:00Z')
const later = (ms: number): Date => new Date(start.getTime() + ms)

function audit(tenant: string, at: Date, attributes: Record<string, string>): TestEvent {
  return { tenant, at, name: 'agnes.audit', attributes }
}

async function allPages(filter: TimelineFilter): Promise<TimelineRow[]> {
  const rows: TimelineRow[] = []
  let cursor: string | undefined
  do {
    const page = await fetchTimeline(engine.client, { ...filter, ...(cursor === undefined ? {} : { cursor }) })
    rows.push(...page.rows)
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
  return rows
}

describe('pages', () => {
  test('walking the pages shows every row once, newest first, however many share an instant', async () => {
    // Few distinct instants, far apart: pages end within an instant, and windows have to widen over gaps.
    const gap = fc.constantFrom(0, 0, 0, 1, 1_000, 3_600_000, 40 * 86_400_000)
    await fc.assert(
      fc.asyncProperty(
        fc.array(gap, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 20 }),
        async (gaps, limit) => {
          const tenant = randomUUID()
          let at = start.getTime()
          const events = gaps.map((ms, i) => {
            at -= ms
            return audit(tenant, new Date(at), { 'log.record.uid': String(i), 'agnes.action': 'query.local' })
          })
          await insertEvents(engine.client, events)
          const rows = await allPages({ tenant, limit })
          expect(rows.map(({ id }) => id).sort()).toEqual(gaps.map((_, i) => String(i)).sort())
          const times = rows.map(({ timestamp }) => timestamp)
          expect(times).toEqual([...times].sort().reverse())
        },
      ),
      { numRuns: 6 },
    )
  })

  test('rows that arrive at the very instant of a cursor are neither skipped nor doubled within what was there', async () => {
    const tenant = randomUUID()
    const make = (id: string) => audit(tenant, start, { 'log.record.uid': id, 'agnes.action': 'query.local' })
    await insertEvents(engine.client, ['a', 'b', 'c', 'd', 'e'].map(make))
    const first = await fetchTimeline(engine.client, { tenant, limit: 2 })
    await insertEvents(engine.client, ['f', 'g'].map(make))
    const second = await fetchTimeline(engine.client, { tenant, limit: 100, cursor: first.nextCursor ?? '' })
    const seen = [...first.rows, ...second.rows].map(({ id }) => id)
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen).toEqual(expect.arrayContaining(['a', 'b', 'c', 'd', 'e']))
  })

  test('there is no next page behind the last row, not even an empty one', async () => {
    const tenant = randomUUID()
    await insertEvents(engine.client, [
      audit(tenant, start, { 'agnes.action': 'a' }),
      audit(tenant, start, { 'agnes.action': 'b' }),
    ])
    expect((await fetchTimeline(engine.client, { tenant, limit: 2 })).nextCursor).toBeNull()
    expect((await fetchTimeline(engine.client, { tenant: randomUUID() })).rows).toEqual([])
  })

  test('a cursor that is not ours is refused as bad input', async () => {
    const good = encodeCursor({ timeUnixNano: 1n, seq: '2', batchId: randomUUID() })
    expect(decodeCursor(good)).toMatchObject({ timeUnixNano: 1n, seq: '2' })
    for (const cursor of ['x', `${good}x`, good.slice(1), Buffer.from("1.2.3.' OR 1").toString('base64url')]) {
      await expect(fetchTimeline(engine.client, { cursor })).rejects.toMatchObject({ status: 400, exitCode: 2 })
    }
  })

  test.each([0, -1, 1.5, 1001, Number.NaN])('a page of %s rows is refused', async (limit) => {
    await expect(fetchTimeline(engine.client, { limit })).rejects.toMatchObject({ status: 400 })
  })
})

describe('filters', () => {
  const tenant = randomUUID()
  beforeAll(() =>
    insertEvents(engine.client, [
      audit(tenant, later(1), {
        'log.record.uid': 'sync',
        'user.id': 'anna',
        'agnes.action': 'sync.trigger',
        'agnes.resource': 'table:orders',
        'agnes.result': 'success',
        'agnes.correlation_id': 'c-1',
      }),
      audit(tenant, later(2), {
        'log.record.uid': 'query',
        'user.id': 'ben',
        'agnes.action': 'query.local',
        'agnes.result': 'error.invalid_sql',
        'agnes.params': '{"sql":"SELECT * FROM Straße"}',
      }),
      audit(tenant, later(3), {
        'log.record.uid': 'login',
        'user.id': 'anna',
        'agnes.action': 'login',
        'agnes.result': 'invalid_password',
      }),
      audit(tenant, later(4), { 'log.record.uid': 'read', 'user.id': 'anna', 'agnes.action': 'activity.read' }),
      {
        tenant,
        at: later(5),
        name: 'agnes.system',
        attributes: { 'log.record.uid': 'beat', 'agnes.system.event': 'heartbeat' },
      },
      { tenant, at: later(6), name: '', attributes: { 'log.record.uid': 'plain' }, body: 'a plain log line' },
      audit('someone-else', later(7), { 'log.record.uid': 'foreign', 'agnes.action': 'sync.trigger' }),
    ]),
  )

  const cases: readonly [what: string, filter: TimelineFilter, ids: readonly string[]][] = [
    ['nothing: no plain lines, heartbeats or own reads', {}, ['login', 'query', 'sync']],
    ['own reads', { includeOwnReads: true }, ['read', 'login', 'query', 'sync']],
    ['own reads by name', { actionIn: ['activity.read'] }, ['read']],
    ['heartbeats', { includeHeartbeats: true }, ['beat', 'login', 'query', 'sync']],
    ['heartbeats by name', { actionIn: ['system.heartbeat'] }, ['beat']],
    ['since is inclusive', { since: later(2) }, ['login', 'query']],
    ['until is exclusive', { until: later(2) }, ['sync']],
    ['user', { userId: 'anna' }, ['login', 'sync']],
    ['action prefix', { actionPrefix: 'sync.' }, ['sync']],
    ['a prefix is no pattern', { actionPrefix: 'sync%' }, []],
    ['actions', { actionIn: ['login', 'sync.trigger'] }, ['login', 'sync']],
    ['resource', { resource: 'table:orders' }, ['sync']],
    ['class of result', { result: 'error' }, ['query']],
    ['class denied', { result: 'denied' }, ['login']],
    ['result as written', { result: 'error.invalid_sql' }, ['query']],
    ['correlation id', { correlationId: 'c-1' }, ['sync']],
    ['text in params, whatever the case', { q: 'STRASSE'.replace('SS', 'ß') }, ['query']],
    ['text in the resource', { q: 'ORDERS' }, ['sync']],
    ['text is no pattern', { q: '%' }, []],
    ['hostile text', { q: "' OR 1=1 --" }, []],
    ['several at once', { userId: 'anna', result: 'success', actionPrefix: 'sync' }, ['sync']],
    ['empty values are no filter', { userId: '', q: '', actionIn: [] }, ['login', 'query', 'sync']],
  ]
  test.each(cases)('%s', async (_what, filter, ids) => {
    const { rows } = await fetchTimeline(engine.client, { tenant, ...filter })
    expect(rows.map(({ id }) => id)).toEqual(ids)
  })

  test('a row tells what happened in one line, with times to the nanosecond in UTC', async () => {
    const { rows } = await fetchTimeline(engine.client, { tenant, correlationId: 'c-1' })
    expect(rows[0]).toMatchObject({
      timestamp: '2026-11-20T10:00:00.001000000Z',
      summary: 'sync.trigger table:orders → success',
      userId: 'anna',
      resultClass: 'success',
      durationMs: null,
    })
  })

  test.each<[string, TimelineFilter]>([
    ['a text of over 1000 characters', { q: 'x'.repeat(1001) }],
    ['an action list of over 200', { actionIn: Array.from({ length: 201 }, String) }],
    ['a time that is none', { since: new Date(Number.NaN) }],
    ['a time out of range', { until: new Date('9999-01-01') }],
  ])('%s is refused, saying what to do', async (_what, filter) => {
    await expect(fetchTimeline(engine.client, filter)).rejects.toMatchObject({
      status: 400,
      exitCode: 2,
      hint: expect.any(String),
    })
  })
})

describe('following', () => {
  test('hands out what is stored from now on, once, in order, through the filter; late events too', async () => {
    const tenant = randomUUID()
    const stop = new AbortController()
    await insertEvents(engine.client, [
      audit(tenant, new Date(), { 'log.record.uid': 'before', 'agnes.action': 'query.local' }),
    ])
    const filter = { tenant, actionPrefix: 'sync.', since: new Date(Date.now() - 1_000) }
    const rows = followTimeline(engine.client, filter, { signal: stop.signal, pollMs: 200 })
    const first = rows.next()
    await insertEvents(engine.client, [
      audit(tenant, new Date(), { 'log.record.uid': 'a', 'agnes.action': 'sync.trigger' }),
      audit(tenant, new Date(), { 'log.record.uid': 'other', 'agnes.action': 'query.local' }),
    ])
    expect((await first).value).toMatchObject({ id: 'a' })
    const second = rows.next()
    // Stored now, but it happened long ago.
    await insertEvents(engine.client, [
      audit(tenant, start, { 'log.record.uid': 'late', 'agnes.action': 'sync.trigger' }),
    ])
    expect((await second).value).toMatchObject({ id: 'late' })
    const third = rows.next()
    stop.abort()
    expect(await third).toEqual({ done: true, value: undefined })
  })

  test('shows an INSERT that was under way when following began, and nothing that could be seen before', async () => {
    const tenant = randomUUID()
    const stop = new AbortController()
    const make = (id: string): TestEvent =>
      audit(tenant, new Date(), { 'log.record.uid': id, 'agnes.action': 'sync.trigger' })
    await insertEvents(engine.client, [make('seen before')])
    const rows = followTimeline(engine.client, { tenant }, { signal: stop.signal, pollMs: 200 })
    // The generator runs on its first next(): its own look round comes before this INSERT becomes visible.
    const first = rows.next()
    await engine.client.command({
      query: `INSERT INTO otel_logs (TenantId, Timestamp, StoredAt, EventName, LogAttributes)
        SELECT {tenant:String}, now64(9), now64(3) - INTERVAL 5 SECOND, 'agnes.audit',
          map('log.record.uid', 'under way', 'agnes.action', 'sync.trigger') FROM numbers(1) WHERE sleepEachRow(1) = 0`,
      query_params: { tenant },
    })
    expect((await first).value).toMatchObject({ id: 'under way' })
    stop.abort()
    expect(await rows.next()).toMatchObject({ done: true })
  })
})
