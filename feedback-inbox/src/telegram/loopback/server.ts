/**
 * A server that speaks Telegram's Bot API on this machine: what the bot is tested against, and what it can be tried with
 * before there is a real one. It knows the accounts of people who wrote to the bot, keeps what the bot sent them, checks
 * what Telegram checks and answers in its words; and it can be slow, away, or out of order.
 * @see https://core.telegram.org/bots/api
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { type ParsedText, ParseProblem, parseHtml } from './entities.ts'

export interface Account {
  /** Of the person, and of their private chat with the bot. */
  readonly id: number
  readonly firstName: string
  readonly username?: string
}

export interface Button {
  readonly text: string
  readonly callback_data?: string
  readonly url?: string
}

/** A message of the bot, as the person sees it now. */
export interface BotMessage {
  readonly id: number
  readonly chatId: number
  /** Without markup. */
  readonly text: string
  readonly entities: ParsedText['entities']
  /** As it was sent. */
  readonly source: string
  readonly buttons: readonly Button[]
  readonly edited: boolean
}

/** What goes wrong with the next calls. */
export type Fault =
  | { readonly kind: 'flood'; readonly retryAfterSeconds: number }
  | { readonly kind: 'error'; readonly status: number; readonly description: string }
  /** An answer of whoever stands in front of Telegram: not JSON. */
  | { readonly kind: 'gateway'; readonly status: number }
  | { readonly kind: 'slow'; readonly ms: number }
  | { readonly kind: 'held'; readonly until: Promise<unknown> }
  /** Done, but the answer never arrives. */
  | { readonly kind: 'lost' }
  /** The connection is cut before anything is done. */
  | { readonly kind: 'cut' }

export interface Call {
  readonly method: string
  readonly payload: Readonly<Record<string, unknown>>
  /** Status of the answer; undefined while there is none, and when there never was one. */
  status: number | undefined
}

export interface TelegramLoopback {
  /** For TELEGRAM_API_ROOT. */
  readonly url: string
  /** For TELEGRAM_BOT_TOKEN. */
  readonly token: string
  readonly calls: readonly Call[]
  /** Messages of the bot to one chat, oldest first. */
  messages(chatId: number): readonly BotMessage[]
  /** Somebody writes to the bot; `group` is the id of a group they write in. */
  say(from: Account, text: string, group?: number): void
  /** Somebody presses a button under a message. @returns id of the query */
  press(from: Account, messageId: number, data: string): string
  /** What the bot answered to a press: the small note over the chat. undefined while it did not. */
  noteOf(queryId: string): string | undefined
  /** Somebody blocks the bot, or does no longer. */
  block(chatId: number, blocked?: boolean): void
  /** The next `times` calls of these methods (sendMessage unless told) go wrong. */
  fail(fault: Fault, options?: { readonly methods?: readonly string[]; readonly times?: number }): void
  /** From now on every connection is cut, or no longer. */
  away(away?: boolean): void
  /** Resolves when the bot has asked for updates and waits. */
  polled(): Promise<void>
  /** Resolves after the next change: a call answered, a message sent or edited. */
  changed(): Promise<void>
  readonly webhook: string | undefined
  stop(): Promise<void>
}

export interface LoopbackOptions {
  /** 0 picks a free one. */
  readonly port?: number
  readonly token?: string
  /** Where calls of the webhook go instead of its address: what a proxy with a certificate does. */
  readonly webhookVia?: (url: string) => string
  readonly onMessage?: (message: BotMessage) => void
}

const loopbackToken = '424242:AAloopback-token-of-no-real-bot-00'
const bot = { id: 424242, is_bot: true, first_name: 'Agnes', username: 'agnes_loopback_bot' }

interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

interface Update {
  readonly update_id: number
  readonly [kind: string]: unknown
}

class Refusal extends Error {
  readonly status: number

  constructor(status: number, description: string) {
    super(description)
    this.status = status
  }
}

