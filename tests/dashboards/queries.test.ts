/**
 * Every query of every dashboard, expanded as Grafana and its ClickHouse plugin expand it, sent as they send it, and run
 * on the real engine over a week of data.
 */
import {
  type Dashboard,
  dashboards,
  expandMacros,
  interpolate,
  type TimeRange,
  type VariableValues,
} from '@agnes/grafana'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dayBefore, hostileNames, insertSessionsAndFeedback, insertWeek, now } from '../support/dashboard-data.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { insertEvents, type TestEvent } from '../support/events.ts'
import { type Answer, connectPlugin, type Plugin } from '../support/grafana-plugin.ts'
import { problemsWithShape } from './shape.ts'
import { panelsOf, queriesOf } from './walk.ts'

let engine: TestEngine
let plugin: Plugin
let table: { readonly rows: number; readonly ofTheDay: number }

beforeAll(async () => {
  engine = await startTestEngine()
  await insertWeek(engine.client)
  await insertSessionsAndFeedback(engine.client)
  plugin = await connectPlugin(engine.url)
  const { columns } = await plugin.query(
    expandMacros('SELECT count() AS n, countIf($__timeFilter_ms(Timestamp)) AS day FROM otel_logs', day()),
  )
  const [rows = 0, ofTheDay = 0] = columns.map(({ values }) => Number(values[0]))
  table = { rows, ofTheDay }
})
afterAll(() => engine.stop())

function day(intervalMs = 900_000): TimeRange {
  return { from: dayBefore, to: now, intervalMs }
}

/** What a viewer has chosen: each variable's current value, and what a test sets. */
function chosen(dashboard: Dashboard, given: VariableValues = {}): VariableValues {
  const own = dashboard.templating.list.map(({ name, current }) => [name, current?.value ?? ''])
  return { ...Object.fromEntries(own), ...given }
}

/** Dashboards share variables and annotations: each text is asked once. */
const answers = new Map<string, Promise<Answer>>()

function run(sql: string, values: VariableValues, range = day()): Promise<Answer> {
  const expanded = expandMacros(interpolate(sql, values), range)
  const answer = answers.get(expanded) ?? plugin.query(expanded)
  answers.set(expanded, answer)
  return answer
}

/** Rows of `otel_logs` that the index leaves to be read. The engine's own count is of the result. */
async function estimatedRows(sql: string, values: VariableValues): Promise<number> {
  const { columns } = await run(`EXPLAIN ESTIMATE ${sql}`, values)
  const [tables = [], rows = []] = ['table', 'rows'].map(
    (name) => columns.find((column) => column.name === name)?.values ?? [],
  )
  return rows.reduce<number>((sum, value, i) => sum + (tables[i] === 'otel_logs' ? Number(value) : 0), 0)
}

test('a query without a time range would be over the budget', async () => {
  const sql = 'SELECT uniq(UserId) AS users FROM otel_logs WHERE TenantId = ${tenant:singlequote}'
  expect(await estimatedRows(sql, { tenant: 'default' })).toBeGreaterThan(table.ofTheDay * 2.5)
})

test('the connection begins as the driver begins it', () => {
  expect(plugin.server).toMatchObject({ name: 'agnes', timezone: 'UTC' })
})

describe.each(dashboards.map((dashboard) => [dashboard.title, dashboard] as const))('%s', (_title, dashboard) => {
  test.each(
    panelsOf(dashboard)
      .filter(({ targets }) => targets !== undefined)
      .map((panel) => [panel.title, panel] as const),
  )('panel "%s" has rows, in the shape it shows', async (_title, panel) => {
    for (const target of panel.targets ?? []) {
      const answer = await run(target.rawSql, chosen(dashboard))
      expect(problemsWithShape(panel, target, answer, day())).toEqual([])
      expect(answer.rows).toBeGreaterThan(0)
      expect(answer.rows).toBeLessThanOrEqual(5_000)
    }
  })

  test('no query reads more than its time range, once for each time it asks', async () => {
    for (const { where, sql } of queriesOf(dashboard)) {
      const { rows: all, ofTheDay } = table
      // Days are partitions, and a day here fits into one mark of the index: a range of 24 hours touches two of them. The
      // health pulse goes back 30 days once, for a single row of them: what it really reads is held in health.test.ts.
      const budget = sql.includes('health_pulse(')
        ? all * 2
        : ofTheDay * 2.5 * (sql.match(/\$__timeFilter/g)?.length ?? 1)
      expect(await estimatedRows(sql, chosen(dashboard)), where).toBeLessThanOrEqual(budget)
    }
  })

  test('an instance without events, and names that try to break out, show no error: for every variable at once', async () => {
    const nothing = {
      from: new Date('2020-01-01T00:00:00Z'),
      to: new Date('2020-01-02T00:00:00Z'),
      intervalMs: 900_000,
    }
    const doubled = hostileNames.map((name) => name.replaceAll('\\', '\\\\'))
    const all = (many: readonly string[], one: string): VariableValues =>
      Object.fromEntries(
        dashboard.templating.list
          .filter(({ type }) => type !== 'datasource')
          .map(({ name, multi }) => [name, multi === true ? many : one]),
      )
    // Without events a variable has no values to choose from.
    const choices = [[all([], ''), nothing] as const, [all(['anna', ...doubled], doubled.join('')), day()] as const]
    for (const { where, sql } of queriesOf(dashboard)) {
      for (const [values, range] of choices) {
        await expect(
          run(sql, values, range).then(() => where),
          `${where} with ${JSON.stringify(values)}`,
        ).resolves.toBe(where)
      }
    }
  })
})

