/**
 * `GET /metrics` in Prometheus' text format. Figures are read from their owners when they are asked for, so they cannot
 * disagree with `/healthz`. At rest the account closes, for one process and each tenant:
 *   received + recovered = stored + duplicate + rejected + quarantined + in the spool
 */
import type { KeyRing } from '@agnes/clickhouse'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Ingest } from './ingest.ts'
import type { Spool } from './spool/spool.ts'
import type { RecordsByTenant } from './tenant-counter.ts'
import type { Writer } from './writer/writer.ts'

export interface MetricsOptions {
  readonly ingest: Ingest
  readonly spool: Spool
  readonly writer: Writer
  readonly ring: KeyRing
  /** Wall clock, nanoseconds since 1970. */
  readonly nowNs: () => bigint
}

/** Why requests are refused. */
const refusalReasons = [
  'unauthenticated',
  'forbidden',
  /** Many wrong keys from one address. */
  'guessing',
  /** The list of keys was never read. */
  'keys_unknown',
  'leaked_key',
  /** Mutual TLS, and none that is trusted. */
  'certificate',
  /** More than its key or tenant may send. */
  'rate',
  /** No room in memory. */
  'busy',
  /** It could not be made durable. */
  'spool',
  /** Sessions go straight to ClickHouse, and it does not take them. */
  'clickhouse',
  /** It is too large, or can't be understood. */
  'body',
  'stopping',
  'error',
] as const
export type RefusalReason = (typeof refusalReasons)[number]

export interface Metrics {
  readonly contentType: string
  /** @param tenant whose records alone are told; all of them unless told */
  text(tenant?: string): Promise<string>
  /**
   * A request was answered.
   * @param status HTTP's, or gRPC's code
   */
  request(protocol: 'http' | 'grpc' | 'sessions', status: number, seconds: number): void
  /** A request was refused. */
  refused(reason: RefusalReason): void
  /** A transcript was stored, or was there already. */
  session(outcome: string, lines: number): void
  /** Spans or metric points were accepted and not stored. */
  notStored(signal: 'traces' | 'metrics'): void
}

/** Seconds: an acknowledgement waits for one fdatasync, mostly 1 to 50 ms. */
const latencyBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

export function createMetrics({ ingest, spool, writer, ring, nowNs }: MetricsOptions): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]

  const total = (name: string, help: string, read: () => number): void => {
    const counter: Counter = new Counter({
      name,
      help,
      registers,
      collect: () => {
        counter.reset()
        counter.inc(read())
      },
    })
  }
  const level = (name: string, help: string, read: () => number): void => {
    const gauge: Gauge = new Gauge({ name, help, registers, collect: () => gauge.set(read()) })
  }

  /** Of records, by tenant: there are as many as have a key. */
  const account = (type: typeof Counter | typeof Gauge, name: string, help: string, read: () => RecordsByTenant) => {
    const metric: Counter | Gauge = new type({
      name,
      help,
      labelNames: ['tenant'],
      registers,
      collect: () => {
        metric.reset()
        for (const [tenant, records] of read()) metric.inc({ tenant }, records)
      },
    })
  }
  const { received, duplicate, rejected } = ingest.counters
  const held = () => spool.stats().byTenant
  account(Counter, 'agnes_ingest_received_records_total', 'Records of requests that were understood.', () => {
    return received.byTenant
  })
  account(Counter, 'agnes_ingest_duplicate_records_total', 'Records that came before.', () => duplicate.byTenant)
  account(Counter, 'agnes_ingest_rejected_records_total', 'Records left out with a partial success.', () => {
    return rejected.byTenant
  })
  account(Counter, 'agnes_spool_recovered_records_total', 'Records an earlier process left on disk.', () => {
    return held().recovered
  })
  account(Counter, 'agnes_writer_stored_records_total', 'Records known to be in ClickHouse.', () => {
    return writer.stats().storedByTenant
  })
  account(Counter, 'agnes_spool_quarantined_records_total', 'Acknowledged records set aside as damaged.', () => {
    return held().quarantined
  })
  account(Gauge, 'agnes_spool_records', 'Records on disk that wait for ClickHouse.', () => held().backlog)
  total('agnes_spool_quarantined_frames_total', 'Frames set aside as damaged.', () => spool.stats().quarantinedFrames)

  level('agnes_spool_bytes', 'Bytes on disk that wait for ClickHouse.', () => spool.stats().backlogBytes)
  level('agnes_spool_segments', 'Segment files that wait for ClickHouse.', () => spool.stats().backlogSegments)
  level('agnes_spool_oldest_seconds', 'Age of the oldest record on disk; 0 without any.', () => {
    const { oldestReceivedAtNs } = spool.stats()
    return oldestReceivedAtNs === undefined ? 0 : Math.max(0, Number(nowNs() - oldestReceivedAtNs) / 1e9)
  })
  level('agnes_spool_writable', '1 while a new request would be durable.', () => (spool.stats().failure ? 0 : 1))
  level('agnes_spool_disk_free_bytes', 'Free on the disk of the spool; -1 where the system does not say.', () => {
    return spool.stats().diskFreeBytes ?? -1
  })
  level('agnes_writer_failing', '1 while ClickHouse does not take inserts.', () => (writer.stats().failure ? 1 : 0))

  level('agnes_ingest_keys', 'Keys that are known.', () => ring.stats().keys)
  level('agnes_ingest_keys_age_seconds', 'Since the keys were read from ClickHouse; -1 if never.', () => {
    return ring.stats().ageSeconds ?? -1
  })

  const requests = new Counter({
    name: 'agnes_ingest_requests_total',
    help: 'Answered requests by protocol and status (HTTP status, gRPC code).',
    labelNames: ['protocol', 'status'],
    registers,
  })
  const durations = new Histogram({
    name: 'agnes_ingest_request_duration_seconds',
    help: 'From the first byte of a request to its answer.',
    labelNames: ['protocol'],
    buckets: latencyBuckets,
    registers,
  })
  const refused = new Counter({
    name: 'agnes_ingest_refused_requests_total',
    help: 'Refused requests by reason.',
    labelNames: ['reason'],
    registers,
  })
  // A rate needs the first one to be a change, not a beginning.
  for (const reason of refusalReasons) refused.inc({ reason }, 0)
  const sessions = new Counter({
    name: 'agnes_session_uploads_total',
    help: 'Transcripts that were taken, by what came of them.',
    labelNames: ['outcome'],
    registers,
  })
  for (const outcome of ['created', 'grown', 'diverged', 'unchanged']) sessions.inc({ outcome }, 0)
  const sessionLines = new Counter({
    name: 'agnes_session_lines_total',
    help: 'Lines of transcripts that were stored.',
    registers,
  })
  const notStored = new Counter({
    name: 'agnes_ingest_not_stored_requests_total',
    help: 'Requests with spans or metric points: accepted, not stored.',
    labelNames: ['signal'],
    registers,
  })

  return {
    contentType: registry.contentType,
    async text(tenant) {
      const lines = (await registry.metrics()).split('\n')
      const others = (line: string) => line.includes('{tenant="') && !line.includes(`{tenant="${tenant}"}`)
      return (tenant === undefined ? lines : lines.filter((line) => !others(line))).join('\n')
    },
    request(protocol, status, seconds) {
      requests.inc({ protocol, status: String(status) })
      durations.observe({ protocol }, seconds)
    },
    refused: (reason) => refused.inc({ reason }),
    session(outcome, lines) {
      sessions.inc({ outcome })
      sessionLines.inc(lines)
    },
    notStored: (signal) => notStored.inc({ signal }),
  }
}
