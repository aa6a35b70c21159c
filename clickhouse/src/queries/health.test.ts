/** Every threshold of the pulse, on both sides, at a frozen instant. Each case has a tenant of its own. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { insertEvents, type TestEvent } from '../../../tests/support/events.ts'
import { fetchHealth } from './health.ts'
import { fetchTimeline } from './timeline.ts'
import type { HealthField, HealthFieldName, HealthPulse } from './types.ts'

let engine: TestEngine

beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

const now = new Date('2026-11-21T12:00:00Z')
const second = 1
const minute = 60 * second
const hour = 60 * minute

type Event = Omit<TestEvent, 'tenant' | 'at'> & { readonly secondsAgo: number }

function event(name: string, secondsAgo: number, attributes: Record<string, string>): Event {
  return { name, secondsAgo, attributes }
}
const tick = (secondsAgo: number): Event =>
  event('agnes.audit', secondsAgo, { 'agnes.action': 'run_due_jobs', 'user.id': 'scheduler' })
const sync = (secondsAgo: number, status = 'ok'): Event =>
  event('agnes.sync', secondsAgo, { 'agnes.sync.table_id': 'orders', 'agnes.sync.status': status })
const audit = (user: string, clientKind: string, secondsAgo: number): Event =>
  event('agnes.audit', secondsAgo, {
    'agnes.action': 'query.local',
    'user.id': user,
    ...(clientKind === '' ? {} : { 'agnes.client_kind': clientKind }),
  })
const verification = (secondsAgo: number): Event =>
  event('agnes.session_processor', secondsAgo, { 'agnes.processor.name': 'verification' })
const diagnose = (secondsAgo: number, warnings: number): Event =>
  event('agnes.system', secondsAgo, {
    'agnes.system.component': 'cli',
    'agnes.system.event': 'diagnose',
    'agnes.system.warnings': String(warnings),
  })
const beat = (secondsAgo: number, figures: Record<string, number> = {}): Event =>
  event('agnes.system', secondsAgo, {
    'agnes.system.component': 'ingest-gateway',
    'agnes.system.event': 'heartbeat',
    ...Object.fromEntries(Object.entries(figures).map(([key, value]) => [`agnes.pipeline.${key}`, String(value)])),
  })
const times = (count: number, make: () => Event): Event[] => Array.from({ length: count }, make)

/** All cases are stored at once: an INSERT costs as much as a hundred rows. */
async function store(cases: readonly { readonly tenant: string; readonly events: readonly Event[] }[]): Promise<void> {
  await insertEvents(
    engine.client,
    cases.flatMap(({ tenant, events }) =>
      events.map(({ secondsAgo, ...rest }) => ({ ...rest, tenant, at: new Date(now.getTime() - secondsAgo * 1000) })),
    ),
  )
}

const pulseOf = (tenant: string): Promise<HealthPulse> => fetchHealth(engine.client, { now, tenant })

function fieldOf(pulse: HealthPulse, name: HealthFieldName): HealthField {
  const field = pulse.fields.find((one) => one.name === name)
  if (field === undefined) throw new Error(`the pulse has no field ${name}`)
  return field
}

type Case = readonly [what: string, events: readonly Event[], color: string, value: string]

