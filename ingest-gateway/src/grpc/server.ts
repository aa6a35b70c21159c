/**
 * OTLP/gRPC: the same requests as over HTTP, with gRPC's statuses. Messages stay bytes: the library neither decodes nor
 * encodes them. @see OTLP specification, "OTLP/gRPC"
 */
import { createServer } from 'node:net'
import { bindPort } from '@agnes/config'
import type { handleUnaryCall, Metadata, MethodDefinition, ServerInterceptor, ServiceDefinition } from '@grpc/grpc-js'
import { AuthError, type Gate } from '../auth/gate.ts'
import type { KeyHolder } from '../auth/key-ring.ts'
import { BusyError, type ByteBudget } from '../byte-budget.ts'
import type { BodyLimits } from '../http/body.ts'
import { success } from '../http/status.ts'
import type { Ingest } from '../ingest.ts'
import { RequestError } from '../otlp/rows.ts'
import { SpoolUnavailableError } from '../spool/spool.ts'

export interface GrpcOptions {
  readonly host: string
  readonly port: number
  readonly limits: BodyLimits
  readonly budget: ByteBudget
  readonly gate: Gate
  readonly ingest: Ingest
  /** Called for each request whose signal is accepted and not stored. */
  readonly onNotStored: (signal: 'traces' | 'metrics') => void
  /** Called for each answered call with its gRPC code. */
  readonly onAnswered: (code: number, seconds: number) => void
  readonly log: (line: string) => void
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
  const { host, limits, budget, gate, ingest, onNotStored, onAnswered, log } = options
  // Loaded once the rest serves: it takes longer to load than the gateway to start.
  const { Server, ServerCredentials, ServerInterceptingCall, status } = await import('@grpc/grpc-js')

  /** Who sent a call, by its metadata: known before its message is read. */
  const holders = new WeakMap<Metadata, KeyHolder>()

  const authenticate: ServerInterceptor = (_method, call) => {
    const start = performance.now()
    return new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata(metadata, proceed) {
            const { remoteAddress = '' } = call.getConnectionInfo()
            try {
              holders.set(metadata, gate.ingest(metadata.get('authorization').map(String), remoteAddress))
            } catch (error) {
              const refused = refusal(error)
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
    const holder = holders.get(metadata)
    if (holder === undefined) throw new Error('a call came past the gate')
    const held = budget.take(request.length)
    const taken = held ? ingest.logs(request, 'protobuf', holder.tenant) : Promise.reject(new BusyError())
    taken
      .finally(() => budget.give(held ? request.length : 0))
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
  function refusal(error: unknown): { code: number; details: string } {
    if (error instanceof RequestError) {
      const code = error.status === 413 ? status.RESOURCE_EXHAUSTED : status.INVALID_ARGUMENT
      return { code, details: error.message }
    }
    if (error instanceof AuthError) return { code: authCodes[error.status], details: error.message }
    if (error instanceof BusyError) return { code: status.UNAVAILABLE, details: error.message }
    if (error instanceof SpoolUnavailableError) {
      return { code: status.UNAVAILABLE, details: `${error.message}: nothing was stored, try again` }
    }
    log(`gateway: unexpected error: ${(error as Error).stack ?? error}`)
    return { code: status.UNAVAILABLE, details: 'the gateway failed on this request: try again' }
  }

  const authCodes: Readonly<Record<AuthError['status'], number>> = {
    401: status.UNAUTHENTICATED,
    403: status.PERMISSION_DENIED,
    429: status.RESOURCE_EXHAUSTED,
    503: status.UNAVAILABLE,
  }

  const accept =
    (signal: 'traces' | 'metrics'): handleUnaryCall<Buffer, Uint8Array> =>
    (_call, answer) => {
      const start = performance.now()
      onNotStored(signal)
      answer(null, success('protobuf').body)
      onAnswered(status.OK, (performance.now() - start) / 1000)
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
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    )
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
