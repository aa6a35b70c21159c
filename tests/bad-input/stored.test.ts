/** Cases of section C whose point is what stands in ClickHouse afterwards: the real engine, and all of the way to it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { migrate } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Gateway, startGateway } from '../../ingest-gateway/src/gateway.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'

let engine: TestEngine
let gateway: Gateway
let dataDir: string
const logged: string[] = []
beforeAll(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-stored-'))
  engine = await startTestEngine()
  await migrate(engine.client)
  gateway = await startGateway({
    config: {
      dataDir,
      host: '127.0.0.1',
      otlpPort: 0,
      otlpGrpcPort: 0,
      maxBodyBytes: 8 * 1024 * 1024,
      maxDecodedBytes: 64 * 1024 * 1024,
      clickhouseUrl: undefined,
    },
    clickhouseUrl: engine.url,
    heartbeatMs: 0,
    sealAfterMs: 20,
    log: (line) => logged.push(line),
  })
})
afterAll(async () => {
  expect(logged.filter((line) => /unexpected|quarantine/.test(line))).toEqual([])
  await gateway.stop()
  await engine.stop()
  rmSync(dataDir, { recursive: true })
})

/** Posts the records under a scope of this name and waits until they are stored. @returns their rows in the order they were sent */
async function store(
  scope: string,
  logRecords: readonly object[],
  columns: string,
): Promise<Record<string, unknown>[]> {
  const response = await fetch(`${gateway.url}/v1/logs`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ resourceLogs: [{ scopeLogs: [{ scope: { name: scope }, logRecords }] }] }),
  })
  expect([response.status, await response.text()]).toEqual([200, '{}'])
  await expect.poll(() => gateway.health().details.backlogRecords, { timeout: 20_000 }).toBe(0)
  const result = await engine.client.query({
    query: `SELECT ${columns} FROM otel_logs WHERE ScopeName = {scope:String} ORDER BY ReceivedAt, Seq`,
    query_params: { scope },
    format: 'JSONEachRow',
  })
  return result.json()
}

const text = (stringValue: string): object => ({ stringValue })

test('#67 events of 400 different days, from 1970 to 2262, in one request: ClickHouse takes them in one part', async () => {
  const day = 86_400_000_000_000n
  const times = Array.from({ length: 400 }, (_, i) => (1n + BigInt(i) * 266n) * day)
  const records = times.map((time) => ({ timeUnixNano: String(time), body: text('old or new') }))
  const rows = await store('#67', records, 'toUnixTimestamp64Nano(Timestamp) AS time')
  expect(rows.map(({ time }) => BigInt(time as string)).sort((a, b) => (a < b ? -1 : 1))).toEqual(times)
})

test('#75 text that means something to SQL, HTML, a terminal, a spreadsheet or a logger is stored verbatim', async () => {
  const texts = [
    "'; DROP TABLE otel_logs; --",
    '{param:String} %s %n \u0024{jndi:ldap://x} $(id) `id`',
    '<script>alert(1)</script>&amp;',
    '=1+1\tcmd|x',
    '\u001b[2J\u0007\r\nfake log line',
    '\\N \\0 \\x41 \\',
    '\u0000\u2028\u2029\ufeff\u202e',
  ]
  const records = texts.map((value) => ({ body: text(value), attributes: [{ key: value, value: text(value) }] }))
  const rows = await store("#75'\\", records, 'Body, LogAttributes')
  const expected = texts.map((value) => ({ Body: value, LogAttributes: { [value]: value } }))
  expect(rows).toHaveLength(texts.length)
  expect(rows).toEqual(expect.arrayContaining(expected))
})

test('#76 an id that is used again for something else: the first event counts, the other is told apart by nothing', async () => {
  const event = (body: string): object => ({ body: text(body), attributes: [{ key: 'event.id', value: text('once') }] })
  await store('#76', [event('first')], 'Body')
  const { duplicate } = gateway.health().details as { duplicate: number }
  expect(await store('#76', [event('second')], 'Body, EventId')).toEqual([{ Body: 'first', EventId: 'once' }])
  expect(gateway.health().details).toMatchObject({ duplicate: duplicate + 1 })
})
