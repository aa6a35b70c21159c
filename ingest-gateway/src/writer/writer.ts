/**
 * Drains the spool into ClickHouse, segment by segment, forever: two at a time, because an insert keeps one core busy.
 * A segment leaves the disk only when ClickHouse has all of its records; until then everything is tried again with
 * growing pauses. There is no number of attempts after which anything is dropped.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import type { SealedSegment, Spool } from '../spool/spool.ts'
import { createTenantCounter, type RecordsByTenant } from '../tenant-counter.ts'
import { answeringWithin, insertPart, insertSegment, type SegmentTransport, storedRecords } from './insert.ts'
import { separate } from './poison.ts'

export interface WriterOptions {
  readonly spool: Spool
  readonly client: ClickHouseClient
  readonly transport: SegmentTransport
  readonly log?: (line: string) => void
  /** Wall clock, nanoseconds since 1970. */
  readonly nowNs: () => bigint
  /** The first pause after a failure, milliseconds; each is twice as long as the one before, up to half a minute. */
  readonly firstPauseMs?: number
  /** An insert that has not ended by then is uncertain, milliseconds; ten minutes unless told. */
  readonly insertWithinMs?: number
}

export interface Writer {
  stats(): WriterStats
  /** Lets the insert under way end (its segment stays on disk if it does not), then stops. */
  stop(): Promise<void>
}

