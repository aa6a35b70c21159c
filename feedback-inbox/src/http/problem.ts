/** Errors of the API: problem details (RFC 9457) with our code and hint. */
import { STATUS_CODES } from 'node:http'
import type { UserError } from '@agnes/config'

export const problemType = 'application/problem+json; charset=utf-8'

export function problemOf({ status, code, message, hint }: UserError) {
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: message,
    code,
    ...(hint === undefined ? {} : { hint }),
  }
}
