/**
 * What the bot answers: to commands and buttons of linked admins, and to nobody else but one line how to link. A button
 * acts in the name of the admin the chat is linked to, and so do the audit events it leaves.
 */
import {
  type ClickHouseClient,
  fetchAlerts,
  fetchSilences,
  fetchTimeline,
  type HealthPulse,
  silenceOf,
  type TelegramLink,
} from '@agnes/clickhouse'
import { type Log, parseDuration, UserError } from '@agnes/config'
import type { Recorder } from '@agnes/instrumentation'
import type { Bot, Context } from 'grammy'
import { edit, say } from './chat.ts'
import type { Clock } from './clock.ts'
import { codeMinutes, type Links, type Redeemed } from './links.ts'
import * as messages from './messages.ts'
import { type ReportAction, type ReportActions, reportActions } from './notification.ts'
import { failureOf } from './sender.ts'

type AuditFields = Parameters<Recorder['audit']>[0]

export interface ConversationOptions {
  readonly client: ClickHouseClient
  readonly links: Links
  readonly clock: Clock
  readonly log: Log
  readonly pages: messages.MessageOptions
  pulse(tenant: string): Promise<HealthPulse>
  record(fields: AuditFields): void
  /** undefined: nobody keeps reports here. */
  readonly reports: ReportActions | undefined
  /** A link came, went or was muted. */
  onChange(): void
  /** Errors as users understand them. */
  explain(error: unknown): unknown
}

const longestMuteMs = 30 * 86_400_000
const mostEvents = 20
const reportsShown = 5
/** Strangers get one line an hour, and all of them together this many a minute. */
const strangersAMinute = 20

