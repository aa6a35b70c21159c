/**
 * Runs every processor at its cadence, in the process that has the lease. One after the other: a scan must not take the
 * machine from those who ingest, and what builds on another's result finds it there.
 */
import type { ClickHouseClient } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import { type Clock, realClock } from './clock.ts'
import { acquireLease, type Lease } from './lease.ts'
import type { Processor } from './processor.ts'
import { type RunTotals, runDue, type SessionRun } from './run.ts'

export interface ScheduledProcessor {
  readonly processor: Processor
  readonly everyMs: number
}

/** What runs beside the processors under the same lease: it must not wait for a session that takes long. */
export type Companion = (lease: {
  readonly fence: bigint
  /** Aborted when the lease ends. */
  readonly signal: AbortSignal
  /** Whether nobody else can have it yet. */
  held(): boolean
}) => Promise<void>

/** What is done now and then beside the processors, by the process that has the lease. */
export interface ScheduledJob {
  readonly name: string
  readonly everyMs: number
  /** Asks before each step; what it leaves is done the next time. `fence` is the number of the lease. */
  run(mayGoOn: () => boolean, fence: bigint): Promise<void>
}

export interface SchedulerOptions {
  readonly client: ClickHouseClient
  /** In the order they run when several are due. */
  readonly processors: readonly ScheduledProcessor[]
  /** Runs until its signal is aborted, and does not reject. */
  readonly companion?: Companion | undefined
  readonly jobs?: readonly ScheduledJob[]
  /** Tells this process from all others, and people which it is. */
  readonly holder: string
  readonly log: Log
  readonly onRun?: (run: SessionRun) => void
  /** Told after each round of one processor. */
  readonly onRound?: (processor: string, totals: RunTotals) => void
  readonly clock?: Clock
  readonly leaseTtlMs?: number
  readonly sessionLimitMs?: number
}

export interface Scheduler {
  /** Number of the lease while this process has it. */
  fence(): bigint | undefined
  /** Ends after the session under way; never throws. */
  stop(): Promise<void>
}

export const leaseName = 'processors'
const defaultTtlMs = 15_000
const firstPauseMs = 1_000
const longestPauseMs = 30_000
const longestSleepMs = 86_400_000

export function startScheduler(options: SchedulerOptions): Scheduler {
  const { client, processors, jobs = [], holder, log, clock = realClock, leaseTtlMs = defaultTtlMs } = options
  const stopping = new AbortController()
  let lease: Lease | undefined
  /** By the monotonic clock; a processor that never ran is due. They outlive a lease that was lost for a moment. */
  const dueAtMs = new Map<Processor | ScheduledJob, number>()

  async function run(): Promise<void> {
    let pauseMs = firstPauseMs
    while (!stopping.signal.aborted) {
      try {
        lease = await acquireLease({
          client,
          name: leaseName,
          holder,
          ttlMs: leaseTtlMs,
          clock,
          signal: stopping.signal,
          onWait: (other) => log(`processors: ${other} runs them; waiting for it to end`),
        })
        if (lease === undefined) return
        if (pauseMs > firstPauseMs) log('processors: ClickHouse is back')
        pauseMs = firstPauseMs
        await withCompanion(lease)
        if (!stopping.signal.aborted) log('processors: another process has taken over; waiting', 'warn')
      } catch (error) {
        if (pauseMs === firstPauseMs) {
          log(`processors: cannot use ClickHouse (${(error as Error).message}); trying again`, 'warn')
        }
        await clock.sleep(pauseMs, stopping.signal)
        pauseMs = Math.min(longestPauseMs, pauseMs * 2)
      } finally {
        await lease?.release()
        lease = undefined
      }
    }
  }

  async function withCompanion(held: Lease): Promise<void> {
    const ended = new AbortController()
    const signal = AbortSignal.any([ended.signal, held.lost, stopping.signal])
    const beside = options
      .companion?.({ fence: held.fence, signal, held: held.held })
      .catch((error: unknown) => log(`processors: what runs beside them ended: ${(error as Error).message}`, 'error'))
    try {
      await rounds(held)
    } finally {
      ended.abort()
      await beside
    }
  }

  async function rounds(held: Lease): Promise<void> {
    const mayGoOn = (): boolean => held.held() && !stopping.signal.aborted
    while (mayGoOn()) {
      for (const { processor, everyMs } of processors) {
        if (!mayGoOn()) return
        const startedAtMs = clock.now()
        if (startedAtMs < (dueAtMs.get(processor) ?? Number.NEGATIVE_INFINITY)) continue
        const totals = await runDue(processor, { ...options, clock, fence: held.fence, mayGoOn })
        dueAtMs.set(processor, startedAtMs + everyMs)
        // What builds on it has something to do now, and need not wait for its own cadence.
        if (totals.done > 0)
          for (const next of processors) if (next.processor.after === processor) dueAtMs.delete(next.processor)
        options.onRound?.(processor.name, totals)
      }
      for (const job of jobs) {
        if (!mayGoOn()) return
        const startedAtMs = clock.now()
        if (startedAtMs < (dueAtMs.get(job) ?? Number.NEGATIVE_INFINITY)) continue
        dueAtMs.set(job, startedAtMs + job.everyMs)
        // A job that fails holds no processor up; that ClickHouse is away they notice themselves.
        await job
          .run(mayGoOn, held.fence)
          .catch((error: Error) => log(`processors: ${job.name} failed: ${error.message}`, 'warn'))
      }
      const all = [...processors.map(({ processor }) => processor), ...jobs]
      // Timers do not go further than weeks, and without any of them there is nothing to do but to hold the lease.
      const next = Math.min(clock.now() + longestSleepMs, ...all.map((one) => dueAtMs.get(one) ?? 0))
      await clock.sleep(Math.max(0, next - clock.now()), AbortSignal.any([held.lost, stopping.signal]))
    }
  }

  const running = run()
  return {
    fence: () => (lease?.held() ? lease.fence : undefined),
    async stop() {
      stopping.abort()
      await running
    },
  }
}
