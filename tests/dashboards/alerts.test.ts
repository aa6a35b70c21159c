/** Every alert rule on the real engine: it fires when what it is about happens, and is quiet before. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import {
  type AlertRule,
  alertRules,
  breaches,
  dashboards,
  defaultFiles,
  expandMacros,
  macroNames,
  summaryOf,
} from '@agnes/grafana'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { insertEvents, type TestEvent } from '../support/events.ts'
import { connectPlugin, type Plugin } from '../support/grafana-plugin.ts'
import { panelsOf } from './walk.ts'

const [second, minute, hour, day] = [1_000, 60_000, 3_600_000, 86_400_000]
const T = Date.parse('2026-11-20T12:00:00Z')
const rules = alertRules()

type Attributes = Readonly<Record<string, string>>

/** `count` events of a tenant, one every `step`, the last one `ago` before T. */
function events(
  tenant: string,
  name: string,
  attributes: Attributes,
  count: number,
  step: number,
  ago: number,
): TestEvent[] {
  return Array.from({ length: count }, (_, n) => ({ tenant, name, attributes, at: new Date(T - ago - n * step) }))
}

const audit = (action: string, result: string, more: Attributes = {}): Attributes => ({
  'agnes.action': action,
  'agnes.result': result,
  'user.id': 'anna',
  ...more,
})
const sync = (status: string): Attributes => ({ 'agnes.sync.table_id': 'orders', 'agnes.sync.status': status })
const run = (status: string, durationMs: number): Attributes => ({
  'agnes.run.id': 'r1',
  'gen_ai.agent.name': 'analyst',
  'agnes.run.status': status,
  'agnes.duration_ms': String(durationMs),
})
const beat = (figures: Attributes): Attributes => ({
  'agnes.system.component': 'ingest-gateway',
  'agnes.system.event': 'heartbeat',
  ...Object.fromEntries(Object.entries(figures).map(([name, value]) => [`agnes.pipeline.${name}`, value])),
})
const fine = { oldest_seconds: '0.5', rejected_last_hour: '0', lag_p99_ms: '600' }

interface Story {
  readonly events: readonly TestEvent[]
  /** Before T, milliseconds: when it fires, and when it does not. */
  readonly fires: number
  readonly quiet: number
  /** Labels of the row that fires. */
  readonly labels: Attributes
}

const heartbeats = events('default', 'agnes.system', beat(fine), 60, 30 * second, 10 * minute)

