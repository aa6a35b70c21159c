/** The page under `/admin/telegram`, and its two forms. */
import { fetchLatestDeliveries } from '@agnes/clickhouse'
import { UserError } from '@agnes/config'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { botOf, linkUrl } from '../../api/telegram.ts'
import { layout, sendPage } from '../../html/layout.ts'
import { readForm, sessionOf, visitorOf } from '../../http/form.ts'
import type { Inbox } from '../../inbox.ts'
import { ownerOf } from '../../telegram/owner.ts'
import { type TelegramView, telegramPage } from './page.ts'

const shownDeliveries = 30

export function registerTelegramPages(app: FastifyInstance, inbox: Inbox): void {
  const admin = { config: { access: 'admin' } } as const

  app.get('/admin/telegram', admin, (request, reply) => show(inbox, request, reply))

  app.post('/admin/telegram/code', admin, async (request, reply) => {
    const { session, userId } = sessionOf(request)
    readForm(request, inbox.forms, session.id)
    const telegram = botOf(inbox)
    const made = await telegram.links.createCode(ownerOf(request, inbox))
    inbox.audit(request, { action: 'telegram.code', userId, result: 'success' })
    return show(inbox, request, reply, { ...made, url: linkUrl(telegram, made.code) })
  })

  app.post('/admin/telegram/unlink', admin, async (request, reply) => {
    const { session, userId, tenant } = sessionOf(request)
    const form = readForm(request, inbox.forms, session.id)
    const telegram = botOf(inbox)
    const link = telegram.links.of(tenant).find(({ chatId }) => `${chatId}` === form.get('chat'))
    if (link === undefined) {
      throw new UserError('this chat is not linked', {
        code: 'no_link',
        status: 404,
        hint: 'go back and reload the page',
      })
    }
    await telegram.links.end(link.chatId, 'page')
    telegram.linksChanged()
    inbox.audit(request, {
      action: 'telegram.unlink',
      userId,
      resource: `telegram:${link.chatId}`,
      result: 'success',
      params: { of: link.userId },
    })
    return reply.redirect('/admin/telegram', 303)
  })
}

async function show(
  inbox: Inbox,
  request: FastifyRequest,
  reply: FastifyReply,
  code?: TelegramView['code'],
): Promise<FastifyReply> {
  const visitor = visitorOf(request)
  const { telegram, forms } = inbox
  const { session } = visitor
  const body = telegramPage({
    state: telegram?.state ?? { kind: 'off' },
    links: telegram?.links.of(visitor.tenant) ?? [],
    deliveries:
      telegram === undefined ? [] : await fetchLatestDeliveries(inbox.client, visitor.tenant, shownDeliveries),
    token: session && ((path) => forms.issue(session.id, path)),
    now: inbox.now(),
    ...(code && { code }),
  })
  return sendPage(reply, layout(inbox, { title: 'Telegram', place: 'telegram', visitor, body }))
}
