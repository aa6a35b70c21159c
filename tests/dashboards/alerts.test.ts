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
import { type Attributes, insertStories, type Story, stories, T } from '../support/alert-stories.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { insertEvents } from '../support/events.ts'
import { connectPlugin, type Plugin } from '../support/grafana-plugin.ts'
import { panelsOf } from './walk.ts'

const [second, minute] = [1_000, 60_000]
const rules = alertRules()

let engine: TestEngine
let plugin: Plugin

beforeAll(async () => {
  engine = await startTestEngine()
  await insertStories(engine.client)
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

test('a gateway whose records wait is not hidden by another one of its name that is well', async () => {
  const at = T - 30 * 24 * 60 * minute
  const beat = (instance: string, waits: string, n: number) => ({
    tenant: 'default',
    name: 'agnes.system',
    at: new Date(at - n * 30 * second),
    resource: { 'service.name': 'agnes-ingest-gateway', 'service.instance.id': instance },
    attributes: {
      'agnes.system.component': 'ingest-gateway',
      'agnes.system.event': 'heartbeat',
      'agnes.pipeline.oldest_seconds': waits,
    },
  })
  const many = (instance: string, waits: string) => Array.from({ length: 12 }, (_, n) => beat(instance, waits, n))
  await insertEvents(engine.client, [...many('a:1', '95.5'), ...many('b:1', '0')])
  const rule = rules.find(({ uid }) => uid === 'agnes-backlog-growing') as AlertRule
  expect(await evaluate(rule, at)).toEqual([{ value: 95.5, labels: { gateway: 'agnes-ingest-gateway' } }])
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