const stories: Readonly<Record<string, Story>> = {
  'agnes-health-red': {
    events: heartbeats,
    fires: 0,
    quiet: 11 * minute,
    labels: { tenant: 'default', field: 'pipeline' },
  },
  'agnes-scheduler-silent': {
    events: events('silent', 'agnes.audit', audit('run_data_refresh', 'success'), 20, 15 * minute, 3 * hour),
    fires: 0,
    quiet: 150 * minute,
    labels: { tenant: 'silent' },
  },
  'agnes-sync-failures': {
    events: [
      ...events('failing', 'agnes.sync', sync('ok'), 100, 30 * minute, hour),
      ...events('failing', 'agnes.sync', sync('error'), 4, 30 * minute, hour),
      // Skipped ones are not counted.
      ...events('failing', 'agnes.sync', sync('skipped'), 40, 30 * minute, hour),
    ],
    fires: 0,
    quiet: 4 * hour,
    labels: { tenant: 'failing' },
  },
  'agnes-sync-stale': {
    events: events('stale', 'agnes.sync', sync('ok'), 90, 15 * minute, 3 * hour),
    fires: 0,
    quiet: 170 * minute,
    labels: { tenant: 'stale', table: 'orders' },
  },
  'agnes-ingest-stopped': { events: [], fires: 0, quiet: 11 * minute, labels: {} },
  'agnes-backlog-growing': {
    events: [
      ...events('default', 'agnes.system', beat({ ...fine, oldest_seconds: '95.5' }), 15, 30 * second, day),
      ...events('default', 'agnes.system', beat(fine), 20, 30 * second, day + 8 * minute),
    ],
    fires: day,
    quiet: day + 6 * minute,
    labels: { gateway: '' },
  },
  'agnes-rejects': {
    events: [
      ...events('default', 'agnes.system', beat({ ...fine, rejected_last_hour: '3' }), 1, minute, 2 * day),
      ...events('default', 'agnes.system', beat(fine), 5, 30 * second, 2 * day + 10 * minute),
    ],
    fires: 2 * day,
    quiet: 2 * day + 9 * minute,
    labels: {},
  },
  'agnes-agent-failure-spike': {
    events: [
      ...events('spike', 'agnes.agent_run.finish', run('failed', 900), 11, minute, minute),
      ...events('spike', 'agnes.agent_run.finish', run('succeeded', 900), 40, minute, 2 * hour),
    ],
    fires: 0,
    quiet: 4 * minute,
    labels: { tenant: 'spike', agent: 'analyst' },
  },
  'agnes-agent-failure-rate': {
    events: [
      ...events('rate', 'agnes.agent_run.finish', run('succeeded', 900), 12, 20 * minute, hour),
      ...events('rate', 'agnes.agent_run.finish', run('failed', 900), 6, minute, minute),
    ],
    fires: 0,
    quiet: 30 * minute,
    labels: { tenant: 'rate', agent: 'analyst' },
  },
  'agnes-agent-slow': {
    events: [
      ...events('slow', 'agnes.agent_run.finish', run('succeeded', 2_000), 80, 10 * minute, 61 * minute),
      ...events('slow', 'agnes.agent_run.finish', run('succeeded', 9_000), 6, 9 * minute, minute),
    ],
    fires: 0,
    quiet: hour,
    labels: { tenant: 'slow', agent: 'analyst' },
  },
  'agnes-permission-denials': {
    events: [
      ...events('denied', 'agnes.audit', audit('data.download', 'denied'), 46, 30 * minute, hour),
      ...events('denied', 'agnes.audit', audit('data.download', 'denied'), 40, minute, minute),
    ],
    fires: 0,
    quiet: hour,
    labels: { tenant: 'denied' },
  },
  'agnes-auth-failures': {
    events: events(
      'guessing',
      'agnes.audit',
      audit('cli_auth.token_minted', 'invalid_password'),
      21,
      20 * second,
      minute,
    ),
    fires: 0,
    quiet: 3 * minute,
    labels: { tenant: 'guessing' },
  },
  'agnes-integrity-failure': {
    events: events('damaged', 'agnes.audit', audit('integrity.verify', 'error'), 1, minute, hour),
    fires: 0,
    quiet: 2 * hour,
    labels: { tenant: 'damaged' },
  },
  // The report of 30 hours ago is inserted below.
  'agnes-feedback-waiting': { events: [], fires: 0, quiet: 10 * hour, labels: { tenant: 'waiting' } },
  'agnes-cost-budget': {
    events: events(
      'spending',
      'agnes.llm.generation',
      { 'gen_ai.request.model': 'claude-opus-4-1', 'agnes.cost_usd_micros': '1010000' },
      100,
      minute,
      minute,
    ),
    fires: 0,
    quiet: 30 * minute,
    labels: { tenant: 'spending' },
  },
}

let engine: TestEngine
let plugin: Plugin

