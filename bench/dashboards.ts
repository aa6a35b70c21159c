/**
 * What Grafana waits for: every panel on 5 million rows of 30 days, asked for the last 7 days at once and for 24 hours,
 * as its ClickHouse plugin asks (bench panels; `BENCH_DAYS=7` puts all rows into the 7 days).
 */
import { type Dashboard, dashboards, expandMacros, interpolate, type Panel } from '@agnes/grafana'
import type { ClickHouseClient } from '@clickhouse/client'
import { settled } from './filled.ts'
import { startInstance } from './instance.ts'
import { type Figure, quantile, report } from './report.ts'

const rows = Number(process.env.BENCH_ROWS ?? 5_000_000)
const days = Number(process.env.BENCH_DAYS ?? 30)
const insertRows = 250_000
const rounds = Number(process.env.BENCH_ROUNDS ?? 5)
const dayMs = 86_400_000

export async function benchDashboards(): Promise<void> {
  const instance = await startInstance()
  try {
    await fill(instance.client)
    await settled(instance.client)
    const now = new Date()
    const figures: Figure[] = []
    let worst = { p95: 0, share: 0 }
    for (const dashboard of dashboards) {
      let total = 0
      for (const panel of panelsOf(dashboard)) {
        const times: number[] = []
        let read = 0
        for (const { rawSql } of panel.targets ?? []) {
          const week = expanded(dashboard, rawSql, now, 7)
          await ask(instance.client, week)
          for (let i = 0; i < rounds; i++) {
            const start = performance.now()
            await ask(instance.client, week)
            times.push(performance.now() - start)
          }
          read = Math.max(read, await estimated(instance.client, expanded(dashboard, rawSql, now, 1)))
        }
        if (times.length === 0) continue
        const p95 = quantile(times, 0.95)
        total += quantile(times, 0.5)
        worst = { p95: Math.max(worst.p95, p95), share: Math.max(worst.share, read / rows) }
        const share = `${((read / rows) * 100).toFixed(1)} %`
        figures.push({
          name: `${dashboard.title}: ${panel.title.slice(0, 34)} (${share})`,
          value: p95,
          unit: 'ms p95',
          goal: { atMost: 300 },
        })
      }
      const goal = dashboard.uid === 'agnes-home' ? { goal: { atMost: 1000 } } : {}
      figures.push({ name: `${dashboard.title}: all panels, one after another`, value: total, unit: 'ms p50', ...goal })
    }
    figures.push({ name: 'slowest panel, 7 days', value: worst.p95, unit: 'ms p95', goal: { atMost: 300 } })
    figures.push({
      name: 'most rows read for 24 hours',
      value: worst.share * 100,
      unit: '% of table',
      goal: { atMost: 10 },
    })
    report('dashboards', figures)
  } finally {
    await instance.stop()
  }
}

function panelsOf(dashboard: Dashboard): Panel[] {
  return dashboard.panels.flatMap((panel) => ('panels' in panel ? [...panel.panels] : [panel]))
}

function expanded(dashboard: Dashboard, sql: string, to: Date, rangeDays: number): string {
  const values = Object.fromEntries(dashboard.templating.list.map(({ name, current }) => [name, current?.value ?? '']))
  const from = new Date(to.getTime() - rangeDays * dayMs)
  return expandMacros(interpolate(sql, values), { from, to, intervalMs: rangeDays * 900_000 })
}

async function ask(client: ClickHouseClient, query: string): Promise<void> {
  await (await client.query({ query, format: 'JSONCompactEachRow' })).text()
}

/** Rows of `otel_logs` that the index leaves to be read: the embedded engine itself counts those of the result. */
async function estimated(client: ClickHouseClient, query: string): Promise<number> {
  const result = await client.query({ query: `EXPLAIN ESTIMATE ${query}`, format: 'JSONEachRow' })
  const tables = await result.json<{ table: string; rows: string }>()
  return tables.reduce((sum, { table, rows: read }) => sum + (table === 'otel_logs' ? Number(read) : 0), 0)
}

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