export interface WriterStats {
  /** Records in ClickHouse since the start. */
  readonly storedRecords: number
  readonly storedByTenant: RecordsByTenant
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

const longestPauseMs = 30_000
const insertsAtOnce = 2
/** After so many attempts in vain a segment is read back, and every so many again. */
const attemptsToRecheck = 5
/** After so many attempts in vain others have their turn. */
const attemptsToPostpone = 6
/** Looking for frames that ClickHouse refuses may take this long; what is left then goes on later. */
const separateForMs = 20_000
/** What has lain on disk for longer, or since an earlier process, is read back before it is stored: rot may read as other values. */
const restedNs = 10_000_000_000n
/** A segment in more pieces is not looked up: only its missing rows are inserted. */
const maxRangesLookedUp = 50
/** Lags kept between two calls of takeLags. */
const maxLags = 10_000

export function startWriter(options: WriterOptions): Writer {
  const { spool, transport, log = () => {}, nowNs, firstPauseMs = 200, insertWithinMs = 600_000 } = options
  const client = answeringWithin(options.client, insertWithinMs)
  const stopping = new AbortController()
  const stored = createTenantCounter()
  /** Why an inserter's last attempt failed; one that waits or succeeds has no entry. */
  const failures = new Map<number, string>()
  const failure = (): string | undefined => failures.values().next().value
  const failedInARow = new Map<number, number>()
  let lags: SegmentLag[] = []

  /** The spool has one waiting taker at a time. */
  let taking: Promise<unknown> = Promise.resolve()
  function take(): Promise<SealedSegment | undefined> {
    const taken = taking.then(() => (stopping.signal.aborted ? undefined : spool.nextSealed()))
    taking = taken
    return taken
  }

  async function run(inserter: number): Promise<void> {
    while (!stopping.signal.aborted) {
      const segment = await take()
      if (segment === undefined) return
      const settled = await store(segment, inserter)
      if (settled === undefined) return
      if (settled !== 'postponed' && !(await forget(settled, inserter))) return
    }
  }

  /**
   * @returns the segment as it was stored: without what was found damaged or was refused
   * @returns undefined if it was stopped before all was known to be stored
   */
  async function store(taken: SealedSegment, inserter: number): Promise<SealedSegment | 'postponed' | undefined> {
    let segment = taken
    let unread = taken.recovered || nowNs() - taken.lastReceivedAtNs > restedNs
    let uncertain = taken.recovered
    let mode: 'all' | 'missing' = 'all'
    for (let attempt = 0; !stopping.signal.aborted; attempt++) {
      const failed = failedInARow.get(inserter) ?? 0
      if (failed > 0 && !(await backOff(failed, firstPauseMs, stopping.signal))) return undefined
      if (attempt >= attemptsToPostpone && (await spool.postpone(segment))) return 'postponed'
      if (unread || (attempt > 0 && attempt % attemptsToRecheck === 0)) {
        const whole = await recheck(segment, inserter)
        if (whole === undefined) continue
        segment = whole
        unread = false
      }
      if (segment.records === 0) {
        recovered(inserter)
        return segment
      }
      if (uncertain && segment.ranges.length > maxRangesLookedUp) mode = 'missing'
      else if (uncertain) {
        const found = await lookUp(segment, inserter)
        if (found === undefined) continue
        if (found >= segment.records) return settled(segment, inserter)
        if (found > 0) {
          log(
            `writer: ${found} of ${segment.records} records of batch ${segment.batchId} are stored: adding the missing ones`,
          )
        }
        mode = found > 0 ? 'missing' : 'all'
      }
      const outcome = await insertSegment(client, segment, transport, mode)
      if (outcome.kind === 'stored') return settled(segment, inserter)
      if (outcome.kind === 'content') {
        segment = await setAsideRefused(segment, outcome.cause, inserter)
        if (segment.records === 0) return segment
        if (await spool.postpone(segment)) return 'postponed'
      } else fail(inserter, outcome.cause)
      uncertain ||= outcome.kind !== 'refused'
    }
    return undefined
  }

  /** All records of a segment are in ClickHouse. */
  function settled(segment: SealedSegment, inserter: number): SealedSegment {
    recovered(inserter)
    stored.addAll(segment.recordsByTenant)
    if (lags.length < maxLags) {
      lags.push({ lagMs: Number(nowNs() - segment.firstReceivedAtNs) / 1e6, records: segment.records })
    }
    return segment
  }

  /**
   * ClickHouse refuses something in the segment: stores all frames that it takes and sets aside those it does not.
   * @returns what is left of the segment: nothing, where all could be decided
   */
  async function setAsideRefused(segment: SealedSegment, cause: Error, inserter: number): Promise<SealedSegment> {
    const whole = await recheck(segment, inserter)
    // What was damaged is set aside: the rest of it may be taken.
    if (whole === undefined || whole.bytes !== segment.bytes) return whole ?? segment
    const withoutRows = await insertPart(client, whole, [])
    if (withoutRows.kind !== 'stored') {
      // Not the records: a changed table, or a server in trouble, refuses everything.
      fail(inserter, cause)
      return whole
    }
    const until = performance.now() + separateForMs
    try {
      const separation = await separate(
        await spool.framesOf(whole),
        (part) => insertPart(client, whole, part),
        () => performance.now() < until && !stopping.signal.aborted,
      )
      const rest = await spool.setAside(whole, separation.refused, separation.left)
      for (const { tenant, records } of separation.stored) stored.add(tenant, records)
      if (separation.failure === undefined) recovered(inserter)
      else fail(inserter, separation.failure)
      return rest
    } catch (error) {
      fail(inserter, error as Error, 'what ClickHouse refuses cannot be set aside')
      return whole
    }
  }

  /**
   * Only whole frames go on; bit rot would change values, or look like an error of ClickHouse's for ever.
   * @returns undefined if the disk does not give the segment
   */
  async function recheck(segment: SealedSegment, inserter: number): Promise<SealedSegment | undefined> {
    try {
      return await spool.recheck(segment)
    } catch (error) {
      fail(inserter, error as Error, 'a segment cannot be read back')
      return undefined
    }
  }

  /** The segment is stored; a file that stays would be looked up and removed at the next start. */
  async function forget(segment: SealedSegment, inserter: number): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await spool.remove(segment)
        recovered(inserter)
        return true
      } catch (error) {
        fail(inserter, error as Error, 'a segment that is stored cannot be removed')
        if (!(await backOff(attempt, firstPauseMs, stopping.signal))) return false
      }
    }
  }

  async function lookUp(segment: SealedSegment, inserter: number): Promise<number | undefined> {
    try {
      return await storedRecords(client, segment)
    } catch (error) {
      fail(inserter, error as Error)
      return undefined
    }
  }

  function fail(inserter: number, cause: Error, what = 'ClickHouse does not take inserts, the spool keeps them'): void {
    const message = cause.message.split('\n', 1)[0] || cause.name
    if (![...failures.values()].includes(message)) log(`writer: ${what}: ${message}`)
    failures.set(inserter, message)
    failedInARow.set(inserter, (failedInARow.get(inserter) ?? 0) + 1)
  }

  function recovered(inserter: number): void {
    failedInARow.delete(inserter)
    if (failures.delete(inserter) && failures.size === 0) log('writer: ClickHouse takes inserts again')
  }

  const done = Promise.all(
    Array.from({ length: insertsAtOnce }, (_, inserter) =>
      run(inserter).catch((error: Error) => {
        failures.set(inserter, error.message)
        log(`writer: stopped: ${error.message}`)
      }),
    ),
  )

  return {
    stats: () => ({
      storedRecords: stored.total,
      storedByTenant: stored.byTenant,
      failure: failure(),
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
async function backOff(attempt: number, firstPauseMs: number, signal: AbortSignal): Promise<boolean> {
  const limit = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(attempt - 1, 10))
  try {
    await pause(limit / 2 + Math.random() * (limit / 2), undefined, { signal })
    return true
  } catch {
    return false // aborted
  }
}
