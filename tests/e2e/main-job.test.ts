/**
 * The main job as a newcomer runs it: start, send events four ways, ask four ways, stop, start again.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { HealthPulse, TimelineRow } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { command, type Ran, type RunningAgnes, repository, run, startAgnes } from '../support/agnes.ts'
import { invokeHere } from '../support/invoke.ts'

const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-e2e-'))
let instance: RunningAgnes

beforeAll(async () => {
  instance = await startAgnes(dataDir)
})
afterAll(async () => {
  await instance.interrupt()
  rmSync(dataDir, { recursive: true })
})

const example = (name: string): string => path.join(repository, 'examples', name)

/** What a command of the instance does, without a process for it: the first of each kind has its own. */
const agnes = (...args: string[]): Promise<Ran> => invokeHere(args, { env: { AGNES_DATA_DIR: dataDir } })

/** As `curl` asks. */
async function sql<T>(query: string): Promise<T[]> {
  const url = `${new URL(instance.clickhouseUrl).origin}/?database=agnes&default_format=JSONEachRow&output_format_json_quote_64bit_integers=0`
  const answer = await fetch(url, { method: 'POST', body: query })
  const text = await answer.text()
  expect({ status: answer.status, text }).toMatchObject({ status: 200 })
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}

async function countOf(where: string): Promise<number> {
  return (await sql<{ n: number }>(`SELECT count() AS n FROM events WHERE ${where}`))[0]?.n ?? -1
}

interface Totals {
  readonly rows: number
  readonly ids: number
}

/** Without our own heartbeats and life cycle, which go on meanwhile. */
async function totals(): Promise<Totals | undefined> {
  return (
    await sql<Totals>("SELECT count() AS rows, uniqExact(id) AS ids FROM events WHERE event_name != 'agnes.system'")
  )[0]
}

describe('events come in', () => {
  test('from agnes demo', async () => {
    const { code, stderr } = await instance.agnes('demo', '--days', '2')
    expect(stderr).toMatch(/sent \d+ events of 2 days, all acknowledged and stored/)
    expect(code).toBe(0)
    const sent = Number(/sent (\d+) events/.exec(stderr)?.[1])
    expect(await countOf("service_name = 'agnes-demo'")).toBe(sent)
  })

  test('from a Node app with the public OpenTelemetry SDK', async () => {
    const ran = await run(process.execPath, [example('node-audit.mjs')], {
      OTEL_EXPORTER_OTLP_ENDPOINT: instance.otlpUrl,
    })
    expect(ran).toEqual({ code: 0, stdout: '', stderr: '' })
    await expect.poll(() => countOf("service_name = 'node-example'"), { timeout: 10_000 }).toBe(2)
  })

  test('from a Python app with the public OpenTelemetry SDK', async (context) => {
    const python = process.env.AGNES_TEST_PYTHON ?? 'python3'
    const probe = await run(python, ['-c', 'import opentelemetry.exporter.otlp.proto.http'], {}).catch(() => undefined)
    if (probe?.code !== 0) {
      context.skip('no Python with opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http (AGNES_TEST_PYTHON)')
    }
    const ran = await run(python, [example('python_audit.py')], { OTEL_EXPORTER_OTLP_ENDPOINT: instance.otlpUrl })
    expect(ran).toEqual({ code: 0, stdout: '', stderr: '' })
    await expect.poll(() => countOf("user_id = 'py-user'"), { timeout: 10_000 }).toBe(3)
  })

  test("in Claude Code's own wire shape", async () => {
    const response = await fetch(`${instance.otlpUrl}/v1/logs`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: readFileSync(example('claude-code-telemetry.json')),
    })
    expect([response.status, await response.json()]).toEqual([200, {}])
    await expect.poll(() => countOf("service_name = 'claude-code'"), { timeout: 10_000 }).toBe(4)
    expect(
      await sql("SELECT action, resource, result FROM events WHERE service_name = 'claude-code' ORDER BY timestamp"),
    ).toEqual([
      { action: 'claude_code.user_prompt', resource: '', result: '' },
      { action: 'claude_code.api_request', resource: 'claude-opus-4-5', result: '' },
      { action: 'claude_code.tool_decision', resource: 'Bash', result: 'denied' },
      { action: 'claude_code.tool_result', resource: 'Read', result: 'success' },
    ])
  })
})

