/**
 * "Is each table synced?": one line a table, over the last seven days. Of the wide columns only the last sync of each
 * table is read: the attributes of all of them took four times as long on 5 million events.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from './rows.ts'
import { defaultTenant } from './where.ts'

export type SyncOutcome = 'ok' | 'skipped' | 'failed'

export interface SyncRun {
  /** ISO 8601. */
  readonly at: string
  readonly outcome: SyncOutcome
  readonly durationMs: number | null
}

export interface SyncTable {
  readonly table: string
  /** Newest first, at most twelve. */
  readonly runs: readonly SyncRun[]
  /** ISO 8601; null if none was ok in seven days. */
  readonly lastOk: string | null
  /** Rows the last ok one brought; null if it did not say. */
  readonly lastRows: number | null
  /** What the newest run said went wrong; empty unless it failed. */
  readonly lastError: string
  /** Seconds since a sync was ok; null if none was in seven days. */
  readonly ageSeconds: number | null
  /** Median of the time between two ok ones, seconds; null with fewer than three. */
  readonly everySeconds: number | null
  /** Seconds until the next one is due by that rhythm; negative = overdue. */
  readonly dueSeconds: number | null
  readonly failed24h: number
  readonly failed7d: number
  readonly runs7d: number
  readonly medianDurationMs: number | null
  readonly p95DurationMs: number | null
}

const maxTables = 2_000

interface Row {
  readonly table: string
  readonly runs: readonly (readonly [minusMs: string, result: string, durationMs: string | null])[]
  readonly last_ok_ms: string
  readonly oks: string
  readonly every_ms: string | null
  readonly failed_24h: string
  readonly failed_7d: string
  readonly runs_7d: string
  readonly duration: readonly (number | null)[]
}

/** Failing and overdue tables first, then by name. @param now the instant ages are counted from */
export async function fetchSyncs(
  client: ClickHouseClient,
  { now = new Date(), tenant = defaultTenant }: { readonly now?: Date; readonly tenant?: string } = {},
): Promise<SyncTable[]> {
  const params = { tenant, now: String(now.getTime()), max: maxTables }
  const rows = await selectRows<Row>(
    client,
    `WITH fromUnixTimestamp64Milli({now:Int64}) AS clock
SELECT
  Resource AS table,
  groupArraySorted(12)((-toUnixTimestamp64Milli(Timestamp), toString(Result), DurationMs)) AS runs,
  toUnixTimestamp64Milli(maxIf(Timestamp, Result IN ('ok', 'success'))) AS last_ok_ms,
  countIf(Result IN ('ok', 'success')) AS oks,
  arraySort(groupArrayIf(1000)(toUnixTimestamp64Milli(Timestamp), Result IN ('ok', 'success'))) AS times,
  arrayReduce('quantileExact(0.5)', arrayPopFront(arrayDifference(times))) AS every_ms,
  countIf(Result NOT IN ('ok', 'success', 'skipped') AND Timestamp >= clock - INTERVAL 1 DAY) AS failed_24h,
  countIf(Result NOT IN ('ok', 'success', 'skipped')) AS failed_7d,
  count() AS runs_7d,
  quantilesTDigest(0.5, 0.95)(DurationMs) AS duration
FROM otel_logs
WHERE TenantId = {tenant:String} AND EventName = 'agnes.sync'
  AND Timestamp >= clock - INTERVAL 7 DAY AND Timestamp <= clock
GROUP BY Resource
ORDER BY table
LIMIT {max:UInt32}`,
    params,
  )
  const details = await lastDetails(client, rows, tenant)
  return rows.map((row) => syncTableOf(row, details.get(row.table), now)).sort(byUrgency)
}

interface Detail {
  readonly rows: number | null
  readonly error: string
}

/** Rows of the last ok run and error of the newest run of each table, found by their times. */
async function lastDetails(
  client: ClickHouseClient,
  rows: readonly Row[],
  tenant: string,
): Promise<ReadonlyMap<string, Detail>> {
  const newest = rows.flatMap(({ runs }) => runs.slice(0, 1).map(([minusMs]) => String(-Number(minusMs))))
  const times = [...new Set([...newest, ...rows.map((row) => row.last_ok_ms)])].sort()
  const details = new Map<string, Detail>()
  for (let i = 0; i < times.length; i += timesAtOnce) {
    const chunk = times.slice(i, i + timesAtOnce)
    const found = await selectRows<{ table: string; rows: string | null; error: string }>(
      client,
      `SELECT Resource AS table, 
  toInt64OrNull(argMaxIf(LogAttributes['agnes.sync.rows'], Timestamp, Result IN ('ok', 'success'))) AS rows,
  argMax(substringUTF8(Message, 1, 300), Timestamp) AS error
FROM otel_logs
WHERE TenantId = {tenant:String} AND EventName = 'agnes.sync'
  AND toString(toUnixTimestamp64Milli(Timestamp)) IN {times:Array(String)}
  AND Timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND Timestamp < fromUnixTimestamp64Milli({to:Int64} + 1)
GROUP BY Resource`,
      { tenant, times: chunk, from: chunk[0], to: chunk.at(-1) },
    )
    for (const { table, rows, error } of found) {
      // Times are in order, so what a later chunk says is newer.
      const before = details.get(table)
      details.set(table, { rows: rows === null ? (before?.rows ?? null) : Number(rows), error })
    }
  }
  return details
}

/** Their text travels in the URL. */
const timesAtOnce = 200

function syncTableOf(row: Row, detail: Detail | undefined, now: Date): SyncTable {
  const runs = row.runs.map(([minusMs, result, durationMs]) => ({
    at: new Date(-Number(minusMs)).toISOString(),
    outcome: outcomeOf(result),
    durationMs: durationMs === null ? null : Number(durationMs),
  }))
  const lastOkMs = row.oks === '0' ? undefined : Number(row.last_ok_ms)
  const ageSeconds = lastOkMs === undefined ? null : Math.max(0, Math.round((now.getTime() - lastOkMs) / 1000))
  const everySeconds = Number(row.oks) < 3 || row.every_ms === null ? null : Math.round(Number(row.every_ms) / 1000)
  const [median, p95] = row.duration.map((ms) => (ms === null || Number.isNaN(ms) ? null : Math.round(ms)))
  return {
    table: row.table,
    runs,
    lastOk: lastOkMs === undefined ? null : new Date(lastOkMs).toISOString(),
    lastRows: detail?.rows ?? null,
    lastError: runs[0]?.outcome === 'failed' ? (detail?.error ?? '') : '',
    ageSeconds,
    everySeconds,
    dueSeconds: ageSeconds === null || everySeconds === null ? null : everySeconds - ageSeconds,
    failed24h: Number(row.failed_24h),
    failed7d: Number(row.failed_7d),
    runs7d: Number(row.runs_7d),
    medianDurationMs: median ?? null,
    p95DurationMs: p95 ?? null,
  }
}

/** As the view `sync_history` has it. */
function outcomeOf(result: string): SyncOutcome {
  if (result === 'ok' || result === 'success') return 'ok'
  return result === 'skipped' ? 'skipped' : 'failed'
}

function byUrgency(one: SyncTable, other: SyncTable): number {
  const rank = ({ runs, lastOk, dueSeconds, everySeconds }: SyncTable): number => {
    if (runs[0]?.outcome === 'failed') return 0
    if (lastOk === null) return 1
    return dueSeconds !== null && everySeconds !== null && dueSeconds < -everySeconds ? 2 : 3
  }
  return rank(one) - rank(other) || (one.table < other.table ? -1 : one.table > other.table ? 1 : 0)
}
