/** `/admin/activity/{id}`: one event with everything it carries, what it leads to, and what a change replaced. */
import type { EventDetail, TimelinePage } from '@agnes/clickhouse'
import { rawDetailOf } from '../../api/rows.ts'
import { type Html, html } from '../../html/html.ts'
import { hasPlace } from '../../html/layout.ts'
import { shown } from '../../html/shown.ts'
import { duration } from '../../html/words.ts'
import { queryOf } from '../../http/filter.ts'
import { type Change, changesOf, leavesOf } from '../../masking/changes.ts'
import { type Json, maskParams, maskText } from '../../masking/params.ts'
import { resultTag, timelineTable } from './timeline-table.ts'

export interface DetailView {
  /** For the form that shows it raw; undefined for who may not. */
  readonly token: string | undefined
  /** Where that form goes. */
  readonly action: string
  /** Of the same table, if it is a sync. */
  readonly runs: TimelinePage | undefined
}

/** Characters of one value. */
const longestText = 1_000
const options = { longestText }

export function detailPage(event: EventDetail, { token, action, runs }: DetailView): Html {
  const { timestamp, message, body, attributes, resourceAttributes, redactions } = event
  return html`<article class="detail" id="detail">
<p class="eyebrow">${shown(event.eventName || 'log line')} · <time datetime="${timestamp}">${timestamp.slice(0, 23).replace('T', ' ')} UTC</time></p>
<h1>${shown(event.action || event.eventName || 'event', { atMost: 120 })} ${resultTag(event)}</h1>
${message !== '' && html`<p class="message">${shown(maskText(message, '', { longestText: 4_000 }), { atMost: 4_100 })}</p>`}
${links(event)}
${facts(event)}
${event.paramsBefore === '' ? paramsTable(event) : changeTable(event)}
${runs !== undefined && runsOf(runs)}
${body !== '' && body !== event.eventName && html`<section><h2>Body</h2><pre>${shown(maskText(body, '', { longestText: 4_000 }), { atMost: 4_100 })}</pre></section>`}
${table('Attributes', withoutParams(attributes))}
${table('Sent by', resourceAttributes)}
${redactions.length > 0 && html`<section><h2>Redacted before it was written</h2><ul>${redactions.map((one) => html`<li class="mono">${shown(one)}</li>`)}</ul></section>`}
${
  token !== undefined &&
  html`<form class="raw" method="post" action="${action}"><input type="hidden" name="token" value="${token}">
<button class="quiet">Show raw</button> <span class="faint">Nothing masked or cut. That you looked is written down.</span></form>`
}
</article>`
}

function facts(event: EventDetail): Html {
  const { userId, clientKind, clientAddress, resource, durationMs, correlationId, sessionId, runId } = event
  const activity = (name: string, value: string): Html =>
    html`<a href="/admin/activity${queryOf(
      new Map([
        [name, value],
        ['since', 'all'],
      ]),
    )}">${shown(value)}</a>`
  const rows: readonly (readonly [string, Html | string | false])[] = [
    ['Who', userId !== '' && activity('user_id', userId)],
    ['From', [clientKind, clientAddress].filter((part) => part !== '').join(', ')],
    ['What', resource !== '' && activity('resource', resource)],
    ['Took', durationMs !== null && duration(durationMs)],
    ['Request', correlationId !== '' && activity('correlation_id', correlationId)],
    [
      'Session',
      sessionId !== '' &&
        (hasPlace('sessions')
          ? html`<a href="/admin/sessions${queryOf(new Map([['session_id', sessionId]]))}">${shown(sessionId)}</a>`
          : shown(sessionId)),
    ],
    ['Run', runId !== '' && shown(runId)],
    ['Received', `${event.receivedAt.slice(0, 23).replace('T', ' ')} UTC`],
    ['Id', shown(event.id)],
  ]
  return html`<dl class="facts">${rows.map(([name, value]) => value !== false && value !== '' && html`<dt>${name}</dt><dd>${typeof value === 'string' ? shown(value) : value}</dd>`)}</dl>`
}

