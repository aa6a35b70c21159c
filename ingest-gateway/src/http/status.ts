/**
 * OTLP answers: the response message or a google.rpc.Status, in the content type of the request.
 * @see OTLP specification, "OTLP/HTTP Response"
 */
import { Buffer } from 'node:buffer'
import type { WireFormat } from '../otlp/decode.ts'
import { RowWriter } from '../otlp/row-writer.ts'

export const contentTypes = { protobuf: 'application/x-protobuf', json: 'application/json' } as const

export interface Answer {
  readonly status: number
  readonly body: Uint8Array
  readonly headers?: Readonly<Record<string, string>>
}

/** google.rpc.Code by HTTP status. @see https://github.com/googleapis/googleapis google/rpc/code.proto */
const rpcCodes: Readonly<Record<number, number>> = {
  400: 3, // INVALID_ARGUMENT
  401: 16, // UNAUTHENTICATED
  403: 7, // PERMISSION_DENIED
  404: 5, // NOT_FOUND
  405: 12, // UNIMPLEMENTED
  408: 4, // DEADLINE_EXCEEDED
  409: 10, // ABORTED
  413: 8, // RESOURCE_EXHAUSTED
  415: 3,
  429: 8,
  431: 8,
  500: 13, // INTERNAL
  503: 14, // UNAVAILABLE
}

/** A `google.rpc.Status` with the message a developer reads. */
export function failure(
  format: WireFormat,
  status: number,
  message: string,
  headers: Record<string, string> = {},
): Answer {
  const code = rpcCodes[status] ?? 2
  if (format === 'json') return { status, body: Buffer.from(JSON.stringify({ code, message })), headers }
  const writer = new RowWriter(message.length + 16)
  writer.uint8(0x08) // Status.code = 1
  writer.varint(code)
  writer.uint8(0x12) // Status.message = 2
  writer.text(message)
  return { status, body: writer.written(), headers }
}

const emptyResponse: Readonly<Record<WireFormat, Uint8Array>> = { protobuf: Buffer.alloc(0), json: Buffer.from('{}') }

/**
 * An Export…ServiceResponse. Full success leaves `partial_success` unset; with 0 rejected and a message it is a warning.
 * Logs, traces and metrics share the shape, field 1 with {1: int64, 2: string}; only the JSON name differs.
 */
export function success(format: WireFormat, rejected = 0, notes: readonly string[] = []): Answer {
  if (rejected === 0 && notes.length === 0) return { status: 200, body: emptyResponse[format] }
  const message = notes.join('; ')
  if (format === 'json') {
    const partialSuccess = { rejectedLogRecords: String(rejected), errorMessage: message }
    return { status: 200, body: Buffer.from(JSON.stringify({ partialSuccess })) }
  }
  const partial = new RowWriter(message.length + 16)
  if (rejected > 0) {
    partial.uint8(0x08)
    partial.varint(rejected)
  }
  partial.uint8(0x12)
  partial.text(message)
  const response = new RowWriter(partial.at + 8)
  response.uint8(0x0a)
  response.varint(partial.at)
  response.raw(partial.written())
  return { status: 200, body: response.written() }
}
