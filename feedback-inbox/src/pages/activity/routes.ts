/** The pages under `/admin/activity`. */
import { setTimeout as pause } from 'node:timers/promises'
import { fetchTimeline } from '@agnes/clickhouse'
import type { FastifyInstance } from 'fastify'
import { findEvent, revealed } from '../../api/events.ts'
import { mayDo } from '../../auth/visitor.ts'
import { layout, sendPage } from '../../html/layout.ts'
import { parseFilter } from '../../http/filter.ts'
import { readForm, sessionOf, visitorOf } from '../../http/form.ts'
import type { Inbox } from '../../inbox.ts'
import { detailPage, rawPage } from './detail.ts'
import { activityPage } from './page.ts'
import { syncPage } from './sync.ts'

const rowsOfPage = 50
/** Of a row's texts, for its one line. */
const longestText = 400
/** Runs of a table beside one of them. */
const runsBeside = 12
/** Looked back unless told: a page of all time would count for seconds. */
const usualStretch = '24h'
/** A page does not wait longer for the counts, from when it was asked for; they come with the next look. */
const countWithinMs = 80

export function registerActivityPages(app: FastifyInstance, inbox: Inbox): void {
  const read = { config: { access: 'read' } } as const

  app.get('/admin/activity', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const params = new URL(request.url, 'http://inbox').searchParams
    if (!params.get('since')) params.set('since', usualStretch)
    const { filter, said } = parseFilter(params, visitor.tenant, inbox.now(), ['cursor'])
    const cursor = params.get('cursor') ?? ''
    const patience = pause(countWithinMs, undefined)
    const counting = inbox.summary(filter, said)
    counting.catch(() => {}) // told by the timeline, which is asked the same
    const [pulse, firing, timeline] = await Promise.all([
      inbox.pulse(visitor.tenant),
      inbox.firing(visitor.tenant),
      fetchTimeline(inbox.client, { ...filter, limit: rowsOfPage, ...(cursor && { cursor }) }, { longestText }),
    ])
    const summary = await Promise.race([counting, patience])
    inbox.read(request, { action: 'activity.read', params: { filter: Object.fromEntries(said) } })
    const body = activityPage({ pulse, firing, timeline, summary, said, usualStretch, isFirstPage: cursor === '' })
    return sendPage(reply, layout(inbox, { title: 'Activity', place: 'activity', visitor, body }))
  })

  app.get('/admin/activity/sync', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const syncs = await inbox.syncs(visitor.tenant)
    inbox.read(request, { action: 'activity.read', resource: 'sync', params: {} })
    return sendPage(reply, layout(inbox, { title: 'Syncs', place: 'activity', visitor, body: syncPage(syncs) }))
  })

  app.get('/admin/activity/:id', read, async (request, reply) => {
    const visitor = visitorOf(request)
    const { id } = request.params as { id: string }
    const { at } = request.query as { at?: string }
    const event = await findEvent(inbox, id, typeof at === 'string' ? at : undefined, visitor.tenant)
    const runs =
      event.eventName === 'agnes.sync' && event.resource !== ''
        ? await fetchTimeline(
            inbox.client,
            {
              tenant: visitor.tenant,
              actionIn: [event.action],
              resource: event.resource,
              since: new Date(Date.parse(event.timestamp) - 7 * 86_400_000),
              until: new Date(Date.parse(event.timestamp) + 86_400_000),
              limit: runsBeside,
            },
            { longestText },
          )
        : undefined
    inbox.read(request, { action: 'activity.read', resource: `event:${id}`, params: {} })
    const { session } = visitor
    const token =
      session !== undefined && mayDo(visitor, 'admin') ? inbox.forms.issue(session.id, rawPath(id)) : undefined
    const body = detailPage(event, { token, action: `${rawPath(id)}?${new URLSearchParams(at ? { at } : {})}`, runs })
    return sendPage(reply, layout(inbox, { title: event.action || event.eventName, place: 'activity', visitor, body }))
  })

  app.post('/admin/activity/:id/raw', { config: { access: 'admin' } }, async (request, reply) => {
    const visitor = sessionOf(request)
    const { id } = request.params as { id: string }
    const { at } = request.query as { at?: string }
    readForm(request, inbox.forms, visitor.session.id)
    const event = await findEvent(inbox, id, typeof at === 'string' ? at : undefined, visitor.tenant)
    await inbox.auditFirst(request, { ...revealed(event), userId: visitor.userId })
    return sendPage(reply, layout(inbox, { title: 'Raw event', place: 'activity', visitor, body: rawPage(event) }))
  })
}

function rawPath(id: string): string {
  return `/admin/activity/${encodeURIComponent(id)}/raw`
}
