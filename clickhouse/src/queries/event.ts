/**
 * "What was this one?": an event with everything it carries, found by its id. Ids are not sorted by, so the search goes by
 * time first: the time that is told, else the one within a UUIDv7; only what is not found there is looked for everywhere,
 * which reads the ids of the whole tenant.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { type RawRow, rowColumns, selectRows, timelineRowOf } from './rows.ts'
import type { TimelineRow } from './types.ts'
import { defaultTenant } from './where.ts'

export interface EventDetail extends TimelineRow {
  readonly storedAt: string
  readonly body: string
  readonly severity: string
  readonly traceId: string
  readonly spanId: string
  readonly scopeName: string
  readonly attributes: Readonly<Record<string, string>>
  readonly resourceAttributes: Readonly<Record<string, string>>
  /** What was redacted before the event was written: path and rule. */
  readonly redactions: readonly string[]
}

export interface EventQuestion {
  readonly id: string
  /** When it happened, where that is known. */
  readonly at?: Date
  readonly tenant?: string
}

interface DetailRow extends RawRow {
  readonly stored_at: string
  readonly body: string
  readonly severity: string
  readonly trace_id: string
  readonly span_id: string
  readonly scope_name: string
  readonly attributes: Readonly<Record<string, string>>
  readonly resource_attributes: Readonly<Record<string, string>>
  readonly redactions: readonly string[]
}

const hourMs = 3_600_000
/** Ids are short; a longer one is none of ours, and would travel in a URL. */
const longestId = 500

/** @returns undefined if this tenant has no such event */
export async function fetchEvent(
  client: ClickHouseClient,
  { id, at, tenant = defaultTenant }: EventQuestion,
): Promise<EventDetail | undefined> {
  if (id === '' || id.length > longestId || id.includes('\0')) return undefined
  const near = at === undefined ? guessedTime(id) : at.getTime()
  // A time that was told has milliseconds, and is exact; one that is guessed may be off by the sender's clock.
  const [before, after] = at === undefined ? [hourMs, hourMs] : [0, 1]
  const known = near === undefined ? undefined : await select(client, tenant, id, near - before, near + after)
  const row = known ?? (await select(client, tenant, id))
  if (row === undefined) return undefined
  return {
    ...timelineRowOf(row),
    storedAt: row.stored_at,
    body: row.body,
    severity: row.severity,
    traceId: row.trace_id,
    spanId: row.span_id,
    scopeName: row.scope_name,
    attributes: row.attributes,
    resourceAttributes: row.resource_attributes,
    redactions: row.redactions,
  }
}

async function select(
  client: ClickHouseClient,
  tenant: string,
  id: string,
  fromMs?: number,
  toMs?: number,
): Promise<DetailRow | undefined> {
  const within =
    fromMs === undefined
      ? ''
      : 'AND Timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND Timestamp <= fromUnixTimestamp64Milli({to:Int64})'
  const [row] = await selectRows<DetailRow>(
    client,
    `SELECT ${rowColumns()},
  StoredAt AS stored_at, Body AS body, SeverityText AS severity, TraceId AS trace_id, SpanId AS span_id,
  ScopeName AS scope_name, LogAttributes AS attributes, ResourceAttributes AS resource_attributes, Redactions AS redactions
FROM otel_logs
WHERE TenantId = {tenant:String} AND EventId = {id:String} ${within}
ORDER BY toUnixTimestamp64Nano(Timestamp) DESC, Seq DESC
LIMIT 1`,
    { tenant, id, from: String(fromMs ?? 0), to: String(toMs ?? 0) },
  )
  return row
}

/** Milliseconds since 1970 in a UUIDv7 (RFC 9562, section 5.7). */
function guessedTime(id: string): number | undefined {
  const [, high, low] = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i.exec(id) ?? []
  if (high === undefined || low === undefined) return undefined
  const ms = Number.parseInt(high + low, 16)
  return ms < 9_200_000_000_000 ? ms : undefined
}
