/**
 * The bot as a whole: who is linked, what goes out, what is answered, the watch over health. All of it is best effort for
 * the rest of the inbox: nothing here is waited for, and nothing here can fail a request.
 */
import {
  type ClickHouseClient,
  fetchLastSent,
  fetchLatestOfIncidents,
  fetchOpenDeliveries,
  type HealthPulse,
  type KeyRing,
  saveDeliveries,
} from '@agnes/clickhouse'
import type { Log, TelegramConfig } from '@agnes/config'
import type { Recorder } from '@agnes/instrumentation'
import type { RunningBot } from './bot.ts'
import { type Clock, pause, systemClock } from './clock.ts'
import { createHealthWatch } from './health-watch.ts'
import { type Links, openLinks } from './links.ts'
import { justText, type MessageOptions, notificationMessage } from './messages.ts'
import type { Notification, Notifier, ReportActions } from './notification.ts'
import { createOutbox, type OutboxStats } from './outbox.ts'
import type { BotState } from './polling.ts'

export interface TelegramOptions {
  readonly config: Omit<TelegramConfig, 'token' | 'tokenFile'>
  readonly token: string
  readonly publicUrl: string | undefined
  readonly client: ClickHouseClient
  readonly ring: Pick<KeyRing, 'findAgain'>
  pulse(tenant: string): Promise<HealthPulse>
  record(fields: Parameters<Recorder['audit']>[0]): void
  explain(error: unknown): unknown
  readonly log: Log
  readonly clock?: Clock | undefined
  readonly callSeconds?: number | undefined
}

export interface Telegram extends Notifier {
  readonly links: Links
  readonly state: BotState
  readonly stats: OutboxStats
  /** From now on buttons and `/feedback` ask these. */
  serveReports(reports: ReportActions): void
  /** @see RunningBot.receive */
  receive(update: unknown, secret: string): Promise<boolean>
  /** Tells the outbox that links have changed. */
  linksChanged(): void
  /** Resolves when nothing is being sent or written. */
  idle(): Promise<void>
  /** Looks at health now, beside every minute. */
  lookAtHealth(): Promise<void>
  stop(): Promise<void>
}

/** Path Telegram calls. */
export const webhookPath = '/telegram/webhook'
const againMs = 2_000

export function openTelegram(options: TelegramOptions): Telegram {
  const { config, token, publicUrl, client, ring, log, clock = systemClock } = options
  const links = openLinks({ client, ring, clock })
  const pages: MessageOptions = { publicUrl, digestAt: config.digestAt }
  let state: BotState = { kind: 'starting' }
  let reports: ReportActions | undefined
  let bot: RunningBot | undefined
  const stopping = new AbortController()
  const { signal } = stopping

  const outbox = createOutbox({
    store: {
      async load() {
        const [open, lastSent] = await Promise.all([fetchOpenDeliveries(client), fetchLastSent(client)])
        return { open, lastSent }
      },
      save: (deliveries) => saveDeliveries(client, deliveries),
    },
    links,
    async send({ chatId }, parcels, waiting) {
      const message = notificationMessage(parcels, waiting, pages)
      const said = await (bot?.say(chatId, message) ??
        ({ kind: 'unreached', problem: 'the bot has not started' } as const))
      return said.kind === 'sent' ? { ...said, cut: message.cut } : said
    },
    clock,
    log,
    intervalMs: config.intervalSeconds * 1000,
    digestAt: config.digestAt,
  })
  const notifier: Notifier = {
    notify(notifications) {
      try {
        outbox.notify(Array.isArray(notifications) ? notifications : [notifications as Notification])
      } catch (error) {
        log(`telegram: a notification was not taken: ${(error as Error).message}`, 'error')
      }
    },
  }
  let watch: ReturnType<typeof createHealthWatch> | undefined

  async function run(): Promise<void> {
    const { startBot } = await import('./bot.ts')
    const incidents = await untilAnswered(async () => {
      await links.load()
      return fetchLatestOfIncidents(client, 'health')
    })
    if (incidents === undefined) return
    bot = startBot({
      token,
      apiRoot: config.apiRoot,
      webhookUrl: config.mode === 'webhook' && publicUrl !== undefined ? publicUrl + webhookPath : undefined,
      callSeconds: options.callSeconds,
      client,
      links,
      clock,
      log,
      pages,
      pulse: options.pulse,
      record: options.record,
      explain: options.explain,
      reports: () => reports,
      onChange: outbox.wake,
      onState: (now) => {
        state = now
      },
    })
    await untilAnswered(() => outbox.load())
    watch = createHealthWatch({
      pulse: options.pulse,
      tenants: () => links.all().map(({ tenant }) => tenant),
      open: incidents.flatMap(({ content, since }) => {
        const notification = JSON.parse(content) as Notification
        return notification.over ? [] : [{ notification, since }]
      }),
      notifier,
      clock,
      log,
    })
    await Promise.all([watch.run(signal), endDeadLinks()])
  }

  /** ClickHouse may come up after us. */
  async function untilAnswered<T>(ask: () => Promise<T>): Promise<T | undefined> {
    let said = false
    while (!signal.aborted) {
      try {
        return await ask()
      } catch (error) {
        if (!said) log(`telegram: waits for ClickHouse (${(error as Error).message.split('\n', 1)[0]})`, 'warn')
        said = true
        await pause(clock, againMs, signal)
      }
    }
    return undefined
  }

  async function endDeadLinks(): Promise<void> {
    while (!signal.aborted) {
      const ended = await links.endDead().catch(() => [])
      for (const { chatId, userId } of ended) {
        log(`telegram: a chat of ${userId} is not linked any more: its key is not valid`)
        options.record({
          action: 'telegram.unlink',
          userId,
          clientKind: 'system',
          resource: `telegram:${chatId}`,
          result: 'success',
          params: { why: 'the key it was linked with is not valid any more' },
        })
        await bot?.say(
          chatId,
          justText('This chat is not linked any more: the key it was linked with is not valid now.'),
        )
      }
      await pause(clock, 60_000, signal)
    }
  }

  const running = run().catch((error: unknown) => {
    state = { kind: 'failing', problem: 'it could not start' }
    log(`telegram: the bot could not start: ${(error as Error).message}`, 'error')
  })

  return {
    notify: notifier.notify,
    links,
    get state() {
      return state
    },
    get stats() {
      return outbox.stats()
    },
    serveReports(served) {
      reports = served
    },
    receive: async (update, secret) => (await bot?.receive(update, secret)) ?? false,
    linksChanged: outbox.wake,
    idle: outbox.idle,
    lookAtHealth: async () => watch?.look(),
    async stop() {
      stopping.abort()
      await bot?.stop()
      await running
      await outbox.stop()
    },
  }
}
