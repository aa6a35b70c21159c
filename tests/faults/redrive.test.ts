/** A record that ClickHouse refuses, from the request to the second try, through the real processes (P12, P39). */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ClickHouseClient, createAgnesClient } from '@agnes/clickhouse'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { command, type Ran, run } from '../support/agnes.ts'
import { copyDatabase } from '../support/database.ts'
import { invokeHere } from '../support/invoke.ts'
import { freePort, type Service, startService } from '../support/processes.ts'

let dataDir: string
let env: NodeJS.ProcessEnv
let gateway: Service
let client: ClickHouseClient
/** Of the test that needs one. */
let engine: Service | undefined

beforeEach(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-redrive-'))
  env = {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  }
})
afterEach(async () => {
  await gateway.kill()
  if (engine !== undefined) {
    await client.close()
    await engine.stop()
    engine = undefined
  }
  rmSync(dataDir, { recursive: true })
})

const spool = (...args: string[]): Promise<Ran> => invokeHere(['spool', ...args], { env: { AGNES_DATA_DIR: dataDir } })
/** The built command. */
const spoolProcess = (...args: string[]): Promise<Ran> =>
  run(process.execPath, [command, 'spool', ...args], { AGNES_DATA_DIR: dataDir })

async function send(text: string): Promise<void> {
  const logRecords = [{ eventName: 'redrive.test', body: { stringValue: text } }]
  const body = JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] })
  const headers = { 'Content-Type': 'application/json' }
  const answer = await fetch(`${gateway.url}/v1/logs`, { method: 'POST', headers, body })
  expect(answer.status).toBe(200)
}

async function stored(): Promise<string[]> {
  const result = await client.query({
    query: "SELECT Body FROM otel_logs WHERE EventName = 'redrive.test' ORDER BY Seq",
    format: 'JSONEachRow',
  })
  return (await result.json<{ Body: string }>()).map(({ Body }) => Body)
}

const health = async (): Promise<Record<string, number>> =>
  (await (await fetch(`${gateway.url}/healthz`)).json()) as Record<string, number>

test('P12 P39: set aside, shown, tried again beside the running gateway and by the next one: stored once', async () => {
  await copyDatabase(path.join(dataDir, 'clickhouse'))
  engine = await startService('engine', env)
  client = createAgnesClient({ url: engine.url })
  await client.command({ query: "ALTER TABLE otel_logs ADD CONSTRAINT tame CHECK Body NOT LIKE '%poison%'" })
  gateway = await startService('gateway', env)
  const hostile = 'poison \u001b[2J one'
  for (const text of ['first', hostile, 'second', 'poison two', 'third']) await send(text)
  await expect.poll(async () => (await health()).quarantinedRecords, { timeout: 20_000 }).toBe(2)
  await expect.poll(stored).toEqual(['first', 'second', 'third'])

  const aside = await spoolProcess('quarantine')
  expect(aside).toMatchObject({ code: 0, stderr: '' })
  expect(aside.stdout).toContain('VIOLATED_CONSTRAINT')
  const shown = await spool('show', ...refused().map((name) => `quarantine/${name}`))
  expect(shown.stdout).toContain('"Body": "poison two"')
  expect(shown.stdout).toContain('poison \\u001b[2J one')
  expect(shown.stdout).not.toContain('\u001b')
  expect(await spool('verify')).toMatchObject({ code: 0 })

  // Nothing is mended yet: it comes back, and is not lost on the way.
  expect((await spoolProcess('redrive')).stdout).toContain('is tried again')
  await expect.poll(async () => (await health()).quarantinedRecords, { timeout: 20_000 }).toBe(4)
  expect(await stored()).toEqual(['first', 'second', 'third'])

  await client.command({ query: 'ALTER TABLE otel_logs DROP CONSTRAINT tame' })
  await gateway.kill()
  await spool('redrive')
  expect(refused()).toEqual([])
  gateway = await startService('gateway', env)
  const all = ['first', hostile, 'second', 'poison two', 'third']
  await expect.poll(stored, { timeout: 20_000 }).toEqual(all)
  await expect.poll(async () => (await health()).backlogSegments, { timeout: 20_000 }).toBe(0)
  expect(await stored()).toEqual(all)
  expect((await spool('redrive')).stdout).toContain('nothing to try again')
}, 90_000)

test('P39: verify finds a flipped bit, says where, and ends with exit code 3', async () => {
  // Without an engine: what is acknowledged stays in the spool.
  gateway = await startService('gateway', env)
  for (const text of ['one', 'two', 'three']) await send(text)
  expect(await spool('verify')).toMatchObject({ code: 0 }) // beside the running gateway
  await gateway.kill()
  const listed = JSON.parse((await spool('list', '--json')).stdout) as { name: string; records: number }[]
  const [segment] = listed.filter(({ records }) => records > 0)
  const file = path.join(dataDir, 'spool', segment?.name ?? '')
  const bytes = readFileSync(file)
  bytes[100] = (bytes[100] ?? 0) ^ 1
  writeFileSync(file, bytes)
  const verified = await spoolProcess('verify')
  expect(verified.code).toBe(3)
  expect(verified.stdout).toContain(`${segment?.name}: damaged payload at byte 0`)
  expect(readFileSync(file)).toEqual(bytes) // it only reads
}, 60_000)

function refused(): string[] {
  return readdirSync(path.join(dataDir, 'spool', 'quarantine')).filter((name) => name.endsWith('.rowbinary'))
}
