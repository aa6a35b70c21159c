/** A gRPC client that sends and receives bytes: what OTLP's generated clients do, without their classes. */
import { type ChannelCredentials, Client, credentials, type ServiceError } from '@grpc/grpc-js'

export interface GrpcClient {
  /**
   * Calls `Export`.
   * @param service after `opentelemetry.proto.collector.`; logs unless told
   * @throws ServiceError
   */
  export(body: Uint8Array, service?: string): Promise<Buffer>
  /** Resolves when the connection stands. */
  ready(): Promise<void>
  close(): void
}

export interface GrpcClientOptions {
  readonly compression?: 'none' | 'gzip'
  /** Plain HTTP/2 unless told. */
  readonly credentials?: ChannelCredentials
  /** The name the server's certificate is for. */
  readonly serverName?: string
}

const patienceMs = 20_000

export function connectGrpc(port: number, options: GrpcClientOptions = {}): GrpcClient {
  const client = new Client(`127.0.0.1:${port}`, options.credentials ?? credentials.createInsecure(), {
    'grpc.max_send_message_length': -1,
    // grpc_compression_algorithm: 0 none, 2 gzip.
    'grpc.default_compression_algorithm': options.compression === 'gzip' ? 2 : 0,
    ...(options.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': options.serverName }),
  })
  return {
    export: (body, service = 'logs.v1.LogsService') =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          `/opentelemetry.proto.collector.${service}/Export`,
          (bytes: Uint8Array) => Buffer.from(bytes),
          (bytes) => bytes,
          body,
          { deadline: Date.now() + patienceMs },
          (error: ServiceError | null, answer?: Buffer) => (error === null ? resolve(answer as Buffer) : reject(error)),
        )
      }),
    ready: () => new Promise((resolve) => client.waitForReady(Date.now() + patienceMs, () => resolve())),
    close: () => client.close(),
  }
}
