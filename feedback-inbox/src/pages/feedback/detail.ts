/** `/admin/feedback/{id}`: one report with all that came along, and what can be done about it. */
import type { FeedbackReport, ReportFinding } from '@agnes/clickhouse'
import { excerptOf } from '../../api/feedback.ts'
import type { FeedbackChange } from '../../feedback/changes.ts'
import { mayChange } from '../../feedback/changes.ts'
import type { Silent } from '../../feedback/silent.ts'
import { type Html, html } from '../../html/html.ts'
import { plain, shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { queryOf } from '../../http/filter.ts'
import { type Marker, markerList, replay, type ShownTurn } from '../replay.ts'
import { tagList } from './list.ts'
import { causeTitle, silentLink, statusTag, timeOf } from './words.ts'

export interface ReportView {
  readonly report: FeedbackReport
  /** Of its session, if that was sent. */
  readonly findings: readonly ReportFinding[]
  /** Where the whole session is replayed; undefined when it was not sent. */
  readonly sessionHref: string | undefined
  /** Of its cause; undefined where nobody else has it, or it is being counted. */
  readonly silent: Silent | undefined
  /** For whoever may change it. */
  readonly forms: ReportForms | undefined
  readonly conflict?: Conflict
  /** Of the instance, for links that leave it. */
  readonly origin: string
  /** `owner/name` of the repository for issues. */
  readonly repository: string
}

export interface ReportForms {
  /** A new one each time it is called. */
  readonly token: () => string
  /** Who is logged in. */
  readonly me: string
}

/** Somebody changed the report between looking at it and sending the form. */
export interface Conflict {
  /** Version that was looked at. */
  readonly expected: number
  /** What was not done. */
  readonly wanted: FeedbackChange
}

export function reportPage(view: ReportView): Html {
  const { report, conflict, forms } = view
  return html`<article class="detail report">
<p class="eyebrow">Report ${report.id} · ${timeOf(report.createdAt)} UTC · version ${report.version}</p>
<h1>${report.status === 'purged' ? 'Purged report' : shown(firstLine(report.message), { atMost: 120 })} ${statusTag(report)}${tagList(report)}</h1>
${conflict !== undefined && conflictNote(report, conflict)}
${report.status === 'purged' ? tombstone(report) : content(view)}
${forms !== undefined && actions(view, forms)}
${history(report)}
</article>`
}

function content({ report, findings, sessionHref, silent, origin, repository }: ReportView): Html {
  const { causeKey, causeTool, causeClass, causeText, resolution } = report
  const turns = turnsOf(report, findings)
  const markers = turns.flatMap((turn) => turn.markers.map((marker) => ({ ...marker, turnIndex: turn.index })))
  return html`<pre class="message">${shown(report.message, { atMost: 12_000 })}</pre>
${resolution !== '' && html`<section><h2>${report.status === 'wontfix' ? "Why it won't be fixed" : 'What was done'}</h2><pre class="message">${shown(resolution, { atMost: 12_000 })}</pre></section>`}
${causeKey !== '' && html`<p class="cause-title"><a href="/admin/feedback${queryOf(new Map([['cause', causeKey]]))}" title="All reports of this cause">${causeTitle({ tool: causeTool, errorClass: causeClass, text: causeText })}</a></p>`}
${silent !== undefined && html`<p class="cause-facts">${silentLink(silent)}</p>`}
<p class="links"><a href="${issueLink(report, origin, repository)}" target="_blank" rel="noreferrer">Create GitHub issue</a>
<a href="/admin/activity${queryOf(
    new Map([
      ['resource', `feedback:${report.id}`],
      ['since', 'all'],
    ]),
  )}">Events</a>${sessionHref !== undefined && html` <a href="${sessionHref}">Replay the whole session</a>`}</p>
${facts(report)}
${
  turns.length > 0 &&
  html`<section><h2>The end of the session <span class="faint">${turns.length === 1 ? 'one turn, as it came' : `${number(turns.length)} turns, as they came`} along</span></h2>
${markerList(markers, ({ turnIndex }) => `#turn-${turnIndex}`)}
${replay(turns)}</section>`
}`
}

function facts(report: FeedbackReport): Html {
  const { reporterUser, reporterKey, assignee, sessionFile, sessionId, environment, redactions, findingIds } = report
  const preview = `${report.previewAnswer === 'asked' ? 'shown and agreed to' : 'shown, sent with --yes'}, ${number(report.previewBytes)} bytes, SHA-256 ${report.previewSha256.slice(0, 16)}…`
  const rows: readonly (readonly [string, Html | string | false])[] = [
    ['Who', html`<a href="/admin/feedback${queryOf(new Map([['user', reporterUser]]))}">${shown(reporterUser)}</a>`],
    ['With the key', reporterKey],
    ['Looked after by', assignee === '' ? 'nobody' : assignee],
    ['Written', report.writtenAt !== undefined && html`${timeOf(report.writtenAt)} UTC by their clock`],
    ['Session', sessionFile !== '' && sessionFile],
    ['Session id', sessionId !== '' && sessionId !== sessionFile && sessionId],
    ['Findings then', findingIds.length > 0 && number(findingIds.length)],
    ...Object.entries(environment).map(([name, value]) => [plain(name, 60), value] as const),
    ['Preview', preview],
    ['Redacted here', redactions.length > 0 && redactions.map((one) => one.split(' ', 2).join(': ')).join(', ')],
  ]
  return html`<dl class="facts">${rows.map(([name, value]) => value !== false && value !== '' && html`<dt>${name}</dt><dd>${typeof value === 'string' ? shown(value, { atMost: 500 }) : value}</dd>`)}</dl>`
}

/** A finding belongs to the turn of its call that failed, or else to the first of that call or record. */
function turnsOf(report: FeedbackReport, findings: readonly ReportFinding[]): ShownTurn[] {
  const turns = excerptOf(report)
  const markersAt = new Map<number, Marker[]>()
  for (const finding of findings) {
    const isHere = ({ tool_use_id, uuid }: (typeof turns)[number]): boolean =>
      finding.toolUseId !== '' ? tool_use_id === finding.toolUseId : uuid !== undefined && uuid === finding.uuid
    const failed = turns.findIndex((turn) => isHere(turn) && turn.is_error === true)
    const at = failed >= 0 ? failed : turns.findIndex(isHere)
    if (at >= 0) markersAt.set(at, [...(markersAt.get(at) ?? []), finding])
  }
  return turns.map((turn, index) => ({
    index,
    at: turn.time ?? null,
    role: turn.role,
    kind: turn.kind,
    tool: turn.tool ?? '',
    target: '',
    isError: turn.is_error === true,
    text: turn.text,
    markers: markersAt.get(index) ?? [],
  }))
}

function actions({ report, conflict }: ReportView, { token, me }: ReportForms): Html | false {
  if (report.status === 'purged') return false
  const wanted = conflict?.wanted
  const form = (action: FeedbackChange['action'], fields: Html | false, label: string, quiet = true): Html | false =>
    mayChange(report, action) &&
    html`<form class="action" method="post" action="/admin/feedback/${report.id}">
<input type="hidden" name="token" value="${token()}"><input type="hidden" name="expected_version" value="${report.version}"><input type="hidden" name="action" value="${action}">
${fields}<button${quiet && html` class="quiet"`}>${label}</button></form>`
  const resolution = (name: 'resolve' | 'wontfix', label: string): Html =>
    html`<label class="field">${label}<textarea name="resolution" rows="2" maxlength="10000" required>${wanted?.action === name ? wanted.resolution : ''}</textarea></label>`
  const tags = wanted?.action === 'tag' ? wanted.tags : report.tags
  return html`<section class="actions" aria-label="Actions"><h2>Do</h2>
<div class="action-line">
${report.assignee !== me && form('assign', html`<input type="hidden" name="assignee" value="${me}">`, 'Assign to me', false)}
${report.assignee !== '' && form('assign', html`<input type="hidden" name="assignee" value="">`, 'Assign to nobody')}
${form('triage', false, 'Triage')}${form('reopen', false, 'Reopen')}
${form('tag', html`<input name="tags" value="${tags.join(', ')}" aria-label="Tags" placeholder="tags, with commas" maxlength="1000">`, 'Tag')}
</div>
<div class="action-columns">
${form('resolve', resolution('resolve', 'What was done'), 'Resolve', false)}
${form('wontfix', resolution('wontfix', "Why it won't be fixed"), "Won't fix")}
</div>
<details class="danger"><summary>Purge</summary>
${form('purge', html`<p>Removes the message, the session and who sent it, for good. That there was a report, who purged it and why, stays.</p><label class="field">Why<input name="reason" maxlength="500" required value="${wanted?.action === 'purge' ? wanted.reason : ''}"></label>`, 'Purge for good')}
</details>
</section>`
}

function conflictNote(report: FeedbackReport, { expected, wanted }: Conflict): Html {
  const others = report.history.filter(({ version }) => version > expected)
  return html`<div class="conflict" role="alert"><p><b>Somebody changed this report while you looked at it. What you sent (${actionWords[wanted.action] ?? wanted.action}) was not done.</b></p>
<ul>${others.map((step) => html`<li>${shown(step.actor, { atMost: 60 })} ${actionWords[step.action] ?? step.action}${step.detail !== '' && html`: ${shown(step.detail)}`} <span class="faint">${timeOf(step.at)} UTC</span></li>`)}</ul>
<p>Below is how it is now; what you typed is still there. Send it again if it still holds.</p></div>`
}

const actionWords: Readonly<Record<string, string>> = {
  report: 'reported',
  assign: 'assigned',
  tag: 'tagged',
  triage: 'triaged',
  resolve: 'resolved',
  wontfix: "won't fix",
  reopen: 'reopened',
  purge: 'purged',
}

function history({ history }: FeedbackReport): Html {
  return html`<section><h2>History</h2><table class="values history"><tbody>${history.map(
    ({ at, actor, action, detail }) => html`<tr><th scope="row">${timeOf(at)}</th>
<td>${shown(actor === '' ? '–' : actor, { atMost: 80 })} ${actionWords[action] ?? shown(action)}${detail !== '' && html`: ${shown(detail, { atMost: 500 })}`}</td></tr>`,
  )}</tbody></table></section>`
}

function tombstone({ resolvedAt, resolvedBy, resolution }: FeedbackReport): Html {
  return html`<p class="message">Its content was removed for good by ${shown(resolvedBy)}${resolvedAt !== undefined && html` at ${timeOf(resolvedAt)} UTC`}${resolution !== '' && html`: ${shown(resolution)}`}.</p>`
}

/** GitHub refuses longer addresses. */
const longestBody = 3_000

/** Nothing is sent by it: who follows it sees the form, filled in, and decides. */
function issueLink(report: FeedbackReport, origin: string, repository: string): string {
  const quoted = plain(report.message, longestBody)
    .split('\n')
    .map((line) => `> ${line}`)
    .join('\n')
  const environment = Object.entries(report.environment).map(
    ([name, value]) => `- ${plain(name, 60)}: ${plain(value, 100)}`,
  )
  const cause =
    report.causeKey === ''
      ? ''
      : `${report.causeTool} · ${report.causeClass} · \`${plain(report.causeText).replaceAll('`', "'")}\``
  const body = [quoted, cause, environment.join('\n'), `Report ${report.id}: ${origin}/admin/feedback/${report.id}`]
  const url = new URL(`https://github.com/${repository}/issues/new`)
  url.searchParams.set('title', plain(firstLine(report.message), 120))
  url.searchParams.set(
    'body',
    body
      .filter((part) => part !== '')
      .join('\n\n')
      .slice(0, longestBody + 1_000)
      .toWellFormed(),
  )
  return url.href
}

function firstLine(text: string): string {
  return text.trimStart().split('\n', 1)[0] ?? ''
}
