/** What a person waits for, on 5 million rows that SQL made: 30 days of a busy Agnes. */
import { setTimeout as pause } from 'node:timers/promises'
import { fetchHealth, fetchTimeline, type TimelineFilter } from '@agnes/clickhouse'
import type { ClickHouseClient } from '@clickhouse/client'
import { startInstance } from './instance.ts'
import { type Figure, quantile, report } from './report.ts'

const rows = 5_000_000
const insertRows = 500_000
const days = 30
const rounds = 30
const settleMs = 30_000

export async function benchQuery(): Promise<void> {
  const instance = await startInstance()
  try {
    await fill(instance.client)
    await settled(instance.client)
    const figures: Figure[] = []
    const measure = async (name: string, run: () => Promise<unknown>, goalMs?: number): Promise<void> => {
      await run()
      const times: number[] = []
      for (let i = 0; i < rounds; i++) {
        const start = performance.now()
        await run()
        times.push(performance.now() - start)
      }
      figures.push({ name: `${name}: p50`, value: quantile(times, 0.5), unit: 'ms' })
      const goal = goalMs === undefined ? {} : { goal: { atMost: goalMs } }
      figures.push({ name: `${name}: p95`, value: quantile(times, 0.95), unit: 'ms', ...goal })
    }
    const page = (filter: TimelineFilter) => () => fetchTimeline(instance.client, filter)
    await measure('health pulse', () => fetchHealth(instance.client), 50)
    await measure('timeline, first page', page({ limit: 100 }), 50)
    await measure('timeline, user + action prefix', page({ limit: 100, userId: 'user-7', actionPrefix: 'sync.' }))
    await measure('timeline, rare text in params', page({ limit: 100, q: 'orders_4999991' }))
    report('query', figures)
  } finally {
    await instance.stop()
  }
}

/** Rows as the gateway writes them, spread over the days before now. */
async function fill(client: ClickHouseClient): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < rows) {
      const from = next
      next += insertRows
      await insert(client, from)
    }
  }
  await Promise.all([worker(), worker()])
}

/** 5 million rows in a minute leave merges behind that thirty days of use would not. */
export async function settled(client: ClickHouseClient): Promise<void> {
  for (const start = performance.now(); performance.now() - start < settleMs; await pause(500)) {
    const result = await client.query({ query: 'SELECT count() AS n FROM system.merges', format: 'JSONEachRow' })
    const [row] = await result.json<{ n: number }>()
    if (row?.n === 0) return
  }
}

async function insert(client: ClickHouseClient, from: number): Promise<void> {
  await client.command({
    query: `INSERT INTO otel_logs
        (TenantId, EventId, ReceivedAt, BatchId, Seq, Timestamp, ObservedTimestamp, SeverityText, SeverityNumber,
         ServiceName, EventName, ResourceAttributes, ScopeName, LogAttributes)
      WITH
        {from:UInt64} + number AS n,
        fromUnixTimestamp64Nano(toInt64(toUnixTimestamp64Nano(now64(9)) - (${rows} - n) * ${Math.floor((days * 86_400e9) / rows)})) AS at,
        cityHash64(n) AS h,
        cityHash64(n, 'user') AS u,
        cityHash64(n, 'event') AS e
      SELECT 'default', toString(generateUUIDv7()), at, toUUID('0193f0a0-0000-7000-8000-000000000001'), n, at, at, 'INFO', 9,
        'agnes',
        multiIf(e % 100 < 90, 'agnes.audit', e % 100 < 95, 'agnes.sync', e % 100 < 98, 'agnes.session_processor', 'agnes.system'),
        map('service.name', 'agnes', 'service.version', '1.42.0', 'deployment.environment.name', 'production'),
        'agnes.recorder',
        map('log.record.uid', toString(n),
            'user.id', concat('user-', toString(u % 50)),
            'agnes.action', ['run_verification', 'sync.trigger', 'query.local', 'data.download', 'token.create'][h % 5 + 1],
            'agnes.resource', concat('table:orders_', toString(h % 200)),
            'agnes.result', if(h % 20 = 0, 'error', 'success'),
            'agnes.duration_ms', toString(h % 5000),
            'agnes.client_kind', if(h % 5 = 0, 'scheduler', 'cli'),
            'agnes.correlation_id', toString(h),
            'agnes.sync.table_id', concat('orders_', toString(h % 200)),
            'agnes.sync.status', if(h % 50 = 0, 'error', 'ok'),
            'agnes.params', concat('{"table":"orders_', toString(n), '","rows":', toString(h % 100000), '}'))
      FROM numbers(${insertRows})`,
    query_params: { from },
  })
}