const cases: Readonly<Record<HealthFieldName, readonly Case[]>> = {
  scheduler: [
    ['a tick 30 min ago', [tick(30 * minute)], 'green', '30 min ago'],
    ['a tick just over 30 min ago', [tick(30 * minute + 1)], 'yellow', '30 min ago'],
    ['a tick 2 h ago', [tick(2 * hour)], 'yellow', '2 h ago'],
    ['a tick just over 2 h ago', [tick(2 * hour + 1)], 'red', '2 h ago'],
    ['a tick days ago', [tick(72 * hour)], 'red', 'no tick in 24 h'],
    ['a tick 30 days ago', [tick(30 * 24 * hour)], 'red', 'no tick in 24 h'],
    ['no tick in 30 days', [tick(30 * 24 * hour + 1)], 'yellow', 'no tick in 24 h'],
    ['never a tick', [audit('anna', 'cli', minute)], 'yellow', 'no tick in 24 h'],
    ['ticks later than now do not count', [tick(-minute)], 'yellow', 'no tick in 24 h'],
    ['the youngest tick counts', [tick(3 * hour), tick(5)], 'green', '5 s ago'],
  ],
  sync_24h: [
    ['no sync', [], 'yellow', '0 ok, 0 failed'],
    ['all ok', times(3, () => sync(hour)), 'green', '3 ok, 0 failed'],
    ['written as success', [sync(hour, 'success')], 'green', '1 ok, 0 failed'],
    ['95 % ok', [...times(19, () => sync(hour)), sync(hour, 'error')], 'yellow', '19 ok, 1 failed'],
    ['less than 95 % ok', [...times(18, () => sync(hour)), sync(hour, 'error')], 'red', '18 ok, 1 failed'],
    ['skipped ones do not count', [sync(hour), sync(hour, 'skipped')], 'green', '1 ok, 0 failed'],
    ['only skipped ones', [sync(hour, 'skipped')], 'yellow', '0 ok, 0 failed'],
    ['a failure over 24 h ago is forgotten', [sync(hour), sync(24 * hour + 1, 'error')], 'green', '1 ok, 0 failed'],
    ['a failure 24 h ago is not', [sync(hour), sync(24 * hour, 'error')], 'red', '1 ok, 1 failed'],
  ],
  active_users_today: [
    ['nobody', [], 'green', '0'],
    ['people by kind of client', [audit('a', 'cli', hour), audit('b', 'web', hour)], 'green', '2'],
    ['a person twice', times(2, () => audit('a', 'cli', hour)), 'green', '1'],
    ['agents and the system do not count', [audit('x', 'agent', hour), audit('', 'system', hour)], 'green', '0'],
    ['the scheduler does not count, nor its rows without a kind', [tick(60), audit('scheduler', '', 60)], 'green', '0'],
    ['a person without a kind of client', [audit('a', '', hour), tick(60)], 'green', '1'],
    ['at midnight UTC', [audit('a', 'cli', 12 * hour)], 'green', '1'],
    ['before midnight UTC', [audit('a', 'cli', 12 * hour + 1)], 'green', '0'],
  ],
  memory_pipeline: [
    ['ran an hour ago', [verification(hour)], 'green', '1 h ago'],
    ['ran just over an hour ago', [verification(hour + 1)], 'yellow', '1 h ago'],
    ['never ran', [], 'yellow', 'no run in 24 h'],
    [
      'seen by the action of older releases',
      [event('agnes.audit', minute, { 'agnes.action': 'run_session_processor:verification' })],
      'green',
      '1 min ago',
    ],
  ],
  diagnose_warnings: [
    ['not run', [], 'green', 'not run'],
    ['none', [diagnose(hour, 0)], 'green', '0'],
    ['one', [diagnose(hour, 1)], 'yellow', '1'],
    ['the last run counts', [diagnose(2 * hour, 3), diagnose(hour, 0)], 'green', '0'],
  ],
  pipeline: [
    ['never a gateway', [], 'yellow', 'no gateway in 24 h'],
    ['a heartbeat 2 min ago', [beat(120)], 'green', 'lag 0 ms, oldest waits 0 s, 0 rejected'],
    ['a heartbeat over 2 min ago', [beat(121)], 'red', 'lag 0 ms, oldest waits 0 s, 0 rejected'],
    ['a heartbeat over a day ago', [beat(24 * hour + 1)], 'yellow', 'no gateway in 24 h'],
    ['30 s waiting', [beat(5, { oldest_seconds: 30 })], 'green', 'lag 0 ms, oldest waits 30 s, 0 rejected'],
    ['over 30 s waiting', [beat(5, { oldest_seconds: 30.5 })], 'yellow', 'lag 0 ms, oldest waits 30.5 s, 0 rejected'],
    ['300 s waiting', [beat(5, { oldest_seconds: 300 })], 'yellow', 'lag 0 ms, oldest waits 300 s, 0 rejected'],
    ['over 300 s waiting', [beat(5, { oldest_seconds: 301 })], 'red', 'lag 0 ms, oldest waits 301 s, 0 rejected'],
    ['5 s of lag', [beat(5, { lag_p99_ms: 5000 })], 'green', 'lag 5000 ms, oldest waits 0 s, 0 rejected'],
    ['over 5 s of lag', [beat(5, { lag_p99_ms: 5001 })], 'yellow', 'lag 5001 ms, oldest waits 0 s, 0 rejected'],
    [
      'a record rejected',
      [beat(5, { rejected: 9, rejected_last_hour: 1 })],
      'yellow',
      'lag 0 ms, oldest waits 0 s, 1 rejected',
    ],
    [
      'rejected long ago',
      [beat(5, { rejected: 9, rejected_last_hour: 0 })],
      'green',
      'lag 0 ms, oldest waits 0 s, 0 rejected',
    ],
    [
      'the worst of two gateways',
      [beat(5, { oldest_seconds: 0 }), beat(6, { oldest_seconds: 400 })],
      'red',
      'lag 0 ms, oldest waits 400 s, 0 rejected',
    ],
  ],
}

