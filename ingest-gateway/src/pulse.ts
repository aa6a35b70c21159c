/**
 * The gateway's heartbeat: an `agnes.system` event with its counters, an OTLP request like anybody's. It is handed over
 * inside the process, so that it needs neither key nor certificate, and goes all the way from there: its absence in
 * ClickHouse says that the way is blocked.
 */
import type { Telemetry } from '@agnes/instrumentation'
import type { Ingest } from './ingest.ts'
import type { Spool } from './spool/spool.ts'
import type { SegmentLag, Writer } from './writer/writer.ts'

export interface PulseOptions {
  /** The gateway's own URL, for the message. */
  readonly url: string
  /** Takes an `ExportLogsServiceRequest` in protobuf. */
  readonly deliver: (request: Uint8Array) => Promise<void>
  readonly everyMs: number
  readonly ingest: Ingest
  readonly spool: Spool
  readonly writer: Writer
  readonly redactionRules: number
  /** Wall clock, nanoseconds since 1970. */
  readonly nowNs: () => bigint
}

export interface Pulse {
  stop(): Promise<void>
}

const component = 'ingest-gateway'
const hourMs = 3_600_000

export function startPulse(options: PulseOptions): Pulse {
  let telemetry: Telemetry | undefined
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  /** The counter of rejected records at each beat of the last hour, oldest first. */
  const rejectedBefore: number[] = [0]

  function rejectedLastHour(rejected: number): number {
    rejectedBefore.push(rejected)
    if (rejectedBefore.length > hourMs / options.everyMs + 1) rejectedBefore.shift()
    return rejected - (rejectedBefore[0] ?? 0)
  }

  function beat(): void {
    const { ingest, spool, writer, nowNs } = options
    const { backlogBytes, backlogRecords, oldestReceivedAtNs } = spool.stats()
    const { storedRecords, takeLags } = writer.stats()
    const { received, duplicate, rejected } = ingest.counters
    const lagP99Ms = p99(takeLags())
    telemetry?.recorder.system({
      component,
      event: 'heartbeat',
      received: received.total,
      duplicate: duplicate.total,
      rejected: rejected.total,
      rejectedLastHour: rejectedLastHour(rejected.total),
      stored: storedRecords,
      backlogBytes,
      backlogRecords,
      oldestSeconds: ageInSeconds(oldestReceivedAtNs, nowNs()),
      redactionRules: options.redactionRules,
      ...(lagP99Ms === undefined ? {} : { lagP99Ms }),
    })
  }

  async function start(): Promise<void> {
    // Loaded once the port is open: the SDK takes longer to load than the gateway to start.
    const { startTelemetry } = await import('@agnes/instrumentation')
    if (stopped) return
    telemetry = startTelemetry({
      serviceName: 'agnes-ingest-gateway',
      deliver: options.deliver,
      warn: () => {},
    })
    telemetry.recorder.system({ component, event: 'start', message: `listening on ${options.url}` })
    beat()
    timer = setInterval(beat, options.everyMs).unref()
  }
  const started = start()

  return {
    async stop() {
      stopped = true
      await started
      clearInterval(timer)
      telemetry?.recorder.system({ component, event: 'stop' })
      await telemetry?.shutdown()
    },
  }
}

/** Of the records, not of the segments; undefined without any. */
function p99(lags: readonly SegmentLag[]): number | undefined {
  const total = lags.reduce((sum, lag) => sum + lag.records, 0)
  let left = total * 0.01
  for (const { lagMs, records } of [...lags].sort((a, b) => b.lagMs - a.lagMs)) {
    left -= records
    if (left <= 0) return Math.round(lagMs)
  }
  return undefined
}

/** Since `at`, to a tenth: people read it. Both are nanoseconds since 1970, and the wall clock may have stepped back. */
export function ageInSeconds(at: bigint | undefined, nowNs: bigint): number {
  return at === undefined ? 0 : Math.max(0, Math.round(Number(nowNs - at) / 1e8) / 10)
}
