/** `/healthz`, `/readyz`, `/metrics`: for whoever runs the inbox. */
import type { FastifyInstance } from 'fastify'
import type { Inbox } from '../inbox.ts'

export function registerService(app: FastifyInstance, inbox: Inbox): void {
  const open = { config: { access: 'public' } } as const

  app.get('/healthz', open, () => ({ status: 'alive' }))

  app.get('/readyz', open, async (_request, reply) => {
    const { success } = await inbox.client.ping({ select: true })
    return success ? { status: 'ready' } : reply.code(503).send({ status: 'ClickHouse does not answer' })
  })

  app.get('/metrics', { config: { access: 'read' } }, async (_request, reply) =>
    reply.type(inbox.metrics.contentType).send(await inbox.metrics.text()),
  )
}
