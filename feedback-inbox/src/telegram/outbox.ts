/**
 * What goes out to admins, and when. Every notification becomes a delivery to each linked chat, which is a row in
 * ClickHouse before Telegram is called and after, so a restart loses none (promise P35).
 *
 * A chat gets one message in an interval; what else happens waits for the digest, or, where it is urgent, for the end of
 * the interval. While one of an incident waits the next of the same incident is counted in it.
 *
 * Telegram has no way to send the same message twice and have it arrive once. So a delivery arrives exactly once where
 * Telegram answered, and at least once where it did not (`uncertain_attempts` of the row counts them, and the message that
 * is sent again says so).
 */
import { randomUUID } from 'node:crypto'
import type { Delivery, TelegramLink } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import { cut } from '../html/shown.ts'
import type { Clock } from './clock.ts'
import type { Links } from './links.ts'
import type { Notification } from './notification.ts'
import type { Failure } from './sender.ts'
import { longestMessage } from './text.ts'

export interface DeliveryStore {
  /** What was not delivered when the process before ended, and when each chat got its last message. */
  load(): Promise<{ readonly open: readonly Delivery[]; readonly lastSent: ReadonlyMap<number, Date> }>
  /** @returns them with their versions */
  save(deliveries: readonly Delivery[]): Promise<readonly Delivery[]>
}

/** A delivery with what it says. */
export interface Parcel {
  readonly delivery: Delivery
  readonly notification: Notification
}

export type SendOutcome = { readonly kind: 'sent'; readonly messageId: number; readonly cut: boolean } | Failure

/** What is told below a message. */
export interface Waiting {
  /** Deliveries of this chat that wait for the digest. */
  readonly forDigest: number
}

export interface OutboxOptions {
  readonly store: DeliveryStore
  readonly links: Pick<Links, 'of' | 'get' | 'end'>
  send(link: TelegramLink, parcels: readonly Parcel[], waiting: Waiting): Promise<SendOutcome>
  readonly clock: Clock
  readonly log: Log
  readonly intervalMs: number
  /** `HH:MM`, UTC. */
  readonly digestAt: string
  /** Most deliveries that wait for one chat. */
  readonly mostOfChat?: number
}

export interface OutboxStats {
  readonly open: number
  readonly sent: number
  readonly failed: number
  readonly attemptsFailed: number
  readonly cut: number
  /** Notifications given up because too many waited before ClickHouse was read. */
  readonly lost: number
}

export interface Outbox {
  notify(notifications: readonly Notification[]): void
  /** Reads what is left from before; until then nothing is sent. Rejects when ClickHouse does not answer. */
  load(): Promise<void>
  /** Something about links changed. */
  wake(): void
  /** Resolves when nothing is being sent or written. */
  idle(): Promise<void>
  stats(): OutboxStats
  /** Sends nothing any more, and writes what is not written yet. */
  stop(): Promise<void>
}

type Open = { -readonly [K in keyof Delivery]: Delivery[K] } & { notification: Notification }

const mostBeforeLoad = 1_000
const mostUnsaved = 10_000
const mostOfChatByDefault = 500
const chatsAtOnce = 4
const firstBackoffMs = 1_000
const longestBackoffMs = 60_000
const saveAgainMs = 5_000
/** A message does not wait longer for its row: the row is written when ClickHouse is back. */
const saveWithinMs = 2_000
/** What is left over where there are too many incidents. */
const otherIncidents = 'other'