export function hold(bot: Bot, options: ConversationOptions): void {
  const { client, links, clock, log, pages, record } = options
  const mayAnswerStranger = createStrangerLimit(clock)

  bot.use(async (ctx, next) => {
    // A group would show to all what is for one.
    if (ctx.chat?.type !== 'private' || ctx.from?.id !== ctx.chat.id) return
    try {
      await next()
    } catch (error) {
      await tell(ctx, error)
    }
  })

  bot.command('start', async (ctx) => {
    const code = ctx.match.trim()
    const link = links.get(ctx.chat.id)
    if (code === '') return link === undefined ? answerStranger(ctx) : reply(ctx, messages.helpMessage(link))
    const redeemed = await links.redeem(code, { id: ctx.chat.id, name: nameOf(ctx) })
    if (redeemed.kind !== 'linked') {
      note('telegram.link', undefined, ctx, { result: 'denied', params: { why: redeemed.kind } })
      if (redeemed.kind !== 'too_many') await reply(ctx, messages.justText(refusals[redeemed.kind]))
      return
    }
    note('telegram.link', redeemed.link, ctx, { params: { name: redeemed.link.name } })
    options.onChange()
    await reply(ctx, messages.helpMessage(redeemed.link))
  })

  /** @param answer `said` is what stands behind the command */
  const asLinked = (answer: (ctx: Context, link: TelegramLink, said: string) => Promise<void>) => {
    return async (ctx: Context): Promise<void> => {
      const link = links.get(ctx.chat?.id ?? 0)
      const said = typeof ctx.match === 'string' ? ctx.match.trim() : ''
      await (link === undefined ? answerStranger(ctx) : answer(ctx, link, said))
    }
  }

  bot.command(
    'help',
    asLinked((ctx, link) => reply(ctx, messages.helpMessage(link))),
  )

  bot.command(
    'health',
    asLinked(async (ctx, link) => reply(ctx, messages.healthMessage(await options.pulse(link.tenant)))),
  )

  bot.command(
    'alerts',
    asLinked(async (ctx, link) => {
      const now = clock.now()
      const [alerts, silences] = await Promise.all([
        fetchAlerts(client, { states: ['firing', 'pending'], tenant: link.tenant, limit: mostEvents }),
        fetchSilences(client, now),
      ])
      await reply(
        ctx,
        messages.alertsMessage(alerts, (alert) => silenceOf(alert, silences, now)?.endsAt),
      )
    }),
  )

  bot.command(
    'last',
    asLinked(async (ctx, link, said) => {
      const asked = Number(said || 5)
      if (!Number.isInteger(asked) || asked < 1) {
        return reply(ctx, messages.justText(`/last takes a number from 1 to ${mostEvents}: /last 10`))
      }
      const limit = Math.min(mostEvents, asked)
      const { rows } = await fetchTimeline(client, { tenant: link.tenant, limit })
      note('activity.read', link, ctx, { params: { filter: {}, limit } })
      await reply(ctx, messages.lastMessage(rows))
    }),
  )

  bot.command(
    'feedback',
    asLinked(async (ctx, link) => {
      const reports = reportsOrThrow()
      const { reports: open, more } = await reports.open(link.tenant, reportsShown)
      note('feedback.read', link, ctx, { params: { filter: { status: 'open' } } })
      await reply(ctx, messages.reportsMessage(open, more))
    }),
  )

  bot.command(
    'mute',
    asLinked(async (ctx, link, said) => {
      const text = said.toLowerCase()
      if (text === '') return reply(ctx, messages.muteMessage(link, clock.now()))
      const ms = text === 'off' ? 0 : parseDuration(text)
      if (ms === undefined || ms > longestMuteMs) {
        return reply(
          ctx,
          messages.justText('Say for how long, up to 30 days: /mute 45m, /mute 2h, /mute 3d; /mute off.'),
        )
      }
      const until = ms === 0 ? undefined : new Date(clock.now().getTime() + ms)
      const muted = (await links.mute(link.chatId, until)) ?? link
      note('telegram.mute', link, ctx, { params: { until: until?.toISOString() ?? null } })
      options.onChange()
      await reply(ctx, messages.muteMessage(muted, clock.now()))
    }),
  )

  bot.command(
    'unlink',
    // Texts of strangers may hold "/unlink", which Telegram makes a link of.
    asLinked((ctx) => reply(ctx, messages.unlinkQuestion())),
  )

  bot.on(
    'message',
    asLinked((ctx) =>
      reply(ctx, messages.justText('I know /health, /alerts, /last, /feedback, /mute, /unlink and /help.')),
    ),
  )

  bot.on('callback_query:data', async (ctx) => {
    const link = links.get(ctx.chat?.id ?? 0)
    if (link === undefined) return answerPress(ctx, 'This chat is not linked any more.')
    const [action = '', ...rest] = ctx.callbackQuery.data.split(':')
    const argument = rest.join(':')
    if (action === 'unlink') return unlink(ctx, link)
    if (action === 'show') return showReport(ctx, link, argument)
    if (isReportAction(action)) return act(ctx, link, action, argument)
    await answerPress(ctx, 'This button does nothing any more.')
  })

  async function unlink(ctx: Context, link: TelegramLink): Promise<void> {
    await links.end(link.chatId, 'unlink')
    note('telegram.unlink', link, ctx, {})
    options.onChange()
    await answerPress(ctx, 'Unlinked.')
    await editPressed(ctx, messages.justText('Unlinked. A new code links this chat again.'))
  }

  async function showReport(ctx: Context, link: TelegramLink, reportId: string): Promise<void> {
    const report = await reportsOrThrow().find(link.tenant, reportId)
    if (report === undefined) return answerPress(ctx, 'This report is not there any more.')
    note('feedback.read', link, ctx, { resource: `feedback:${report.id}` })
    await answerPress(ctx, '')
    await reply(ctx, messages.reportMessage(report, '', pages))
  }

  async function act(ctx: Context, link: TelegramLink, action: ReportAction, reportId: string): Promise<void> {
    const { tenant, userId } = link
    const report = await reportsOrThrow().act(action, reportId, { tenant, userId })
    const done = { triage: 'Triaged', assign: 'Assigned to you', resolve: 'Resolved' }[action]
    await answerPress(ctx, `${done}.`)
    await editPressed(ctx, messages.reportMessage(report, `${done} from here at ${timeOf(clock.now())} UTC`, pages))
  }

  function reportsOrThrow(): ReportActions {
    if (options.reports !== undefined) return options.reports
    throw new UserError('there are no reports here', { code: 'no_reports', status: 404 })
  }

  async function answerStranger(ctx: Context): Promise<void> {
    if (!mayAnswerStranger(ctx.chat?.id ?? 0)) return
    await reply(
      ctx,
      messages.justText(
        'I answer linked admins only. Get a code on the page /admin/telegram of the inbox, or from "agnes telegram link", and send me /start CODE.',
      ),
    )
  }

  /** Best effort: whoever asked asks again. */
  async function reply(ctx: Context, message: messages.Message): Promise<void> {
    const said = await say(ctx.api, ctx.chat?.id ?? 0, message)
    if (said.kind !== 'sent') log(`telegram: an answer was not sent: ${said.problem}`, 'warn')
  }

  async function editPressed(ctx: Context, message: messages.Message): Promise<void> {
    const pressed = ctx.callbackQuery?.message?.message_id
    if (pressed === undefined) return
    const edited = await edit(ctx.api, ctx.chat?.id ?? 0, pressed, message)
    if (edited.kind !== 'sent') log(`telegram: a message was not changed: ${edited.problem}`, 'warn')
  }

  async function answerPress(ctx: Context, text: string, alert = false): Promise<void> {
    try {
      await ctx.answerCallbackQuery({ text: text.slice(0, 190), show_alert: alert })
    } catch (error) {
      log(`telegram: a press was not answered: ${failureOf(error).problem}`, 'warn')
    }
  }

  /** What went wrong, to whoever asked. */
  async function tell(ctx: Context, error: unknown): Promise<void> {
    const explained = options.explain(error)
    const isOurs = explained instanceof UserError
    const text = isOurs ? sentence(explained) : 'Something went wrong here; the log of the inbox says more.'
    if (!isOurs)
      log(`telegram: ${error instanceof Error ? (error.stack ?? error.message) : 'an answer failed'}`, 'error')
    if (links.get(ctx.chat?.id ?? 0) === undefined && !mayAnswerStranger(ctx.chat?.id ?? 0)) return
    if (ctx.callbackQuery === undefined) await reply(ctx, messages.justText(text))
    else await answerPress(ctx, text, true)
  }

  function note(
    action: string,
    link: TelegramLink | undefined,
    ctx: Context,
    fields: {
      readonly result?: string
      readonly resource?: string
      readonly params?: Readonly<Record<string, unknown>>
    },
  ): void {
    const tenant = link === undefined || link.tenant === 'default' ? {} : { tenant: link.tenant }
    record({
      action,
      userId: link?.userId ?? '',
      clientKind: 'external',
      resource: fields.resource ?? `telegram:${ctx.chat?.id}`,
      result: fields.result ?? 'success',
      params: { via: 'telegram', ...tenant, ...fields.params },
    })
  }
}

