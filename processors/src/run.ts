/**
 * One processor over the sessions that are due: in small batches, each session by itself, so that one that fails costs
 * nobody else anything. Killed at any point, it goes on where it was: a session counts as done only after its result is
 * stored, and doing it again gives the same result.
 */
import { type ClickHouseClient, readSessionLines } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import type { Clock } from './clock.ts'
import { effectiveVersion, type Processor, type ProcessorContext, type Session } from './processor.ts'
import { rankOf } from './rank.ts'
import { type DoneRow, type DueSession, fetchDue, saveAttempts, saveDone } from './state.ts'
import { readTurns } from './transcripts/read-turns.ts'

/** What became of one session. */
export interface SessionRun {
  readonly processor: string
  readonly session: Session
  readonly items: number
  readonly durationMs: number
  /** undefined when it succeeded. */
  readonly error: string | undefined
}

export interface RunOptions {
  readonly client: ClickHouseClient
  readonly clock: Clock
  readonly fence: bigint
  readonly log: Log
  /** Told of every session, in order. */
  readonly onRun?: (run: SessionRun) => void
  /** Milliseconds a session may take. */
  readonly sessionLimitMs?: number
}

export interface RunDueOptions extends RunOptions {
  /** Asked before each session. */
  readonly mayGoOn: () => boolean
}

/** Of sessions that were not tried before; those that failed are tried one by one. */
const batchSize = 32
const defaultLimitMs = 600_000

export interface RunTotals {
  readonly done: number
  readonly failed: number
}

/**
 * Runs a processor until nothing is due.
 * @throws the client's errors when ClickHouse is away: that is no session's fault, and none is charged with it
 */
export async function runDue(processor: Processor, options: RunDueOptions): Promise<RunTotals> {
  const { client, clock, mayGoOn } = options
  let done = 0
  let failed = 0
  // Each session once a round: one that stays due whatever is done must not keep the others waiting.
  const seen = new Set<string>()
  while (mayGoOn()) {
    const limit = batchSize + seen.size
    const due = (await fetchDue(client, processor, { now: new Date(clock.wall()), limit })).filter(
      (session) => !seen.has(nameOf(session)),
    )
    const batch =
      due[0] !== undefined && due[0].failures > 0 ? due.slice(0, 1) : due.filter((one) => one.failures === 0)
    if (batch.length === 0) break
    for (const session of batch) seen.add(nameOf(session))
    const totals = await runBatch(
      processor,
      batch.map((session) => ({ ...session, attempts: session.attempts + 1, failures: session.failures + 1 })),
      options,
    )
    done += totals.done
    failed += totals.failed
    // There were no more: what came meanwhile is due at the next run.
    if (due.length === batch.length && due.length < batchSize) break
  }
  return { done, failed }
}

async function runBatch(
  processor: Processor,
  batch: readonly DueSession[],
  options: RunDueOptions,
): Promise<RunTotals> {
  const { client, clock, fence, mayGoOn } = options
  const now = (): Date => new Date(clock.wall())
  await saveAttempts(
    client,
    processor,
    now(),
    batch.map((session) => ({ session })),
  )
  const finished: DoneRow[] = []
  let failed = 0
  try {
    for (const session of batch) {
      if (!mayGoOn()) break
      const result = await runSession(processor, session, options)
      if (result.kind === 'done') finished.push(result.row)
      else {
        failed++
        await saveAttempts(client, processor, now(), [{ session, error: result.error }])
      }
    }
  } finally {
    await saveDone(client, processor, fence, now(), finished)
  }
  return { done: finished.length, failed }
}

export type SessionResult =
  | { readonly kind: 'done'; readonly row: DoneRow }
  | { readonly kind: 'failed'; error: string }

/** One session, whether it is due or not. @throws when ClickHouse is away */
export async function runSession(
  processor: Processor,
  session: DueSession,
  options: RunOptions & { readonly fromScratch?: boolean; readonly dryRun?: boolean },
): Promise<SessionResult> {
  const { client, clock, fence, log, onRun, sessionLimitMs = defaultLimitMs } = options
  const startedAtMs = clock.now()
  const limit = new AbortController()
  const rank = (evidence = 0): bigint =>
    rankOf({ lines: session.lines, version: effectiveVersion(processor), evidence, fence })
  const context: ProcessorContext = {
    client,
    turns: () => readTurns(linesOf(client, session, limit.signal)),
    rank,
    fence,
    fromScratch: options.fromScratch ?? false,
    dryRun: options.dryRun ?? false,
    signal: limit.signal,
  }
  const timer = setTimeout(
    () => limit.abort(new Error(`not done within ${sessionLimitMs / 1000} s`)),
    sessionLimitMs,
  ).unref()
  try {
    const { items, evidence } = await abortable(processor.process(session, context), limit.signal)
    const durationMs = clock.now() - startedAtMs
    onRun?.({ processor: processor.name, session, items, durationMs, error: undefined })
    return { kind: 'done', row: { session, rank: rank(evidence), items, durationMs } }
  } catch (thrown) {
    if (!limit.signal.aborted) await refuseOutage(client, thrown)
    const error = thrown instanceof Error ? thrown.message : String(thrown)
    log(`processor ${processor.name}: ${session.user}/${session.file}: ${firstLine(error)}`, 'warn')
    onRun?.({ processor: processor.name, session, items: 0, durationMs: clock.now() - startedAtMs, error })
    return { kind: 'failed', error }
  } finally {
    clearTimeout(timer)
  }
}

function nameOf({ tenant, user, file, version, fileHash }: Session): string {
  return JSON.stringify([tenant, user, file, version, fileHash])
}

/** Of the version as it was when it became due; what it has grown meanwhile is another run's. */
async function* linesOf(client: ClickHouseClient, session: Session, signal: AbortSignal): AsyncGenerator<Buffer> {
  const lineFeed = 0x0a
  let left = session.lines
  for await (const chunk of readSessionLines(client, session)) {
    signal.throwIfAborted()
    let end = 0
    while (left > 0 && end < chunk.length) {
      const found = chunk.indexOf(lineFeed, end)
      if (found < 0) {
        end = chunk.length
        break
      }
      end = found + 1
      left--
    }
    if (end > 0) yield end === chunk.length ? chunk : chunk.subarray(0, end)
    if (left === 0) return
  }
  if (left > 0) throw new Error(`${left} of ${session.lines} lines are not stored`)
}

/** A processor that never comes back must not hold the others. */
function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    work.then(resolve, reject)
  })
}

/** @throws what was thrown, if ClickHouse does not answer at all */
export async function refuseOutage(client: ClickHouseClient, thrown: unknown): Promise<void> {
  const { success } = await client.ping({ select: true }).catch(() => ({ success: false }))
  if (!success) throw thrown
}

export function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.slice(0, 300) ?? ''
}
