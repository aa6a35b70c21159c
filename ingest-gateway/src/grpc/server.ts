/**
 * OTLP/gRPC: the same requests as over HTTP, with gRPC's statuses. Unary calls only, on Node.js' own HTTP/2: a library
 * would have a message in memory, and inflated, before we could ask whether there is room for it.
 * @see OTLP specification, "OTLP/gRPC"
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { Log } from '@agnes/config'
import { type Gate, RefusedError } from '../auth/gate.ts'
import { BusyError, type ByteBudget } from '../byte-budget.ts'
import { AbortedError, BodyError, type BodyLimits } from '../http/body.ts'
import { success } from '../http/status.ts'
import type { Ingest } from '../ingest.ts'
import type { RefusalReason } from '../metrics.ts'
import { RequestError } from '../otlp/rows.ts'
import { SpoolUnavailableError } from '../spool/spool.ts'
import type { Tls } from '../tls.ts'
import { endEarly } from './end-early.ts'
import { listenHttp2 } from './http2.ts'
import { readMessage } from './message.ts'
import { statusWithRetryInfo } from './retry-info.ts'
import { CallError, codes, responseHeaders, type Status, trailers } from './status.ts'

export interface GrpcOptions {
  readonly host: string
  readonly port: number
  readonly limits: BodyLimits
  /** Milliseconds a request may take to arrive; 30 s unless told. */
  readonly arriveWithinMs?: number | undefined
  /** Plain HTTP/2 without it. */
  readonly tls?: Tls | undefined
  readonly budget: ByteBudget
  readonly gate: Gate
  readonly ingest: Pick<Ingest, 'logs'>
  /** Called for each request whose signal is accepted and not stored. */
  readonly onNotStored: (signal: 'traces' | 'metrics') => void
  /** Called for each answered call with its gRPC code. */
  readonly onAnswered: (code: number, seconds: number) => void
  /** Called for each refused call. */
  readonly onRefused: (reason: RefusalReason) => void
  readonly log: Log
}

export interface GrpcListener {
  readonly port: number
  /** Takes no new calls, lets those under way end; at most two seconds. */
  close(): Promise<void>
}

/** An answer that its client does not take within this is thrown away, and the call cut. */
const answerWithinMs = 10_000

type Signal = 'logs' | 'traces' | 'metrics'

const services: Readonly<Record<string, Signal>> = {
  '/opentelemetry.proto.collector.logs.v1.LogsService/Export': 'logs',
  '/opentelemetry.proto.collector.trace.v1.TraceService/Export': 'traces',
  '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export': 'metrics',
}

/** @throws UserError if the port can't be bound */
export function listenGrpc(options: GrpcOptions): Promise<GrpcListener> {
  const { limits, budget, gate, ingest, onNotStored, onAnswered, onRefused, log, arriveWithinMs = 30_000 } = options

  function handle(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, credentials: readonly string[]): void {
    const start = performance.now()
    if (!isGrpc(headers)) {
      endEarly(stream, { ':status': constants.HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE })
      return
    }
    answerTo(stream, headers, credentials)
      .then(
        (message) => {
          answer(stream, message)
          return codes.OK
        },
        (error: unknown) => {
          if (error instanceof AbortedError) return undefined
          const status = refusal(error)
          endEarly(stream, { ...responseHeaders, ...trailers(status) })
          return status.code
        },
      )
      .then((code) => code !== undefined && onAnswered(code, (performance.now() - start) / 1000))
      .catch((error: Error) => {
        log(`gateway: unexpected error: ${error.stack ?? error.message}`, 'error')
        stream.destroy()
      })
  }

  /** The response message. */
  async function answerTo(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    credentials: readonly string[],
  ): Promise<Uint8Array> {
    const path = headers[':path'] ?? ''
    const signal = Object.hasOwn(services, path) ? services[path] : undefined
    if (signal === undefined) {
      throw new CallError(codes.UNIMPLEMENTED, `The server does not implement the method ${path.slice(0, 200)}`)
    }
    const admission = gate.ingest(credentials, stream.session?.socket.remoteAddress ?? '')
    let held = 0
    const room = {
      take(bytes: number): void {
        if (stream.closed) throw new AbortedError('the call was cancelled')
        if (!budget.take(bytes)) throw new BusyError()
        held += bytes
      },
    }
    let message: Buffer | undefined
    try {
      message = await readMessage(stream, headers, { maxBytes: limits.maxDecodedBytes, arriveWithinMs }, room)
      admission.tookBytes(message.length)
      if (signal !== 'logs') {
        onNotStored(signal)
        return success('protobuf').body
      }
      const { rejected, notes } = await ingest.logs(message, 'protobuf', admission.tenant, admission.tookRecords)
      return success('protobuf', rejected, notes).body
    } finally {
      if (message === undefined) admission.tookBytes(held)
      budget.give(held)
    }
  }

  /** UNAVAILABLE makes clients try again, what else there is makes them drop the data (OTLP specification, "Failures"). */
  function refusal(error: unknown): Status {
    if (error instanceof CallError) {
      if (error.code !== codes.DEADLINE_EXCEEDED) onRefused('body')
      return error
    }
    if (error instanceof RequestError || error instanceof BodyError) {
      onRefused('body')
      const code = error.status === 413 ? codes.RESOURCE_EXHAUSTED : codes.INVALID_ARGUMENT
      return { code, message: error.message }
    }
    if (error instanceof RefusedError) {
      onRefused(error.reason)
      const { message, retryAfterSeconds = 1 } = error
      const code = refusedCodes[error.status]
      if (code !== codes.RESOURCE_EXHAUSTED) return { code, message }
      return { code, message, details: statusWithRetryInfo(message, retryAfterSeconds) }
    }
    if (error instanceof BusyError) {
      onRefused('busy')
      return { code: codes.UNAVAILABLE, message: error.message }
    }
    if (error instanceof SpoolUnavailableError) {
      onRefused('spool')
      return { code: codes.UNAVAILABLE, message: `${error.message}: nothing was stored, try again` }
    }
    onRefused('error')
    log(`gateway: unexpected error: ${(error as Error).stack ?? error}`, 'error')
    return { code: codes.UNAVAILABLE, message: 'the gateway failed on this request: try again' }
  }

  return listenHttp2({ ...options, arriveWithinMs, onCall: handle })
}

const refusedCodes: Readonly<Record<RefusedError['status'], Status['code']>> = {
  401: codes.UNAUTHENTICATED,
  403: codes.PERMISSION_DENIED,
  429: codes.RESOURCE_EXHAUSTED,
  503: codes.UNAVAILABLE,
}

/** What else there is behind `application/grpc` names a form of message that is not protobuf's. */
function isGrpc(headers: IncomingHttpHeaders): boolean {
  return (
    headers[':method'] === 'POST' && /^application\/grpc(\+proto)?[ \t]*(;.*)?$/i.test(headers['content-type'] ?? '')
  )
}

/** "Response-Headers *Length-Prefixed-Message Trailers" */
function answer(stream: ServerHttp2Stream, message: Uint8Array): void {
  if (stream.closed || stream.destroyed) return
  const framed = Buffer.allocUnsafe(5 + message.length)
  framed.writeUInt8(0, 0)
  framed.writeUInt32BE(message.length, 1)
  framed.set(message, 5)
  stream.respond(responseHeaders, { waitForTrailers: true })
  stream.once('wantTrailers', () => stream.sendTrailers(trailers({ code: codes.OK, message: '' })))
  stream.end(framed)
  const stuck = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), answerWithinMs).unref()
  stream.once('close', () => clearTimeout(stuck))
}
