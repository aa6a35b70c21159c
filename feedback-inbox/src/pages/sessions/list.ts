/** `/admin/sessions`: which sessions, and in which of them somebody got stuck. */
import { type SessionPage, type SessionRow, sessionSorts } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { queryOf, saying } from '../../http/filter.ts'
import { sessionPath } from './paths.ts'
import { tabs } from './tabs.ts'

type Said = ReadonlyMap<string, string>
const path = '/admin/sessions'

/** For the select; what was found of another type is reached by its link. */
export const findingTypes = [
  'tool_error',
  'permission_denied',
  'user_rejection',
  'loop',
  'abrupt_end',
  'api_error',
  'context_pressure',
  'repeated_correction',
] as const

const sortLabels: Readonly<Record<(typeof sessionSorts)[number], string>> = {
  recent: 'newest',
  findings: 'most findings',
  user: 'user',
}

export function sessionsPage({ rows, nextCursor }: SessionPage, said: Said): Html {
  return html`<h1 class="visually-hidden">Sessions</h1>
${tabs('list')}
${filterForm(said, path)}
${rows.length === 0 ? empty(said) : table(rows)}
<nav class="pager" aria-label="Pages">
${said.has('cursor') && html`<a class="button quiet" href="${path}${queryOf(saying(said, { cursor: undefined }))}">First</a>`}
${nextCursor !== null && html`<a class="button quiet" rel="next" href="${path}${queryOf(saying(said, { cursor: nextCursor }))}">More</a>`}
</nav>`
}

function table(rows: readonly SessionRow[]): Html {
  return html`<div class="wide"><table class="sessions">
<thead><tr><th>Arrived (UTC)</th><th>User</th><th>Session</th><th class="number">Active min</th><th class="number">Turns</th><th class="number">Tools</th><th class="number">Errors</th><th>Found</th></tr></thead>
<tbody>${rows.map(line)}</tbody></table></div>`
}

function line(row: SessionRow): Html {
  const { receivedAt, user, file, version, title, activeMinutes, turns, toolCalls, errors, isProcessed } = row
  return html`<tr>
<td class="time"><a class="time-link" href="${sessionPath(row)}"><time datetime="${receivedAt}">${receivedAt.slice(0, 16).replace('T', ' ')}</time></a></td>
<td class="who-cell"><a href="${path}${queryOf(new Map([['user', user]]))}">${shown(user, { atMost: 40 })}</a></td>
<td class="what"><a href="${sessionPath(row)}">${shown(title === '' ? file : title.replace(/\s+/g, ' '), { atMost: 120 })}</a>${version !== 'main' && html` <span class="tag">${shown(version, { atMost: 20 })}</span>`}</td>
<td class="number">${number(activeMinutes)}</td><td class="number">${number(turns)}</td><td class="number">${number(toolCalls)}</td><td class="number">${number(errors)}</td>
<td>${isProcessed ? findings(row) : html`<span class="faint">not scanned yet</span>`}</td></tr>`
}

function findings({ findingTypes }: SessionRow): Html | string {
  const types = Object.entries(findingTypes)
  if (types.length === 0) return html`<span class="faint">–</span>`
  return html`${types.map(([type, count]) => html`<span class="marker ${type === 'user_rejection' ? 'info' : 'warning'}">${shown(type.replaceAll('_', ' '), { atMost: 40 })}${count > 1 && html` ×${number(count)}`}</span> `)}`
}

/** @param action where it goes: the list, or the heatmap, which is not sorted */
export function filterForm(said: Said, action: string): Html {
  const value = (name: string): string => said.get(name) ?? ''
  const select = (name: string, label: string, options: readonly (readonly [value: string, label: string])[]): Html =>
    html`<select name="${name}" aria-label="${label}">${options.map(([one, text]) => html`<option value="${one}"${value(name) === one && html` selected`}>${text}</option>`)}</select>`
  const other = value('finding')
  const known = other === '' || other === 'any' || (findingTypes as readonly string[]).includes(other)
  const words = findingTypes.map((type) => [type, type.replaceAll('_', ' ')] as const)
  return html`<form class="filter" method="get" action="${action}" role="search">
<div class="filter-line">
<input class="search" type="search" name="q" value="${value('q') || value('session_id')}" placeholder="Search prompts, findings, names, branches" aria-label="Search" maxlength="1000">
${select('finding', 'Finding', [['', 'any session'], ['any', 'with findings'], ...words, ...(known ? [] : [[other, other] as const])])}
<input name="user" value="${value('user')}" placeholder="user" aria-label="User" size="12" maxlength="1000">
<input name="since" value="${value('since')}" placeholder="since: 7d" aria-label="Since" size="12">
<input name="until" value="${value('until')}" placeholder="until" aria-label="Until" size="12">
${select('anchor', 'Times mean', [
  ['', 'by arrival'],
  ['start', 'by start'],
])}
${action === path && select('sort', 'Order', [['', sortLabels.recent], ...sessionSorts.slice(1).map((sort) => [sort, sortLabels[sort]] as const)])}
<button>Show</button>
${said.size > 0 && html`<a class="reset" href="${action}">Reset</a>`}
</div>
${chips(said, action)}
</form>`
}

/** What a link set and the form has no field for: it stays until it is taken back. */
function chips(said: Said, action: string): Html | false {
  const set = Object.entries(chipLabels).filter(([name]) => said.has(name))
  return (
    set.length > 0 &&
    html`<p class="chips">${set.map(
      ([name, label]) => html`<input type="hidden" name="${name}" value="${said.get(name) ?? ''}">
<a class="chip" href="${action}${queryOf(saying(said, { [name]: undefined, cursor: undefined }))}" title="take this back"><span class="faint">${label}</span>${name !== 'silent' && html` ${shown(said.get(name) ?? '', { atMost: 40 })}`} <span aria-hidden="true">×</span><span class="visually-hidden">take back</span></a> `,
    )}</p>`
  )
}

const chipLabels: Readonly<Record<string, string>> = {
  found_since: 'found since',
  found_until: 'found before',
  silent: 'fails as reports of a cause say, not reported',
}

function empty(said: Said): Html {
  if (said.size > 0)
    return html`<div class="empty"><p>Nothing matches. <a href="${path}">Clear every filter</a></p></div>`
  return html`<div class="empty"><p>No session has arrived yet. <code>agnes push</code> sends those of a machine.</p></div>`
}
