import { createRedaction, noRules } from '@agnes/redaction'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeJson } from '../../tests/support/otlp-json.ts'
import { type ExportLogsRequest, encodeExportLogsRequest, type LogRecord } from '../../tests/support/otlp-reference.ts'
import { send } from '../../tests/support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../tests/support/spool-only-gateway.ts'
import { createEventIds, type EventIds, type RequestIds } from './event-ids.ts'
import { createIngest } from './ingest.ts'
import { createRecentRequests } from './recent-requests.ts'
import { createRequestHash } from './request-hash.ts'
import type { Spool } from './spool/spool.ts'

const key = Buffer.alloc(16, 7)
const knows = (request: RequestIds, id: string): boolean => request.isKnownText('uid', id)
/** A request with one event, stored at once. */
function store(ids: EventIds, id: string, tenant = 'default'): boolean {
  const request = ids.begin(tenant)
  const known = knows(request, id)
  request.settle(Promise.resolve())
  return known
}

test('an event is new once; within its request, in another, and not for another tenant', () => {
  const ids = createEventIds({ key })
  const request = ids.begin('default')
  expect([knows(request, 'a'), knows(request, 'a'), knows(request, 'b')]).toEqual([false, true, false])
  request.settle(Promise.resolve())
  expect(request.added()).toHaveLength(16)
  expect(store(ids, 'a')).toBe(true)
  expect(store(ids, 'a', 'acme')).toBe(false)
})

test('a hundred thousand ids of every length are told apart', () => {
  const ids = createEventIds({ key })
  const request = ids.begin('default')
  for (let i = 0; i < 100_000; i++) {
    const id = `${'x'.repeat(i % 40)}${i}`
    expect(request.isKnownText('uid', id)).toBe(false)
  }
  for (let i = 0; i < 100_000; i += 97) expect(request.isKnownText('uid', `${'x'.repeat(i % 40)}${i}`)).toBe(true)
})

test('ids of a request that failed are new again', async () => {
  const ids = createEventIds({ key })
  const request = ids.begin('default')
  knows(request, 'a')
  const refused = Promise.reject(new Error('disk'))
  request.settle(refused)
  await refused.catch(() => {})
  expect(store(ids, 'a')).toBe(false)
  const unread = ids.begin('default')
  knows(unread, 'b')
  unread.fail()
  expect(store(ids, 'b')).toBe(false)
})

test('a repetition waits until what it repeats is on disk, and fails with it', async () => {
  const ids = createEventIds({ key })
  let settle: { resolve(): void; reject(error: Error): void } | undefined
  const pending = (): Promise<void> =>
    new Promise((resolve, reject) => {
      settle = { resolve, reject }
    })
  const first = ids.begin('default')
  knows(first, 'a')
  first.settle(pending())
  const second = ids.begin('default')
  expect(knows(second, 'a')).toBe(true)
  const outcome = second.repeated()?.then(
    () => 'stored',
    () => 'failed',
  )
  settle?.resolve()
  expect(await outcome).toBe('stored')

  const third = ids.begin('default')
  knows(third, 'b')
  third.settle(pending())
  const fourth = ids.begin('default')
  knows(fourth, 'b')
  settle?.reject(new Error('disk'))
  await expect(fourth.repeated()).rejects.toThrow('disk')
})

test('an id is remembered for a generation at least, and forgotten after two, by time and by number', () => {
  let nowMs = 0
  const byTime = createEventIds({ key, windowMs: 100, now: () => nowMs })
  store(byTime, 'a')
  nowMs = 199
  expect(store(byTime, 'a')).toBe(true)
  nowMs = 300
  expect(store(byTime, 'b')).toBe(false)
  nowMs = 401
  expect(store(byTime, 'c')).toBe(false)
  expect(store(byTime, 'a')).toBe(false)

  const byNumber = createEventIds({ key, maxIds: 10 })
  for (let i = 0; i < 20; i++) store(byNumber, `n${i}`)
  expect(store(byNumber, 'n12')).toBe(true)
  for (let i = 20; i < 40; i++) store(byNumber, `n${i}`)
  expect(store(byNumber, 'n0')).toBe(false)
})

test('generations that follow each other through the same memory remember what is theirs', () => {
  const generation = 9_000
  const ids = createEventIds({ key, maxIds: generation })
  const told = (from: number, to: number): boolean[] => {
    const request = ids.begin('default')
    const known = Array.from({ length: to - from }, (_, i) => knows(request, `n${from + i}`))
    request.settle(Promise.resolve())
    return known
  }
  for (let first = 0; first < 8 * generation; first += 1_000) {
    expect(told(first, first + 1_000)).not.toContain(true)
    // Those of the last generation at least are known still.
    const from = Math.max(0, first + 1_000 - generation)
    expect(told(from, from + 50)).not.toContain(false)
  }
  expect(told(0, 1_000)).not.toContain(true)
})

test('after a pause nothing is remembered for longer than two generations', () => {
  let nowMs = 0
  const ids = createEventIds({ key, windowMs: 100, now: () => nowMs })
  store(ids, 'a')
  nowMs = 10_000
  expect(store(ids, 'a')).toBe(false)
})

test('equal texts of two kinds are two ids, and a text that is not well-formed is none', () => {
  const request = createEventIds({ key }).begin('default')
  expect(request.isKnownText('uid', '42')).toBe(false)
  expect(request.isKnownText('eventId', '42')).toBe(false)
  expect(request.isKnownText('eventId', '42')).toBe(true)
  expect(request.isKnownText('uid', 'a\ud800')).toBe(false)
  expect(request.isKnownText('uid', 'a\ud801')).toBe(false)
})

