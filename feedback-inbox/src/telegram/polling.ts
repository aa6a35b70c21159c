/**
 * Asking Telegram for what people wrote. One process at a time may do so for a bot: to the other one Telegram answers 409
 * Conflict, which is said in the log, and asked again later, as that process may end.
 */
import type { Log } from '@agnes/config'
import type { Api } from 'grammy'
import type { Update, UserFromGetMe } from 'grammy/types'
import { type Clock, pause } from './clock.ts'
import { type Failure, failureOf } from './sender.ts'

export type BotState =
  | { readonly kind: 'off' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'listening'; readonly username: string }
  | { readonly kind: 'failing'; readonly problem: string }

export interface PollingOptions {
  readonly api: Api
  /** What to do before the first question; it is done again until it succeeds. */
  introduce(): Promise<UserFromGetMe>
  /** Never rejects. */
  handle(update: Update): Promise<void>
  onState(state: BotState): void
  readonly clock: Clock
  readonly log: Log
  readonly signal: AbortSignal
}

/** How long Telegram keeps a question for which there is nothing yet. */
const waitSeconds = 25
const longestBackoffMs = 30_000
/** A token that is not valid does not become so by asking. */
const badTokenMs = 60_000
const conflictMs = 15_000

/** Runs until `signal` says to stop. */
export async function poll(options: PollingOptions): Promise<void> {
  const { api, signal, onState, clock } = options
  const trouble = createTrouble(options)
  let me: UserFromGetMe | undefined
  let offset = 0
  while (!signal.aborted) {
    try {
      if (me === undefined) {
        me = await options.introduce()
        onState({ kind: 'listening', username: me.username })
      }
      const updates = await api.getUpdates(
        { offset, timeout: waitSeconds, allowed_updates: ['message', 'callback_query'] },
        // The library's type is that of a polyfill, whose shape is the same.
        signal as unknown as Parameters<Api['getUpdates']>[1],
      )
      trouble.over(me.username)
      for (const update of updates) {
        if (signal.aborted) break
        await options.handle(update)
        // Asking for the next one says that this one was received.
        offset = update.update_id + 1
      }
    } catch (error) {
      if (!signal.aborted) await pause(clock, trouble.with(failureOf(error)), signal)
    }
  }
  // Else what was answered would come again after the restart.
  if (offset > 0) await api.getUpdates({ offset, limit: 1, timeout: 0 }, lastWord()).catch(() => {})
}

function lastWord() {
  return AbortSignal.timeout(2_000) as unknown as Parameters<Api['getUpdates']>[1]
}

/** Says once that something is wrong, and once that it is over. */
function createTrouble({ onState, log }: PollingOptions) {
  let said = ''
  let backoffMs = 1_000
  return {
    /** @returns milliseconds to wait */
    with(failure: Failure): number {
      onState({ kind: 'failing', problem: failure.problem })
      if (failure.kind !== said) log(explain(failure), failure.kind === 'unauthorized' ? 'error' : 'warn')
      said = failure.kind
      if (failure.kind === 'flood') return failure.retryAfterMs
      if (failure.kind === 'unauthorized') return badTokenMs
      if (failure.kind === 'conflict') return conflictMs
      const waitMs = backoffMs
      backoffMs = Math.min(longestBackoffMs, backoffMs * 2)
      return waitMs
    },
    over(username: string): void {
      backoffMs = 1_000
      if (said === '') return
      said = ''
      onState({ kind: 'listening', username })
      log('telegram: Telegram answers again')
    },
  }
}

function explain({ kind, problem }: Failure): string {
  if (kind === 'unauthorized')
    return `telegram: the token is not valid (${problem}): ask @BotFather for it and set TELEGRAM_BOT_TOKEN`
  if (kind === 'conflict') {
    return `telegram: another process asks for the messages of this bot (${problem}): one token is for one inbox; stop the other one, or give it a bot of its own`
  }
  return `telegram: Telegram does not answer as it should (${problem}); asking again`
}
