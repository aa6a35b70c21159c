/** `/api/admin/telegram`: how the bot is, codes to link a chat; and the path Telegram calls. */
import { UserError } from '@agnes/config'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Inbox } from '../inbox.ts'
import { alertsOf } from '../telegram/alerts.ts'
import { ownerOf } from '../telegram/owner.ts'
import { type Telegram, webhookPath } from '../telegram/telegram.ts'
import { addApiRoute } from './route.ts'

const time = z.string().describe('ISO 8601')

const stateAnswer = z.object({
  state: z.enum(['off', 'starting', 'listening', 'failing']),
  username: z.string().nullable().describe('Of the bot, while it is known.'),
  problem: z.string().nullable(),
  waiting: z.number().int().describe('Deliveries that were not made yet.'),
  links: z.array(
    z.object({
      chat_id: z.number().int(),
      name: z.string(),
      user_id: z.string(),
      linked_at: time,
      muted_until: time.nullable(),
    }),
  ),
})

const codeAnswer = z.object({
  code: z.string().describe('Links one chat, once. It is shown this once.'),
  expires_at: time,
  send: z.string().describe('What to send to the bot.'),
  url: z.string().nullable().describe('Opens the bot and sends it; null while its name is not known.'),
})

/** Of an update with the longest message. */
const updateBytes = 256 * 1024

export function registerTelegramApi(app: FastifyInstance, inbox: Inbox): void {
  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/telegram',
    summary: 'How is the Telegram bot, and who is linked?',
    access: 'admin',
    answer: stateAnswer,
    handle({ visitor }) {
      const { telegram } = inbox
      const state = telegram?.state ?? ({ kind: 'off' } as const)
      return {
        state: state.kind,
        username: usernameOf(telegram) ?? null,
        problem: state.kind === 'failing' ? state.problem : null,
        waiting: telegram?.stats.open ?? 0,
        links: (telegram?.links.of(visitor.tenant) ?? []).map((link) => ({
          chat_id: link.chatId,
          name: link.name,
          user_id: link.userId,
          linked_at: link.linkedAt.toISOString(),
          muted_until: link.mutedUntil?.toISOString() ?? null,
        })),
      } satisfies z.infer<typeof stateAnswer>
    },
  })

  addApiRoute(app, {
    method: 'POST',
    path: '/api/admin/telegram/codes',
    summary: 'A code that links a chat with the bot to whoever asks',
    access: 'admin',
    answer: codeAnswer,
    async handle({ request, visitor }) {
      const telegram = botOf(inbox)
      const { code, expiresAt } = await telegram.links.createCode(ownerOf(request, inbox))
      inbox.audit(request, { action: 'telegram.code', userId: visitor.userId, result: 'success' })
      return {
        code,
        expires_at: expiresAt.toISOString(),
        send: `/start ${code}`,
        url: linkUrl(telegram, code) ?? null,
      } satisfies z.infer<typeof codeAnswer>
    },
  })

  addApiRoute(app, {
    method: 'POST',
    path: '/api/admin/alerts',
    summary: 'Alerts for the linked chats, as webhooks of Grafana and Alertmanager send them',
    access: 'admin',
    answer: z.object({ taken: z.number().int().describe('Alerts that were taken.') }),
    handle({ request, visitor }) {
      const alerts = alertsOf(request.body, visitor.tenant, inbox.redaction(visitor.tenant))
      botOf(inbox).notify(alerts)
      return { taken: alerts.length }
    },
  })

  // Telegram says who it is by a header that only it was told.
  app.post(webhookPath, { config: { access: 'public' }, bodyLimit: updateBytes }, async (request, reply) => {
    const secret = request.headers['x-telegram-bot-api-secret-token']
    const taken = await inbox.telegram?.receive(request.body, typeof secret === 'string' ? secret : '')
    return taken ? { ok: true } : reply.callNotFound()
  })
}

/** @throws UserError (409) where there is none */
export function botOf({ telegram }: Inbox): Telegram {
  if (telegram !== undefined) return telegram
  throw new UserError('there is no Telegram bot here', {
    code: 'no_bot',
    status: 409,
    hint: 'set TELEGRAM_BOT_TOKEN and start the inbox again (docs/telegram.md)',
  })
}

/** Opens the bot in Telegram with the code at hand; undefined while its name is not known. */
export function linkUrl(telegram: Telegram, code: string): string | undefined {
  const username = usernameOf(telegram)
  return username === undefined ? undefined : `https://t.me/${username}?start=${code}`
}

export function usernameOf(telegram: Telegram | undefined): string | undefined {
  return telegram?.state.kind === 'listening' ? telegram.state.username : undefined
}