export async function startTelegramLoopback(options: LoopbackOptions = {}): Promise<TelegramLoopback> {
  const { token = loopbackToken, webhookVia = (url) => url, onMessage = () => {} } = options
  const calls: Call[] = []
  const known = new Map<number, Account>()
  const blocked = new Set<number>()
  const sent: BotMessage[] = []
  const notes = new Map<string, string>()
  const queries = new Set<string>()
  const faults: { readonly fault: Fault; readonly methods: readonly string[]; left: number }[] = []
  let updates: Update[] = []
  let nextUpdate = 1001
  let nextMessage = 1
  let isAway = false
  let hook: { readonly url: string; readonly secret: string } | undefined
  /** The call for updates that waits, if one does. */
  let poll: { end(): void; supersede(): void } | undefined
  let tellPolled: (() => void)[] = []
  let tellChanged: (() => void)[] = []
  const changed = (): void => {
    const told = tellChanged
    tellChanged = []
    for (const tell of told) tell()
  }

  const methods: Readonly<Record<string, (payload: Readonly<Record<string, unknown>>) => unknown>> = {
    getMe: () => ({
      ...bot,
      can_join_groups: true,
      can_read_all_group_messages: false,
      supports_inline_queries: false,
    }),
    getUpdates,
    sendMessage,
    editMessageText,
    answerCallbackQuery,
    setMyCommands: () => true,
    setWebhook,
    deleteWebhook() {
      hook = undefined
      return true
    },
    getWebhookInfo: () => ({
      url: hook?.url ?? '',
      has_custom_certificate: false,
      pending_update_count: updates.length,
    }),
  }

  async function getUpdates({ offset, timeout, limit }: Readonly<Record<string, unknown>>): Promise<readonly Update[]> {
    if (hook !== undefined) {
      throw new Refusal(
        409,
        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
      )
    }
    poll?.supersede()
    const from = Number(offset ?? 0)
    // Asking for an update says that those before it were received.
    if (from > 0) updates = updates.filter(({ update_id }) => update_id >= from)
    const waitMs = Math.min(50, Math.max(0, Number(timeout ?? 0))) * 1000
    if (updates.length === 0 && waitMs > 0) {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(end, waitMs)
        function end(): void {
          clearTimeout(timer)
          poll = undefined
          resolve()
        }
        poll = {
          end,
          supersede() {
            clearTimeout(timer)
            poll = undefined
            reject(
              new Refusal(
                409,
                'Conflict: terminated by other getUpdates request; make sure that only one bot instance is running',
              ),
            )
          },
        }
        const told = tellPolled
        tellPolled = []
        for (const tell of told) tell()
      })
    }
    return updates.slice(0, Math.min(100, Math.max(1, Number(limit ?? 100))))
  }

  function sendMessage(payload: Readonly<Record<string, unknown>>): unknown {
    const chatId = chatOf(payload)
    const content = contentOf(payload)
    if (blocked.has(chatId)) throw new Refusal(403, 'Forbidden: bot was blocked by the user')
    const message: BotMessage = { id: nextMessage++, chatId, ...content, edited: false }
    sent.push(message)
    onMessage(message)
    return shownMessage(message)
  }

  function editMessageText(payload: Readonly<Record<string, unknown>>): unknown {
    const chatId = chatOf(payload)
    const index = sent.findIndex((message) => message.chatId === chatId && message.id === payload.message_id)
    const before = sent[index]
    if (before === undefined) throw new Refusal(400, 'Bad Request: message to edit not found')
    const content = contentOf(payload)
    if (content.source === before.source && JSON.stringify(content.buttons) === JSON.stringify(before.buttons)) {
      throw new Refusal(
        400,
        'Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message',
      )
    }
    const message: BotMessage = { ...before, ...content, edited: true }
    sent[index] = message
    onMessage(message)
    return shownMessage(message)
  }

  function answerCallbackQuery({ callback_query_id: id, text }: Readonly<Record<string, unknown>>): unknown {
    if (typeof id !== 'string' || !queries.delete(id)) {
      throw new Refusal(400, 'Bad Request: query is too old and response timeout expired or query ID is invalid')
    }
    if (typeof text === 'string' && text.length > 200) throw new Refusal(400, 'Bad Request: MESSAGE_TOO_LONG')
    notes.set(id, typeof text === 'string' ? text : '')
    return true
  }

  function setWebhook({ url, secret_token }: Readonly<Record<string, unknown>>): unknown {
    if (url === '' || url === undefined) hook = undefined
    else if (typeof url !== 'string' || !url.startsWith('https://')) {
      throw new Refusal(400, 'Bad Request: bad webhook: An HTTPS URL must be provided for webhook')
    } else if (secret_token !== undefined && !/^[\w-]{1,256}$/.test(String(secret_token))) {
      throw new Refusal(400, 'Bad Request: secret token contains unallowed characters')
    } else hook = { url, secret: typeof secret_token === 'string' ? secret_token : '' }
    void deliver()
    return true
  }

  function chatOf({ chat_id: id }: Readonly<Record<string, unknown>>): number {
    if (id === undefined || id === '') throw new Refusal(400, 'Bad Request: chat_id is empty')
    const chatId = Number(id)
    if (!Number.isSafeInteger(chatId) || !known.has(chatId)) throw new Refusal(400, 'Bad Request: chat not found')
    return chatId
  }

  function push(update: Omit<Update, 'update_id'>): void {
    updates.push({ update_id: nextUpdate++, ...update })
    poll?.end()
    void deliver()
  }

  let delivering: Promise<void> = Promise.resolve()
  /** As Telegram does: one after the other, again until it is taken. */
  function deliver(): Promise<void> {
    delivering = delivering.then(async () => {
      while (hook !== undefined && updates[0] !== undefined) {
        const [update] = updates
        const answer = await fetch(webhookVia(hook.url), {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            ...(hook.secret && { 'x-telegram-bot-api-secret-token': hook.secret }),
          },
          body: JSON.stringify(update),
        }).catch(() => undefined)
        if (!answer?.ok) return
        updates.shift()
      }
    })
    return delivering
  }

  const server = createServer((request, response) => {
    void serve(request, response)
  })

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (isAway) {
      request.socket.destroy()
      return
    }
    const [, given, method = ''] = /^\/bot([^/]*)\/([^/?]*)/.exec(request.url ?? '') ?? []
    const payload = await readPayload(request)
    const call: Call = { method, payload, status: undefined }
    calls.push(call)
    // Who asked for updates and went away does not wait for them.
    if (method === 'getUpdates') response.once('close', () => call.status ?? poll?.end())
    const fault = given === token ? takeFault(method) : undefined
    if (fault?.kind === 'cut') {
      request.socket.destroy()
      changed()
      return
    }
    if (fault?.kind === 'held') await fault.until
    if (fault?.kind === 'slow') await new Promise((resolve) => setTimeout(resolve, fault.ms).unref())
    const answer = faultAnswer(fault) ?? (await answerTo(given, method, payload))
    if (fault?.kind === 'lost' || isAway) request.socket.destroy()
    else {
      call.status = answer.status
      const isText = fault?.kind === 'gateway'
      response.writeHead(answer.status, { 'content-type': isText ? 'text/html' : 'application/json' })
      response.end(isText ? '<html><h1>Bad Gateway</h1></html>' : JSON.stringify(answer.body))
    }
    changed()
  }

  async function answerTo(
    given: string | undefined,
    method: string,
    payload: Readonly<Record<string, unknown>>,
  ): Promise<Answer> {
    try {
      if (given === undefined || !/^\d+:[\w-]+$/.test(given)) throw new Refusal(404, 'Not Found')
      if (given !== token) throw new Refusal(401, 'Unauthorized')
      const handler = Object.hasOwn(methods, method) ? methods[method] : undefined
      if (handler === undefined) throw new Refusal(404, 'Not Found: method not found')
      return { status: 200, body: { ok: true, result: await handler(payload) } }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      return refused(error.status, error.message)
    }
  }

  function takeFault(method: string): Fault | undefined {
    const found = faults.find((entry) => entry.left > 0 && entry.methods.includes(method))
    if (found !== undefined) found.left--
    return found?.fault
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo

  return {
    url: `http://127.0.0.1:${port}`,
    token,
    calls,
    messages: (chatId) => sent.filter((message) => message.chatId === chatId),
    say(from, text, group) {
      known.set(from.id, from)
      if (group !== undefined) known.set(group, { id: group, firstName: 'group' })
      const entities = /^\/\w+/.exec(text)
      push({
        message: {
          message_id: nextMessage++,
          from: shownAccount(from),
          chat:
            group === undefined
              ? { ...shownAccount(from), is_bot: undefined, type: 'private' }
              : { id: group, type: 'group', title: 'A group' },
          date: Math.floor(Date.now() / 1000),
          text,
          ...(entities === null ? {} : { entities: [{ type: 'bot_command', offset: 0, length: entities[0].length }] }),
        },
      })
    },
    press(from, messageId, data) {
      const id = String(nextUpdate * 7919)
      queries.add(id)
      const message = sent.find((one) => one.id === messageId)
      push({
        callback_query: {
          id,
          from: shownAccount(from),
          chat_instance: String(from.id),
          data,
          ...(message === undefined ? {} : { message: shownMessage(message) }),
        },
      })
      return id
    },
    noteOf: (queryId) => notes.get(queryId),
    block(chatId, on = true) {
      if (on) blocked.add(chatId)
      else blocked.delete(chatId)
    },
    fail: (fault, { methods: which = ['sendMessage'], times = 1 } = {}) =>
      void faults.push({ fault, methods: which, left: times }),
    away(away = true) {
      isAway = away
      if (away) server.closeAllConnections()
    },
    polled: () => (poll === undefined ? new Promise((resolve) => tellPolled.push(resolve)) : Promise.resolve()),
    changed: () => new Promise((resolve) => tellChanged.push(resolve)),
    get webhook() {
      return hook?.url
    },
    async stop() {
      isAway = true
      poll?.end()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** What stays of a message when it is sent: checked as Telegram does. @throws Refusal */
function contentOf(
  payload: Readonly<Record<string, unknown>>,
): Pick<BotMessage, 'text' | 'entities' | 'source' | 'buttons'> {
  const source = payload.text
  if (typeof source !== 'string') throw new Refusal(400, 'Bad Request: message text is empty')
  if (!source.isWellFormed()) throw new Refusal(400, 'Bad Request: strings must be encoded in UTF-8')
  const parsed = parsedText(source, payload.parse_mode)
  if (parsed.text.trim() === '') throw new Refusal(400, 'Bad Request: message text is empty')
  if (parsed.text.length > 4096) throw new Refusal(400, 'Bad Request: message is too long')
  return { ...parsed, source, buttons: buttonsOf(payload.reply_markup) }
}

function parsedText(source: string, mode: unknown): ParsedText {
  if (mode === undefined || mode === '') return { text: source, entities: [] }
  if (String(mode).toLowerCase() !== 'html') throw new Refusal(400, 'Bad Request: unsupported parse_mode')
  try {
    return parseHtml(source)
  } catch (error) {
    if (error instanceof ParseProblem) throw new Refusal(400, `Bad Request: can't parse entities: ${error.message}`)
    throw error
  }
}

function buttonsOf(markup: unknown): readonly Button[] {
  const rows = (markup as { inline_keyboard?: readonly (readonly Button[])[] } | undefined)?.inline_keyboard ?? []
  return rows.flat().map((button) => {
    const { text, callback_data: data, url } = button
    if (typeof text !== 'string' || text.trim() === '') {
      throw new Refusal(400, 'Bad Request: inline keyboard button text must be non-empty')
    }
    if (url !== undefined && !isPublicUrl(url)) {
      throw new Refusal(400, `Bad Request: inline keyboard button URL '${url}' is invalid: Wrong HTTP URL`)
    }
    if (url === undefined && (typeof data !== 'string' || data === '' || Buffer.byteLength(data) > 64)) {
      throw new Refusal(400, 'Bad Request: BUTTON_DATA_INVALID')
    }
    return button
  })
}

/** Telegram takes no names without a dot, such as localhost. */
function isPublicUrl(url: string): boolean {
  return URL.canParse(url) && /^https?:$/.test(new URL(url).protocol) && new URL(url).hostname.includes('.')
}

function shownAccount({ id, firstName, username }: Account) {
  return { id, is_bot: false, first_name: firstName, ...(username === undefined ? {} : { username }) }
}

function shownMessage({ id, chatId, text }: BotMessage) {
  return {
    message_id: id,
    from: bot,
    chat: { id: chatId, type: 'private', first_name: 'somebody' },
    date: Math.floor(Date.now() / 1000),
    text,
  }
}

function faultAnswer(fault: Fault | undefined): Answer | undefined {
  if (fault?.kind === 'error') return refused(fault.status, fault.description)
  if (fault?.kind === 'gateway') return { status: fault.status, body: {} }
  if (fault?.kind !== 'flood') return undefined
  const seconds = fault.retryAfterSeconds
  return refused(429, `Too Many Requests: retry after ${seconds}`, { retry_after: seconds })
}

function refused(status: number, description: string, parameters?: Readonly<Record<string, unknown>>): Answer {
  return { status, body: { ok: false, error_code: status, description, ...(parameters && { parameters }) } }
}

async function readPayload(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const query = Object.fromEntries(new URL(request.url ?? '/', 'http://bot').searchParams)
  if (request.method !== 'POST') return query
  return { ...query, ...((await json(request).catch(() => ({}))) as Record<string, unknown>) }
}
