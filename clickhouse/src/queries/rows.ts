/** Rows of `agnes.otel_logs` as they are read and handed out. */
import { resultClass } from '@agnes/events'
import type { ClickHouseClient } from '@clickhouse/client'
import type { Cursor } from './cursor.ts'
import type { TimelineRow } from './types.ts'

/**
 * What a page reads. The table itself is asked and not the view `events`: planning a query through the view took 10 ms
 * longer, half of what a page takes.
 */
export const rowColumns = columnsOf((column) => column)

/**
 * The same with long texts cut to so many characters: a page of events that carry a megabyte each would not fit in memory.
 * What was cut ends with an ellipsis.
 */
export function shortRowColumns(longestText: number): string {
  return columnsOf(
    (column) =>
      `if(lengthUTF8(${column}) > ${longestText}, concat(substringUTF8(${column}, 1, ${longestText}), '…'), ${column})`,
  )
}

function columnsOf(text: (column: string) => string): string {
  return `EventId AS id, Timestamp AS timestamp, ReceivedAt AS received_at, Seq AS seq, BatchId AS batch_id,
  EventName AS event_name, ServiceName AS service_name, UserId AS user_id, Action AS action, ${text('Resource')} AS resource,
  Result AS result, DurationMs AS duration_ms, ClientKind AS client_kind,
  ClientAddress AS client_address, CorrelationId AS correlation_id, SessionId AS session_id, RunId AS run_id,
  ${text('Summary')} AS summary, ${text('Message')} AS message, ${text('Params')} AS params, ${text('ParamsBefore')} AS params_before`
}

export interface RawRow {
  readonly id: string
  /** ISO 8601 in UTC with nanoseconds. */
  readonly timestamp: string
  readonly received_at: string
  /** Decimal UInt64: a JSON number would lose its last digits. */
  readonly seq: string
  readonly batch_id: string
  readonly event_name: string
  readonly service_name: string
  readonly user_id: string
  readonly action: string
  readonly resource: string
  readonly result: string
  /** Decimal UInt64. */
  readonly duration_ms: string | null
  readonly client_kind: string
  readonly client_address: string
  readonly correlation_id: string
  readonly session_id: string
  readonly run_id: string
  readonly summary: string
  readonly message: string
  readonly params: string
  readonly params_before: string
}

/** 64-bit numbers come as decimal text, times as ISO 8601 in UTC. */
export async function selectRows<T>(
  client: ClickHouseClient,
  query: string,
  params: Readonly<Record<string, unknown>>,
): Promise<T[]> {
  const result = await client.query({
    query,
    query_params: { ...params },
    format: 'JSONEachRow',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1, date_time_output_format: 'iso' },
  })
  return result.json<T>()
}

export function timelineRowOf(row: RawRow): TimelineRow {
  return {
    id: row.id,
    timestamp: row.timestamp,
    receivedAt: row.received_at,
    eventName: row.event_name,
    serviceName: row.service_name,
    userId: row.user_id,
    action: row.action,
    resource: row.resource,
    result: row.result,
    resultClass: resultClass(row.result),
    durationMs: row.duration_ms === null ? null : Number(row.duration_ms),
    clientKind: row.client_kind,
    clientAddress: row.client_address,
    correlationId: row.correlation_id,
    sessionId: row.session_id,
    runId: row.run_id,
    summary: row.summary,
    message: row.message,
    params: row.params,
    paramsBefore: row.params_before,
  }
}

export function cursorOf({ timestamp, seq, batch_id }: RawRow): Cursor {
  return { timeUnixNano: nanosOf(timestamp), seq, batchId: batch_id }
}

/** Nanoseconds since 1970 of an ISO 8601 time with a fraction of nine digits. */
function nanosOf(iso: string): bigint {
  const [seconds = '', nanos = ''] = iso.slice(0, -1).split('.')
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(nanos)
}
