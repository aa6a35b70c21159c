/** Reports in words: states, times, what they are about. */
import type { FeedbackReport } from '@agnes/clickhouse'
import type { Silent } from '../../feedback/silent.ts'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { queryOf } from '../../http/filter.ts'

export const statusWords: Readonly<Record<FeedbackReport['status'], string>> = {
  open: 'open',
  triaged: 'triaged',
  resolved: 'resolved',
  wontfix: "won't fix",
  purged: 'purged',
}

export function statusTag({ status }: Pick<FeedbackReport, 'status'>): Html {
  return html`<span class="status-tag ${status}">${statusWords[status]}</span>`
}

export function timeOf(at: Date): Html {
  const iso = at.toISOString()
  return html`<time datetime="${iso}" title="${iso}">${iso.slice(0, 16).replace('T', ' ')}</time>`
}

/** What failed: tool, kind of error, masked text. */
export function causeTitle({ tool, errorClass, text }: { tool: string; errorClass: string; text: string }): Html {
  return html`${tool !== '' && html`<b>${shown(tool, { atMost: 60 })}</b> · `}${shown(errorClass.replaceAll('_', ' '), { atMost: 40 })} · <code>${shown(text === '' ? '(no text)' : text, { atMost: 200 })}</code>`
}

/** Sessions with the same failure that nobody reported. */
export function silentLink(silent: Silent | undefined): Html | false {
  if (silent === undefined) return false
  const { causeKey, sessions } = silent
  return html`<a href="/admin/sessions${queryOf(new Map([['silent', causeKey]]))}">${number(sessions)} ${sessions === 1 ? 'session' : 'sessions'}</a> with the same, not reported`
}
