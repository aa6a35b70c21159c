/** Events as the API tells them: names as in the SQL views, SQL literals masked, long texts cut. */
import { csvLine, type EventDetail, type TimelineRow } from '@agnes/clickhouse'
import { z } from 'zod'
import { maskParams, maskText, parseJson } from '../masking/params.ts'

/** Characters of a text in the API and in exports. */
export const longestText = 10_000

const json = z
  .unknown()
  .describe('Any JSON value, SQL literals in it masked to `?`; a text where it is not JSON; null where there is none.')

export const eventRow = z.object({
  id: z.string().describe('Unique id of the event (`log.record.uid`).'),
  timestamp: z.string().describe('When it happened: ISO 8601 in UTC with nanoseconds.'),
  received_at: z.string().describe('When the gateway took it in.'),
  event_name: z.string(),
  service_name: z.string(),
  user_id: z.string(),
  action: z.string(),
  resource: z.string(),
  result: z.string().describe('As the application wrote it; empty when it wrote none.'),
  result_class: z.enum(['success', 'error', 'denied', 'none', 'other']),
  duration_ms: z.number().nullable(),
  client_kind: z.string(),
  client_address: z.string(),
  correlation_id: z.string(),
  session_id: z.string(),
  run_id: z.string(),
  summary: z.string().describe('One line for people.'),
  message: z.string(),
  params: json,
  params_before: json,
})

export type EventRow = z.infer<typeof eventRow>

export const eventDetail = eventRow.extend({
  stored_at: z.string(),
  body: z.string(),
  severity: z.string(),
  trace_id: z.string(),
  span_id: z.string(),
  scope_name: z.string(),
  attributes: z.record(z.string(), z.string()),
  resource_attributes: z.record(z.string(), z.string()),
  redactions: z.array(z.string()).describe('What was redacted before the event was written: path and rule.'),
})

/** How values are told: masked and cut, or as they were stored. */
interface Lens {
  text(value: string, key?: string): string
  params(value: string): unknown
  attributes(values: Readonly<Record<string, string>>): Record<string, string>
}

const options = { longestText }

const masked: Lens = {
  text: (value, key = '') => maskText(value, key, options),
  params: (value) => maskParams(value, options),
  attributes: maskAttributes,
}

const raw: Lens = {
  text: (value) => value,
  params: (value) => (value === '' ? null : (parseJson(value) ?? value)),
  attributes: (values) => ({ ...values }),
}

export function eventRowOf(row: TimelineRow, { text, params }: Lens = masked): EventRow {
  return {
    id: row.id,
    timestamp: row.timestamp,
    received_at: row.receivedAt,
    event_name: row.eventName,
    service_name: row.serviceName,
    user_id: row.userId,
    action: row.action,
    resource: text(row.resource),
    result: row.result,
    result_class: row.resultClass,
    duration_ms: row.durationMs,
    client_kind: row.clientKind,
    client_address: row.clientAddress,
    correlation_id: row.correlationId,
    session_id: row.sessionId,
    run_id: row.runId,
    summary: text(row.summary),
    message: text(row.message),
    params: params(row.params),
    params_before: params(row.paramsBefore),
  }
}

export function eventDetailOf(event: EventDetail, lens: Lens = masked): z.infer<typeof eventDetail> {
  return {
    ...eventRowOf(event, lens),
    stored_at: event.storedAt,
    body: lens.text(event.body),
    severity: event.severity,
    trace_id: event.traceId,
    span_id: event.spanId,
    scope_name: event.scopeName,
    attributes: lens.attributes(event.attributes),
    resource_attributes: lens.attributes(event.resourceAttributes),
    redactions: [...event.redactions],
  }
}

/** As it was stored, for whoever may see that. */
export function rawDetailOf(event: EventDetail): z.infer<typeof eventDetail> {
  return eventDetailOf(event, raw)
}

/** An attribute may hold JSON: its SQL is masked too, and it stays a text. */
export function maskAttributes(attributes: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(attributes).map(([key, value]) => {
      const seen = /^\s*[[{]/.test(value) ? maskParams(value, options) : maskText(value, key, options)
      return [key, typeof seen === 'string' ? seen : JSON.stringify(seen)]
    }),
  )
}

const columns = Object.keys(eventRow.shape) as readonly (keyof EventRow)[]

export const csvTitles = csvLine(columns)

export function csvOf(row: EventRow): string {
  return csvLine(
    columns.map((name) => {
      const value = row[name]
      if (value === null || value === undefined) return null
      return typeof value === 'string' || typeof value === 'number' ? value : JSON.stringify(value)
    }),
  )
}
