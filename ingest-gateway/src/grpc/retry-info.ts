/**
 * The detail that makes RESOURCE_EXHAUSTED something to be tried again: without it clients drop the data.
 * @see OTLP specification, "OTLP/gRPC Throttling"; google/rpc/status.proto, google/rpc/error_details.proto
 */
import { failure } from '../http/status.ts'
import { RowWriter } from '../otlp/row-writer.ts'

/** A `google.rpc.Status` with a RetryInfo, for the trailer `grpc-status-details-bin`. */
export function statusWithRetryInfo(message: string, seconds: number): Buffer {
  const duration = field(1, varint(seconds)) // Duration.seconds
  const retryInfo = bytesField(1, duration) // RetryInfo.retry_delay
  const any = Buffer.concat([
    bytesField(1, Buffer.from('type.googleapis.com/google.rpc.RetryInfo')), // Any.type_url
    bytesField(2, retryInfo), // Any.value
  ])
  return Buffer.concat([failure('protobuf', 429, message).body, bytesField(3, any)]) // Status.details
}

function bytesField(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(value.length), value])
}

function field(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint(number << 3), value])
}

function varint(value: number): Buffer {
  const writer = new RowWriter(16)
  writer.varint(value)
  return Buffer.from(writer.written())
}
