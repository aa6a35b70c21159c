/** The filter: a form that ends up in the URL, what is set as chips that take it back, and stretches of time to click. */
import { type Html, html } from '../../html/html.ts'
import { plain } from '../../html/shown.ts'
import { queryOf, saying } from '../../http/filter.ts'
import type { ActivityView } from './page.ts'

const stretches: readonly (readonly [since: string, label: string])[] = [
  ['1h', '1 hour'],
  ['24h', '24 hours'],
  ['7d', '7 days'],
  ['30d', '30 days'],
  ['all', 'All time'],
]

const results: readonly (readonly [value: string, label: string])[] = [
  ['', 'any'],
  ['success', 'success'],
  ['error', 'error'],
  ['denied', 'denied'],
  ['none', 'none written'],
  ['other', 'other'],
]

const labels: Readonly<Record<string, string>> = {
  since: 'since',
  until: 'until',
  user_id: 'user',
  action_prefix: 'action begins with',
  action_in: 'action',
  resource: 'resource',
  result: 'result',
  correlation_id: 'request',
  client_kind: 'client',
  q: 'text',
  include_reads: 'with reads',
  include_heartbeats: 'with heartbeats',
}

/** What stands beside the search; the rest is folded away until one of it is set. */
const folded = ['user_id', 'action_prefix', 'action_in', 'resource', 'result', 'correlation_id', 'client_kind', 'until']

export function filterForm({ said, usualStretch }: Pick<ActivityView, 'said' | 'usualStretch'>): Html {
  const value = (name: string): string => said.get(name) ?? ''
  const field = (name: string, label: string, placeholder: string): Html =>
    html`<label class="field">${label}<input name="${name}" value="${value(name)}" placeholder="${placeholder}" spellcheck="false"></label>`
  const since = value('since')
  const isNamed = stretches.some(([name]) => name === since)
  const knownResult = results.some(([name]) => name === value('result'))
  return html`<form class="filter" method="get" action="/admin/activity" role="search">
<div class="filter-line">
<input class="search" type="search" name="q" value="${value('q')}" aria-label="Text" placeholder="Search action, resource, message, params…">
<div class="stretches" role="group" aria-label="Stretch of time">${stretches.map(
    ([name, label]) =>
      html`<a class="stretch" href="/admin/activity${queryOf(saying(said, { since: name, until: undefined }))}"${name === since && html` aria-current="true"`}>${label}</a>`,
  )}</div>
<button>Filter</button>
</div>
<details class="more"${(!isNamed || folded.some((name) => said.has(name))) && html` open`}>
<summary>More filters</summary>
<div class="fields">
${field('since', 'Since', '24h, or 2026-11-21T06:00Z')}
${field('until', 'Until', 'now')}
${field('user_id', 'User', 'u-42')}
${field('action_prefix', 'Action begins with', 'sync.')}
${field('action_in', 'Exactly these actions', 'sync.run,query.local')}
${field('resource', 'Resource', 'table:orders')}
<label class="field">Result<select name="result">
${results.map(([name, label]) => html`<option value="${name}"${name === value('result') && html` selected`}>${label}</option>`)}
${!knownResult && html`<option value="${value('result')}" selected>${plain(value('result'), 40)}</option>`}
</select></label>
${field('client_kind', 'Client', 'cli, web, scheduler…')}
${field('correlation_id', 'Request', 'correlation id')}
</div>
</details>
<div class="filter-line">
<label class="switch"><input type="checkbox" name="include_reads" value="true"${said.has('include_reads') && html` checked`}> Reading of these pages</label>
<label class="switch"><input type="checkbox" name="include_heartbeats" value="true"${said.has('include_heartbeats') && html` checked`}> Heartbeats</label>
<div class="chips">${chips(said, usualStretch)}</div>
</div>
</form>`
}

function chips(said: ReadonlyMap<string, string>, usualStretch: string): Html[] {
  const set = [...said].filter(([name, value]) => name !== 'since' || value !== usualStretch)
  const chip = ([name, value]: [string, string]): Html =>
    html`<a class="chip" href="/admin/activity${queryOf(saying(said, { [name]: undefined }))}" title="take this back">
<span class="faint">${labels[name] ?? name}</span> ${value === 'true' ? '' : plain(value, 60)} <span aria-hidden="true">×</span><span class="visually-hidden">take back</span></a>`
  return set.length === 0 ? [] : [...set.map(chip), html`<a class="reset" href="/admin/activity">Reset</a>`]
}
