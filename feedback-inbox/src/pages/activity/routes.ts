/** The pages under `/admin/activity`. */
import { fetchTimeline } from '@agnes/clickhouse'
import type { FastifyInstance } from 'fastify'
import { layout, sendPage } from '../../html/layout.ts'
import { parseFilter } from '../../http/filter.ts'
import { visitorOf } from '../../http/form.ts'
import type { Inbox } from '../../inbox.ts'
import { activityPage } from './page.ts'

const rowsOfPage = 50

export function registerActivityPages(app: FastifyInstance, inbox: Inbox): void {
  app.get('/admin/activity', { config: { access: 'read' } }, async (request, reply) => {
    const visitor = visitorOf(request)
    const params = new URL(request.url, 'http://inbox').searchParams
    const { filter, said } = parseFilter(params, visitor.tenant, inbox.now(), ['cursor'])
    const cursor = params.get('cursor')
    const [pulse, timeline] = await Promise.all([
      inbox.pulse(visitor.tenant),
      fetchTimeline(inbox.client, { ...filter, limit: rowsOfPage, ...(cursor && { cursor }) }),
    ])
    inbox.read(request, { action: 'activity.read', params: { filter: Object.fromEntries(said) } })
    const body = activityPage({ pulse, timeline, said })
    return sendPage(reply, layout(inbox, { title: 'Activity', place: 'activity', visitor, body }))
  })
}