export function createOutbox(options: OutboxOptions): Outbox {
  const { store, links, send, clock, log, intervalMs, mostOfChat = mostOfChatByDefault } = options
  const open = new Map<string, Open>()
  const unsaved = new Map<string, Open>()
  const lastSent = new Map<number, number>()
  const sendingTo = new Map<number, Promise<void>>()
  /** Before {@link load}. */
  let early: Notification[] | undefined = []
  let pausedUntil = 0
  let backoffMs = firstBackoffMs
  let troubled = false
  let cancelWake = (): void => {}
  let cancelSave = (): void => {}
  let saving: Promise<void> | undefined
  let saveFails = false
  let stopped = false
  const counts = { sent: 0, failed: 0, attemptsFailed: 0, cut: 0, lost: 0 }
  const nowMs = (): number => clock.now().getTime()

  function notify(notifications: readonly Notification[]): void {
    if (stopped) return
    if (early !== undefined) {
      early.push(...notifications)
      counts.lost += early.splice(0, early.length - mostBeforeLoad).length
      return
    }
    for (const notification of notifications) {
      for (const link of links.of(notification.tenant)) enqueue(link, notification)
    }
    void save()
    pump()
  }

  function enqueue(link: TelegramLink, given: Notification): void {
    const now = clock.now()
    const ofChat = [...open.values()].filter(({ chatId }) => chatId === link.chatId)
    const isOther = ofChat.length >= mostOfChat && !ofChat.some(({ incident }) => incident === given.incident)
    const notification = bounded(
      isOther ? { ...given, incident: otherIncidents, title: 'Other causes', body: given.title, facts: [] } : given,
    )
    const { incident } = notification
    const state = given.urgent || isFree(link, ofChat, now) ? 'waiting' : 'digest'
    const same = ofChat.find((one) => one.state !== 'sending' && one.incident === incident)
    if (same === undefined) {
      const delivery: Open = {
        id: randomUUID(),
        version: 0n,
        tenant: link.tenant,
        chatId: link.chatId,
        userId: link.userId,
        kind: given.kind,
        incident,
        state,
        content: JSON.stringify(notification),
        notification,
        occurrences: 1,
        firstAt: now,
        lastAt: now,
        attempts: 0,
        uncertainAttempts: 0,
        error: '',
        message: undefined,
        telegramMessageId: undefined,
        cut: false,
        sentAt: undefined,
        changedAt: now,
      }
      open.set(delivery.id, delivery)
      touch(delivery)
      return
    }
    same.occurrences++
    same.lastAt = now
    same.notification = notification
    same.content = JSON.stringify(notification)
    if (given.urgent) same.state = 'waiting'
    touch(same)
  }

  function isFree(link: TelegramLink, ofChat: readonly Open[], now: Date): boolean {
    if (isMuted(link, now)) return false
    return (
      intervalMs === 0 ||
      (ofChat.every(({ state }) => state === 'digest') && slotOf(link.chatId, now.getTime()) <= now.getTime())
    )
  }

  /** When the chat may get its next message. A clock that was set back does not make it wait longer than the interval. */
  function slotOf(chatId: number, now: number): number {
    const last = lastSent.get(chatId)
    return last === undefined ? 0 : Math.min(last, now) + intervalMs
  }

  function dueOf({ state, firstAt }: Open): number {
    return state === 'digest' ? nextDigest(firstAt, options.digestAt).getTime() : 0
  }

  /** Sends what is due, and sees to it that it is called again when more is. */
  function pump(): void {
    if (stopped || early !== undefined) return
    cancelWake()
    const now = clock.now()
    let wakeAt = Number.POSITIVE_INFINITY
    for (const [chatId, parcels] of byChat(open.values())) {
      if (sendingTo.has(chatId)) continue
      const link = links.get(chatId)
      if (link === undefined) {
        for (const one of parcels) close(one, 'dropped', 'the chat is not linked any more')
        void save()
        continue
      }
      const mutedUntil = isMuted(link, now) ? (link.mutedUntil?.getTime() ?? 0) : 0
      const earliest = Math.max(
        Math.min(...parcels.map(dueOf)),
        slotOf(chatId, now.getTime()),
        Math.min(pausedUntil, now.getTime() + 3_600_000),
        mutedUntil,
      )
      if (earliest > now.getTime()) wakeAt = Math.min(wakeAt, earliest)
      else if (sendingTo.size < chatsAtOnce) start(link, parcels, now)
    }
    if (wakeAt < Number.POSITIVE_INFINITY) cancelWake = clock.after(wakeAt - now.getTime(), pump)
  }

  function start(link: TelegramLink, ofChat: readonly Open[], now: Date): void {
    const due = ofChat.filter((one) => dueOf(one) <= now.getTime())
    const sending = deliver(link, due, { forDigest: ofChat.length - due.length })
      .catch((error: unknown) => log(`telegram: ${(error as Error).name} while sending`, 'error'))
      .finally(() => {
        sendingTo.delete(link.chatId)
        pump()
      })
    sendingTo.set(link.chatId, sending)
  }

  async function deliver(link: TelegramLink, parcels: readonly Open[], waiting: Waiting): Promise<void> {
    const message = parcels.find((one) => one.message !== undefined)?.message ?? randomUUID()
    for (const one of parcels) {
      one.state = 'sending'
      one.message = message
      one.attempts++
      touch(one)
    }
    await saved()
    const outcome = await send(
      link,
      parcels.map((one) => ({ delivery: one, notification: one.notification })),
      waiting,
    )
    await settle(link, parcels, outcome)
    await saved()
  }

  async function settle(link: TelegramLink, parcels: readonly Open[], outcome: SendOutcome): Promise<void> {
    if (outcome.kind === 'sent') {
      lastSent.set(link.chatId, nowMs())
      for (const one of parcels) {
        one.telegramMessageId = outcome.messageId
        one.cut = outcome.cut
        one.sentAt = clock.now()
        close(one, 'sent', '')
      }
      if (outcome.cut) counts.cut++
      if (troubled) log('telegram: messages go out again')
      troubled = false
      backoffMs = firstBackoffMs
      return
    }
    counts.attemptsFailed++
    if (outcome.kind === 'refused') {
      for (const one of parcels) close(one, 'failed', outcome.problem)
      log(`telegram: a message was refused: ${outcome.problem}`, 'warn')
      if (isGone(outcome)) await links.end(link.chatId, 'blocked')
      return
    }
    for (const one of parcels) {
      one.state = 'waiting'
      one.error = outcome.problem
      if (outcome.kind === 'uncertain') one.uncertainAttempts++
      touch(one)
    }
    const waitMs =
      outcome.kind === 'flood' ? outcome.retryAfterMs : outcome.kind === 'unauthorized' ? longestBackoffMs : backoffMs
    pausedUntil = Math.max(pausedUntil, nowMs() + waitMs)
    if (outcome.kind !== 'flood') backoffMs = Math.min(longestBackoffMs, backoffMs * 2)
    if (!troubled) log(`telegram: messages wait, and are tried again (${outcome.problem})`, 'warn')
    troubled = true
  }

  function close(one: Open, state: 'sent' | 'failed' | 'dropped', error: string): void {
    one.state = state
    one.error = error
    open.delete(one.id)
    if (state === 'sent') counts.sent++
    if (state === 'failed') counts.failed++
    touch(one)
  }

  function touch(one: Open): void {
    one.changedAt = clock.now()
    // A row that has not been written for so long is not worth the memory; what still waits is kept in `open`.
    if (unsaved.size < mostUnsaved || unsaved.has(one.id)) unsaved.set(one.id, one)
  }

  /** Writes what has changed; one write at a time. Never rejects. */
  function save(): Promise<void> {
    saving ??= writeAll().finally(() => {
      saving = undefined
    })
    return saving
  }

  async function writeAll(): Promise<void> {
    while (unsaved.size > 0) {
      const batch = [...unsaved.values()].slice(0, 500)
      const rows = batch.map(({ notification: _, ...row }): Delivery => row)
      for (const { id } of batch) unsaved.delete(id)
      try {
        const written = await store.save(rows)
        for (const [i, one] of batch.entries()) one.version = written[i]?.version ?? one.version
        if (saveFails) log('telegram: deliveries are written to ClickHouse again')
        saveFails = false
      } catch (error) {
        for (const one of batch) if (!unsaved.has(one.id)) unsaved.set(one.id, one)
        if (!saveFails)
          log(`telegram: deliveries cannot be written (${firstLine(error)}); they are kept until then`, 'warn')
        saveFails = true
        cancelSave()
        if (!stopped) cancelSave = clock.after(saveAgainMs, () => void save())
        return
      }
    }
  }

  async function saved(): Promise<void> {
    // Twice: what changed while a write was under way is in the next one.
    const written = save().then(() => (saveFails ? undefined : save()))
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, saveWithinMs).unref()
    })
    await Promise.race([written, late])
    clearTimeout(timer)
  }

  return {
    notify,
    async load() {
      const { open: left, lastSent: last } = await store.load()
      for (const [chatId, at] of last) lastSent.set(chatId, at.getTime())
      for (const row of left) {
        const notification = notificationOf(row)
        const delivery: Open = { ...row, notification }
        if (row.state === 'sending') {
          // The process before ended between the call and its answer.
          delivery.state = 'waiting'
          delivery.uncertainAttempts++
          delivery.error = 'the inbox ended before Telegram answered'
          touch(delivery)
        }
        open.set(delivery.id, delivery)
      }
      const waited = early ?? []
      early = undefined
      notify(waited)
    },
    wake: pump,
    async idle() {
      while (sendingTo.size > 0 || saving !== undefined) {
        await Promise.all([...sendingTo.values(), saving])
      }
    },
    stats: () => ({ open: open.size, ...counts }),
    async stop() {
      stopped = true
      cancelWake()
      cancelSave()
      await Promise.all(sendingTo.values())
      await saved()
    },
  }
}