test('several gateways of one name: each counts for itself, the worst of those that are there is shown', async () => {
  const minute = 60_000
  const end = now.getTime()
  const beats = (
    instance: string,
    from: number,
    until: number,
    figures: (n: number) => Record<string, number>,
  ): TestEvent[] =>
    Array.from({ length: (until - from) / minute }, (_, n) => ({
      tenant: 'gateways',
      name: 'agnes.system',
      at: new Date(end + from + n * minute),
      resource: { 'service.name': 'agnes-ingest-gateway', 'service.instance.id': instance },
      attributes: {
        'agnes.system.component': 'ingest-gateway',
        'agnes.system.event': 'heartbeat',
        ...Object.fromEntries(
          Object.entries(figures(n)).map(([name, value]) => [`agnes.pipeline.${name}`, String(value)]),
        ),
      },
    }))
  await insertEvents(engine.client, [
    // Ten records a minute on top of a million; a second one beats between its beats, and a third was taken away.
    ...beats('a:1', -60 * minute, 0, (n) => ({
      received: 1_000_000 + n * 10,
      stored: 1_000_000 + n * 10 - 7,
      oldest_seconds: 42,
      rejected_last_hour: 2,
    })),
    ...beats('b:1', -60 * minute + 30_000, 30_000, (n) => ({
      received: 5 + n,
      stored: 5 + n,
      oldest_seconds: 0,
      rejected_last_hour: 1,
    })),
    ...beats('gone:1', -60 * minute, -50 * minute, () => ({
      received: 9,
      stored: 0,
      oldest_seconds: 9_999,
      rejected_last_hour: 500,
    })),
  ])
  const ask = async (uid: string, title: string): Promise<number[]> => {
    const dashboard = dashboards.find((one) => one.uid === uid) as Dashboard
    const panel = panelsOf(dashboard).find((one) => one.title === title)
    const { columns } = await run(panel?.targets?.[0]?.rawSql ?? '', chosen(dashboard, { tenant: 'gateways' }))
    return columns
      .filter(({ type }) => !type.startsWith('Date'))
      .map(({ values }) => values.reduce<number>((sum, value) => sum + Number(value), 0))
  }
  expect(await ask('agnes-pipeline', 'How long has the oldest record waited?')).toEqual([42])
  expect(await ask('agnes-pipeline', 'How many records were rejected in the last hour?')).toEqual([3])
  expect(await ask('agnes-pipeline', 'How much was received, stored, and known already?')).toEqual([
    590 + 59,
    590 + 59,
    0,
  ])
  expect(await ask('agnes-integrity', 'How many received records are not accounted for?')).toEqual([7])
})

test('a name that tries to break out finds its own events and no others', async () => {
  const listed = dashboards.flatMap((each) => queriesOf(each)).find(({ where }) => where.endsWith('variable user'))
  const { columns } = await run(listed?.sql ?? '', { tenant: 'default' })
  const [values = [], texts = []] = columns.map((column) => column.values as string[])
  for (const name of hostileNames) {
    const value = values[texts.indexOf(name)]
    const sql =
      'SELECT UserId AS user, count() AS n FROM otel_logs WHERE $__conditionalAll(UserId IN (${user:singlequote}), $user) GROUP BY user'
    const found = await run(sql, { user: [value as string] })
    expect(found.columns.map((column) => column.values.map(String))).toEqual([[name], ['1']])
  }
})
