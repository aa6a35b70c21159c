/**
 * Protobuf written field by field, so that tests can write what no library would: fields in any order, padded varints,
 * unknown and repeated fields, and plain nonsense.
 * @see https://protobuf.dev/programming-guides/encoding/
 */
import type { AnyValue, ExportLogsRequest, KeyValue, LogRecord, ScopeLogs } from './otlp-reference.ts'

/** A varint (bigint), 4 or 8 bytes as they are, length-delimited bytes or text, or a message. */
export type Field = { readonly number: number } & (
  | { readonly varint: bigint }
  | { readonly fixed32: number }
  | { readonly fixed64: bigint }
  | { readonly double: number }
  | { readonly bytes: Uint8Array | string }
  | { readonly message: readonly Field[] }
  | { readonly group: readonly Field[] }
)

/** How a message is written; the default is what every library writes. */
export interface Wire {
  /** Fields of one message (or group) as they go on the wire. */
  readonly arrange?: (fields: readonly Field[]) => readonly Field[]
  /** Bytes a varint is padded by. */
  readonly padding?: () => number
}

export function message(fields: readonly Field[], wire: Wire = {}): Buffer {
  const arranged = wire.arrange === undefined ? fields : wire.arrange(fields)
  return Buffer.concat(arranged.map((field) => encoded(field, wire)))
}

function encoded(field: Field, wire: Wire): Buffer {
  const tag = (wireType: number): Buffer => varint((BigInt(field.number) << 3n) | BigInt(wireType), wire.padding?.())
  if ('varint' in field) return Buffer.concat([tag(0), varint(field.varint, wire.padding?.())])
  if ('fixed64' in field)
    return Buffer.concat([tag(1), eightBytes((view) => view.setBigUint64(0, field.fixed64, true))])
  if ('double' in field) return Buffer.concat([tag(1), eightBytes((view) => view.setFloat64(0, field.double, true))])
  if ('group' in field) return Buffer.concat([tag(3), message(field.group, wire), tag(4)])
  if ('fixed32' in field) {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(field.fixed32)
    return Buffer.concat([tag(5), bytes])
  }
  const content = 'message' in field ? message(field.message, wire) : Buffer.from(field.bytes)
  return Buffer.concat([tag(2), varint(BigInt(content.length), wire.padding?.()), content])
}

/** @param padding continuation bytes added beyond what the value needs (a varint has at most 10 bytes) */
export function varint(value: bigint, padding = 0): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  do {
    bytes.push(Number(rest & 0x7fn))
    rest >>= 7n
  } while (rest > 0n)
  for (let i = 0; i < padding && bytes.length < 10; i++) bytes.push(0)
  return Buffer.from(bytes.map((byte, i) => (i < bytes.length - 1 ? byte | 0x80 : byte)))
}

function eightBytes(write: (view: DataView) => void): Buffer {
  const bytes = Buffer.alloc(8)
  write(new DataView(bytes.buffer, bytes.byteOffset, 8))
  return bytes
}

/** An ExportLogsServiceRequest as fields. */
export function requestFields({ resourceLogs = [] }: ExportLogsRequest): Field[] {
  return resourceLogs.map(({ resource, scopeLogs = [], schemaUrl }) => ({
    number: 1,
    message: [
      ...optional(resource, ({ attributes }) => ({ number: 1, message: attributeFields(1, attributes) })),
      ...scopeLogs.map((logs) => ({ number: 2, message: scopeLogsFields(logs) })),
      ...optional(schemaUrl, (bytes) => ({ number: 3, bytes })),
    ],
  }))
}

function scopeLogsFields({ scope, logRecords = [], schemaUrl }: ScopeLogs): Field[] {
  return [
    ...optional(scope, ({ name, version, attributes }) => ({
      number: 1,
      message: [
        ...optional(name, (bytes) => ({ number: 1, bytes })),
        ...optional(version, (bytes) => ({ number: 2, bytes })),
        ...attributeFields(3, attributes),
      ],
    })),
    ...logRecords.map((record) => ({ number: 2, message: recordFields(record) })),
    ...optional(schemaUrl, (bytes) => ({ number: 3, bytes })),
  ]
}

export function recordFields(record: LogRecord): Field[] {
  return [
    ...optional(record.timeUnixNano, (fixed64) => ({ number: 1, fixed64 })),
    ...optional(record.severityNumber, (value) => ({ number: 2, varint: BigInt(value) })),
    ...optional(record.severityText, (bytes) => ({ number: 3, bytes })),
    ...optional(record.body, (value) => ({ number: 5, message: valueFields(value) })),
    ...attributeFields(6, record.attributes),
    ...optional(record.flags, (fixed32) => ({ number: 8, fixed32 })),
    ...optional(record.traceId, (bytes) => ({ number: 9, bytes })),
    ...optional(record.spanId, (bytes) => ({ number: 10, bytes })),
    ...optional(record.observedTimeUnixNano, (fixed64) => ({ number: 11, fixed64 })),
    ...optional(record.eventName, (bytes) => ({ number: 12, bytes })),
  ]
}

function attributeFields(number: number, attributes: readonly KeyValue[] = []): Field[] {
  return attributes.map(({ key, value }) => ({
    number,
    message: [
      ...optional(key, (bytes) => ({ number: 1, bytes })),
      ...optional(value, (value) => ({ number: 2, message: valueFields(value) })),
    ],
  }))
}

export function valueFields(value: AnyValue): Field[] {
  return [
    ...optional(value.stringValue, (bytes) => ({ number: 1, bytes })),
    ...optional(value.boolValue, (bool) => ({ number: 2, varint: bool ? 1n : 0n })),
    ...optional(value.intValue, (varint) => ({ number: 3, varint })),
    ...optional(value.doubleValue, (double) => ({ number: 4, double })),
    ...optional(value.arrayValue, ({ values = [] }) => ({
      number: 5,
      message: values.map((item) => ({ number: 1, message: valueFields(item) })),
    })),
    ...optional(value.kvlistValue, ({ values }) => ({ number: 6, message: attributeFields(1, values) })),
    ...optional(value.bytesValue, (bytes) => ({ number: 7, bytes })),
  ]
}

function optional<T>(value: T | undefined, field: (value: T) => Field): Field[] {
  return value === undefined ? [] : [field(value)]
}