/** The next `HH:MM` UTC after an instant. */
function nextDigest(after: Date, digestAt: string): Date {
  const [hours = 0, minutes = 0] = digestAt.split(':').map(Number)
  const at = new Date(after)
  at.setUTCHours(hours, minutes, 0, 0)
  if (at <= after) at.setUTCDate(at.getUTCDate() + 1)
  return at
}

function isMuted({ mutedUntil }: TelegramLink, now: Date): boolean {
  return mutedUntil !== undefined && mutedUntil > now
}

/** There is nobody at the other end: they blocked the bot, or the account is gone. */
function isGone({ status, problem }: Extract<Failure, { kind: 'refused' }>): boolean {
  return status === 403 || problem.includes('chat not found')
}

/** Longest texts a row keeps; no message shows more. */
function bounded(notification: Notification): Notification {
  const { incident, title, body, facts } = notification
  const head = (text: string, atMost: number): string => cut(text, atMost).head.toWellFormed()
  return {
    ...notification,
    incident: head(incident, 300),
    title: head(title, 300),
    ...(body === undefined ? {} : { body: head(body, longestMessage) }),
    ...(facts === undefined
      ? {}
      : { facts: facts.slice(0, 10).map(([name, value]) => [head(name, 60), head(value, 500)] as const) }),
  }
}

function notificationOf({ kind, tenant, incident, content }: Delivery): Notification {
  try {
    return JSON.parse(content) as Notification
  } catch {
    return { kind: kind as Notification['kind'], tenant, incident, title: incident }
  }
}

function byChat(deliveries: Iterable<Open>): ReadonlyMap<number, readonly Open[]> {
  const chats = new Map<number, Open[]>()
  for (const one of deliveries) {
    const ofChat = chats.get(one.chatId)
    if (ofChat === undefined) chats.set(one.chatId, [one])
    else ofChat.push(one)
  }
  return chats
}

function firstLine(error: unknown): string {
  return (error as Error).message.split('\n', 1)[0] ?? ''
}
