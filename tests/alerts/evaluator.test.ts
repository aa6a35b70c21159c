/** The evaluator on the real engine: every rule fires and is over, through restarts, rivals and queries that fail. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { type Alert, fetchAlerts } from '@agnes/clickhouse'
import { type AlertRule, alertRules } from '@agnes/grafana'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type EvaluatorOptions, evaluateAlerts } from '../../processors/src/alerts/evaluator.ts'
import { failingRule } from '../../processors/src/alerts/rules.ts'
import { startScheduler } from '../../processors/src/scheduler.ts'
import { insertHeartbeats, insertStories, stories, T } from '../support/alert-stories.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { insertEvents } from '../support/events.ts'
import { createTestClock, type TestClock } from '../support/test-clock.ts'

const [minute, day] = [60_000, 86_400_000]
const rules = alertRules()

let engine: TestEngine
beforeAll(async () => {
  engine = await startTestEngine()
  await insertStories(engine.client)
  await insertHeartbeats(engine.client, T + 8 * day - 20 * minute)
})
afterAll(() => engine.stop())
beforeEach(() => engine.client.command({ query: 'TRUNCATE TABLE alert_states' }).then(() => {}))

interface TestEvaluator {
  readonly clock: TestClock
  readonly transitions: string[]
  readonly logged: string[]
  /** Looks at an instant. */
  look(ms: number): Promise<void>
  stop(): Promise<void>
}

let fences = 0n

/** One that is asked to look at instants, in the process of the test. */
function startEvaluator(options: Partial<EvaluatorOptions> = {}): TestEvaluator {
  const clock = createTestClock()
  const stopping = new AbortController()
  const transitions: string[] = []
  const logged: string[] = []
  let looked = (): void => {}
  let running: Promise<void> | undefined
  const start = (): Promise<void> =>
    evaluateAlerts(
      {
        client: engine.client,
        everyMs: minute,
        clock,
        log: (line) => logged.push(line),
        onTransition: ({ kind, alert }) => transitions.push(`${kind} ${alert.rule} ${JSON.stringify(alert.labels)}`),
        onRound: () => looked(),
        ...options,
      },
      { fence: ++fences, signal: stopping.signal, held: () => !stopping.signal.aborted },
    )
  return {
    clock,
    transitions,
    logged,
    async look(ms) {
      const done = new Promise<void>((resolve) => {
        looked = resolve
      })
      if (running === undefined) {
        clock.setWall(ms)
        running = start()
      } else {
        // Longer than any rule waits.
        clock.setWall(ms - 5 * minute)
        clock.pass(5 * minute)
      }
      await done
      await clock.sleeping()
    },
    async stop() {
      stopping.abort()
      await running
    },
  }
}

function states(): Promise<Alert[]> {
  return fetchAlerts(engine.client, { states: ['pending', 'firing', 'resolved'], limit: 1_000 })
}

describe.each(rules.filter(({ uid }) => Object.hasOwn(stories, uid)).map((rule) => [rule.uid, rule] as const))(
  '%s',
  (uid, rule) => {
    test('fires when it happens, not before it has held for long enough, and is over', async () => {
      const { fires, quiet, labels } = stories[uid] ?? { fires: 0, quiet: 0, labels: {} }
      const evaluator = startEvaluator({ rules: [rule] })
      await evaluator.look(T - quiet)
      expect(evaluator.transitions).toEqual([])
      await evaluator.look(T - fires)
      if (rule.forSeconds > 0) {
        expect(evaluator.transitions).toEqual([])
        expect(await states()).toMatchObject([{ rule: uid, state: 'pending', labels }])
        await evaluator.look(T - fires + rule.forSeconds * 1000 - 1)
        expect(evaluator.transitions).toEqual([])
        await evaluator.look(T - fires + rule.forSeconds * 1000)
      }
      expect(evaluator.transitions).toEqual([expect.stringMatching(`^fire ${uid} `)])
      const [firing] = await states()
      expect(firing).toMatchObject({ state: 'firing', labels, severity: rule.severity, runbook: rule.runbook })
      expect(firing?.summary).not.toMatch(/[{}]/)
      // Nothing new is said while it goes on.
      await evaluator.look(T - fires + rule.forSeconds * 1000 + 1)
      expect(evaluator.transitions).toHaveLength(1)

      if (uid === 'agnes-feedback-waiting') await answerFeedback()
      const over = T + 8 * day
      await evaluator.look(over)
      await evaluator.look(over + rule.keepFiringSeconds * 1000 + 1)
      expect(evaluator.transitions.slice(1)).toEqual([expect.stringMatching(`^resolve ${uid} `)])
      expect(await states()).toMatchObject([{ state: 'resolved', firedAt: firing?.firedAt, wellSince: undefined }])
      await evaluator.stop()
    })
  },
)

