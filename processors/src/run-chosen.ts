/** A processor run by hand: over named sessions or all of them, whether they are due or not, or over what is due now. */
import { realClock } from './clock.ts'
import { lastFence } from './lease.ts'
import type { Processor } from './processor.ts'
import { type RunOptions, runSession } from './run.ts'
import { leaseName } from './scheduler.ts'
import { type DueSession, fetchChosen, fetchDue, type SessionChoice, saveAttempts, saveDone } from './state.ts'

export interface RunChosenOptions extends Omit<RunOptions, 'fence' | 'clock'> {
  /** undefined: what is due now, parked sessions not among it. */
  readonly choice: SessionChoice | undefined
  /** Compute and count, write nothing. */
  readonly dryRun: boolean
  /** Told once, before the first session, how many there are. */
  readonly onFound?: (sessions: number) => void
}

export interface ChosenRun {
  readonly found: number
  readonly done: number
  readonly failed: number
  readonly items: number
}

/** More than are ever due at once would not be looked at by a person. */
const mostDue = 100_000

/**
 * Runs beside a scheduler too: both write the same, and nothing of either is lost. No lease is taken.
 * @throws the client's errors when ClickHouse is away
 */
export async function runChosen(processor: Processor, options: RunChosenOptions): Promise<ChosenRun> {
  const { client, choice, dryRun } = options
  const clock = realClock
  const now = (): Date => new Date(clock.wall())
  const sessions =
    choice === undefined
      ? await fetchDue(client, processor, { now: now(), limit: mostDue })
      : await fetchChosen(client, processor, choice)
  options.onFound?.(sessions.length)
  const fence = await lastFence(client, leaseName)
  let done = 0
  let items = 0
  for (const found of sessions) {
    const result = await runSession(processor, found, {
      ...options,
      clock,
      fence,
      dryRun,
      fromScratch: choice !== undefined,
    })
    if (result.kind === 'done') {
      done++
      items += result.row.items
      if (!dryRun) await saveDone(client, processor, fence, now(), [result.row])
    } else if (!dryRun) {
      const session: DueSession = { ...found, attempts: found.attempts + 1, failures: found.failures + 1 }
      await saveAttempts(client, processor, now(), [{ session, error: result.error }])
    }
  }
  return { found: sessions.length, done, failed: sessions.length - done, items }
}
