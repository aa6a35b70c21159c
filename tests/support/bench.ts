/** Engine and gateway as processes on one data directory, clients that keep books, and the books held against the rows. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createAgnesClient } from '@agnes/clickhouse'
import { copyDatabase } from './database.ts'
import { type LedgerClient, paramsOf, startLedgerClient } from './ledger-client.ts'
import { freePort, type Service, type ServiceOptions, startService } from './processes.ts'

export interface Bench {
  readonly dataDir: string
  readonly engineUrl: string
  gateway: Service
  engine: Service
  startGateway(options?: ServiceOptions): Promise<void>
  startEngine(): Promise<void>
  /** Sends until the books are closed. @param pauseMs after each answer; none unless told: as fast as it can */
  startClient(name: string, pauseMs?: number): LedgerClient
  /** Stops the clients, waits until nothing waits any more, and compares. */
  closeBooks(options?: { readonly withinMs?: number }): Promise<Books>
  remove(): Promise<void>
}

export interface Books {
  readonly acknowledged: number
  /** Acknowledged, and not in ClickHouse. */
  readonly lost: readonly string[]
  /** More than once in ClickHouse. */
  readonly doubled: readonly string[]
  /** In ClickHouse with other values than were sent, or never sent at all. */
  readonly changed: readonly string[]
  /** Sequence numbers that no record has, between the first and the last. */
  readonly gaps: number
}

/** @param options of the gateway, at its first start */
export async function startBench(options: ServiceOptions = {}): Promise<Bench> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bench-'))
  const env = {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: String(await freePort()),
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  }
  await copyDatabase(path.join(dataDir, 'clickhouse'))
  const engine = await startService('engine', env)
  const clients: LedgerClient[] = []

  const bench: Bench = {
    dataDir,
    engineUrl: engine.url,
    engine,
    gateway: await startService('gateway', env, options),
    async startGateway(other) {
      bench.gateway = await startService('gateway', env, other)
    },
    async startEngine() {
      bench.engine = await startService('engine', env)
    },
    startClient(name, pauseMs = 0) {
      const started = startLedgerClient({ url: bench.gateway.url, name, recordsARequest: 20, pauseMs })
      clients.push(started)
      return started
    },
    async closeBooks({ withinMs = 60_000 } = {}) {
      await Promise.all(clients.map((one) => one.stop()))
      await backlogDrained(bench.gateway.url, withinMs)
      return compare(bench.engineUrl, clients)
    },
    async remove() {
      for (const one of clients) one.abandon()
      await bench.gateway.kill()
      await bench.engine.kill()
      rmSync(dataDir, { recursive: true })
    },
  }
  return bench
}

/** What is not stored in time counts as lost. */
async function backlogDrained(url: string, withinMs: number): Promise<void> {
  for (const until = performance.now() + withinMs; performance.now() < until; ) {
    const health = (await (await fetch(`${url}/healthz`)).json()) as { backlogRecords: number; backlogSegments: number }
    if (health.backlogRecords === 0 && health.backlogSegments === 0) return
    await pause(50)
  }
}

async function compare(url: string, clients: readonly LedgerClient[]): Promise<Books> {
  const issued = new Set(clients.flatMap((client) => [...client.issued]))
  const acknowledged = clients.flatMap((client) => [...client.acknowledged])
  const counts = new Map<string, number>()
  const changed: string[] = []
  for (const { id, params } of await storedLedger(url)) {
    counts.set(id, (counts.get(id) ?? 0) + 1)
    if (!issued.has(id) || params !== paramsOf(id)) changed.push(id)
  }
  return {
    acknowledged: acknowledged.length,
    lost: acknowledged.filter((id) => !counts.has(id)),
    doubled: [...counts].filter(([, count]) => count > 1).map(([id]) => id),
    changed,
    gaps: await sequenceGaps(url),
  }
}

async function storedLedger(url: string): Promise<{ id: string; params: string }[]> {
  return query(
    url,
    `SELECT EventId AS id, LogAttributes['agnes.params'] AS params
      FROM otel_logs WHERE LogAttributes['agnes.action'] = 'ledger.entry'`,
  )
}

async function sequenceGaps(url: string): Promise<number> {
  const [row] = await query<{ gaps: string }>(
    url,
    'SELECT max(Seq) - min(Seq) + 1 - uniqExact(Seq) AS gaps FROM otel_logs',
  )
  return Number(row?.gaps ?? -1)
}

async function query<Row>(url: string, text: string): Promise<Row[]> {
  const client = createAgnesClient({ url })
  const result = await client.query({ query: text, format: 'JSONEachRow' })
  const rows = await result.json<Row>()
  await client.close()
  return rows
}