async function answerFeedback(): Promise<void> {
  await engine.client.insert({
    table: 'feedback_reports',
    values: [
      { tenant: 'waiting', id: 'fb', version: 2, status: 'resolved', created_at: new Date(T - day).toISOString() },
    ],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}

test('a disk that is fuller than it may be fires, and is over when there is room again', async () => {
  const disk = rules.find(({ uid }) => uid === 'agnes-disk') as AlertRule
  const fuller: AlertRule = { ...disk, condition: { op: 'gt', threshold: -1 } }
  const given = [fuller]
  const evaluator = startEvaluator({ rules: given })
  await evaluator.look(T)
  await evaluator.look(T + 5 * minute)
  expect(evaluator.transitions).toEqual([expect.stringMatching(/^fire agnes-disk .*"disk"/)])
  given[0] = { ...disk, condition: { op: 'gt', threshold: 2 } }
  await evaluator.look(T + 10 * minute)
  expect(evaluator.transitions[1]).toMatch(/^resolve agnes-disk/)
  await evaluator.stop()
})

test('every rule has its story here', () => {
  expect([...Object.keys(stories), 'agnes-disk'].sort()).toEqual(rules.map(({ uid }) => uid).sort())
})

test('the rule about rules that fail has a runbook like the others, whose SQL runs', async () => {
  const text = readFileSync(path.join(import.meta.dirname, `../../docs/runbooks/${failingRule.runbook}.md`), 'utf8')
  expect(text.startsWith(`# ${failingRule.title}\n\n${failingRule.firstStep}\n`)).toBe(true)
  const query = /```sql\n([\s\S]+?)```/.exec(text)?.[1] ?? ''
  await (await engine.client.query({ query, format: 'JSONEachRow' })).json()
})

/** Its value is the number of marks in a table of its own. */
async function countingRule(more: Partial<AlertRule> = {}) {
  const table = `marks_${randomUUID().replaceAll('-', '')}`
  await engine.client.command({ query: `CREATE TABLE ${table} (name String) ENGINE = MergeTree ORDER BY name` })
  const rule: AlertRule = {
    uid: `test-${table}`,
    title: 'Marks',
    severity: 'warning',
    summary: '{value} marks of {name}',
    firstStep: 'Count them.',
    sql: `SELECT name, toFloat64(count()) AS value FROM ${table} GROUP BY name`,
    fromSeconds: 60,
    toSeconds: 0,
    condition: { op: 'gt', threshold: 0 },
    forSeconds: 120,
    keepFiringSeconds: 120,
    everySeconds: 60,
    noData: 'OK',
    panel: { dashboard: '', title: '' },
    runbook: 'none',
    ...more,
  }
  return {
    rule,
    mark: (...names: readonly string[]) =>
      engine.client.insert({ table, values: names.map((name) => ({ name })), format: 'JSONEachRow' }),
    clear: () => engine.client.command({ query: `TRUNCATE TABLE ${table}` }),
    drop: () => engine.client.command({ query: `DROP TABLE ${table}` }),
  }
}

test('a process that ends at any point leaves the next one everything: nothing is begun anew, nothing told twice', async () => {
  const { rule, mark, clear } = await countingRule()
  await mark('a')
  const told: string[][] = []
  const lookOnce = async (ms: number): Promise<void> => {
    const evaluator = startEvaluator({ rules: [rule] })
    await evaluator.look(ms)
    told.push(evaluator.transitions)
    await evaluator.stop()
  }
  await lookOnce(T)
  await lookOnce(T + minute)
  await lookOnce(T + 2 * minute)
  // Who takes over tells again what was told just before, as the same event; later nothing.
  await lookOnce(T + 3 * minute)
  await lookOnce(T + 20 * minute)
  await clear()
  await lookOnce(T + 21 * minute)
  await lookOnce(T + 22 * minute)
  await lookOnce(T + 23 * minute)
  const fire = [expect.stringMatching(/^fire /)]
  expect(told).toEqual([[], [], fire, fire, [], [], [], [expect.stringMatching(/^resolve /)]])
  const [row] = await states()
  expect([row?.activeSince, row?.firedAt, row?.resolvedAt].map((at) => (at?.getTime() ?? 0) - T)).toEqual([
    0,
    2 * minute,
    23 * minute,
  ])
})

test('unchanged rounds write nothing', async () => {
  const { rule, mark } = await countingRule({ forSeconds: 0 })
  await mark('a', 'b')
  const evaluator = startEvaluator({ rules: [rule] })
  await evaluator.look(T)
  const count = async (): Promise<unknown> =>
    (await engine.client.query({ query: 'SELECT count() FROM alert_states', format: 'TabSeparated' })).text()
  expect(await count()).toBe('2\n')
  await mark('a')
  for (let i = 1; i < 4; i++) await evaluator.look(T + i * minute)
  expect(await count()).toBe('2\n')
  await evaluator.stop()
})

test('a rule whose query fails keeps its alerts, stops no other rule, and is an alert itself after a while', async () => {
  const broken = await countingRule({ forSeconds: 0, keepFiringSeconds: 0 })
  const other = await countingRule({ forSeconds: 0, keepFiringSeconds: 0 })
  await broken.mark('a')
  const evaluator = startEvaluator({ rules: [broken.rule, other.rule] })
  await evaluator.look(T)
  expect(evaluator.transitions).toEqual([`fire ${broken.rule.uid} {"name":"a"}`])
  await broken.drop()
  await other.mark('b')
  await evaluator.look(T + minute)
  expect(evaluator.transitions.slice(1)).toEqual([`fire ${other.rule.uid} {"name":"b"}`])
  expect((await states()).find(({ rule }) => rule === broken.rule.uid)?.state).toBe('firing')
  expect(evaluator.logged.filter((line) => line.includes('fails'))).toHaveLength(1)
  await evaluator.look(T + 2 * minute)
  expect(evaluator.logged.filter((line) => line.includes('fails'))).toHaveLength(1)
  await evaluator.look(T + 11 * minute)
  expect(evaluator.transitions.slice(2)).toEqual([`fire ${failingRule.uid} {"rule":"${broken.rule.uid}"}`])
  await engine.client.command({
    query: `CREATE TABLE ${broken.rule.uid.slice(5)} (name String) ENGINE = MergeTree ORDER BY name`,
  })
  await evaluator.look(T + 12 * minute)
  await evaluator.look(T + 13 * minute)
  expect(evaluator.transitions.slice(3).sort()).toEqual([
    `resolve ${failingRule.uid} {"rule":"${broken.rule.uid}"}`,
    `resolve ${broken.rule.uid} {"name":"a"}`,
  ])
  await evaluator.stop()
})

test('a query that takes too long is ended, and the next rule has its turn', async () => {
  const slow = await countingRule({
    sql: 'SELECT toFloat64(sum(sleepEachRow(0.1))) AS value FROM numbers(1200) SETTINGS max_block_size = 1',
  })
  const other = await countingRule({ forSeconds: 0 })
  await other.mark('b')
  const evaluator = startEvaluator({ rules: [slow.rule, other.rule], mostSeconds: 1 })
  await evaluator.look(T)
  expect(evaluator.transitions).toEqual([`fire ${other.rule.uid} {"name":"b"}`])
  expect(evaluator.logged.join('\n')).toMatch(new RegExp(`${slow.rule.uid} fails.*imeout`))
  await evaluator.stop()
})

test('of a query with too many rows the worst count', async () => {
  const many = await countingRule({
    forSeconds: 0,
    sql: 'SELECT toString(number) AS name, toFloat64(number) AS value FROM numbers(100000)',
  })
  const evaluator = startEvaluator({ rules: [many.rule] })
  await evaluator.look(T)
  const found = await states()
  expect(found).toHaveLength(200)
  expect(Math.min(...found.map(({ value }) => value ?? 0))).toBe(99_800)
  expect(evaluator.logged.join('\n')).toContain('alerts more than are kept')
  await evaluator.stop()
})

test('a write that was done and not answered is neither repeated nor forgotten', async () => {
  const { rule, mark } = await countingRule({ forSeconds: 0 })
  await mark('a')
  let failures = 1
  const client = new Proxy(engine.client, {
    get: (target, name) =>
      name === 'insert'
        ? async (params: Parameters<typeof target.insert>[0]) => {
            const done = await target.insert(params)
            if (failures-- > 0) throw new Error('socket hang up')
            return done
          }
        : Reflect.get(target, name),
  })
  const evaluator = startEvaluator({ client, rules: [rule] })
  const looked = evaluator.look(T)
  await evaluator.clock.sleeping()
  expect(evaluator.transitions).toEqual([])
  evaluator.clock.pass(1_000)
  await looked
  expect(evaluator.transitions).toEqual([`fire ${rule.uid} {"name":"a"}`])
  expect(await states()).toMatchObject([{ state: 'firing', firedAt: new Date(T) }])
  await evaluator.look(T + minute)
  expect(evaluator.transitions).toHaveLength(1)
  await evaluator.stop()
})

test('alerts of a rule that there is no longer are over', async () => {
  const gone = await countingRule({ forSeconds: 0 })
  await gone.mark('a')
  const before = startEvaluator({ rules: [gone.rule] })
  await before.look(T)
  await before.stop()
  const after = startEvaluator({ rules: [] })
  await after.look(T + 60 * minute)
  await after.stop()
  expect(after.transitions).toEqual([`resolve ${gone.rule.uid} {"name":"a"}`])
  expect(await states()).toMatchObject([{ state: 'resolved', summary: expect.stringContaining('no rule') }])
})

test('the health of every tenant with events or a key is watched', async () => {
  const now = Date.now()
  await insertEvents(engine.client, [
    { tenant: 'sends', name: 'agnes.audit', at: new Date(now - minute) },
    { tenant: 'gone', name: 'agnes.audit', at: new Date(now - 30 * day) },
  ])
  await engine.client.insert({
    table: 'api_keys',
    values: [{ id: 'k', version: 1, tenant: 'has_key' }],
    format: 'JSONEachRow',
  })
  const asked: string[] = []
  const client = new Proxy(engine.client, {
    get: (target, name) =>
      name === 'query'
        ? (params: { query: string }) => {
            asked.push(params.query)
            return target.query(params)
          }
        : Reflect.get(target, name),
  })
  const evaluator = startEvaluator({ client })
  await evaluator.look(now)
  await evaluator.stop()
  const health = asked.find((sql) => sql.includes('health_pulse(')) ?? ''
  for (const tenant of ['default', 'sends', 'has_key']) expect(health).toContain(`tenant = '${tenant}'`)
  expect(health).not.toContain("'gone'")
})

test('of two processes one evaluates, and the other goes on with its alerts when it ends', async () => {
  const { rule, mark } = await countingRule({ forSeconds: 0 })
  await mark('a')
  const told: { readonly who: string; readonly what: string }[] = []
  const clocks: TestClock[] = []
  const rounds: Record<string, () => void> = {}
  const begin = (who: string) => {
    const clock = createTestClock(T + clocks.length * 30 * minute)
    clocks.push(clock)
    const first = new Promise<void>((resolve) => {
      rounds[who] = resolve
    })
    const scheduler = startScheduler({
      client: engine.client,
      processors: [],
      holder: who,
      log: () => {},
      clock,
      companion: (lease) =>
        evaluateAlerts(
          {
            client: engine.client,
            everyMs: minute,
            clock,
            log: () => {},
            rules: [rule],
            onTransition: ({ kind }) => told.push({ who, what: kind }),
            onRound: () => rounds[who]?.(),
          },
          lease,
        ),
    })
    return { scheduler, clock, first }
  }
  const a = begin('a')
  await a.first
  const b = begin('b')
  await b.clock.sleeping()
  expect(told).toEqual([{ who: 'a', what: 'fire' }])
  expect(b.scheduler.fence()).toBeUndefined()
  await a.scheduler.stop()
  b.clock.pass(15_000)
  await b.first
  expect(told).toEqual([{ who: 'a', what: 'fire' }])
  expect(await states()).toMatchObject([{ state: 'firing', firedAt: new Date(T) }])
  await b.scheduler.stop()
})

test('what an old holder still writes does not hold against what the next one wrote', async () => {
  const { rule, mark, clear } = await countingRule({ forSeconds: 0, keepFiringSeconds: 0 })
  await mark('a')
  const old = startEvaluator({ rules: [rule] })
  await old.look(T)
  const next = startEvaluator({ rules: [rule] })
  await next.look(T + minute)
  await clear()
  await next.look(T + 2 * minute)
  await next.look(T + 3 * minute)
  await mark('a')
  await clear()
  await old.look(T + 4 * minute)
  expect(await states()).toMatchObject([{ state: 'resolved', resolvedAt: new Date(T + 3 * minute) }])
  await old.stop()
  await next.stop()
})
