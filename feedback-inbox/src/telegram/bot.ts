/** The part that needs the Telegram library; it is loaded only where there is a token. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { Bot } from 'grammy'
import type { Update, UserFromGetMe } from 'grammy/types'
import { say } from './chat.ts'
import { type Clock, pause } from './clock.ts'
import { type ConversationOptions, hold } from './conversation.ts'
import { commands, type Message } from './messages.ts'
import { type BotState, poll } from './polling.ts'
import { callSeconds, failureOf, retryShortly } from './sender.ts'

export interface BotOptions extends ConversationOptions {
  readonly token: string
  readonly apiRoot: string
  /** Where Telegram calls; undefined: it is asked. */
  readonly webhookUrl: string | undefined
  readonly clock: Clock
  /** A call that takes longer is given up; {@link callSeconds} unless told. */
  readonly callSeconds?: number | undefined
  onState(state: BotState): void
  /** Each call to the Bot API, also one that is made again, with the status of its answer; undefined where none came. */
  readonly onCall?: ((method: string, status: number | undefined) => void) | undefined
}

export interface RunningBot {
  /** From now on people are heard; before, the bot can speak only. */
  listen(): void
  say(chatId: number, message: Message): ReturnType<typeof say>
  /** What Telegram brings by webhook. @returns whether it is Telegram that brings it; resolves when it is answered */
  receive(update: unknown, secret: string): Promise<boolean>
  stop(): Promise<void>
}

export function createBot(options: BotOptions): RunningBot {
  const { token, apiRoot, webhookUrl, onState, log, clock } = options
  const bot = new Bot(token, { client: { apiRoot, timeoutSeconds: options.callSeconds ?? callSeconds } })
  // Innermost, so that what is tried again counts twice.
  bot.api.config.use(async (call, method, payload, signal) => {
    let status: number | undefined
    try {
      const answer = await call(method, payload, signal)
      status = answer.ok ? 200 : answer.error_code
      return answer
    } finally {
      options.onCall?.(method, status)
    }
  })
  retryShortly(bot.api)
  hold(bot, options)
  const stopping = new AbortController()
  const { signal } = stopping

  // One after the other: codes are used once, and answers come in the order of the questions.
  let handled: Promise<void> = Promise.resolve()
  const handle = (update: Update): Promise<void> => {
    handled = handled
      .then(() => bot.handleUpdate(update))
      .catch((error: unknown) => {
        const { error: cause = error } = error as { error?: unknown }
        log(`telegram: an update was not answered: ${failureOf(cause).problem}`, 'error')
      })
    return handled
  }

  async function introduce(): Promise<UserFromGetMe> {
    const me = await bot.api.getMe()
    bot.botInfo = me
    if (webhookUrl === undefined) await bot.api.deleteWebhook()
    else {
      const allowed = ['message', 'callback_query'] as const
      await bot.api.setWebhook(webhookUrl, { secret_token: secretOf(token), allowed_updates: allowed })
    }
    await bot.api.setMyCommands(commands).catch(() => {}) // only decoration
    log(
      `telegram: bot @${me.username} ${webhookUrl === undefined ? 'asks for messages' : `is called at ${webhookUrl}`}`,
    )
    return me
  }

  async function introduceUntilDone(): Promise<void> {
    for (let waitMs = 1_000; !signal.aborted; waitMs = Math.min(60_000, waitMs * 2)) {
      try {
        onState({ kind: 'listening', username: (await introduce()).username })
        return
      } catch (error) {
        const { problem } = failureOf(error)
        onState({ kind: 'failing', problem })
        if (waitMs === 1_000) log(`telegram: the webhook could not be set (${problem}); trying again`, 'warn')
        await pause(clock, waitMs, signal)
      }
    }
  }

  let running: Promise<void> | undefined

  return {
    listen() {
      running =
        webhookUrl === undefined
          ? poll({ api: bot.api, introduce, handle, onState, clock, log, signal })
          : introduceUntilDone()
    },
    say: (chatId, message) => say(bot.api, chatId, message),
    async receive(update, secret) {
      if (webhookUrl === undefined || !isSame(secret, secretOf(token))) return false
      if (isUpdate(update) && bot.isInited()) await handle(update)
      return true
    },
    async stop() {
      stopping.abort()
      await running
      await handled
    },
  }
}

/** Says that it is Telegram that calls. Made of the token, so it is the same after a restart and stored nowhere. */
function secretOf(token: string): string {
  return createHmac('sha256', token).update('agnes webhook').digest('base64url')
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function isUpdate(value: unknown): value is Update {
  return typeof value === 'object' && value !== null && typeof (value as Update).update_id === 'number'
}
