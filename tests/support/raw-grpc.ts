/** gRPC by hand, over Node.js' HTTP/2: for what no gRPC library would send. */
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2'

/** A message with gRPC's five bytes before it. */
export function framed(message: Uint8Array, { compressed = 0, length = message.length } = {}): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt8(compressed, 0)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, message])
}

/** A call of `LogsService/Export` unless told; what it answers is thrown away unless someone listens. */
export function openCall(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  stream.on('error', () => {})
  stream.resume()
  return stream
}

export interface CallEnd {
  readonly httpStatus: number | undefined
  /** undefined: the call was cut without one. */
  readonly code: number | undefined
  /** Decoded. */
  readonly message: string
  readonly headers: Readonly<Record<string, unknown>>
}

/** How the call ends, whatever of the request is sent until then. */
export function endOf(stream: ClientHttp2Stream): Promise<CallEnd> {
  const headers: Record<string, unknown> = {}
  const remember = (more: object): void => void Object.assign(headers, more)
  stream.on('response', remember).on('trailers', remember)
  return new Promise((resolve) => {
    stream.once('close', () => {
      resolve({
        httpStatus: headers[':status'] as number | undefined,
        code: headers['grpc-status'] === undefined ? undefined : Number(headers['grpc-status']),
        message: decodeURIComponent(String(headers['grpc-message'] ?? '')),
        headers,
      })
    })
  })
}
