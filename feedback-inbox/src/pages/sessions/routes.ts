/** The pages under `/admin/sessions`. */
import { setTimeout as pause } from 'node:timers/promises'
import { fetchFindingWeeks, fetchSessions, fetchWholeTurn } from '@agnes/clickhouse'
import type { FastifyInstance } from 'fastify'
import { findReplay, noSession } from '../../api/sessions.ts'
import { layout, sendPage } from '../../html/layout.ts'
import { plain } from '../../html/shown.ts'
import { badParameter } from '../../http/filter.ts'
import { visitorOf } from '../../http/form.ts'
import { parseSessionFilter } from '../../http/session-filter.ts'
import type { Inbox } from '../../inbox.ts'
import { sessionPage, turnPage, turnsOfPage } from './detail.ts'
import { gapsPage } from './gaps.ts'
import { heatmapPage } from './heatmap.ts'
import { sessionsPage } from './list.ts'

const mostGaps = 500
/** A page does not wait longer for gaps; they come with the next look. */
const gapsWithinMs = 80

export function registerSessionPages(app: FastifyInstance, inbox: Inbox): void {
  const read = { config: { access: 'read' } } as const
  const { client } = inbox

  app.get('/admin/sessions', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const params = paramsOf(request.url)
    const { filter, said } = await parseSessionFilter(params, visitor.tenant, inbox, ['cursor'])
    const cursor = params.get('cursor') ?? ''
    const page = await fetchSessions(client, { ...filter, ...(cursor !== '' && { cursor }) })
    inbox.read(request, { action: 'sessions.read', params: { filter: Object.fromEntries(said) } })
    const body = sessionsPage(page, cursor === '' ? said : new Map([...said, ['cursor', cursor]]))
    return sendPage(reply, layout(inbox, { title: 'Sessions', place: 'sessions', visitor, body }))
  })

  app.get('/admin/sessions/heatmap', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const { filter, said } = await parseSessionFilter(paramsOf(request.url), visitor.tenant, inbox)
    const weeks = await fetchFindingWeeks(client, filter)
    inbox.read(request, { action: 'sessions.read', resource: 'findings', params: { filter: Object.fromEntries(said) } })
    const body = heatmapPage(weeks, said)
    return sendPage(reply, layout(inbox, { title: 'Findings by week', place: 'sessions', visitor, body }))
  })

  app.get('/admin/sessions/gaps', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const sessionId = paramsOf(request.url).get('session_id') ?? ''
    const gaps = await Promise.race([inbox.gaps(visitor.tenant, sessionId, mostGaps), pause(gapsWithinMs, undefined)])
    inbox.read(request, { action: 'sessions.read', resource: 'gaps', params: { session_id: sessionId } })
    const body = gapsPage(gaps, { sessionId, most: mostGaps })
    return sendPage(reply, layout(inbox, { title: 'Gaps', place: 'sessions', visitor, body }))
  })

  app.get('/admin/sessions/:user/:file', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const { user, file } = request.params as { user: string; file: string }
    const params = paramsOf(request.url)
    const from = params.get('from') ?? '0'
    if (!/^\d{1,10}$/.test(from)) throw badParameter('from is no turn', 'use a whole number from 0')
    const found = await findReplay(inbox, {
      tenant: visitor.tenant,
      user,
      file,
      version: params.get('version') || 'main',
      fromTurn: Number(from),
      limit: turnsOfPage,
    })
    inbox.read(request, { action: 'sessions.read', resource: `session:${file}`, params: { user } })
    const title = plain(found.session.title || file, 60)
    return sendPage(reply, layout(inbox, { title, place: 'sessions', visitor, body: sessionPage(found) }))
  })

  app.get('/admin/sessions/:user/:file/turns/:turn', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const { user, file, turn } = request.params as { user: string; file: string; turn: string }
    const session = { user, file, version: paramsOf(request.url).get('version') || 'main' }
    const text = /^\d{1,9}$/.test(turn)
      ? await fetchWholeTurn(client, { tenant: visitor.tenant, ...session, turn: Number(turn) })
      : undefined
    if (text === undefined) throw noSession()
    inbox.read(request, { action: 'sessions.read', resource: `session:${file}`, params: { user, turn: Number(turn) } })
    const body = turnPage(session, Number(turn), text)
    return sendPage(reply, layout(inbox, { title: `Turn ${turn}`, place: 'sessions', visitor, body }))
  })
}

function paramsOf(url: string): URLSearchParams {
  return new URL(url, 'http://inbox').searchParams
}
