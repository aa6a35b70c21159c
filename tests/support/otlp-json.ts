/**
 * OTLP/JSON as a sender may write it. Built as text, because `JSON.stringify` can't write what must be tried: `-0`,
 * 64-bit integers as numbers, a key twice.
 * @see OTLP specification, "JSON Protobuf Encoding"
 */
import type { AnyValue, ExportLogsRequest, KeyValue, LogRecord } from './otlp-reference.ts'

/** Freedoms the encoding leaves to senders. */
export interface JsonStyle {
  /** 64-bit integers as numbers, as far as a double holds them. */
  readonly integersAsNumbers: boolean
  readonly upperCaseIds: boolean
  readonly urlSafeBase64: boolean
  /** Absent fields as null. */
  readonly nulls: boolean
  /** A field no version of OTLP knows, in every object. */
  readonly unknownFields: boolean
}

export const plainStyle: JsonStyle = {
  integersAsNumbers: false,
  upperCaseIds: false,
  urlSafeBase64: false,
  nulls: false,
  unknownFields: false,
}

export function encodeJson(request: ExportLogsRequest, style: JsonStyle = plainStyle): Buffer {
  return Buffer.from(new Encoder(style).request(request))
}

type Members = Record<string, string | undefined>

class Encoder {
  private readonly style: JsonStyle

  constructor(style: JsonStyle) {
    this.style = style
  }

  request({ resourceLogs }: ExportLogsRequest): string {
    return this.object({
      resourceLogs: list(resourceLogs, ({ resource, schemaUrl, scopeLogs }) =>
        this.object({
          resource: resource && this.object({ attributes: this.attributes(resource.attributes) }),
          schemaUrl: string(schemaUrl),
          scopeLogs: list(scopeLogs, ({ scope, logRecords, schemaUrl }) =>
            this.object({
              scope:
                scope &&
                this.object({
                  name: string(scope.name),
                  version: string(scope.version),
                  attributes: this.attributes(scope.attributes),
                }),
              schemaUrl: string(schemaUrl),
              logRecords: list(logRecords, (record) => this.record(record)),
            }),
          ),
        }),
      ),
    })
  }

  private record(record: LogRecord): string {
    return this.object({
      timeUnixNano: this.int64(record.timeUnixNano),
      observedTimeUnixNano: this.int64(record.observedTimeUnixNano),
      severityNumber: record.severityNumber?.toString(),
      severityText: string(record.severityText),
      body: record.body && this.value(record.body),
      attributes: this.attributes(record.attributes),
      flags: record.flags?.toString(),
      traceId: this.id(record.traceId),
      spanId: this.id(record.spanId),
      eventName: string(record.eventName),
    })
  }

  private attributes(attributes: readonly KeyValue[] | undefined): string | undefined {
    return list(attributes, ({ key, value }) => this.object({ key: string(key), value: value && this.value(value) }))
  }

  private value(value: AnyValue): string {
    return this.object({
      stringValue: string(value.stringValue),
      boolValue: value.boolValue?.toString(),
      intValue: this.int64(value.intValue),
      doubleValue: double(value.doubleValue),
      arrayValue:
        value.arrayValue && this.object({ values: list(value.arrayValue.values, (item) => this.value(item)) }),
      kvlistValue: value.kvlistValue && this.object({ values: this.attributes(value.kvlistValue.values) }),
      bytesValue: this.base64(value.bytesValue),
    })
  }

  private object(members: Members): string {
    const { nulls, unknownFields } = this.style
    const parts = Object.entries(members).flatMap(([name, text]) =>
      text !== undefined ? [`"${name}":${text}`] : nulls ? [`"${name}":null`] : [],
    )
    if (unknownFields) parts.unshift('"__proto__":{"values":[1]}', '"fieldOfTheFuture":[{"a":null},"x",1.5]')
    return `{${parts.join(',')}}`
  }

  private int64(value: bigint | undefined): string | undefined {
    if (value === undefined) return undefined
    const asNumber = this.style.integersAsNumbers && Number.isSafeInteger(Number(value))
    return asNumber ? value.toString() : `"${value}"`
  }

  private id(bytes: Uint8Array | undefined): string | undefined {
    if (bytes === undefined) return undefined
    const digits = Buffer.from(bytes).toString('hex')
    return `"${this.style.upperCaseIds ? digits.toUpperCase() : digits}"`
  }

  private base64(bytes: Uint8Array | undefined): string | undefined {
    if (bytes === undefined) return undefined
    return `"${Buffer.from(bytes).toString(this.style.urlSafeBase64 ? 'base64url' : 'base64')}"`
  }
}

function list<T>(items: readonly T[] | undefined, item: (value: T) => string): string | undefined {
  return items && `[${items.map(item).join(',')}]`
}

function string(text: string | undefined): string | undefined {
  return text === undefined ? undefined : JSON.stringify(text)
}

function double(value: number | undefined): string | undefined {
  if (value === undefined) return undefined
  if (!Number.isFinite(value)) return `"${value}"`
  return Object.is(value, -0) ? '-0' : value.toString()
}
