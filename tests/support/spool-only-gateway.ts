/** A gateway whose ClickHouse is away: whatever it takes stays in the spool, where a test can count it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TlsFiles } from '@agnes/config'
import { type GatewayOptions, startGateway } from '../../ingest-gateway/src/gateway.ts'
import { freePort } from './processes.ts'

export interface SpoolOnlyGateway {
  readonly port: number
  readonly grpcPort: number
  readonly url: string
  /** Lines the gateway logged. */
  readonly logged: readonly string[]
  /** Numbers of `/healthz`, of which `backlogRecords` are the records on disk. */
  counts(): Counts
  stop(): Promise<void>
}

type Counts = Record<'received' | 'duplicate' | 'rejected' | 'backlogRecords', number> & {
  readonly notStored: { readonly traces: number; readonly metrics: number }
}

export interface SpoolOnlyOptions {
  readonly maxBodyBytes?: number
  readonly maxDecodedBytes?: number
  readonly keys?: GatewayOptions['config']['keys']
  readonly needsKeys?: boolean
  readonly tenantRecordsPerSecond?: number
  readonly tenantBytesPerSecond?: number
  /** Kept when the gateway stops; one that is thrown away unless told. */
  readonly dataDir?: string
  readonly tls?: TlsFiles
  readonly tlsEveryMs?: number
  readonly arriveWithinMs?: number
  /** None unless told. */
  readonly heartbeatMs?: number
}

export async function startSpoolOnlyGateway(options: SpoolOnlyOptions = {}): Promise<SpoolOnlyGateway> {
  const dataDir = options.dataDir ?? (await mkdtemp(path.join(tmpdir(), 'agnes-gateway-')))
  const logged: string[] = []
  const gateway = await startGateway({
    config: {
      dataDir,
      host: '127.0.0.1',
      otlpPort: 0,
      otlpGrpcPort: 0,
      maxBodyBytes: options.maxBodyBytes ?? 8 * 1024 * 1024,
      maxDecodedBytes: options.maxDecodedBytes ?? 64 * 1024 * 1024,
      clickhouseUrl: undefined,
      keys: options.keys ?? [],
      tenantRecordsPerSecond: options.tenantRecordsPerSecond ?? 0,
      tenantBytesPerSecond: options.tenantBytesPerSecond ?? 0,
      tls: options.tls,
    },
    ...(options.needsKeys === undefined ? {} : { needsKeys: options.needsKeys }),
    clickhouseUrl: `http://127.0.0.1:${await freePort()}/agnes`,
    heartbeatMs: options.heartbeatMs ?? 0,
    ...(options.arriveWithinMs === undefined ? {} : { arriveWithinMs: options.arriveWithinMs }),
    ...(options.tlsEveryMs === undefined ? {} : { tlsEveryMs: options.tlsEveryMs }),
    log: (line) => logged.push(line),
  })
  return {
    port: gateway.port,
    grpcPort: gateway.grpcPort,
    url: gateway.url,
    logged,
    counts: () => gateway.health().details as unknown as Counts,
    async stop() {
      await gateway.stop()
      if (options.dataDir === undefined) await rm(dataDir, { recursive: true })
    },
  }
}