test('what was restored is known', () => {
  const before = createEventIds({ key }).begin('acme')
  for (const id of ['a', 'b', 'c']) knows(before, id)
  const ids = createEventIds({ key })
  ids.restore(before.added())
  expect(['a', 'b', 'c', 'd'].map((id) => store(ids, id, 'acme'))).toEqual([true, true, true, false])
})

test('P7 P13 a repetition whose first copy cannot be written is refused with it, and the process lives', async () => {
  let fail: ((error: Error) => void) | undefined
  const spool = {
    append: () =>
      new Promise<void>((_resolve, reject) => {
        fail = reject
      }),
  } as unknown as Spool
  const ingest = createIngest({
    spool,
    recent: createRecentRequests(),
    hashOf: createRequestHash(key),
    eventIds: createEventIds({ key }),
    redaction: createRedaction(noRules, key),
    ruleSet: noRules.hash,
    nowNs: () => 1_795_000_000_000_000_000n,
  })
  const body = (text: string): Buffer =>
    Buffer.from(
      JSON.stringify({
        resourceLogs: [
          {
            scopeLogs: [
              {
                logRecords: [
                  {
                    body: { stringValue: text },
                    attributes: [{ key: 'log.record.uid', value: { stringValue: 'same' } }],
                  },
                ],
              },
            ],
          },
        ],
      }),
    )
  const outcomes = ['a', 'b'].map((text) =>
    ingest.logs(body(text), 'json', 'default').then(
      () => 'taken',
      (error: Error) => error.message,
    ),
  )
  await new Promise(setImmediate)
  fail?.(new Error('EIO'))
  expect(await Promise.all(outcomes)).toEqual(['EIO', 'EIO'])
  // An unhandled rejection would have ended this process, as it would a gateway's.
  await new Promise(setImmediate)
})

describe('P13 at a gateway', () => {
  let gateway: SpoolOnlyGateway
  beforeAll(async () => {
    gateway = await startSpoolOnlyGateway()
  })
  afterAll(() => gateway.stop())

  const requestOf = (logRecords: readonly LogRecord[]): ExportLogsRequest => ({
    resourceLogs: [{ scopeLogs: [{ logRecords }] }],
  })
  const withId = (key: string, id: string, text: string): LogRecord => ({
    body: { stringValue: text },
    attributes: [{ key, value: { stringValue: id } }],
  })
  const claude = (sequence: bigint): LogRecord => ({
    attributes: [
      { key: 'session.id', value: { stringValue: 'f3a1' } },
      { key: 'event.sequence', value: { intValue: sequence } },
      { key: 'event.timestamp', value: { stringValue: '2026-11-21T10:00:00.000Z' } },
    ],
  })

  async function export_(format: 'protobuf' | 'json', request: ExportLogsRequest) {
    const before = gateway.counts()
    const answer = await send(gateway.port, {
      headers: { 'Content-Type': format === 'json' ? 'application/json' : 'application/x-protobuf' },
      body: format === 'json' ? encodeJson(request) : encodeExportLogsRequest(request),
    })
    const after = gateway.counts()
    return {
      status: answer.status,
      body: answer.body.toString('latin1'),
      stored: after.backlogRecords - before.backlogRecords,
      duplicate: after.duplicate - before.duplicate,
      received: after.received - before.received,
    }
  }

  test.each([
    ['log.record.uid', (n: number) => withId('log.record.uid', 'same', `${n}`)],
    ['event.id', (n: number) => withId('event.id', 'same-event', `${n}`)],
    ['the place in a Claude Code session', () => claude(7n)],
  ])('the same %s in other requests and formats is one event', async (_what, record) => {
    const other: LogRecord = { body: { stringValue: 'without an id' } }
    expect(await export_('protobuf', requestOf([record(1)]))).toMatchObject({ stored: 1, duplicate: 0 })
    expect(await export_('json', requestOf([record(2), other]))).toEqual({
      status: 200,
      body: '{}',
      stored: 1,
      duplicate: 1,
      received: 2,
    })
    expect(await export_('protobuf', requestOf([other, record(3), record(4)]))).toMatchObject({
      stored: 1,
      duplicate: 2,
    })
  })

  test('events without an id are never taken for each other, nor those that share a part of one', async () => {
    const same: LogRecord = { body: { stringValue: 'equal' }, timeUnixNano: 1_795_000_000_000_000_000n }
    expect(await export_('protobuf', requestOf([same, same]))).toMatchObject({ stored: 2 })
    expect(await export_('json', requestOf([same, same]))).toMatchObject({ stored: 2 })
    expect(await export_('json', requestOf([claude(8n), claude(9n)]))).toMatchObject({ stored: 2 })
    expect(
      await export_('json', requestOf([withId('session.id', 'f3a1', 'a'), withId('session.id', 'f3a1', 'b')])),
    ).toMatchObject({ stored: 2 })
  })

  test('a rejected record does not use up its id', async () => {
    const deep = { body: {}, attributes: withId('log.record.uid', 'retried', '').attributes ?? [] }
    let value: object = { stringValue: 'x' }
    for (let i = 0; i < 70; i++) value = { arrayValue: { values: [value] } }
    expect(await export_('json', requestOf([{ ...deep, body: value }]))).toMatchObject({ stored: 0, duplicate: 0 })
    expect(await export_('json', requestOf([{ ...deep, body: { stringValue: 'flat' } }]))).toMatchObject({ stored: 1 })
  })
})
