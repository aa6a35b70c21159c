/** 5 million rows that SQL makes: 30 days of a busy Agnes, for the benches of what people wait for. */
import { setTimeout as pause } from 'node:timers/promises'
import type { ClickHouseClient } from '@agnes/clickhouse'

const rows = 5_000_000
const insertRows = 500_000
const days = 30
const settleMs = 30_000

/** Rows as the gateway writes them, spread over the days before now. */
export async function fill(client: ClickHouseClient): Promise<void> {
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
