/**
 * What a request becomes in the table, by the documented rules, as plainly as they can be written.
 * Works on decoded messages and knows nothing of bytes: the transcoders are held against it.
 */
import type { AnyValue, ExportLogsRequest, KeyValue, LogRecord } from './otlp-reference.ts'
import type { Pairs, Row } from './rowbinary.ts'

export function expectedRows(request: ExportLogsRequest, receivedAtNs: bigint): Row[] {
  const rows: Row[] = []
  for (const { resource, schemaUrl: resourceSchemaUrl, scopeLogs } of request.resourceLogs ?? []) {
    for (const { scope, schemaUrl, logRecords } of scopeLogs ?? []) {
      for (const record of logRecords ?? []) {
        rows.push({
          ServiceName: valueText(lastValue(resource?.attributes, 'service.name')),
          ResourceSchemaUrl: resourceSchemaUrl ?? '',
          ResourceAttributes: pairs(resource?.attributes),
          ScopeSchemaUrl: schemaUrl ?? '',
          ScopeName: scope?.name ?? '',
          ScopeVersion: scope?.version ?? '',
          ScopeAttributes: pairs(scope?.attributes),
          GroupRedactions: [],
          Index: rows.length,
          ...recordColumns(record, receivedAtNs),
        })
      }
    }
  }
  return rows
}

function recordColumns(record: LogRecord, receivedAtNs: bigint) {
  const observed = time(record.observedTimeUnixNano) ?? receivedAtNs
  const severity = record.severityNumber ?? 0
  return {
    Timestamp: time(record.timeUnixNano) ?? observed,
    ObservedTimestamp: observed,
    TraceId: id(record.traceId, 16),
    SpanId: id(record.spanId, 8),
    TraceFlags: (record.flags ?? 0) % 256,
    SeverityText: record.severityText ?? '',
    SeverityNumber: severity >= 0 && severity <= 255 ? severity : 0,
    Body: valueText(record.body),
    LogAttributes: pairs(record.attributes),
    EventName: record.eventName || lastString(record, 'event.name') || nameInBody(record.body?.stringValue ?? ''),
    EventId: lastString(record, 'log.record.uid') || lastString(record, 'event.id'),
    Redactions: [],
  }
}

/** Absent, zero, and what DateTime64(9) can't hold are no time. */
function time(nanoseconds: bigint | undefined): bigint | undefined {
  return nanoseconds !== undefined && nanoseconds > 0n && nanoseconds < 2n ** 63n ? nanoseconds : undefined
}

function id(bytes: Uint8Array | undefined, length: number): string {
  if (bytes === undefined || bytes.length !== length || bytes.every((byte) => byte === 0)) return ''
  return Buffer.from(bytes).toString('hex')
}

function pairs(attributes: readonly KeyValue[] | undefined): Pairs {
  return (attributes ?? []).map(({ key, value }) => [key ?? '', valueText(value)])
}

/** Of attributes with the same key the last one counts. */
function lastValue(attributes: readonly KeyValue[] | undefined, key: string): AnyValue | undefined {
  return attributes?.filter((attribute) => attribute.key === key).at(-1)?.value
}

function lastString({ attributes }: LogRecord, key: string): string {
  return lastValue(attributes, key)?.stringValue ?? ''
}

/** A dotted identifier of at most 128 characters is an event's name, and Claude Code's prefix is not part of it. */
function nameInBody(body: string): string {
  const parts = body.split('.')
  const isName =
    body.length <= 128 &&
    parts.length >= 2 &&
    parts.every((part) => /^[A-Za-z0-9_:-]+$/.test(part)) &&
    /^[A-Za-z]/.test(body)
  if (!isName) return ''
  return parts[0] === 'claude_code' ? parts.slice(1).join('.') : body
}

function valueText(value: AnyValue | undefined): string {
  if (value?.stringValue !== undefined) return value.stringValue
  if (value?.bytesValue !== undefined) return Buffer.from(value.bytesValue).toString('base64')
  if (value?.doubleValue !== undefined) return doubleText(value.doubleValue)
  const json = valueJson(value)
  return json === 'null' ? '' : json
}

function valueJson(value: AnyValue | undefined): string {
  if (value?.stringValue !== undefined) return JSON.stringify(value.stringValue)
  if (value?.boolValue !== undefined) return value.boolValue ? 'true' : 'false'
  if (value?.intValue !== undefined) return value.intValue.toString()
  if (value?.doubleValue !== undefined) {
    const text = doubleText(value.doubleValue)
    return Number.isFinite(value.doubleValue) ? text : JSON.stringify(text)
  }
  if (value?.bytesValue !== undefined) return JSON.stringify(Buffer.from(value.bytesValue).toString('base64'))
  if (value?.arrayValue !== undefined) return `[${(value.arrayValue.values ?? []).map(valueJson).join(',')}]`
  if (value?.kvlistValue !== undefined) {
    const entries = value.kvlistValue.values ?? []
    return `{${entries.map((entry) => `${JSON.stringify(entry.key ?? '')}:${valueJson(entry.value)}`).join(',')}}`
  }
  return 'null'
}

function doubleText(value: number): string {
  return value === 0 && 1 / value < 0 ? '-0' : value.toString()
}
