/** Rows of the timeline, newest first. */
import type { TimelineRow } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { plain, shown } from '../../html/shown.ts'

export function timelineTable(rows: readonly TimelineRow[]): Html {
  return html`<table class="timeline" data-live="timeline">
<thead><tr><th>Time (UTC)</th><th>Who</th><th>Action</th><th>Result</th><th class="number">ms</th><th>What</th></tr></thead>
<tbody>${rows.map(line)}</tbody>
</table>`
}

function line(row: TimelineRow): Html {
  const { id, timestamp, userId, clientKind, action, eventName, result, resultClass, durationMs } = row
  const href = `/admin/activity/${encodeURIComponent(id)}?at=${encodeURIComponent(timestamp)}`
  return html`<tr data-id="${plain(id, 80)}">
<td class="time"><a class="time-link" href="${href}"><time datetime="${timestamp}" title="${timestamp}">${timestamp.slice(0, 10)} <b class="clock">${timestamp.slice(11, 19)}</b></time></a></td>
<td>${userId === '' ? html`<span class="faint">${clientKind}</span>` : shown(userId, { atMost: 40 })}</td>
<td class="action">${shown(action || eventName, { atMost: 60 })}</td>
<td>${result === '' ? html`<span class="faint">–</span>` : html`<span class="result ${resultClass}">${shown(result, { atMost: 30 })}</span>`}</td>
<td class="number">${durationMs}</td>
<td class="what">${shown(whatOf(row), { atMost: 160 })}</td>
</tr>`
}

/** What the other columns do not say: the object, what went wrong, what a change replaced. */
function whatOf({ resource, message, params, paramsBefore }: TimelineRow): string {
  const change = paramsBefore === '' ? '' : `${paramsBefore} → ${params}`
  return [resource, message || change || params].filter((part) => part !== '').join(' ')
}
