/**
 * Drains the spool into ClickHouse, segment by segment, forever: two at a time, because an insert keeps one core busy.
 * A segment leaves the disk only when ClickHouse has all of its records; until then everything is tried again with
 * growing pauses. There is no number of attempts after which anything is dropped.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import type { SealedSegment, Spool } from '../spool/spool.ts'
import { insertSegment, type SegmentTransport, storedRecords } from './insert.ts'

export interface WriterOptions {
  readonly spool: Spool
  readonly client: ClickHouseClient
  readonly transport: SegmentTransport
  readonly log?: (line: string) => void
  /** Wall clock, nanoseconds since 1970. */
  readonly nowNs: () => bigint
}

export interface Writer {
  stats(): WriterStats
  /** Lets the insert under way end (its segment stays on disk if it does not), then stops. */
  stop(): Promise<void>
}

export interface WriterStats {
  /** Records in ClickHouse since the start. */
  readonly storedRecords: number
  /** Why the last attempt failed; undefined when it did not. */
  readonly failure: string | undefined
  /** Received → queryable, by segment since the last call of `takeLags`. */
  takeLags(): readonly SegmentLag[]
}

export interface SegmentLag {
  /** Of the segment's oldest record. Milliseconds. */
  readonly lagMs: number
  readonly records: number
}

const firstPauseMs = 200
const longestPauseMs = 30_000
const insertsAtOnce = 2
/** Lags kept between two calls of takeLags. */
const maxLags = 10_000

export function startWriter({ spool, client, transport, log = () => {}, nowNs }: WriterOptions): Writer {
  const stopping = new AbortController()
  let stored = 0
  let failure: string | undefined
  let lags: SegmentLag[] = []

  /** The spool has one waiting taker at a time. */
  let taking: Promise<unknown> = Promise.resolve()
  function take(): Promise<SealedSegment | undefined> {
    const taken = taking.then(() => (stopping.signal.aborted ? undefined : spool.nextSealed()))
    taking = taken
    return taken
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const segment = await take()
      if (segment === undefined) return
      if (!(await store(segment))) return
      stored += segment.records
      if (lags.length < maxLags) {
        lags.push({ lagMs: Number(nowNs() - segment.firstReceivedAtNs) / 1e6, records: segment.records })
      }
      await spool.remove(segment)
    }
  }

  /** @returns false if it was stopped before the segment was known to be stored */
  async function store(segment: SealedSegment): Promise<boolean> {
    let uncertain = segment.recovered
    let mode: 'all' | 'missing' = 'all'
    for (let attempt = 0; !stopping.signal.aborted; attempt++) {
      if (attempt > 0 && !(await backOff(attempt, stopping.signal))) return false
      if (uncertain) {
        const found = await lookUp(segment)
        if (found === undefined) continue
        if (found >= segment.records) return true
        if (found > 0) {
          log(
            `writer: ${found} of ${segment.records} records of batch ${segment.batchId} are stored: adding the missing ones`,
          )
        }
        mode = found > 0 ? 'missing' : 'all'
      }
      const outcome = await insertSegment(client, segment, transport, mode)
      if (outcome.kind === 'stored') {
        if (failure !== undefined) log('writer: ClickHouse takes inserts again')
        failure = undefined
        return true
      }
      uncertain ||= outcome.kind === 'uncertain'
      fail(outcome.cause)
    }
    return false
  }

  async function lookUp(segment: SealedSegment): Promise<number | undefined> {
    try {
      return await storedRecords(client, segment)
    } catch (error) {
      fail(error as Error)
      return undefined
    }
  }

  function fail(cause: Error): void {
    const message = cause.message.split('\n', 1)[0] || cause.name
    if (failure !== message) log(`writer: ClickHouse does not take inserts, the spool keeps them: ${message}`)
    failure = message
  }

  const done = Promise.all(
    Array.from({ length: insertsAtOnce }, () =>
      run().catch((error: Error) => {
        failure = error.message
        log(`writer: stopped: ${error.message}`)
      }),
    ),
  )

  return {
    stats: () => ({
      storedRecords: stored,
      failure,
      takeLags: () => {
        const taken = lags
        lags = []
        return taken
      },
    }),
    async stop() {
      stopping.abort()
      await done
    },
  }
}

/** Full jitter: a random pause up to the doubled limit, so that many writers do not come back at once. */
async function backOff(attempt: number, signal: AbortSignal): Promise<boolean> {
  const limit = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(attempt - 1, 10))
  try {
    await pause(limit / 2 + Math.random() * (limit / 2), undefined, { signal })
    return true
  } catch {
    return false // aborted
  }
}