const listed = Object.entries(cases) as [HealthFieldName, readonly Case[]][]
const tenantOf = (name: HealthFieldName, what: string): string => `${name}: ${what}`
const well = [tick(60), sync(180), audit('anna', 'cli', 60), verification(600), diagnose(60, 0), beat(5)]
beforeAll(() =>
  store([
    ...listed.flatMap(([name, list]) => list.map(([what, events]) => ({ tenant: tenantOf(name, what), events }))),
    { tenant: 'well', events: well },
    { tenant: 'warned', events: [...well, diagnose(30, 2)] },
    { tenant: 'failing', events: [...well.slice(1), tick(3 * hour), diagnose(30, 1), sync(60, 'error')] },
  ]),
)

for (const [name, list] of listed) {
  describe(name, () => {
    test.each(list)('%s', async (what, _events, color, value) => {
      const pulse = await pulseOf(tenantOf(name, what))
      expect(pulse.fields.map((field) => field.name)).toEqual(Object.keys(cases))
      const field = fieldOf(pulse, name)
      expect({ color: field.color, value: field.value }).toEqual({ color, value })
    })
  })
}

test('all green is said in one sentence', async () => {
  const { status, sentence, generatedAt } = await pulseOf('well')
  expect({ status, sentence, generatedAt }).toEqual({
    status: 'green',
    sentence: 'All nominal: 1 active user, last sync 3 min ago',
    generatedAt: now.toISOString(),
  })
})

test('the worst colour is the status, and the worst comes first in the sentence', async () => {
  const yellow = await pulseOf('warned')
  expect(yellow).toMatchObject({ status: 'yellow', sentence: 'Degraded: 2 diagnose warnings' })
  const red = await pulseOf('failing')
  expect(red).toMatchObject({
    status: 'red',
    sentence: 'Degraded: last scheduler tick 3 h ago, syncs 1 ok, 1 failed, 1 diagnose warning',
  })
})

test("each field's filter shows the rows behind it, and only this tenant's", async () => {
  const pulse = await pulseOf('well')
  const shown = async (name: HealthFieldName): Promise<string[]> => {
    const { filter } = fieldOf(pulse, name)
    expect(filter.tenant).toBe('well')
    const { rows } = await fetchTimeline(engine.client, { ...filter, until: new Date(now.getTime() + 1) })
    return rows.map(({ action }) => action)
  }
  expect(await shown('scheduler')).toEqual(['run_due_jobs'])
  expect(await shown('sync_24h')).toEqual(['sync.run'])
  expect(await shown('active_users_today')).toContain('query.local')
  expect(await shown('memory_pipeline')).toEqual(['session_processor.verification'])
  expect(await shown('diagnose_warnings')).toEqual(['system.diagnose'])
  expect(await shown('pipeline')).toEqual(['system.heartbeat'])
})

test('a hostile tenant is a value, not SQL', async () => {
  const pulse = await fetchHealth(engine.client, { now, tenant: "x' OR 1=1 -- \\" })
  expect(fieldOf(pulse, 'active_users_today').value).toBe('0')
})

describe('a pulse reads the day it judges and little more, of 200,000 events of 20 days', () => {
  const days = 20
  const rows = 200_000
  const histories = [
    ['ticking', 'where a scheduler ticks', 'green', 'number % 200 = 0'],
    ['never', 'where none ever ticked', 'yellow', 'false'],
    ['silent', 'where one fell silent ten days ago', 'red', `number % 200 = 0 AND number > ${rows / 2}`],
  ] as const

  beforeAll(async () => {
    for (const [tenant, , , isTick] of histories) {
      await engine.client.command({
        query: `INSERT INTO agnes.otel_logs (Timestamp, ReceivedAt, TenantId, Seq, EventName, LogAttributes, UserId, Action, Result, ClientKind)
SELECT at, at, {tenant:String}, number, 'agnes.audit', map(), 'anna', 'query.local', 'success', if(${isTick}, 'scheduler', 'cli')
FROM (SELECT number, {now:DateTime64(9, 'UTC')} - toIntervalMillisecond(number * ${(days * 86_400_000) / rows}) AS at FROM numbers(${rows}))`,
        query_params: { tenant, now: now.toISOString().replace('T', ' ').replace('Z', '') },
        clickhouse_settings: { max_partitions_per_insert_block: '0' },
      })
    }
  })

  /** Rows that all queries of the engine have read since it started. */
  async function rowsRead(): Promise<number> {
    const answer = await engine.client.query({
      query: "SELECT value FROM system.events WHERE event = 'SelectedRows'",
      format: 'JSONEachRow',
    })
    const [row] = await answer.json<{ value: string }>()
    return Number(row?.value)
  }

  test.each(histories)('%s: %s', async (tenant, _what, color) => {
    const before = await rowsRead()
    expect(fieldOf(await pulseOf(tenant), 'scheduler').color).toBe(color)
    // A day, and of what lies before it the first rows of a few parts.
    expect((await rowsRead()) - before).toBeLessThan(rows / 2)
  })
})
