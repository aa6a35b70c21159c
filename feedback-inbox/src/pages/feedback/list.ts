/** `/admin/feedback`: what people report, grouped by what went wrong. */
import { type FeedbackCause, type FeedbackReport, feedbackStatuses } from '@agnes/clickhouse'
import type { Silent } from '../../feedback/silent.ts'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { queryOf, saying } from '../../http/filter.ts'
import { causeTitle, silentLink, statusTag, statusWords, timeOf } from './words.ts'

type Said = ReadonlyMap<string, string>
const path = '/admin/feedback'

export interface CausesView {
  readonly causes: readonly FeedbackCause[]
  readonly nextCursor: string | null
  readonly said: Said
  /** By key of the cause; undefined while they are being counted. */
  readonly silent: ReadonlyMap<string, Silent> | undefined
}

export function causesPage({ causes, nextCursor, said, silent }: CausesView): Html {
  return html`<h1>Feedback</h1>
${filterForm(said)}
${causes.length === 0 ? empty(said) : causeSections(causes, said, silent)}
${pager(said, nextCursor)}`
}

export interface ReportsView {
  readonly reports: readonly FeedbackReport[]
  readonly nextCursor: string | null
  readonly said: Said
}

/** All reports of one cause. */
export function reportsPage({ reports, nextCursor, said }: ReportsView): Html {
  const [first] = reports
  return html`<h1>Feedback</h1>
${filterForm(said)}
${first !== undefined && first.causeKey !== '' && html`<p class="cause-title">${causeTitle({ tool: first.causeTool, errorClass: first.causeClass, text: first.causeText })}</p>`}
${reports.length === 0 ? empty(said) : reportTable(reports)}
${pager(said, nextCursor)}`
}

/** Reports of no cause stand in one table where no cause is between them. */
function causeSections(causes: readonly FeedbackCause[], said: Said, silent: CausesView['silent']): Html[] {
  const sections: Html[] = []
  let loose: FeedbackReport[] = []
  const close = (): void => {
    if (loose.length > 0) sections.push(html`<section class="cause">${reportTable(loose)}</section>`)
    loose = []
  }
  for (const cause of causes) {
    if (cause.causeKey === '') loose.push(...cause.latest)
    else {
      close()
      sections.push(causeSection(cause, said, silent?.get(cause.causeKey)))
    }
  }
  close()
  return sections
}

function causeSection(cause: FeedbackCause, said: Said, silent: Silent | undefined): Html {
  const { causeKey, reports, open, reporters, firstSeen, lastSeen, latest } = cause
  const all = `${path}${queryOf(saying(said, { cause: causeKey, cursor: undefined }))}`
  return html`<section class="cause">
<h2 class="cause-title"><a href="${all}">${causeTitle(cause)}</a></h2>
<p class="cause-facts"><b>${number(reports)}</b> ${reports === 1 ? 'report' : 'reports'} of ${number(reporters)} ${reporters === 1 ? 'person' : 'people'},
${open === 0 ? 'none open' : html`<b>${number(open)}</b> open`} · first ${timeOf(firstSeen)} · last ${timeOf(lastSeen)} UTC${silent !== undefined && html` · ${silentLink(silent)}`}</p>
${reportTable(latest)}
${reports > latest.length && html`<p><a href="${all}">All ${number(reports)} reports</a></p>`}
</section>`
}

function reportTable(reports: readonly FeedbackReport[]): Html {
  return html`<table class="reports">
<thead><tr><th>Time (UTC)</th><th>Who</th><th>What they say</th><th>State</th><th>With</th></tr></thead>
<tbody>${reports.map(
    (report) => html`<tr>
<td class="time"><a class="time-link" href="${path}/${report.id}">${timeOf(report.createdAt)}</a></td>
<td class="who-cell">${report.reporterUser === '' ? html`<span class="faint">–</span>` : shown(report.reporterUser, { atMost: 40 })}</td>
<td class="what"><a href="${path}/${report.id}">${report.status === 'purged' ? 'purged' : shown(report.message.replace(/\s+/g, ' '), { atMost: 160 })}</a>${tagList(report)}</td>
<td>${statusTag(report)}</td>
<td class="who-cell">${report.assignee === '' ? html`<span class="faint">nobody</span>` : shown(report.assignee, { atMost: 40 })}</td>
</tr>`,
  )}</tbody></table>`
}

export function tagList({ tags }: Pick<FeedbackReport, 'tags'>): Html | false {
  if (tags.length === 0) return false
  return html` ${tags.map((tag) => html`<a class="tag" href="${path}${queryOf(new Map([['tag', tag]]))}">${shown(tag, { atMost: 40 })}</a> `)}`
}

function filterForm(said: Said): Html {
  const value = (name: string): string => said.get(name) ?? ''
  return html`<form class="filter" method="get" action="${path}" role="search">
<div class="filter-line">
<input class="search" type="search" name="q" value="${value('q')}" placeholder="Search messages and errors" aria-label="Search" maxlength="1000">
<select name="status" aria-label="State">
<option value="">any state</option>
<option value="open,triaged"${value('status') === 'open,triaged' && html` selected`}>open or triaged</option>
${feedbackStatuses.map((status) => html`<option value="${status}"${value('status') === status && html` selected`}>${statusWords[status]}</option>`)}
</select>
<input name="user" value="${value('user')}" placeholder="user" aria-label="User" size="12" maxlength="1000">
<input name="tag" value="${value('tag')}" placeholder="tag" aria-label="Tag" size="10" maxlength="1000">
${said.has('cause') && html`<input type="hidden" name="cause" value="${value('cause')}">`}
<button>Show</button>
${said.size > 0 && html`<a class="reset" href="${path}">Reset</a>`}
</div>
${
  said.has('cause') &&
  html`<p class="chips"><a class="chip" href="${path}${queryOf(saying(said, { cause: undefined }))}" title="Show all causes">one cause ✕</a></p>`
}
</form>`
}

function pager(said: Said, nextCursor: string | null): Html {
  return html`<nav class="pager" aria-label="Pages">
${said.has('cursor') && html`<a class="button quiet" href="${path}${queryOf(saying(said, { cursor: undefined }))}">Newest</a>`}
${nextCursor !== null && html`<a class="button quiet" rel="next" href="${path}${queryOf(saying(said, { cursor: nextCursor }))}">Older</a>`}
</nav>`
}

function empty(said: Said): Html {
  if (said.size > 0)
    return html`<div class="empty"><p>Nothing matches. <a href="${path}">Clear every filter</a></p></div>`
  return html`<div class="empty"><p>Nobody has reported anything yet. Whoever is stuck types <code>agnes report</code>.</p></div>`
}
