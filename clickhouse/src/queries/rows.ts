/** Rows of `agnes.otel_logs` as they are read and handed out. */
import { resultClass } from '@agnes/events'
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client'
import type { Cursor } from './cursor.ts'
import type { TimelineRow } from './types.ts'

const times = {
  timestamp: 'Timestamp',
  received_at: 'ReceivedAt',
  seq: 'Seq',
  batch_id: 'BatchId',
  duration_ms: 'DurationMs',
} as const
const texts = {
  id: 'EventId',
  event_name: 'EventName',
  service_name: 'ServiceName',
  user_id: 'UserId',
  action: 'Action',
  resource: 'Resource',
  result: 'Result',
  client_kind: 'ClientKind',
  client_address: 'ClientAddress',
  correlation_id: 'CorrelationId',
  session_id: 'SessionId',
  run_id: 'RunId',
  summary: 'Summary',
  message: 'Message',
  params: 'Params',
  params_before: 'ParamsBefore',
} as const

/**
 * What a page reads. The table itself is asked and not the view `events`: planning a query through the view took 10 ms
 * longer, half of what a page takes.
 * @param longestText texts come cut to one character more, so that {@link timelineRowOf} sees which were longer: a page of
 * events that carry a megabyte each would not fit in memory. One call a column, made after the sort: cutting them in a
 * query around this one took as long to plan as all the rest.
 */
export function rowColumns(longestText?: number): string {
  const text = (column: string): string =>
    longestText === undefined ? column : `substringUTF8(${column}, 1, ${longestText + 1})`
  return [
    ...Object.entries(times).map(([name, column]) => `${column} AS ${name}`),
    ...Object.entries(texts).map(([name, column]) => `${text(column)} AS ${name}`),
  ].join(', ')
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
  settings: ClickHouseSettings = {},
): Promise<T[]> {
  const result = await client.query({
    query,
    query_params: { ...params },
    format: 'JSONEachRow',
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1, date_time_output_format: 'iso', ...settings },
  })
  return result.json<T>()
}

/** @param longestText as the row was asked for: longer texts end with an ellipsis there */
export function timelineRowOf(raw: RawRow, longestText: number = Number.POSITIVE_INFINITY): TimelineRow {
  const row = { ...raw }
  for (const name of textNames) row[name] = shortened(raw[name], longestText)
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

const textNames = Object.keys(texts) as readonly (keyof typeof texts)[]

function shortened(text: string, longest: number): string {
  if (text.length <= longest) return text
  // Characters of ClickHouse are code points.
  const characters = [...text]
  return characters.length <= longest ? text : `${characters.slice(0, longest).join('')}…`
}

export function cursorOf({ timestamp, seq, batch_id }: RawRow): Cursor {
  return { timeUnixNano: nanosOf(timestamp), seq, batchId: batch_id }
}

/** Nanoseconds since 1970 of an ISO 8601 time with a fraction of nine digits. */
function nanosOf(iso: string): bigint {
  const [seconds = '', nanos = ''] = iso.slice(0, -1).split('.')
  return BigInt(Date.parse(`${seconds}Z`)) * 1_000_000n + BigInt(nanos)
}