describe('questions are answered', () => {
  test('agnes health', async () => {
    const { code, stdout } = await instance.agnes('health', '--json')
    const pulse = JSON.parse(stdout) as HealthPulse
    expect(pulse.fields.map(({ name }) => name)).toEqual([
      'scheduler',
      'sync_24h',
      'active_users_today',
      'memory_pipeline',
      'diagnose_warnings',
      'pipeline',
    ])
    expect(pulse.fields.find(({ name }) => name === 'pipeline')?.color).toBe('green')
    expect(pulse.fields.find(({ name }) => name === 'scheduler')?.color).toBe('green')
    expect(code).toBe(pulse.status === 'red' ? 1 : 0)
    expect((await agnes('health')).stdout.split('\n', 1)[0]).toContain(
      pulse.status === 'green' ? 'All nominal' : 'Degraded',
    )
  })

  test('agnes activity', async () => {
    const { code, stdout } = await instance.agnes('activity', '--action-prefix', 'sync.', '--json', '--limit', '1000')
    const rows = JSON.parse(stdout) as TimelineRow[]
    expect(code).toBe(0)
    expect(rows.length).toBeGreaterThan(10)
    expect(rows.every(({ action }) => action.startsWith('sync.'))).toBe(true)
    expect(rows.some(({ serviceName }) => serviceName === 'node-example')).toBe(true)
    const table = await agnes('activity', '--user', 'node-user')
    expect(table.stdout).toContain('query.local')
    expect(table.stdout).toContain('error.invalid_sql')
  })

  test('the inbox, with the key of the data directory', async () => {
    const key = readFileSync(path.join(dataDir, 'admin.key'), 'utf8').trim()
    // Health leaves no event, which the next test would count.
    const answer = await fetch(`${instance.inboxUrl}/api/admin/activity/health`, {
      headers: { Authorization: `Bearer ${key}` },
    })
    const { stdout } = await agnes('health', '--json')
    expect(await answer.json()).toMatchObject({ status: (JSON.parse(stdout) as HealthPulse).status })
  })

  test('every page of the timeline together is all of it, once', async () => {
    const ids: string[] = []
    let cursor: string | undefined
    do {
      const page = await agnes(
        'activity',
        '--format',
        'ndjson',
        '--limit',
        '1000',
        ...(cursor ? ['--cursor', cursor] : []),
      )
      ids.push(
        ...page.stdout
          .split('\n')
          .filter(Boolean)
          .map((line) => (JSON.parse(line) as TimelineRow).id),
      )
      cursor = /--cursor (\S+)/.exec(page.stderr)?.[1]
    } while (cursor !== undefined)
    const hidden = "action NOT IN ('system.heartbeat', 'activity.read', 'sessions.read', 'feedback.read')"
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.length).toBe(await countOf(`event_name != '' AND ${hidden}`))
  })

  test('agnes sql', async () => {
    const query = "SELECT action, resource FROM events WHERE service_name = 'claude-code' ORDER BY timestamp LIMIT 1"
    expect(await instance.agnes('sql', '--json', query)).toEqual({
      code: 0,
      stdout: '{"action":"claude_code.user_prompt","resource":""}\n',
      stderr: '',
    })
  })

  test('curl on the HTTP interface', async () => {
    const response = await fetch(`${new URL(instance.clickhouseUrl).origin}/?database=agnes`, {
      method: 'POST',
      body: "SELECT count() > 0 FROM audit_log WHERE action = 'sync.trigger'",
    })
    expect(await response.text()).toBe('1\n')
  })

  test('agnes doctor finds nothing wrong, and every setting with its source', async () => {
    const { code, stdout } = await instance.agnes('doctor', '--json')
    const { findings, configuration } = JSON.parse(stdout) as {
      findings: { check: string; status: string }[]
      configuration: { name: string; source: string }[]
    }
    expect(code).toBe(0)
    expect(findings.filter(({ status }) => status === 'problem')).toEqual([])
    expect(configuration.find(({ name }) => name === 'AGNES_DATA_DIR')?.source).toBe('environment')
  })

  test('our own services tell their life cycle in the timeline', async () => {
    const events = await sql<{ resource: string; action: string }>(
      "SELECT resource, action FROM timeline WHERE event_name = 'agnes.system' ORDER BY timestamp",
    )
    expect(events).toEqual(
      expect.arrayContaining([
        { resource: 'agnes', action: 'system.start' },
        { resource: 'engine', action: 'system.ready' },
        { resource: 'ingest-gateway', action: 'system.start' },
        { resource: 'agnes', action: 'system.ready' },
      ]),
    )
  })
})

test('stopped by Ctrl-C and started again, nothing is lost or doubled', async () => {
  const before = await totals()
  const key = readFileSync(path.join(dataDir, 'admin.key'), 'utf8')
  expect(before?.rows).toBeGreaterThan(100)
  expect(before?.rows).toBe(before?.ids)
  expect(await instance.interrupt()).toBe(0)
  instance = await startAgnes(dataDir)
  expect(await totals()).toEqual(before)
  expect(readFileSync(path.join(dataDir, 'admin.key'), 'utf8')).toBe(key)
})

test('a second instance on the same data directory is refused in one line', async () => {
  const { code, stderr } = await run(process.execPath, [command, 'up'], {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: '0',
    AGNES_HTTP_PORT: '0',
  })
  expect(code).toBe(1)
  expect(stderr).toMatch(/^agnes: another process already uses .*\n {2}hint: .*\n$/)
  expect(stderr).not.toMatch(/\n\s+at /)
})
