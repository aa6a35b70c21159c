/** Every query of the dashboards and alerts through the real driver, clickhouse-go: built from the Go module proxy. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { alertRules, dashboards, expandMacros, interpolate } from '@agnes/grafana'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dayBefore, insertSessionsAndFeedback, insertWeek, now } from '../support/dashboard-data.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { connectPlugin } from '../support/grafana-plugin.ts'
import { queriesOf } from './walk.ts'

const notHere =
  process.env.AGNES_TEST_GO !== '1'
    ? 'AGNES_TEST_GO=1 builds it with Go from the module proxy'
    : spawnSync('go', ['version']).status !== 0
      ? 'there is no Go here'
      : undefined
if (notHere !== undefined) test.skip(`clickhouse-go: ${notHere}`, () => {})

interface DriverAnswer {
  readonly columns?: readonly string[]
  readonly rows: number
  readonly error?: string
}

describe.skipIf(notHere !== undefined)('clickhouse-go', () => {
  let engine: TestEngine
  let directory: string
  beforeAll(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'agnes-driver-'))
    const source = path.join(import.meta.dirname, 'clickhouse-go')
    const built = spawnSync('go', ['build', '-o', path.join(directory, 'driver'), '.'], { cwd: source })
    if (built.status !== 0) throw new Error(`go build: ${built.stderr.toString()}`)
    engine = await startTestEngine()
    await insertWeek(engine.client)
    await insertSessionsAndFeedback(engine.client)
  }, 600_000)
  afterAll(async () => {
    await engine?.stop()
    rmSync(directory, { recursive: true })
  })

  /** Answers in the order of the queries, over connections of the driver's own pool. */
  async function ask(queries: readonly string[]): Promise<DriverAnswer[]> {
    const { host, pathname } = new URL(engine.url)
    const driver = spawn(path.join(directory, 'driver'), [host, pathname.slice(1)])
    driver.stdin.end(queries.map((query) => `${JSON.stringify(query)}\n`).join(''))
    const [answers, errors] = await Promise.all([text(driver.stdout), text(driver.stderr), once(driver, 'close')])
    if (errors !== '') throw new Error(errors)
    return answers
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as DriverAnswer)
  }

  test('reads every query of panels, variables, annotations and alerts as our reader of the protocol does', async () => {
    const range = { from: dayBefore, to: now, intervalMs: 900_000 }
    const queries = [
      ...dashboards.flatMap((dashboard) => {
        const chosen = dashboard.templating.list.map(({ name, current }) => [name, current?.value ?? ''])
        return queriesOf(dashboard).map(({ sql }) => interpolate(sql, Object.fromEntries(chosen)))
      }),
      ...alertRules().map(({ sql }) => sql),
    ].map((sql) => expandMacros(sql, range))
    const asked = [...new Set(queries)]
    expect(asked.length).toBeGreaterThan(100)
    const plugin = await connectPlugin(engine.url)
    const answers = await ask(asked)
    expect(answers).toHaveLength(asked.length)
    for (const [i, sql] of asked.entries()) {
      const { columns, rows } = await plugin.query(sql)
      expect(answers[i], sql).toEqual({ columns: columns.map(({ name }) => name), rows })
    }
  })

  test('is told of a query that fails, in words, also in the middle of an answer', async () => {
    const failing = ['SELECT nothing FROM otel_logs', "SELECT throwIf(number = 99999, 'late') FROM numbers(100000)"]
    const answers = await ask([...failing, 'SELECT 1 AS one'])
    expect(answers).toEqual([
      { rows: 0, error: expect.stringContaining('UNKNOWN_IDENTIFIER') },
      { rows: 0, error: expect.stringContaining('late') },
      { rows: 1, columns: ['one'] },
    ])
  })
})
