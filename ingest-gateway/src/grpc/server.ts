/**
 * OTLP/gRPC: the same requests as over HTTP, with gRPC's statuses. Messages stay bytes: the library neither decodes nor
 * encodes them. @see OTLP specification, "OTLP/gRPC"
 */
import { createServer } from 'node:net'
import { bindPort, type Log } from '@agnes/config'
import type { handleUnaryCall, Metadata, MethodDefinition, ServerInterceptor, ServiceDefinition } from '@grpc/grpc-js'
import { type Admission, type Gate, RefusedError } from '../auth/gate.ts'
import { BusyError, type ByteBudget } from '../byte-budget.ts'
import type { BodyLimits } from '../http/body.ts'
import { success } from '../http/status.ts'
import type { Ingest } from '../ingest.ts'
import type { RefusalReason } from '../metrics.ts'
import { RequestError } from '../otlp/rows.ts'
import { SpoolUnavailableError } from '../spool/spool.ts'
import type { Tls } from '../tls.ts'
import { statusWithRetryInfo } from './retry-info.ts'

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
  readonly ingest: Ingest
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

const package_ = 'opentelemetry.proto.collector'
/** When the gateway stops, a call that is still under way after this long is cut off; it was not acknowledged. */
const slowCallMs = 2_000
/** Calls under way on one connection; a client that has more waits. */
const maxCallsAConnection = 100