/** Where to go on from an event of this kind. */
function links({ eventName, action, resource, attributes }: EventDetail): Html | false {
  const found: Html[] = []
  const timeline = (said: Readonly<Record<string, string>>): string =>
    `/admin/activity${queryOf(new Map(Object.entries({ ...said, since: '7d' })))}`
  if (eventName === 'agnes.sync') {
    found.push(html`<a href="/admin/activity/sync">All tables</a>`)
    found.push(html`<a href="${timeline({ action_in: action, resource })}">Syncs of this table</a>`)
  }
  if (eventName === 'agnes.session_processor') {
    const name = attributes['agnes.processor.name'] ?? ''
    found.push(html`<a href="${timeline({ action_in: action, resource })}">Runs of ${shown(name)} over this file</a>`)
    found.push(html`<a href="${timeline({ action_in: action })}">All runs of ${shown(name)}</a>`)
  }
  const report =
    attributes['agnes.feedback.id'] ?? (action.startsWith('feedback.') ? resource.replace(/^feedback:/, '') : '')
  if (report !== '' && hasPlace('feedback')) {
    found.push(html`<a href="/admin/feedback/${encodeURIComponent(report)}">The report</a>`)
  }
  return found.length > 0 && html`<p class="links">${found.map((link) => html`${link} `)}</p>`
}

function paramsTable({ params }: EventDetail): Html | false {
  const value = maskParams(params, options)
  return value !== null && html`<section><h2>Params</h2>${leaves(value)}</section>`
}

function leaves(value: Json): Html {
  if (value === null || typeof value !== 'object') return html`<pre>${shown(textOf(value), { atMost: 4_100 })}</pre>`
  const rows = [...leavesOf(value)].slice(0, maxRows)
  return html`<table class="values"><tbody>${rows.map(
    ([path, leaf]) => html`<tr><th scope="row">${shown(path, { atMost: 120 })}</th><td>${leafValue(leaf)}</td></tr>`,
  )}</tbody></table>`
}

const maxRows = 500

function changeTable({ params, paramsBefore }: EventDetail): Html {
  const changes = changesOf(maskParams(paramsBefore, options), maskParams(params, options))
  const differing = changes.filter(({ kind }) => kind !== 'same')
  const same = changes.filter(({ kind }) => kind === 'same')
  return html`<section><h2>What changed</h2>
<table class="values changes"><thead><tr><th>Where</th><th>Before</th><th>After</th></tr></thead>
<tbody>${differing.map(changeRow)}${differing.length === 0 && html`<tr><td colspan="3" class="faint">Nothing.</td></tr>`}</tbody></table>
${same.length > 0 && html`<details><summary>${same.length} unchanged</summary><table class="values"><tbody>${same.map(({ path, after }) => html`<tr><th scope="row">${shown(path, { atMost: 120 })}</th><td>${leafValue(after)}</td></tr>`)}</tbody></table></details>`}
</section>`
}

function changeRow({ path, kind, before, after }: Change): Html {
  return html`<tr class="${kind}"><th scope="row">${path === '' ? html`<span class="faint">all of it</span>` : shown(path, { atMost: 120 })}</th>
<td>${before === undefined ? html`<span class="faint">–</span>` : html`<del>${leafValue(before)}</del>`}</td>
<td>${after === undefined ? html`<span class="faint">–</span>` : html`<ins>${leafValue(after)}</ins>`}</td></tr>`
}

function leafValue(value: Json | undefined): Html {
  return shown(textOf(value ?? null), { atMost: longestText + 100 })
}

function textOf(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function runsOf({ rows }: TimelinePage): Html {
  return html`<section><h2>Syncs of this table around then</h2>${timelineTable(rows)}</section>`
}

function table(title: string, attributes: Readonly<Record<string, string>>): Html | false {
  const entries = Object.entries(attributes)
  if (entries.length === 0) return false
  return html`<details class="attributes"><summary>${title} <span class="faint">${entries.length}</span></summary>
<table class="values"><tbody>${entries.map(
    ([key, value]) =>
      html`<tr><th scope="row">${shown(key, { atMost: 120 })}</th><td>${shown(maskedAttribute(key, value), { atMost: longestText + 100 })}</td></tr>`,
  )}</tbody></table></details>`
}

function maskedAttribute(key: string, value: string): string {
  if (!/^\s*[[{]/.test(value)) return maskText(value, key, options)
  return textOf(maskParams(value, options))
}

/** They stand above. */
function withoutParams(attributes: Readonly<Record<string, string>>): Record<string, string> {
  const { 'agnes.params': _now, 'agnes.params_before': _before, ...rest } = attributes
  return rest
}

/** Characters of the whole event; a page of more is not read. */
const longestRaw = 2_000_000

export function rawPage(event: EventDetail): Html {
  return html`<article class="detail">
<p class="eyebrow">As it was stored; that you looked is written down</p>
<h1>${shown(event.action || event.eventName, { atMost: 120 })}</h1>
<pre class="raw-text">${shown(JSON.stringify(rawDetailOf(event), null, 2), { atMost: longestRaw })}</pre>
</article>`
}
