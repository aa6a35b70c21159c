/** OTLP logs by an independent implementation: protobufjs with the official message definitions (otlp.proto). */
import path from 'node:path'
import protobuf from 'protobufjs'

/** Messages as plain objects; 64-bit integers are bigint, an absent field is an absent property. */
export interface ExportLogsRequest {
  readonly resourceLogs?: readonly ResourceLogs[]
}

export interface ResourceLogs {
  readonly resource?: Resource
  readonly scopeLogs?: readonly ScopeLogs[]
  readonly schemaUrl?: string
}

export interface Resource {
  readonly attributes?: readonly KeyValue[]
  readonly droppedAttributesCount?: number
}

export interface ScopeLogs {
  readonly scope?: InstrumentationScope
  readonly logRecords?: readonly LogRecord[]
  readonly schemaUrl?: string
}

export interface InstrumentationScope {
  readonly name?: string
  readonly version?: string
  readonly attributes?: readonly KeyValue[]
  readonly droppedAttributesCount?: number
}

export interface LogRecord {
  readonly timeUnixNano?: bigint
  readonly observedTimeUnixNano?: bigint
  readonly severityNumber?: number
  readonly severityText?: string
  readonly body?: AnyValue
  readonly attributes?: readonly KeyValue[]
  readonly droppedAttributesCount?: number
  readonly flags?: number
  readonly traceId?: Uint8Array
  readonly spanId?: Uint8Array
  readonly eventName?: string
}

export interface KeyValue {
  readonly key?: string
  readonly value?: AnyValue
}

/** At most one member is set; none = an empty value. */
export interface AnyValue {
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: bigint
  readonly doubleValue?: number
  readonly arrayValue?: { readonly values?: readonly AnyValue[] }
  readonly kvlistValue?: { readonly values?: readonly KeyValue[] }
  readonly bytesValue?: Uint8Array
}

export interface ExportLogsResponse {
  readonly partialSuccess?: { readonly rejectedLogRecords?: bigint; readonly errorMessage?: string }
}

/** `google.rpc.Status` */
export interface Status {
  readonly code?: number
  readonly message?: string
}

const root = protobuf.loadSync(path.join(import.meta.dirname, 'otlp.proto'))
const request = root.lookupType('ExportLogsServiceRequest')
const response = root.lookupType('ExportLogsServiceResponse')
const status = root.lookupType('Status')

export function encodeExportLogsRequest(message: ExportLogsRequest): Uint8Array {
  return request.encode(request.fromObject(withoutBigInts(message))).finish()
}

/** @throws if the bytes are not such a message */
export function decodeExportLogsRequest(bytes: Uint8Array): ExportLogsRequest {
  return decode(request, bytes)
}

export function decodeExportLogsResponse(bytes: Uint8Array): ExportLogsResponse {
  return decode(response, bytes)
}

export function decodeStatus(bytes: Uint8Array): Status {
  return decode(status, bytes)
}

function decode<T extends object>(type: protobuf.Type, bytes: Uint8Array): T {
  return type.toObject(type.decode(bytes), { longs: BigInt }) as T
}

/** protobufjs takes 64-bit integers as decimal text. */
function withoutBigInts(message: ExportLogsRequest): Record<string, unknown> {
  const convert = (value: unknown): unknown => {
    if (typeof value === 'bigint') return value.toString()
    if (Array.isArray(value)) return value.map(convert)
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, convert(member)]))
  }
  return convert(message) as Record<string, unknown>
}
