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
import { createAlertWatch } from './alert-watch.ts'
import type { RunningBot } from './bot.ts'
import { type Clock, pause, systemClock } from './clock.ts'
import { createHealthWatch } from './health-watch.ts'
import { type Links, openLinks } from './links.ts'
import { justText, type MessageOptions, notificationMessage } from './messages.ts'
import type { Notification, Notifier, ReportActions } from './notification.ts'
import { createOutbox, type OutboxStats, type Parcel } from './outbox.ts'
import type { BotState } from './polling.ts'

export interface TelegramOptions {
  readonly config: Omit<TelegramConfig, 'token'>
  readonly token: string
  readonly publicUrl: string | undefined
  readonly client: ClickHouseClient
  readonly ring: Pick<KeyRing, 'findAgain'>
  pulse(tenant: string): Promise<HealthPulse>
  record(fields: Parameters<Recorder['audit']>[0]): void
  /** What buttons and `/feedback` ask; undefined: nobody keeps reports. */
  readonly reports?: ReportActions | undefined
  explain(error: unknown): unknown
  /** @see BotOptions.onCall */
  readonly onCall?: ((method: string, status: number | undefined) => void) | undefined
  readonly log: Log
  readonly clock?: Clock | undefined
  readonly callSeconds?: number | undefined
  /** Between two looks at the alerts of the built-in evaluator; ten seconds unless told. */
  readonly alertsEveryMs?: number | undefined
}

export interface Telegram extends Notifier {
  readonly links: Links
  readonly state: BotState
  readonly stats: OutboxStats
  /** @see RunningBot.receive */
  receive(update: unknown, secret: string): Promise<boolean>
  /** Tells the outbox that links have changed. */
  linksChanged(): void
  /** Resolves when nothing is being looked at, sent or written. */
  idle(): Promise<void>
  stop(): Promise<void>
}

/** Path Telegram calls. */
export const webhookPath = '/telegram/webhook'
const againMs = 2_000
const alertsEveryMs = 10_000
/** A message does not wait longer for the words of its report. */
const readWithinMs = 2_000

export function openTelegram(options: TelegramOptions): Telegram {
  const { config, token, publicUrl, client, ring, reports, log, clock = systemClock } = options
  const links = openLinks({ client, ring, clock })
  const pages: MessageOptions = { publicUrl, digestAt: config.digestAt }
  let state: BotState = { kind: 'starting' }
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
      const told = await Promise.all(
        parcels.map(async (parcel) => ({ ...parcel, notification: await inWords(parcel) })),
      )
      const message = notificationMessage(told, waiting, pages)
      const said = await (bot?.say(chatId, message) ??
        ({ kind: 'unreached', problem: 'the bot has not started' } as const))
      return said.kind === 'sent' ? { ...said, cut: message.cut } : said
    },
    clock,
    log,
    intervalMs: config.intervalSeconds * 1000,
    digestAt: config.digestAt,
  })
  /** With the words of the report it is about, as the report is now; without them where they cannot be had. */
  async function inWords({ notification, delivery }: Parcel): Promise<Notification> {
    const { reportId, tenant, facts = [] } = notification
    if (reportId === undefined || reports === undefined) return notification
    try {
      const report = await within(readWithinMs, reports.find(tenant, reportId))
      if (report === undefined || report.status === 'purged') {
        const { reportId: _, path: __, ...rest } = notification
        return { ...rest, title: 'Feedback that is not there any more' }
      }
      const { reporter, message, cause, status, assignee } = report
      return {
        ...notification,
        title: delivery.occurrences === 1 ? `Feedback from ${reporter}` : `Feedback, last from ${reporter}`,
        body: message,
        facts: [
          ...(cause === '' ? [] : [['cause', cause] as const]),
          ...facts,
          ...(status === 'open' ? [] : [['status', status] as const]),
          ...(assignee === '' ? [] : [['assigned to', assignee] as const]),
        ],
      }
    } catch {
      return notification
    }
  }

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
  let alertWatch: ReturnType<typeof createAlertWatch> | undefined

  async function run(): Promise<void> {
    const { createBot } = await import('./bot.ts')
    const incidents = await untilAnswered(async () => {
      await links.load()
      const [health, alerts] = await Promise.all([
        fetchLatestOfIncidents(client, 'health'),
        fetchLatestOfIncidents(client, 'alert'),
      ])
      return { health, alerts }
    })
    if (incidents === undefined) return
    bot = createBot({
      token,
      apiRoot: config.apiRoot,
      webhookUrl: config.mode === 'webhook' && publicUrl !== undefined ? publicUrl + webhookPath : undefined,
      callSeconds: options.callSeconds,
      onCall: options.onCall,
      client,
      links,
      clock,
      log,
      pages,
      pulse: options.pulse,
      record: options.record,
      explain: options.explain,
      reports,
      onChange: outbox.wake,
      onState: (now) => {
        state = now
      },
    })
    await untilAnswered(() => outbox.load())
    watch = createHealthWatch({
      pulse: options.pulse,
      tenants: () => links.all().map(({ tenant }) => tenant),
      open: incidents.health.flatMap(({ content, since }) => {
        const notification = JSON.parse(content) as Notification
        return notification.over ? [] : [{ notification, since }]
      }),
      notifier,
      clock,
      log,
    })
    alertWatch = createAlertWatch({
      client,
      links,
      told: incidents.alerts.map(({ content, since }) => ({
        notification: JSON.parse(content) as Notification,
        since,
      })),
      notifier,
      clock,
      log,
      everyMs: options.alertsEveryMs ?? alertsEveryMs,
    })
    if (signal.aborted) return
    bot.listen()
    await Promise.all([watch.run(signal), alertWatch.run(signal), endDeadLinks()])
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
    receive: async (update, secret) => (await bot?.receive(update, secret)) ?? false,
    linksChanged: outbox.wake,
    async idle() {
      await watch?.idle()
      await alertWatch?.idle()
      await outbox.idle()
    },
    async stop() {
      stopping.abort()
      await bot?.stop()
      await running
      await outbox.stop()
    },
  }
}

/** @throws Error if it takes longer */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('too late')), ms).unref()
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