const refusals: Readonly<Record<Exclude<Redeemed['kind'], 'linked' | 'too_many'>, string>> = {
  unknown: 'I do not know this code. Make one on the page /admin/telegram of the inbox, or with "agnes telegram link".',
  used: 'This code was used already. Make another one.',
  expired: `This code has expired: one is good for ${codeMinutes} minutes. Make another one.`,
}

function createStrangerLimit(clock: Clock): (chatId: number) => boolean {
  const answered = new Set<number>()
  let hour = 0
  let minute = 0
  let inMinute = 0
  return (chatId) => {
    const now = clock.now().getTime()
    if (Math.floor(now / 3_600_000) !== hour) answered.clear()
    if (Math.floor(now / 60_000) !== minute) inMinute = 0
    hour = Math.floor(now / 3_600_000)
    minute = Math.floor(now / 60_000)
    if (answered.has(chatId) || inMinute >= strangersAMinute) return false
    inMinute++
    answered.add(chatId)
    return true
  }
}

function isReportAction(text: string): text is ReportAction {
  return (reportActions as readonly string[]).includes(text)
}

function sentence({ message, hint }: UserError): string {
  return hint === undefined ? message : `${message}: ${hint}`
}

function nameOf({ from }: Context): string {
  const name = [from?.first_name, from?.last_name].filter(Boolean).join(' ')
  return from?.username === undefined ? name : `${name} (@${from.username})`
}

function timeOf(at: Date): string {
  return at.toISOString().slice(11, 16)
}
