/** People with Telegram on their phones, a bot that is started against a real engine, and time that is made to pass. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ClickHouseClient, createAgnesClient, type HealthPulse, openKeyRing } from '@agnes/clickhouse'
import {
  type Account,
  type BotMessage,
  type LoopbackOptions,
  startTelegramLoopback,
  type TelegramLoopback,
} from '@agnes/feedback-inbox'
import type { Clock } from '../../feedback-inbox/src/telegram/clock.ts'
import { openTelegram, type Telegram, type TelegramOptions } from '../../feedback-inbox/src/telegram/telegram.ts'

export type TelegramServer = TelegramLoopback

/** The server, on a free port. */
export function startTelegramServer(options: LoopbackOptions = {}): Promise<TelegramServer> {
  return startTelegramLoopback(options)
}

/** One person's Telegram, with the chat with the bot open. */
export interface Phone {
  readonly account: Account
  /** What the bot wrote, oldest first, as it stands now. */
  messages(): readonly BotMessage[]
  say(text: string): void
  /** Says something and waits for the bot's next message. */
  ask(text: string): Promise<BotMessage>
  /** Presses a button of a message. @returns the note that appears */
  press(message: BotMessage, button: string): Promise<string>
  /** Resolves with the message once there are so many. */
  message(count: number): Promise<BotMessage>
}

let accounts = 70_000

export function phoneOf(server: TelegramServer, name = 'Ana'): Phone {
  const account: Account = { id: ++accounts, firstName: name }
  const messages = (): readonly BotMessage[] => server.messages(account.id)
  async function message(count: number): Promise<BotMessage> {
    for (;;) {
      const changed = server.changed()
      const found = messages()[count - 1]
      if (found !== undefined) return found
      await changed
    }
  }
  return {
    account,
    messages,
    message,
    say: (text) => server.say(account, text),
    ask(text) {
      const before = messages().length
      server.say(account, text)
      return message(before + 1)
    },
    async press({ id, buttons }, label) {
      const data = buttons.find(({ text }) => text === label)?.callback_data ?? label
      const query = server.press(account, id, data)
      for (;;) {
        const changed = server.changed()
        const note = server.noteOf(query)
        if (note !== undefined) return note
        await changed
      }
    },
  }
}

/** Time that passes when it is told to. */
export interface ManualClock extends Clock {
  /** Lets it pass, and whatever is due within it happen, in order. */
  advance(ms: number): Promise<void>
  /** What is awaited after each thing that happened. */
  settle: () => Promise<void>
}

export function createManualClock(start = '2026-11-21T12:00:00Z'): ManualClock {
  let nowMs = Date.parse(start)
  let timers: { readonly atMs: number; readonly run: () => void }[] = []
  const clock: ManualClock = {
    settle: async () => {},
    now: () => new Date(nowMs),
    after(ms, run) {
      const timer = { atMs: nowMs + Math.max(0, ms), run }
      timers.push(timer)
      return () => {
        timers = timers.filter((one) => one !== timer)
      }
    },
    async advance(ms) {
      const until = nowMs + ms
      await clock.settle()
      for (;;) {
        const next = timers.filter(({ atMs }) => atMs <= until).sort((a, b) => a.atMs - b.atMs)[0]
        if (next === undefined) break
        timers = timers.filter((one) => one !== next)
        nowMs = Math.max(nowMs, next.atMs)
        next.run()
        await clock.settle()
      }
      nowMs = until
    },
  }
  return clock
}

/** Of AGNES_KEYS. */
export const adminSecret = 'admin-0123456789abcdef0123456789abcdef'

export interface TestBot {
  readonly telegram: Telegram
  readonly clock: ManualClock
  readonly server: TelegramServer
  readonly logged: readonly string[]
  readonly audited: readonly Readonly<Record<string, unknown>>[]
  /** A phone that is linked to the admin. */
  linkedPhone(name?: string): Promise<Phone>
  /** What the pulse says from now on. */
  health(pulse: HealthPulse | Error): void
  /** Ends the process' part, as a stop does; the server goes on. @returns starts another one, on the same tables */
  restart(options?: BotSettings): Promise<TestBot>
  stop(): Promise<void>
}

export interface BotSettings extends Partial<Omit<TelegramOptions, 'config' | 'client' | 'clock'>> {
  readonly config?: Partial<TelegramOptions['config']>
  readonly client?: ClickHouseClient
  readonly clock?: ManualClock
  readonly server?: TelegramServer
}

const green: HealthPulse = {
  status: 'green',
  sentence: 'All nominal',
  generatedAt: '2026-11-21T12:00:00.000Z',
  fields: [],
}

/** A bot on tables of an engine that was migrated. */
export async function startTestBot(clickhouseUrl: string, settings: BotSettings = {}): Promise<TestBot> {
  const { clock = createManualClock(), server = await startTelegramServer() } = settings
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bot-'))
  const client = settings.client ?? createAgnesClient({ url: clickhouseUrl, application: 'test' })
  const ring = openKeyRing({
    client: createAgnesClient({ url: clickhouseUrl, application: 'test' }),
    cacheFile: path.join(dataDir, 'keys.json'),
    configured: [{ name: 'admin', tenant: 'default', scopes: ['admin'], secret: adminSecret }],
    log: () => {},
  })
  await ring.asked
  const logged: string[] = []
  const audited: Readonly<Record<string, unknown>>[] = []
  let pulse: HealthPulse | Error = green
  const telegram = openTelegram({
    token: server.token,
    publicUrl: undefined,
    ring,
    async pulse() {
      if (pulse instanceof Error) throw pulse
      return pulse
    },
    record: (fields) => void audited.push(fields),
    explain: (error) => error,
    log: (line) => logged.push(line),
    // A test that lets days pass does not want to look at alerts every ten seconds of them.
    alertsEveryMs: 30 * 86_400_000,
    ...settings,
    config: { apiRoot: server.url, mode: 'polling', intervalSeconds: 300, digestAt: '08:00', ...settings.config },
    client,
    clock,
  })
  clock.settle = async () => {
    // What a timer sets going begins a turn of the event loop later.
    await new Promise(setImmediate)
    await telegram.idle()
  }
  if (settings.config?.mode !== 'webhook') await server.polled()
  const stopProcess = async (): Promise<void> => {
    await telegram.stop()
    await ring.stop()
    if (settings.client === undefined) await client.close()
    rmSync(dataDir, { recursive: true })
  }
  const bot: TestBot = {
    telegram,
    clock,
    server,
    logged,
    audited,
    health(now) {
      pulse = now
    },
    async linkedPhone(name) {
      const phone = phoneOf(server, name)
      const found = ring.find(adminSecret)
      if (found.kind !== 'valid') throw new Error('the admin key is not known')
      const { keyMark } = await import('@agnes/clickhouse')
      const { code } = await telegram.links.createCode({
        tenant: 'default',
        userId: 'key:env:admin',
        keyId: found.holder.keyId,
        keyMark: keyMark(found.secretHash),
      })
      await phone.ask(`/start ${code}`)
      return phone
    },
    async restart(options = {}) {
      await stopProcess()
      return startTestBot(clickhouseUrl, { ...settings, ...options, clock, server })
    },
    async stop() {
      await stopProcess()
      await server.stop()
    },
  }
  return bot
}