beforeAll(async () => {
  engine = await startTestEngine()
  await insertEvents(
    engine.client,
    Object.values(stories).flatMap((story) => story.events),
  )
  await engine.client.insert({
    table: 'feedback_reports',
    values: [
      { tenant: 'waiting', id: 'fb', version: 1, status: 'open', created_at: new Date(T - 30 * hour).toISOString() },
    ],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
  plugin = await connectPlugin(engine.url)
})
afterAll(() => engine.stop())

interface Row {
  readonly labels: Attributes
  readonly value: number
}

/** Asks a rule as it is asked at an instant. */
async function evaluate(rule: AlertRule, at: number): Promise<Row[]> {
  const range = {
    from: new Date(at - rule.fromSeconds * second),
    to: new Date(at - rule.toSeconds * second),
    intervalMs: minute,
  }
  const { columns } = await plugin.query(expandMacros(rule.sql, range))
  const numbers = columns.filter(({ type }) => /^(Nullable\()?(Float|U?Int)/.test(type))
  const texts = columns.filter(({ type }) => /^(LowCardinality\()?String\)?$/.test(type))
  // Grafana takes one number a row and any texts, and nothing else.
  expect([numbers.map(({ name }) => name), numbers.length + texts.length]).toEqual([['value'], columns.length])
  return (numbers[0]?.values ?? []).map((value, row) => ({
    value: Number(value),
    labels: Object.fromEntries(texts.map(({ name, values }) => [name, String(values[row])])),
  }))
}

const breaching = (rule: AlertRule, rows: readonly Row[], labels: Attributes): Row[] =>
  rows.filter(
    (row) =>
      breaches(rule.condition, row.value) &&
      Object.entries(labels).every(([name, value]) => row.labels[name] === value),
  )

describe.each(rules.filter(({ uid }) => Object.hasOwn(stories, uid)).map((rule) => [rule.title, rule] as const))(
  '%s',
  (_title, rule) => {
    const story = stories[rule.uid] as Story

    test('fires when it happens, for that alone', async () => {
      const rows = await evaluate(rule, T - story.fires)
      expect(breaching(rule, rows, story.labels)).toHaveLength(1)
      expect(rows.filter((row) => breaches(rule.condition, row.value))).toHaveLength(1)
      const sentence = summaryOf(rule, rows[0]?.labels ?? {}, rows[0]?.value ?? 0)
      expect(sentence).not.toMatch(/[{}]/)
    })

    test('is quiet before it', async () => {
      const rows = await evaluate(rule, T - story.quiet)
      expect(breaching(rule, rows, {})).toEqual([])
      if (rule.noData === 'Alerting') expect(rows.length).toBeGreaterThan(0)
    })
  },
)

test('an instance without any event: only what must come is missed', async () => {
  const longAgo = Date.parse('2020-01-01T00:00:00Z')
  const firing: string[] = []
  for (const rule of rules.filter(({ uid }) => uid !== 'agnes-disk')) {
    const rows = await evaluate(rule, longAgo)
    if (breaching(rule, rows, {}).length > 0 || (rows.length === 0 && rule.noData === 'Alerting')) firing.push(rule.uid)
  }
  expect(firing).toEqual(['agnes-ingest-stopped'])
})

test('the disks are read, and one that is 95 % full would fire until it is down to 85 %', async () => {
  const rule = rules.find(({ uid }) => uid === 'agnes-disk') as AlertRule
  const rows = await evaluate(rule, T)
  expect(rows.length).toBeGreaterThan(0)
  for (const { value, labels } of rows) {
    expect(value).toBeGreaterThanOrEqual(0)
    expect(value).toBeLessThanOrEqual(1)
    expect(labels.disk).not.toBe('')
  }
  const states: boolean[] = []
  for (const value of [0.95, 0.88, 0.84, 0.88]) states.push(breaches(rule.condition, value, states.at(-1)))
  expect(states).toEqual([true, true, false, false])
})

describe('the list', () => {
  test('has a story for every rule, and no two of one name', () => {
    expect(
      rules
        .map(({ uid }) => uid)
        .filter((uid) => uid !== 'agnes-disk')
        .sort(),
    ).toEqual(Object.keys(stories).sort())
    expect(new Set(rules.map(({ title }) => title)).size).toBe(rules.length)
    for (const { uid } of rules) expect(uid).toMatch(/^[a-z0-9-]{1,40}$/)
  })

  test('each rule shows a panel that there is, and has a runbook that begins with its first step', () => {
    for (const rule of rules) {
      const dashboard = dashboards.find(({ uid }) => uid === rule.panel.dashboard)
      expect(dashboard && panelsOf(dashboard).map(({ title }) => title), rule.uid).toContain(rule.panel.title)
      const runbook = path.join(import.meta.dirname, '..', '..', 'docs', 'runbooks', `${rule.runbook}.md`)
      expect(existsSync(runbook), rule.runbook).toBe(true)
      const text = readFileSync(runbook, 'utf8')
      expect(text.startsWith(`# ${rule.title}\n`), rule.runbook).toBe(true)
      expect(text.replaceAll('\n', ' '), rule.runbook).toContain(rule.firstStep)
    }
  })

  test('the SQL of each runbook can be copied and run', async () => {
    for (const { runbook } of rules) {
      const text = readFileSync(path.join(import.meta.dirname, '..', '..', 'docs', 'runbooks', `${runbook}.md`), 'utf8')
      const sql = /```sql\n([\s\S]+?)```/.exec(text)?.[1] ?? ''
      await expect(
        plugin.query(sql).then(() => runbook),
        runbook,
      ).resolves.toBe(runbook)
    }
  })

  test('queries use macros of the backend only, as nobody chooses variables for them', () => {
    for (const { sql, uid } of rules) {
      expect(sql, uid).not.toMatch(/\$\{|\$__conditionalAll/)
      for (const [, name = ''] of sql.matchAll(/\$__(\w+)/g)) expect(macroNames.has(name), `${uid}: ${name}`).toBe(true)
    }
  })

  test('what Grafana is provisioned with has every rule, with its panel', () => {
    const yaml = defaultFiles().find(({ path: name }) => name.endsWith('agnes-rules.yaml'))?.text ?? ''
    for (const { uid } of rules) expect(yaml).toContain(`uid: ${uid}\n`)
    expect(yaml.match(/panelId: [1-9]\d*\n/g)).toHaveLength(rules.length)
  })
})
