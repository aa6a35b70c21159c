/** Rows of the timeline, newest first. */
import type { TimelineRow } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { plain, shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { maskParams, maskText } from '../../masking/params.ts'

export function timelineTable(rows: readonly TimelineRow[]): Html {
  return html`<div class="wide"><table class="timeline" data-live="timeline">
<thead><tr><th>Time (UTC)</th><th>Who</th><th>Action</th><th>Result</th><th class="number">ms</th><th>What</th></tr></thead>
<tbody>${rows.map(line)}</tbody>
</table></div>`
}

function line(row: TimelineRow): Html {
  const { id, timestamp, userId, clientKind, action, eventName, durationMs } = row
  return html`<tr data-key="${timestamp} ${plain(id, 100)}">
<td class="time"><a class="time-link" href="${detailPath(row)}"><time datetime="${timestamp}" title="${timestamp}">${timestamp.slice(5, 10)} <b class="clock">${timestamp.slice(11, 19)}</b></time></a></td>
<td class="who-cell">${userId === '' ? html`<span class="faint">${shown(clientKind, { atMost: 20 })}</span>` : shown(userId, { atMost: 24 })}</td>
<td class="action">${shown(action || eventName, { atMost: 40 })}</td>
<td>${resultTag(row)}</td>
<td class="number">${durationMs === null ? '' : number(durationMs)}</td>
<td class="what">${shown(whatOf(row), { atMost: 160 })}</td>
</tr>`
}

export function resultTag({ result, resultClass }: Pick<TimelineRow, 'result' | 'resultClass'>): Html {
  if (result === '') return html`<span class="faint">–</span>`
  return html`<span class="result ${resultClass}">${shown(result, { atMost: 24 })}</span>`
}

/** The time makes the search for the event quick. */
export function detailPath({ id, timestamp }: Pick<TimelineRow, 'id' | 'timestamp'>): string {
  return `/admin/activity/${encodeURIComponent(id)}?at=${encodeURIComponent(timestamp)}`
}

/** What the other columns do not say: the object, what went wrong, what a change replaced. */
function whatOf({ resource, message, params, paramsBefore }: TimelineRow): string {
  const change = paramsBefore === '' ? '' : `${masked(paramsBefore)} → `
  return [maskText(resource, '', options), message === '' ? change + masked(params) : maskText(message, '', options)]
    .filter((part) => part !== '')
    .join(' ')
}

/** The page shows less of it, and cuts by itself. */
const options = { longestText: 1_000 }

function masked(params: string): string {
  const value = maskParams(params, options)
  return value === null ? '' : typeof value === 'string' ? value : JSON.stringify(value)
}
