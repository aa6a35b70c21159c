/** One report to the server, and what became of it. */
import { answerHeader, previewHeader } from '@agnes/events'
import type { KeptReport } from './state.ts'

export interface Server {
  /** Origin. */
  readonly url: string
  readonly key: string | undefined
}

export type Delivery =
  | { readonly kind: 'delivered'; readonly answer: Answer }
  /** Worth another try. */
  | { readonly kind: 'later'; readonly why: string; readonly hint?: string; readonly reachable: boolean }
  /** Never as it is. */
  | { readonly kind: 'refused'; readonly why: string; readonly hint?: string }

/** What we read of the answer; a newer server may say more, an older one less. */
export interface Answer {
  readonly id: string
  readonly status: string
  readonly alreadyKnown: boolean
  /** Where on the server it can be seen; empty when it does not say. */
  readonly url: string
  readonly redacted: readonly { readonly path: string; readonly rule: string }[]
  readonly others: number
}

const answerWithinMs = 15_000
/** What another try, another key or a newer server can mend. */
const mendable = new Set([401, 403, 404, 405, 408, 425, 429])

export async function sendReport({ url, key }: Server, report: KeptReport): Promise<Delivery> {
  let status: number
  let said: unknown
  try {
    const response = await fetch(new URL('/api/feedback', url), {
      method: 'POST',
      // It would take the key elsewhere.
      redirect: 'error',
      signal: AbortSignal.timeout(answerWithinMs),
      headers: {
        'content-type': 'application/json',
        [previewHeader]: report.sha256,
        [answerHeader]: report.answer ?? 'yes',
        'idempotency-key': report.id,
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      body: Buffer.from(report.text),
    })
    status = response.status
    said = await response.json().catch(() => undefined)
  } catch (error) {
    return { kind: 'later', why: `${url} does not answer (${reason(error)})`, reachable: false }
  }
  const fields = typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : {}
  if (status === 200 || status === 201) {
    if (typeof fields.id === 'string') return { kind: 'delivered', answer: answerOf(fields, fields.id) }
    return {
      kind: 'later',
      why: `what answers at ${url} is no Agnes inbox`,
      reachable: true,
      hint: 'check --to or AGNES_REPORT_URL',
    }
  }
  const why = typeof fields.detail === 'string' ? fields.detail : `${url} answered ${status}`
  const hint =
    status === 404 ? { hint: 'is that the inbox (port 8080)? an older server takes no reports' } : hintOf(fields)
  if (status >= 500 || mendable.has(status)) return { kind: 'later', why, reachable: true, ...hint }
  return { kind: 'refused', why, ...hint }
}

function answerOf(fields: Readonly<Record<string, unknown>>, id: string): Answer {
  const { status, already_known, url, redacted, others_hit_this } = fields
  return {
    id,
    status: typeof status === 'string' ? status : '',
    alreadyKnown: already_known === true,
    url: typeof url === 'string' && url.startsWith('/') && !url.startsWith('//') ? url : '',
    redacted: (Array.isArray(redacted) ? (redacted as unknown[]) : []).flatMap((one) => {
      const { path, rule } = (one ?? {}) as { path?: unknown; rule?: unknown }
      return typeof path === 'string' && typeof rule === 'string' ? [{ path, rule }] : []
    }),
    others: typeof others_hit_this === 'number' ? others_hit_this : 0,
  }
}

function hintOf({ hint }: Readonly<Record<string, unknown>>): { hint?: string } {
  return typeof hint === 'string' ? { hint } : {}
}

function reason(error: unknown): string {
  const { cause, name, message } = error as Error
  if (name === 'TimeoutError') return `nothing within ${answerWithinMs / 1000} s`
  const { code } = (cause ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : message
}