/** @throws UserError if the port can't be bound */
export async function listenGrpc(options: GrpcOptions): Promise<GrpcListener> {
  const {
    host,
    limits,
    budget,
    gate,
    ingest,
    onNotStored,
    onAnswered,
    onRefused,
    log,
    arriveWithinMs = 30_000,
  } = options
  // Loaded once the rest serves: it takes longer to load than the gateway to start.
  const { Metadata, Server, ServerCredentials, ServerInterceptingCall, status } = await import('@grpc/grpc-js')

  /** Who sent a call, by its metadata: known before its message is read. */
  const admissions = new WeakMap<Metadata, Admission>()

  const authenticate: ServerInterceptor = (_method, call) => {
    const start = performance.now()
    return new ServerInterceptingCall(call, {
      start(next) {
        // The library would keep what has come of a message for as long as its sender likes.
        const late = setTimeout(() => {
          const code = status.DEADLINE_EXCEEDED
          call.sendStatus({ code, details: `the request did not arrive within ${arriveWithinMs / 1000} s: try again` })
          onAnswered(code, (performance.now() - start) / 1000)
        }, arriveWithinMs).unref()
        next({
          onReceiveMessage(message, proceed) {
            clearTimeout(late)
            proceed(message)
          },
          onCancel() {
            clearTimeout(late)
          },
          onReceiveMetadata(metadata, proceed) {
            const { remoteAddress = '' } = call.getConnectionInfo()
            try {
              admissions.set(metadata, gate.ingest(metadata.get('authorization').map(String), remoteAddress))
            } catch (error) {
              const refused = refusal(error)
              clearTimeout(late)
              call.sendStatus(refused)
              onAnswered(refused.code, (performance.now() - start) / 1000)
              return
            }
            proceed(metadata)
          },
        })
      },
    })
  }

  const exportLogs: handleUnaryCall<Buffer, Uint8Array> = ({ request, metadata }, answer) => {
    const start = performance.now()
    const answered = (code: number): void => onAnswered(code, (performance.now() - start) / 1000)
    const admission = admissions.get(metadata)
    if (admission === undefined) throw new Error('a call came past the gate')
    // Its memory may change hands, and then it has no length any more.
    const { length } = request
    const held = budget.take(length)
    admission.tookBytes(length)
    const { tenant, tookRecords } = admission
    const taken = held ? ingest.logs(request, 'protobuf', tenant, tookRecords) : Promise.reject(new BusyError())
    taken
      .finally(() => budget.give(held ? length : 0))
      .then(
        ({ rejected, notes }) => {
          answer(null, success('protobuf', rejected, notes).body)
          answered(status.OK)
        },
        (error: unknown) => {
          const refused = refusal(error)
          answer(refused)
          answered(refused.code)
        },
      )
  }

  /** UNAVAILABLE makes clients try again, what else there is makes them drop the data (OTLP specification, "Failures"). */
  function refusal(error: unknown): { code: number; details: string; metadata?: Metadata } {
    if (error instanceof RequestError) {
      onRefused('body')
      const code = error.status === 413 ? status.RESOURCE_EXHAUSTED : status.INVALID_ARGUMENT
      return { code, details: error.message }
    }
    if (error instanceof RefusedError) {
      onRefused(error.reason)
      const code = refusedCodes[error.status]
      if (code !== status.RESOURCE_EXHAUSTED) return { code, details: error.message }
      const trailer = new Metadata()
      trailer.set('grpc-status-details-bin', statusWithRetryInfo(error.message, error.retryAfterSeconds ?? 1))
      return { code, details: error.message, metadata: trailer }
    }
    if (error instanceof BusyError) {
      onRefused('busy')
      return { code: status.UNAVAILABLE, details: error.message }
    }
    if (error instanceof SpoolUnavailableError) {
      onRefused('spool')
      return { code: status.UNAVAILABLE, details: `${error.message}: nothing was stored, try again` }
    }
    onRefused('error')
    log(`gateway: unexpected error: ${(error as Error).stack ?? error}`, 'error')
    return { code: status.UNAVAILABLE, details: 'the gateway failed on this request: try again' }
  }

  const refusedCodes: Readonly<Record<RefusedError['status'], number>> = {
    401: status.UNAUTHENTICATED,
    403: status.PERMISSION_DENIED,
    429: status.RESOURCE_EXHAUSTED,
    503: status.UNAVAILABLE,
  }

  const accept =
    (signal: 'traces' | 'metrics'): handleUnaryCall<Buffer, Uint8Array> =>
    ({ request, metadata }, answer) => {
      const start = performance.now()
      admissions.get(metadata)?.tookBytes(request.length)
      onNotStored(signal)
      answer(null, success('protobuf').body)
      onAnswered(status.OK, (performance.now() - start) / 1000)
    }

  /** The library's own TLS credentials are read once; these follow the files. */
  function secured({ context, onChange }: Tls): InstanceType<typeof ServerCredentials> {
    class Secured extends ServerCredentials {
      constructor() {
        super(context.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true }, context)
        onChange((changed) => this.updateSecureContextOptions(changed))
      }
      override _equals(other: unknown): boolean {
        return other === this
      }
    }
    return new Secured()
  }

  const server = new Server({
    'grpc.max_receive_message_length': limits.maxDecodedBytes,
    'grpc.max_concurrent_streams': maxCallsAConnection,
    interceptors: [authenticate],
  })
  server.addService(service('logs.v1.LogsService'), { Export: exportLogs })
  server.addService(service('trace.v1.TraceService'), { Export: accept('traces') })
  server.addService(service('metrics.v1.MetricsService'), { Export: accept('metrics') })

  const port = await freePort(host, options.port)
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  await new Promise<void>((resolve, reject) => {
    const credentials = options.tls === undefined ? ServerCredentials.createInsecure() : secured(options.tls)
    server.bindAsync(address, credentials, (error) => (error === null ? resolve() : reject(error)))
  })
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        const slow = setTimeout(() => server.forceShutdown(), slowCallMs).unref()
        server.tryShutdown(() => {
          clearTimeout(slow)
          resolve()
        })
      }),
  }
}

/** A service of one method, Export, from bytes to bytes. */
function service(name: string): ServiceDefinition {
  const method: MethodDefinition<Buffer, Uint8Array> = {
    path: `/${package_}.${name}/Export`,
    requestStream: false,
    responseStream: false,
    requestSerialize: (bytes) => bytes,
    requestDeserialize: (bytes) => bytes,
    responseSerialize: (bytes) => Buffer.from(bytes),
    responseDeserialize: (bytes) => bytes,
  }
  return { Export: method }
}

/** gRPC's own error for a taken port says neither who has it nor what to do. */
async function freePort(host: string, port: number): Promise<number> {
  const probe = createServer()
  const bound = await bindPort(probe, host, port, 'AGNES_OTLP_GRPC_PORT')
  await new Promise((resolve) => probe.close(resolve))
  return bound
}
