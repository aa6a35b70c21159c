/**
 * Tokens in forms: a form that was not made by a page of ours, for this session and this action, does nothing (CSRF),
 * and one that is sent twice does its work once. They are good for two hours and end with the process.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { UserError } from '@agnes/config'

export interface FormTokens {
  /** @param session id of the session, or of the cookie a login form came with */
  issue(session: string, action: string): string
  /** @throws UserError (403 or 409) for one that is foreign, too old or used before */
  redeem(token: string, session: string, action: string): void
}

const validMs = 2 * 3600_000
/** Remembered at most; whoever sends more forms in two hours finds the oldest could be sent again. */
const maxUsed = 100_000

/** @param nowMs milliseconds since 1970 */
export function createFormTokens(nowMs: () => number = Date.now): FormTokens {
  const key = randomBytes(32)
  /** Nonces of forms that were sent, oldest first. */
  const used = new Set<string>()
  const sign = (session: string, action: string, issued: string, nonce: string): Buffer =>
    createHmac('sha256', key)
      .update(JSON.stringify([session, action, issued, nonce]))
      .digest()

  return {
    issue(session, action) {
      const issued = nowMs().toString(36)
      const nonce = randomBytes(12).toString('base64url')
      return `${issued}.${nonce}.${sign(session, action, issued, nonce).toString('base64url')}`
    },
    redeem(token, session, action) {
      const [issued = '', nonce = '', signature = ''] = token.split('.')
      const expected = sign(session, action, issued, nonce)
      const given = Buffer.from(signature, 'base64url')
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw stale()
      if (nowMs() - Number.parseInt(issued, 36) > validMs) throw stale()
      if (used.has(nonce)) {
        throw new UserError('this form was sent already', {
          code: 'form_used',
          status: 409,
          hint: 'go back, reload the page and look whether it did what you wanted',
        })
      }
      used.add(nonce)
      if (used.size > maxUsed)
        for (const oldest of used) {
          used.delete(oldest)
          break
        }
    },
  }
}

function stale(): UserError {
  return new UserError('this form is too old, or is not from this session', {
    code: 'form_stale',
    status: 403,
    hint: 'go back, reload the page and send it again',
  })
}
