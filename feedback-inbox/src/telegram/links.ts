/**
 * Which chats act for which admins. This process is the only writer of their tables, so what it holds in memory is how
 * things are; ClickHouse keeps it. A link ends with the secret of the key it was made with: whoever links a chat with a
 * key that leaked is out when the key is rotated or revoked.
 */
import { createHash, randomInt } from 'node:crypto'
import {
  type ClickHouseClient,
  fetchTelegramLinks,
  findLinkCode,
  type KeyRing,
  keyMark,
  type LinkEnd,
  type LinkOwner,
  saveLinkCode,
  saveTelegramLink,
  type TelegramLink,
} from '@agnes/clickhouse'
import type { Clock } from './clock.ts'

export interface Links {
  /** Reads them; again and again until ClickHouse answers, so it is called until it succeeds. */
  load(): Promise<void>
  /** In force, of one tenant. */
  of(tenant: string): readonly TelegramLink[]
  /** undefined: the chat is not linked, or its key opens nothing any more. */
  get(chatId: number): TelegramLink | undefined
  /** Every link in force. */
  all(): readonly TelegramLink[]
  /** A code that links one chat, once. */
  createCode(owner: LinkOwner): Promise<{ readonly code: string; readonly expiresAt: Date }>
  redeem(code: string, chat: { readonly id: number; readonly name: string }): Promise<Redeemed>
  mute(chatId: number, until: Date | undefined): Promise<TelegramLink | undefined>
  end(chatId: number, why: LinkEnd): Promise<TelegramLink | undefined>
  /** Ends those whose key opens nothing any more. @returns them */
  endDead(): Promise<readonly TelegramLink[]>
}

export type Redeemed =
  | { readonly kind: 'linked'; readonly link: TelegramLink }
  | { readonly kind: 'unknown' | 'used' | 'expired' | 'too_many' }

export interface LinksOptions {
  readonly client: ClickHouseClient
  readonly ring: Pick<KeyRing, 'findAgain'>
  readonly clock: Clock
}

export const codeMinutes = 10
/** Twelve of 32 characters, 60 bits: nobody guesses one in ten minutes at the pace below. */
const codeLength = 12
/** Without those that are mistaken for others. */
const codeAlphabet = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'
/** Wrong codes a chat may send within {@link codeMinutes}, and all chats together: each costs a question to ClickHouse. */
const wrongOfChat = 5
const wrongInAll = 600

export function openLinks({ client, ring, clock }: LinksOptions): Links {
  const links = new Map<number, TelegramLink>()
  const wrong = createWrongCodes(clock)

  async function change(link: TelegramLink): Promise<TelegramLink> {
    const saved = await saveTelegramLink(client, link, clock.now())
    if (saved.endedAt === undefined) links.set(saved.chatId, saved)
    else links.delete(saved.chatId)
    return saved
  }

  /** 'unsure': ClickHouse has not told the keys yet. */
  function holds({ keyId, keyMark: mark }: LinkOwner): boolean | 'unsure' {
    const found = ring.findAgain(keyId, (secretHash) => keyMark(secretHash) === mark)
    if (found.kind === 'undecided') return 'unsure'
    return found.kind === 'valid' && found.holder.scopes.includes('admin')
  }

  const inForce = (link: TelegramLink | undefined): link is TelegramLink => link !== undefined && holds(link) === true

  async function end(chatId: number, why: LinkEnd): Promise<TelegramLink | undefined> {
    const link = links.get(chatId)
    return link && change({ ...link, endedAt: clock.now(), endedWhy: why })
  }

  return {
    async load() {
      for (const link of await fetchTelegramLinks(client)) links.set(link.chatId, link)
    },
    of: (tenant) => [...links.values()].filter((link) => link.tenant === tenant && inForce(link)),
    get(chatId) {
      const link = links.get(chatId)
      return inForce(link) ? link : undefined
    },
    all: () => [...links.values()].filter(inForce),
    async createCode(owner) {
      const code = Array.from({ length: codeLength }, () => codeAlphabet[randomInt(codeAlphabet.length)]).join('')
      const createdAt = clock.now()
      const expiresAt = new Date(createdAt.getTime() + codeMinutes * 60_000)
      const unused = { usedAt: undefined, usedBy: undefined }
      await saveLinkCode(client, { ...owner, hash: hashOf(code), version: 0n, createdAt, expiresAt, ...unused })
      return { code, expiresAt }
    },
    async redeem(text, chat) {
      if (wrong.tooMany(chat.id)) return { kind: 'too_many' }
      const code = text.toUpperCase().replaceAll('-', '')
      const isCode = code.length === codeLength && [...code].every((character) => codeAlphabet.includes(character))
      const found = isCode ? await findLinkCode(client, hashOf(code)) : undefined
      if (found === undefined || holds(found) !== true) {
        wrong.count(chat.id)
        return { kind: 'unknown' }
      }
      if (found.usedAt !== undefined) return { kind: 'used' }
      const now = clock.now()
      if (found.expiresAt <= now) return { kind: 'expired' }
      // First of all, so that it never links two.
      await saveLinkCode(client, { ...found, usedAt: now, usedBy: chat.id })
      const { tenant, userId, keyId, keyMark: mark } = found
      const link = await change({
        tenant,
        userId,
        keyId,
        keyMark: mark,
        chatId: chat.id,
        version: links.get(chat.id)?.version ?? 0n,
        name: chat.name.slice(0, 200),
        linkedAt: now,
        mutedUntil: undefined,
        endedAt: undefined,
        endedWhy: undefined,
      })
      return { kind: 'linked', link }
    },
    async mute(chatId, until) {
      const link = links.get(chatId)
      return link && change({ ...link, mutedUntil: until })
    },
    end,
    async endDead() {
      const dead = [...links.values()].filter((link) => holds(link) === false)
      for (const { chatId } of dead) await end(chatId, 'key')
      return dead
    },
  }
}

/** How many wrong codes came lately. */
function createWrongCodes(clock: Clock) {
  let since = clock.now().getTime()
  let inAll = 0
  const ofChat = new Map<number, number>()
  const freshen = (): void => {
    const now = clock.now().getTime()
    if (Math.abs(now - since) < codeMinutes * 60_000) return
    since = now
    inAll = 0
    ofChat.clear()
  }
  return {
    tooMany(chatId: number): boolean {
      freshen()
      return (ofChat.get(chatId) ?? 0) >= wrongOfChat || inAll >= wrongInAll
    },
    count(chatId: number): void {
      freshen()
      inAll++
      ofChat.set(chatId, (ofChat.get(chatId) ?? 0) + 1)
    },
  }
}

function hashOf(code: string): string {
  return createHash('sha256').update(code).digest('hex')
}
