/** `/admin/sessions/gaps`: what never arrived, and where telemetry and transcript disagree. */
import type { SessionGap } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { queryOf } from '../../http/filter.ts'
import { tabs } from './tabs.ts'

const kinds: Readonly<Record<SessionGap['kind'], string>> = {
  sequence: 'events of telemetry never arrived',
  late_start: 'telemetry begins in the middle of a count',
  tool_result: 'a result is in the transcript, not in telemetry',
  request: 'a request is in the transcript, not in telemetry',
  tool_use: 'a call is in telemetry, not in the transcript',
  message: 'a message is in telemetry, not in the transcript',
  outcome: 'the two disagree on whether a call failed',
}

/** @param gaps undefined while they are being looked for */
export function gapsPage(
  gaps: readonly SessionGap[] | undefined,
  { sessionId, most }: { sessionId: string; most: number },
): Html {
  return html`<div data-refresh="30">
<h1 class="visually-hidden">Gaps</h1>
${tabs('gaps')}
${sessionId !== '' && html`<p class="chips"><a class="chip" href="/admin/sessions/gaps" title="Show all sessions">session ${shown(sessionId, { atMost: 60 })} ✕</a></p>`}
<section data-live="gaps"${gaps === undefined && html` data-pending`}>${found(gaps, most)}</section>
</div>`
}

function found(gaps: readonly SessionGap[] | undefined, most: number): Html {
  if (gaps === undefined) {
    return html`<div class="empty"><p>Telemetry and transcripts are being compared; what is missing stands here in a moment.</p></div>`
  }
  if (gaps.length === 0) return html`<div class="empty"><p>Nothing is missing in what has arrived.</p></div>`
  const sessions = new Set(gaps.map((gap) => gap.sessionId)).size
  return html`<p>${number(gaps.length)}${gaps.length === most && ' and more'} in ${number(sessions)} ${sessions === 1 ? 'session' : 'sessions'}</p>${table(gaps)}`
}

function table(gaps: readonly SessionGap[]): Html {
  return html`<div class="wide"><table class="gaps">
<thead><tr><th>Session</th><th>What</th><th class="number">Missing</th><th>Which</th><th>Between (UTC)</th></tr></thead>
<tbody>${gaps.map(
    (gap) => html`<tr>
<td><a href="/admin/sessions${queryOf(new Map([['q', gap.sessionId]]))}">${shown(gap.sessionId, { atMost: 40 })}</a></td>
<td>${kinds[gap.kind] ?? shown(gap.kind, { atMost: 40 })}</td><td class="number">${number(gap.missing)}</td>
<td class="mono">${gap.firstMissing !== null ? html`${gap.firstMissing}${gap.lastMissing !== gap.firstMissing && html`–${gap.lastMissing}`}` : html`${shown(gap.detail, { atMost: 80 })} ${shown(gap.key, { atMost: 60 })}`}</td>
<td class="time">${gap.after.slice(0, 19).replace('T', ' ')}${gap.until !== gap.after && html` – ${gap.until.slice(11, 19)}`}</td></tr>`,
  )}</tbody></table></div>`
}