/** All kinds of events that dashboards ask for, in shares of a busy instance. */
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
        cityHash64(n, 'event') % 1000 AS e,
        e BETWEEN 950 AND 989 AS claude,
        map('log.record.uid', toString(n), 'user.id', concat('user-', toString(u % 50)), 'session.id', toString(h % 40000), 'agnes.correlation_id', toString(h)) AS who
      SELECT 'default', toString(generateUUIDv7()), at, toUUID('0193f0a0-0000-7000-8000-000000000001'), n, at, at, 'INFO', 9,
        if(claude, 'claude-code', 'agnes'),
        multiIf(
          e < 800, 'agnes.audit', e < 860, 'agnes.sync', e < 890, 'agnes.session_processor', e < 910, 'agnes.system',
          e < 935, 'agnes.llm.generation', e < 942, 'agnes.agent_run.finish', e < 950, 'agnes.exception', claude, ['user_prompt', 'api_request', 'tool_decision', 'tool_result'][e % 4 + 1],
          'agnes.agent_run.start'),
        map('service.name', 'agnes', 'service.version', '1.42.0', 'deployment.environment.name', 'production'),
        if(claude, 'com.anthropic.claude_code.events', 'agnes.recorder'),
        mapConcat(who, multiIf(
          e < 800, map(
            'agnes.action', ['query.local', 'run_verification', 'sync.trigger', 'query.hybrid', 'data.download', 'token.create', 'resource_grants.update'][h % 7 + 1],
            'agnes.resource', concat('table:orders_', toString(h % 200)),
            'agnes.result', if(h % 20 = 0, 'error', 'success'),
            'agnes.duration_ms', toString(h % 5000),
            'agnes.client_kind', if(h % 7 = 1, 'scheduler', 'cli'),
            'agnes.params', concat('{"table":"orders_', toString(n), '","rows":', toString(h % 100000), '}'),
            'agnes.params_before', if(h % 7 = 6, '{"table":"orders","rows":1}', '')),
          e < 860, map('agnes.sync.table_id', concat('orders_', toString(h % 200)), 'agnes.sync.status', if(h % 50 = 0, 'error', 'ok'),
            'agnes.sync.error', if(h % 50 = 0, 'Storage API: 503 Service Unavailable after 5 attempts', ''), 'agnes.sync.rows', toString(h % 40000), 'agnes.duration_ms', toString(h % 9000)),
          e < 890, map('agnes.processor.name', ['verification', 'usage'][h % 2 + 1], 'agnes.session.file', concat('user-1/', toString(h), '.jsonl'), 'agnes.result', 'success', 'agnes.duration_ms', toString(h % 900)),
          e < 910, map('agnes.system.component', 'ingest-gateway', 'agnes.system.event', 'heartbeat', 'agnes.pipeline.received', toString(n), 'agnes.pipeline.stored', toString(n),
            'agnes.pipeline.rejected', '0', 'agnes.pipeline.backlog_records', toString(h % 100), 'agnes.pipeline.oldest_seconds', '1.5', 'agnes.pipeline.lag_p99_ms', '800'),
          e < 935, map('gen_ai.request.model', ['claude-sonnet-4-5', 'claude-opus-4-1'][h % 2 + 1], 'gen_ai.provider.name', 'anthropic', 'gen_ai.usage.input_tokens', toString(h % 12000),
            'gen_ai.usage.output_tokens', toString(h % 1500), 'gen_ai.usage.cache_read.input_tokens', toString(h % 9000), 'agnes.cost_usd_micros', toString(h % 50000), 'agnes.duration_ms', toString(h % 8000), 'agnes.result', 'success'),
          e < 942 OR e >= 990, map('agnes.run.id', toString(h), 'gen_ai.agent.name', ['revenue-analyst', 'data-steward', 'report-writer'][h % 3 + 1], 'agnes.run.status', if(h % 12 = 0, 'failed', 'succeeded'), 'agnes.duration_ms', toString(h % 40000)),
          e < 950, map('exception.type', 'IOException', 'exception.message', 'Could not set lock on file'),
          map('event.name', 'x', 'model', 'claude-sonnet-4-5', 'tool_name', ['Bash', 'Read', 'Edit'][h % 3 + 1], 'decision', if(h % 20 = 0, 'reject', 'accept'), 'source', 'config', 'success', if(h % 9 = 0, 'false', 'true'),
            'duration_ms', toString(h % 3000), 'input_tokens', '400', 'output_tokens', toString(h % 900), 'cache_read_tokens', '30000', 'cost_usd_micros', toString(h % 30000), 'event.sequence', toString(n))))
      FROM numbers(${insertRows})`,
    query_params: { from },
  })
}
