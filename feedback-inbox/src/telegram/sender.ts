/**
 * Calls to the Bot API, and what became of them. Errors of the library hold the URL, and with it the token, so none of
 * them leaves this file: others get a word for what happened.
 */
import { autoRetry } from '@grammyjs/auto-retry'
import { type Api, GrammyError, HttpError } from 'grammy'

export type Failure =
  /** Telegram wants to be left alone for so long. */
  | { readonly kind: 'flood'; readonly retryAfterMs: number; readonly problem: string }
  /** Telegram has not got the call. */
  | { readonly kind: 'unreached'; readonly problem: string }
  /** It may have got it: no answer came, or one that says neither yes nor no. */
  | { readonly kind: 'uncertain'; readonly problem: string }
  /** The token is not valid. */
  | { readonly kind: 'unauthorized'; readonly problem: string }
  /** Somebody else asks for the updates of this bot. */
  | { readonly kind: 'conflict'; readonly problem: string }
  /** It would refuse the same call again. */
  | { readonly kind: 'refused'; readonly status: number; readonly problem: string }

/** A call that takes longer is given up; what became of it is not known then. */
export const callSeconds = 15
/** What Telegram says to wait is waited in place up to this; beyond it whoever called decides. */
const waitInPlaceSeconds = 3

/** What a short wait mends is mended here; all else is told at once, for it is the outbox that knows when to try again. */
export function retryShortly(api: Api): void {
  api.config.use(
    autoRetry({
      maxRetryAttempts: 1,
      maxDelaySeconds: waitInPlaceSeconds,
      rethrowInternalServerErrors: true,
      rethrowHttpErrors: true,
    }),
  )
}

const notReached = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

export function failureOf(error: unknown): Failure {
  if (error instanceof GrammyError) {
    const { error_code: status, description, parameters, method } = error
    const problem = `${method}: ${status} ${description.slice(0, 300)}`
    if (parameters.retry_after !== undefined || status === 429) {
      return { kind: 'flood', retryAfterMs: (parameters.retry_after ?? 5) * 1000, problem }
    }
    if (status >= 500) return { kind: 'uncertain', problem }
    if (status === 401) return { kind: 'unauthorized', problem }
    // What Telegram says of a token that is not even shaped like one.
    if (status === 404 && description === 'Not Found') return { kind: 'unauthorized', problem }
    if (status === 409) return { kind: 'conflict', problem }
    return { kind: 'refused', status, problem }
  }
  if (error instanceof HttpError) {
    const { code, type, name } = (error.error ?? {}) as { code?: string; type?: string; name?: string }
    const method = /'(\w+)'/.exec(error.message)?.[1] ?? 'call'
    if (code !== undefined && notReached.has(code)) return { kind: 'unreached', problem: `${method}: ${code}` }
    const why = code ?? (type === 'invalid-json' ? 'an answer that is none of the Bot API' : (type ?? name ?? 'failed'))
    return { kind: 'uncertain', problem: `${method}: ${why === 'Error' ? 'no answer in time' : why}` }
  }
  return { kind: 'uncertain', problem: error instanceof Error ? error.name : 'failed' }
}
