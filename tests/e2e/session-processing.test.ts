/** Sessions as an admin meets them: they arrive, `agnes up` processes them, the commands show them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { constants, getPriority, tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type ClickHouseClient, createAgnesClient } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Ran, type RunningAgnes, startAgnes } from '../support/agnes.ts'
import { copyDatabase } from '../support/database.ts'
import { insertEvents } from '../support/events.ts'
import { invokeHere } from '../support/invoke.ts'
import { storeSession, transcript } from '../support/stored-sessions.ts'

const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-sessions-'))
let instance: RunningAgnes
let client: ClickHouseClient
beforeAll(async () => {
  await copyDatabase(path.join(dataDir, 'clickhouse'))
  instance = await startAgnes(dataDir, {
    // The others follow it, whatever their own cadence is.
    AGNES_PROCESSOR_TRANSCRIPTS_INTERVAL: '2',
  })
  client = createAgnesClient({ url: instance.clickhouseUrl })
}, 60_000)
afterAll(async () => {
  await client?.close()
  await instance?.interrupt()
  rmSync(dataDir, { recursive: true })
})

const agnes = (...args: string[]): Promise<Ran> => invokeHere(args, { env: { AGNES_DATA_DIR: dataDir } })

const session = (id: string) =>
  transcript(id, new Date('2026-11-20T09:00:00Z'))
    .prompt('why is the build red?')
    .calls('m1', `${id}-t1`, 'Edit', { file_path: '/a.ts' })
    .result(`${id}-t1`, '<tool_use_error>String to replace not found in file.</tool_use_error>', true)
    .says('m2', 'Done.').lines

async function rows<T>(query: string): Promise<T[]> {
  const result = await client.query({
    query,
    format: 'JSONEachRow',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 0 },
  })
  return result.json<T>()
}

async function until(what: string, query: string): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end; await pause(500)) {
    if ((await rows(query)).length > 0) return
  }
  throw new Error(`not within a minute: ${what}\n${instance.stderr()}`)
}

/** The last processor of the row has done it; asked of its own small table, for a view costs far more. */
const processed = (file: string): string =>
  `SELECT 1 FROM session_processor_state WHERE processor = 'usage' AND session_file = '${file}'`

test('a session that arrives is processed, listed, shown, counted, and leaves an event for each processor', {
  timeout: 120_000,
}, async () => {
  await storeSession(client, { tenant: 'default', file: 's-1', lines: session('s-1') })
  await until('s-1 is processed', processed('s-1'))

  const list = await agnes('sessions', 'list', '--json')
  expect(list.code).toBe(0)
  expect(JSON.parse(list.stdout)).toEqual([
    expect.objectContaining({
      user: 'anna',
      file: 's-1',
      findings: 1,
      findingTypes: { tool_error: 1 },
      isProcessed: true,
    }),
  ])
  const table = await agnes('sessions', 'list', '--finding', 'tool_error')
  expect(table.stdout).toMatch(/2026-11-20 09:00 +anna +s-1 .*why is the build red\?/)

  const show = await agnes('sessions', 'show', 's-1.jsonl')
  expect(show.code).toBe(0)
  expect(show.stdout).toMatch(/tool_result Edit +tool_error/)
  expect((await agnes('sessions', 'show', 'nope')).stderr).toContain('there is no session nope')

  expect(await rows("SELECT turns, tool_calls, errors FROM usage_daily WHERE dimension = 'total'")).toEqual([
    { turns: 4, tool_calls: 1, errors: 1 },
  ])
  await until(
    'three events',
    "SELECT count() AS n FROM session_processor_runs WHERE session_file = 's-1' HAVING uniqExact(processor_name) = 3",
  )
})

test('telemetry that is missing is named', { timeout: 60_000 }, async () => {
  await insertEvents(
    client,
    [0, 1, 4].map((sequence) => ({
      tenant: 'default',
      at: new Date(Date.parse('2026-11-20T09:00:00Z') + sequence * 1000),
      name: 'user_prompt',
      scope: 'com.anthropic.claude_code.events',
      attributes: { 'session.id': 'told', 'event.sequence': String(sequence) },
    })),
  )
  const gaps = await agnes('sessions', 'gaps', 'told')
  expect(gaps.code).toBe(0)
  expect(gaps.stdout).toMatch(/told .*sequence +2 to 3/)
  expect((await agnes('sessions', 'gaps', 'nobody')).stderr).toContain('nothing is missing')
})

test('a processor is run by hand, dry first; unknown names and sessions are refused', {
  timeout: 120_000,
}, async () => {
  const dry = await agnes('run-processor', 'failure_scan', '--session', 's-1', '--dry-run')
  expect(dry).toMatchObject({ code: 0, stdout: 'failure_scan: 1 of 1 sessions, 1 items (nothing was written)\n' })
  const scans = () => rows<{ scan_id: string }>("SELECT scan_id FROM session_scans FINAL WHERE session_file = 's-1'")
  const before = await scans()
  expect(await agnes('run-processor', 'failure_scan', '--session', 's-1', '--json')).toMatchObject({ code: 0 })
  const after = await scans()
  expect(after).toHaveLength(1)
  expect(after).not.toEqual(before)
  expect(await agnes('run-processor', 'nope')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('transcripts'),
  })
  expect(await agnes('run-processor', 'usage', '--session', 'nope')).toMatchObject({ code: 1 })
  expect(await agnes('run-processor', 'usage', '--all', '--user', 'anna')).toMatchObject({ code: 2 })
})

// Which process it is, only /proc says.
test.skipIf(process.platform !== 'linux')(
  'processors that are killed are started again and go on',
  { timeout: 120_000 },
  async () => {
    const pid = childOf(instance.pid, 'processors')
    process.kill(pid, 'SIGKILL')
    await storeSession(client, { tenant: 'default', file: 's-2', lines: session('s-2') })
    await until('s-2 is processed', processed('s-2'))
    expect(await rows("SELECT is_processed, findings FROM sessions WHERE session_file = 's-2'")).toEqual([
      { is_processed: true, findings: 1 },
    ])
    expect(instance.stderr()).toContain('processors crashed (SIGKILL)')
    const again = childOf(instance.pid, 'processors')
    expect(again).not.toBe(pid)
    // Who takes events goes first.
    expect(getPriority(again)).toBe(constants.priority.PRIORITY_BELOW_NORMAL)
  },
)

/** Process id of a service that `agnes up` started. */
function childOf(parent: number, command: string): number {
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'latin1')
      const ppid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      if (ppid === parent && readFileSync(`/proc/${entry}/cmdline`, 'utf8').includes(`\0${command}\0`))
        return Number(entry)
    } catch {
      // It ended meanwhile.
    }
  }
  throw new Error(`${command} does not run`)
}
