import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createAgnesClient, migrate } from '@agnes/clickhouse'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { paramsOf, startLedgerClient } from '../support/ledger-client.ts'
import { freePort, type Service, startService } from '../support/processes.ts'

let dataDir: string
let env: NodeJS.ProcessEnv
let engine: Service
let gateway: Service

beforeEach(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-kill-'))
  env = {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: String(await freePort()),
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  }
  engine = await startService('engine', env)
  const client = createAgnesClient({ url: engine.url })
  await migrate(client)
  await client.close()
  gateway = await startService('gateway', env)
})
afterEach(async () => {
  await gateway.stop()
  await engine.stop()
  rmSync(dataDir, { recursive: true })
})

test('kill -9 of gateway and engine under load, ten rounds: every acknowledged event is stored exactly once', async () => {
  const clients = ['a', 'b', 'c'].map((name) => startLedgerClient({ url: gateway.url, name, recordsARequest: 20 }))

  for (let round = 0; round < 10; round++) {
    await pause(100 + 50 * round) // the kill comes at another point of a segment's life each time
    const victims = round % 3 === 0 ? 'both' : round % 3 === 1 ? 'gateway' : 'engine'
    if (victims !== 'engine') await gateway.kill()
    if (victims !== 'gateway') await engine.kill()
    if (victims !== 'gateway') engine = await startService('engine', env)
    if (victims !== 'engine') gateway = await startService('gateway', env)
  }
  await pause(300)
  for (const client of clients) await client.stop()
  await backlogDrained(gateway.url)

  const issued = new Set(clients.flatMap((client) => [...client.issued]))
  const acknowledged = clients.flatMap((client) => [...client.acknowledged])
  const stored = await storedLedger(engine.url)
  const counts = new Map<string, number>()
  for (const { id } of stored) counts.set(id, (counts.get(id) ?? 0) + 1)

  expect(acknowledged.length).toBeGreaterThan(1_000)
  expect(acknowledged.filter((id) => !counts.has(id))).toEqual([])
  expect([...counts].filter(([, count]) => count !== 1)).toEqual([])
  expect([...counts.keys()].filter((id) => !issued.has(id))).toEqual([])
  expect(stored.filter(({ id, params }) => params !== paramsOf(id))).toEqual([])
}, 120_000)

async function backlogDrained(url: string): Promise<void> {
  for (;;) {
    const health = (await (await fetch(`${url}/healthz`)).json()) as { backlogRecords: number }
    if (health.backlogRecords === 0) return
    await pause(50)
  }
}

async function storedLedger(url: string): Promise<{ id: string; params: string }[]> {
  const client = createAgnesClient({ url })
  const result = await client.query({
    query: `SELECT EventId AS id, LogAttributes['agnes.params'] AS params
      FROM otel_logs WHERE LogAttributes['agnes.action'] = 'ledger.entry'`,
    format: 'JSONEachRow',
  })
  const rows = await result.json<{ id: string; params: string }>()
  await client.close()
  return rows
}
