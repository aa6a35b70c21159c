/** `/healthz`, `/readyz`, `/metrics`: for whoever runs the inbox. */
import { isLoopback } from '@agnes/config'
import type { FastifyInstance } from 'fastify'
import { demand, unauthenticated } from '../auth/visitor.ts'
import type { Inbox } from '../inbox.ts'

export function registerService(
  app: FastifyInstance,
  inbox: Inbox,
  { isOnLoopback }: { readonly isOnLoopback: boolean },
): void {
  const open = { config: { access: 'public' } } as const

  app.get('/healthz', open, () => ({ status: 'alive' }))

  app.get('/readyz', open, async (_request, reply) => {
    const { success } = await inbox.client.ping({ select: true })
    return success ? { status: 'ready' } : reply.code(503).send({ status: 'ClickHouse does not answer' })
  })

  // As of the gateway: on this machine no key is needed, and one that is sent must be right. Whoever comes through a proxy
  // on this machine is not on it.
  app.get('/metrics', open, async (request, reply) => {
    const visitor = inbox.gate.identify(request)
    if (visitor !== undefined) demand(visitor, 'read')
    else if (!isOnLoopback || !isLoopback(request.ip)) {
      throw unauthenticated('a key is needed', 'send "Authorization: Bearer <key>" with a key of scope read')
    }
    return reply.type(inbox.metrics.contentType).send(await inbox.metrics.text())
  })
}
