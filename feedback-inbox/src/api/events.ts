/** `/api/admin/events/{id}`: one event with everything it carries. */
import { type EventDetail, fetchEvent } from '@agnes/clickhouse'
import { parseTime, UserError } from '@agnes/config'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { badParameter } from '../http/filter.ts'
import type { Inbox } from '../inbox.ts'
import { addApiRoute } from './route.ts'
import { eventDetail, eventDetailOf, rawDetailOf } from './rows.ts'

const params = z.object({ id: z.string().describe('Its id, percent-encoded.') })
const query = z.object({
  at: z.string().optional().describe('Its timestamp, which makes the search quick for ids that are no UUIDv7.'),
})

export function registerEventApi(app: FastifyInstance, inbox: Inbox): void {
  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/events/{id}',
    summary: 'One event with everything it carries',
    description: 'Literals of SQL are masked to `?` and texts are cut after 10,000 characters.',
    access: 'read',
    query,
    params,
    answer: eventDetail,
    async handle({ params: { id }, query: { at }, visitor, request }) {
      const event = await findEvent(inbox, id, at, visitor.tenant)
      inbox.read(request, { action: 'activity.read', resource: `event:${id}`, params: {} })
      return eventDetailOf(event)
    },
  })

  addApiRoute(app, {
    method: 'POST',
    path: '/api/admin/events/{id}/reveal',
    summary: 'The event as it was stored',
    description: 'Nothing masked or cut. Leaves an event `audit.reveal_raw`, without which nothing is shown.',
    access: 'admin',
    query,
    params,
    answer: eventDetail,
    async handle({ params: { id }, query: { at }, visitor, request }) {
      const event = await findEvent(inbox, id, at, visitor.tenant)
      await inbox.auditFirst(request, { ...revealed(event), userId: visitor.userId })
      return rawDetailOf(event)
    },
  })
}

export function revealed({ id, action, timestamp }: EventDetail) {
  return { action: 'audit.reveal_raw', resource: `event:${id}`, result: 'success', params: { action, timestamp } }
}

/** @throws UserError (404) if this tenant has no such event */
export async function findEvent(
  { client, now }: Inbox,
  id: string,
  at: string | null | undefined,
  tenant: string,
): Promise<EventDetail> {
  const time = at ? parseTime(at, now()) : undefined
  if (at && time === undefined) throw badParameter('at is no time', "use the event's timestamp")
  const event = await fetchEvent(client, { id, tenant, ...(time && { at: time }) })
  if (event !== undefined) return event
  throw new UserError('there is no such event', {
    code: 'not_found',
    status: 404,
    hint: 'its id may be mistyped, or it was removed when its time was over',
  })
}
