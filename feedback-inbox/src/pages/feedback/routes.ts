/** The pages under `/admin/feedback`. */
import { setTimeout as pause } from 'node:timers/promises'
import { type FeedbackFilter, fetchCauses, fetchReportSession, fetchReports } from '@agnes/clickhouse'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { findReport, idOf, noReport, parseFeedbackFilter } from '../../api/feedback.ts'
import { mayDo } from '../../auth/visitor.ts'
import { parseChange } from '../../feedback/changes.ts'
import type { Html } from '../../html/html.ts'
import { layout, sendPage } from '../../html/layout.ts'
import { plain } from '../../html/shown.ts'
import { badParameter } from '../../http/filter.ts'
import { readForm, sessionOf, visitorOf } from '../../http/form.ts'
import type { Inbox } from '../../inbox.ts'
import { originOf } from '../../origin.ts'
import { sessionPath } from '../sessions/paths.ts'
import { type Conflict, reportPage } from './detail.ts'
import { causesPage, reportsPage } from './list.ts'

export function registerFeedbackPages(app: FastifyInstance, inbox: Inbox): void {
  const read = { config: { access: 'read' } } as const

  app.get('/admin/feedback', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const { filter, said } = parseFeedbackFilter(request, visitor.tenant)
    const shownFilter = new Map<string, string>([
      ...said,
      ...(filter.cursor ? [['cursor', filter.cursor] as const] : []),
    ])
    const body = said.has('cause')
      ? reportsPage({ ...(await fetchReports(inbox.client, filter)), said: shownFilter })
      : await causes(inbox, filter, shownFilter)
    inbox.read(request, { action: 'feedback.read', params: { filter: Object.fromEntries(said) } })
    return sendPage(reply, layout(inbox, { title: 'Feedback', place: 'feedback', visitor, body }))
  })

  app.get('/admin/feedback/:id', read, async (request, reply) => {
    const page = await pageOf(inbox, request)
    inbox.read(request, { action: 'feedback.read', resource: `feedback:${idOf(request)}`, params: {} })
    return sendPage(reply, page)
  })

  app.post('/admin/feedback/:id', async (request, reply) => {
    const { tenant, userId, session } = sessionOf(request)
    const form = readForm(request, inbox.forms, session.id)
    const id = idOf(request)
    const expected = Number(form.get('expected_version'))
    if (!Number.isInteger(expected) || expected < 1) {
      throw badParameter('the form does not say which version it is about', 'reload the page and send it again')
    }
    const wanted = parseChange(Object.fromEntries(form))
    const outcome = await inbox.feedback.change({ tenant, userId, origin: originOf(request) }, id, expected, wanted)
    if (outcome.kind === 'unknown') throw noReport()
    if (outcome.kind === 'changed') return reply.redirect(`/admin/feedback/${id}`, 303)
    return sendPage(reply.code(409), await pageOf(inbox, request, { expected, wanted }))
  })
}

async function causes(inbox: Inbox, filter: FeedbackFilter, said: ReadonlyMap<string, string>): Promise<Html> {
  const page = await fetchCauses(inbox.client, filter)
  return causesPage({ ...page, said, silent: await soon(inbox.silent.of(filter.tenant, page.causes)) })
}

/** A page does not wait longer for what adds to it, nor fails with it. */
const soonMs = 100

async function soon<T>(answer: Promise<T>): Promise<T | undefined> {
  return Promise.race([answer.catch(() => undefined), pause(soonMs, undefined)])
}

async function pageOf(inbox: Inbox, request: FastifyRequest, conflict?: Conflict) {
  const visitor = visitorOf(request)
  const { session, userId } = visitor
  const report = await findReport(inbox, request)
  // What the session adds is not worth failing for.
  const { causeKey, causeTool: tool, causeText: text } = report
  const [found, silent] = await Promise.all([
    report.sessionFile === '' ? undefined : fetchReportSession(inbox.client, report).catch(() => undefined),
    soon(inbox.silent.of(report.tenant, [{ causeKey, tool, text }])),
  ])
  const forms =
    session !== undefined && mayDo(visitor, 'admin')
      ? { token: () => inbox.forms.issue(session.id, `/admin/feedback/${report.id}`), me: userId }
      : undefined
  const body = reportPage({
    report,
    findings: found?.findings ?? [],
    silent: silent?.get(causeKey),
    sessionHref: found?.session && sessionPath(found.session),
    forms,
    ...(conflict && { conflict }),
    origin: `${request.protocol}://${request.host}`,
    repository: inbox.repository,
  })
  return layout(inbox, { title: plain(report.message, 60) || 'Report', place: 'feedback', visitor, body })
}
