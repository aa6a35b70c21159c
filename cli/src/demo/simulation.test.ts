import { createRecorder } from '@agnes/instrumentation'
import { expect, test } from 'vitest'
import { daysBefore, simulate } from './simulation.ts'

type LogRecord = Parameters<Parameters<typeof createRecorder>[0]['emit']>[0]

// A working week and a weekend.
const until = new Date('2026-11-23T10:30:30Z')
const since = daysBefore(until, 7)
const week = tell(1, since, until)

test('the same seed tells the same week, another seed another one', () => {
  expect(tell(1, since, until)).toEqual(week)
  expect(tell(2, since, until)).not.toEqual(week)
})

test('everything happens within the span, in order', () => {
  const times = simulate({ seed: 1, since, until }).map(({ at }) => at.getTime())
  expect(Math.min(...times)).toBeGreaterThanOrEqual(since.getTime())
  expect(Math.max(...times)).toBeLessThan(until.getTime())
  expect(times).toEqual(times.toSorted((a, b) => a - b))
})

test('what happens live goes on exactly where the past ended', () => {
  const times = (from: Date, to: Date) => simulate({ seed: 1, since: from, until: to }).map(({ at }) => at.getTime())
  const hour = new Date(since.getTime() + 3_600_000)
  const whole = times(since, hour)
  // Between any two events, also in the middle of a round of syncs or the run of an agent.
  for (const time of new Set(whole)) {
    const cut = new Date(time)
    expect([...times(since, cut), ...times(cut, hour)]).toEqual(whole)
  }
})

test('no event is lost on the way, and each has an action or is of a kind of its own', () => {
  expect(week.length).toBe(simulate({ seed: 1, since, until }).length)
  expect(new Set(week.map(({ eventName }) => eventName))).toEqual(
    new Set([
      'agnes.audit',
      'agnes.sync',
      'agnes.session_processor',
      'agnes.agent_run.start',
      'agnes.agent_run.finish',
      'agnes.llm.generation',
      'agnes.exception',
    ]),
  )
})

test('things go wrong as they do: syncs, queries, agents, sign-ins, and people are denied', () => {
  const failedSyncs = week.filter(({ attributes }) => attributes?.['agnes.sync.status'] === 'error')
  const syncs = week.filter(({ eventName }) => eventName === 'agnes.sync')
  expect(failedSyncs.length / syncs.length).toBeGreaterThan(0.002)
  expect(failedSyncs.length / syncs.length).toBeLessThan(0.05)
  const results = new Set(week.map(({ attributes }) => attributes?.['agnes.result']))
  for (const result of ['success', 'error', 'error.invalid_sql', 'denied', 'invalid_password']) {
    expect(results).toContain(result)
  }
})

test('a change of grants or members shows what was there before', () => {
  const changes = week.filter(({ attributes }) =>
    ['resource_grants.update', 'user_group_members.add'].includes(String(attributes?.['agnes.action'])),
  )
  expect(changes.length).toBeGreaterThan(5)
  for (const { attributes } of changes) {
    expect(JSON.parse(String(attributes?.['agnes.params_before']))).not.toEqual(
      JSON.parse(String(attributes?.['agnes.params'])),
    )
  }
})

test('the scheduler ticks four times an hour, day and night, also on the weekend', () => {
  const ticks = timesOf('run_data_refresh')
  for (const day of ['17', '18', '19', '20', '21', '22']) {
    expect(ticks.filter((time) => time.startsWith(`2026-11-${day}T`))).toHaveLength(96)
  }
})

function tell(seed: number, from: Date, to: Date): LogRecord[] {
  const records: LogRecord[] = []
  const recorder = createRecorder({ emit: (record) => records.push(record), enabled: () => true })
  for (const { at, emit } of simulate({ seed, since: from, until: to })) emit(recorder.at(at))
  // Ids and the time of sending are new each time.
  return records.map(({ observedTimestamp, attributes, ...record }) => ({
    ...record,
    attributes: { ...attributes, 'log.record.uid': '' },
  }))
}

/** When an action happened in the week, ISO 8601. */
function timesOf(action: string): string[] {
  return week
    .filter(({ attributes }) => attributes?.['agnes.action'] === action)
    .map(({ timestamp }) => new Date((timestamp as [number, number])[0] * 1000).toISOString())
}
