/** What both transcoders (protobuf, JSON) take and give, and the rules they share. */

import type { Redactor } from '@agnes/redaction'
import type { IdFilter } from '../event-ids.ts'

export interface TranscodeLimits {
  /** More records in a request are refused whole (413). */
  readonly maxRecords: number
  /** More attributes on a record, and the record is rejected (partial success); on a resource or scope, the request. */
  readonly maxAttributes: number
  /** AnyValue may nest this deep; a record that goes deeper is rejected (partial success). */
  readonly maxDepth: number
}

export const defaultLimits: TranscodeLimits = { maxRecords: 50_000, maxAttributes: 1_024, maxDepth: 64 }

export interface TranscodeOptions {
  readonly limits?: TranscodeLimits
  /** Takes secrets out; without one nothing is looked at. */
  readonly redactor?: Redactor
  /** Recognises events that came before; without it all are new. */
  readonly ids?: IdFilter
}

/** A request in insert format (see layout.ts). */
export interface Rows {
  /** RowBinary of the type `groupsType`. */
  readonly bytes: Uint8Array
  /** What resources and scopes become in ClickHouse's memory, where each record has them: see {@link unfoldedGroup}. */
  readonly unfoldedBytes: number
  /** Records in `bytes`. */
  readonly records: number
  /** Records left out because they came before. */
  readonly duplicates: number
  /** Records left out, for the reasons in `notes`. */
  readonly rejected: number
  /** English sentences for `partial_success.error_message`: what was wrong and how to mend it. */
  readonly notes: readonly string[]
}

/** The request can't be stored at all; `status` is the HTTP status of the answer. */
export class RequestError extends Error {
  readonly status: 400 | 413

  constructor(status: 400 | 413, message: string) {
    super(message)
    this.name = 'RequestError'
    this.status = status
  }
}

/** Counts what was repaired or left out, and says it once a kind instead of once a record. */
export class Notes {
  rejected = 0
  private readonly counts = new Map<string, number>()

  /** A record is left out. */
  reject(reason: string): void {
    this.rejected++
    this.repair(reason)
  }

  /** A record is kept, but not exactly as sent. */
  repair(reason: string, times = 1): void {
    this.counts.set(reason, (this.counts.get(reason) ?? 0) + times)
  }

  sentences(): string[] {
    return [...this.counts].map(([reason, count]) => `${count} × ${reason}`)
  }
}

export const reasons = {
  attributes: (limit: number) => `record rejected: more than ${limit} attributes; send fewer or put them into the body`,
  depth: (limit: number) => `record rejected: a value nests deeper than ${limit} levels; flatten it`,
  utf8: 'string was not valid UTF-8, its bad bytes were replaced by U+FFFD; send UTF-8',
  traceId: 'trace_id was not 16 bytes and was left out; send 16 bytes (32 hexadecimal digits in JSON) or none',
  spanId: 'span_id was not 8 bytes and was left out; send 8 bytes (16 hexadecimal digits in JSON) or none',
  time: 'time beyond the year 2262 was left out, the observed time or the time of arrival stands in; send nanoseconds since 1970',
  severity: 'severity_number was not an integer from 0 to 255 and was left out; send 1 to 24',
} as const

/** Empty messages cost two bytes each: without a limit a small body could hold tens of millions of them. */
export const maxContainers = 100_000

/** Bound on the rows of one request: a resource is repeated for each of its scopes, and JSON escapes can take six times the room. */
export const maxRowBytes = 2 ** 28 - 1

/**
 * Bound on what one request unfolds to. Rows have a resource once, the INSERT repeats it for each record: 0.5 MB with a
 * resource of 400 KiB and 50,000 empty records took the engine to 20 GB. At the bound it takes 0.3 GB (measured).
 */
export const maxUnfoldedBytes = 2 ** 28

/** What an attribute or a redaction costs a record beyond its text: offsets of its strings and in its list (measured). */
const entryBytes = 32

/**
 * Bytes that a group becomes in ClickHouse's memory.
 * @param groupBytes of its columns without its records
 * @param entries attributes of its resource and its scope, and what was redacted in them
 */
export function unfoldedGroup(groupBytes: number, entries: number, records: number): number {
  return (groupBytes + entries * entryBytes) * records
}

export function tooManyUnfoldedBytes(): RequestError {
  return new RequestError(
    413,
    `resources and scopes, stored with each of their log records, become more than ${maxUnfoldedBytes} bytes: send smaller batches, or shorter attributes on the resource`,
  )
}

export function tooManyRecords(limit: number): RequestError {
  return new RequestError(413, `the request holds more than ${limit} log records: send smaller batches`)
}

export function tooManyContainers(): RequestError {
  return new RequestError(
    413,
    `the request holds more than ${maxContainers} resources and scopes: send smaller batches`,
  )
}

export function tooManyRowBytes(): RequestError {
  return new RequestError(413, `the request becomes more than ${maxRowBytes} bytes of rows: send smaller batches`)
}

/** One record cannot be stored; it is rejected and the others of its request are kept. */
export class RecordError extends Error {}

/** What is wrong in a resource or a scope is wrong for all their records: the request is refused. */
export function asRequestError(error: unknown, at: string): unknown {
  if (!(error instanceof RecordError)) return error
  return new RequestError(400, `${at}: ${error.message.replace('record rejected: ', '')}`)
}

/** Claude Code sends its event's name as the body, with this prefix. */
const claudeCodePrefix = 'claude_code.'
const maxEventNameLength = 128
const eventNamePattern = /^[A-Za-z][\w:-]*(\.[\w:-]+)+$/

/**
 * The event name a body stands for, where neither the field EventName nor the attribute `event.name` is set.
 * Only a dotted identifier counts: a log line is not an event name.
 */
export function eventNameFromBody(body: string): string {
  if (body.length > maxEventNameLength || !eventNamePattern.test(body)) return ''
  return body.startsWith(claudeCodePrefix) ? body.slice(claudeCodePrefix.length) : body
}

/**
 * A double as text: the shortest digits that read back as the same number, `NaN`, `Infinity`, `-Infinity`
 * (the ProtoJSON words), and `-0` kept apart from `0`.
 */
export function doubleText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

/**
 * Attributes whose value becomes a column of its own if it is a string that is not empty; EventId prefers `uid`.
 * Of attributes with the same key the last one counts, whatever its value.
 */
export const attributeNames = {
  eventName: 'event.name',
  uid: 'log.record.uid',
  eventId: 'event.id',
  sessionId: 'session.id',
  sequence: 'event.sequence',
  timestamp: 'event.timestamp',
} as const

/** Claude Code's events have no id, but their place in a session; undefined if a part is missing. */
export function claudeCodeId(session: string, sequence: string, timestamp: string): string | undefined {
  if (session === '' || sequence === '' || timestamp === '') return undefined
  return `${session.length} ${session} ${sequence.length} ${sequence} ${timestamp}`
}

/** Where redacted texts stood, as `Redactions` lists them; an attribute adds its key. */
export const paths = {
  resource: 'resource.attributes.',
  resourceSchemaUrl: 'resource.schema_url',
  serviceName: 'service_name',
  scope: 'scope.attributes.',
  scopeSchemaUrl: 'scope.schema_url',
  scopeName: 'scope.name',
  scopeVersion: 'scope.version',
  attributes: 'attributes.',
  body: 'body',
  severityText: 'severity_text',
  eventName: 'event_name',
  eventId: 'event_id',
} as const
