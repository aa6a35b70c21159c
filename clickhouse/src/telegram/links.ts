/** Chats of admins with the Telegram bot, and the codes that link one: what there is, and each change. */
import { createHash } from 'node:crypto'
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'
import { versionAfter } from './version.ts'

/** On whose behalf a chat acts. */
export interface LinkOwner {
  readonly tenant: string
  /** As it stands in audit events. */
  readonly userId: string
  readonly keyId: string
  /** See {@link keyMark}. */
  readonly keyMark: string
}

export type LinkEnd = 'unlink' | 'page' | 'key' | 'blocked'

export interface TelegramLink extends LinkOwner {
  readonly chatId: number
  /** Decimal UInt64. */
  readonly version: bigint
  /** Of the Telegram account, as it calls itself. */
  readonly name: string
  readonly linkedAt: Date
  readonly mutedUntil: Date | undefined
  readonly endedAt: Date | undefined
  readonly endedWhy: LinkEnd | undefined
}

export interface LinkCode extends LinkOwner {
  /** SHA-256 of the code, hex. */
  readonly hash: string
  readonly version: bigint
  readonly createdAt: Date
  readonly expiresAt: Date
  readonly usedAt: Date | undefined
  readonly usedBy: number | undefined
}

/** Tells secrets of one key apart and opens nothing. @param secretHash SHA-256 of the secret, hex */
export function keyMark(secretHash: string): string {
  return createHash('sha256').update(`telegram:${secretHash}`).digest('hex')
}

/** Those in force, oldest first. */
export async function fetchTelegramLinks(client: ClickHouseClient): Promise<TelegramLink[]> {
  const rows = await selectRows<LinkRow>(
    client,
    `SELECT chat_id, version, tenant, user_id, key_id, key_mark, name,
  toUnixTimestamp64Milli(linked_at) AS linked_ms, toUnixTimestamp64Milli(muted_until) AS muted_ms
FROM current_telegram_links
WHERE ended_at IS NULL
ORDER BY linked_at, chat_id`,
    {},
  )
  return rows.map((row) => ({
    ...ownerOf(row),
    chatId: Number(row.chat_id),
    version: BigInt(row.version),
    name: row.name,
    linkedAt: new Date(Number(row.linked_ms)),
    mutedUntil: dateOf(row.muted_ms),
    endedAt: undefined,
    endedWhy: undefined,
  }))
}

/** @returns the link with its version */
export async function saveTelegramLink(client: ClickHouseClient, link: TelegramLink, now: Date): Promise<TelegramLink> {
  const version = versionAfter(link.version)
  await insert(client, 'telegram_links', {
    ...ownerColumns(link),
    chat_id: String(link.chatId),
    version: String(version),
    name: link.name,
    linked_at: link.linkedAt.toISOString(),
    muted_until: link.mutedUntil?.toISOString() ?? null,
    ended_at: link.endedAt?.toISOString() ?? null,
    ended_why: link.endedWhy ?? '',
    changed_at: now.toISOString(),
  })
  return { ...link, version }
}

/** undefined: nobody made it. */
export async function findLinkCode(client: ClickHouseClient, hash: string): Promise<LinkCode | undefined> {
  const [row] = await selectRows<CodeRow>(
    client,
    `SELECT code_hash, version, tenant, user_id, key_id, key_mark, used_by,
  toUnixTimestamp64Milli(created_at) AS created_ms, toUnixTimestamp64Milli(expires_at) AS expires_ms,
  toUnixTimestamp64Milli(used_at) AS used_ms
FROM telegram_link_codes FINAL
WHERE code_hash = {hash:String}`,
    { hash },
  )
  if (row === undefined) return undefined
  return {
    ...ownerOf(row),
    hash: row.code_hash,
    version: BigInt(row.version),
    createdAt: new Date(Number(row.created_ms)),
    expiresAt: new Date(Number(row.expires_ms)),
    usedAt: dateOf(row.used_ms),
    usedBy: row.used_by === null ? undefined : Number(row.used_by),
  }
}

export async function saveLinkCode(client: ClickHouseClient, code: LinkCode): Promise<void> {
  await insert(client, 'telegram_link_codes', {
    ...ownerColumns(code),
    code_hash: code.hash,
    version: String(versionAfter(code.version)),
    created_at: code.createdAt.toISOString(),
    expires_at: code.expiresAt.toISOString(),
    used_at: code.usedAt?.toISOString() ?? null,
    used_by: code.usedBy === undefined ? null : String(code.usedBy),
  })
}

interface OwnerColumns {
  readonly tenant: string
  readonly user_id: string
  readonly key_id: string
  readonly key_mark: string
}

/** Numbers of 64 bits are decimal text, times milliseconds since 1970. */
interface LinkRow extends OwnerColumns {
  readonly chat_id: string
  readonly version: string
  readonly name: string
  readonly linked_ms: string
  readonly muted_ms: string | null
}

interface CodeRow extends OwnerColumns {
  readonly code_hash: string
  readonly version: string
  readonly created_ms: string
  readonly expires_ms: string
  readonly used_ms: string | null
  readonly used_by: string | null
}

function ownerOf({ tenant, user_id, key_id, key_mark }: OwnerColumns): LinkOwner {
  return { tenant, userId: user_id, keyId: key_id, keyMark: key_mark }
}

function ownerColumns({ tenant, userId, keyId, keyMark: mark }: LinkOwner): OwnerColumns {
  return { tenant, user_id: userId, key_id: keyId, key_mark: mark }
}

function dateOf(ms: string | null): Date | undefined {
  return ms === null ? undefined : new Date(Number(ms))
}

async function insert(client: ClickHouseClient, table: string, row: Readonly<Record<string, unknown>>): Promise<void> {
  await client.insert({
    table,
    values: [row],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}
