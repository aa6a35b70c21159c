/** What the Telegram bot has delivered or still has to: one row a change, so it outlives a restart. */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'
import { versionAfter } from './version.ts'

/** `sending`: handed to Telegram, and what became of it is not known yet. */
export type DeliveryState = 'waiting' | 'digest' | 'sending' | 'sent' | 'failed' | 'dropped'

export interface Delivery {
  /** UUID. */
  readonly id: string
  readonly version: bigint
  readonly tenant: string
  readonly chatId: number
  readonly userId: string
  readonly kind: string
  readonly incident: string
  readonly state: DeliveryState
  /** JSON of the notification. */
  readonly content: string
  readonly occurrences: number
  readonly firstAt: Date
  readonly lastAt: Date
  readonly attempts: number
  /** Those that got no answer. */
  readonly uncertainAttempts: number
  /** Empty when the last attempt did not fail. */
  readonly error: string
  /** UUID of the message it went in. */
  readonly message: string | undefined
  readonly telegramMessageId: number | undefined
  readonly cut: boolean
  readonly sentAt: Date | undefined
  readonly changedAt: Date
}

/** What was not delivered yet, oldest first; at most 10,000, the oldest. */
export async function fetchOpenDeliveries(client: ClickHouseClient): Promise<Delivery[]> {
  return select(client, "state IN ('waiting', 'digest', 'sending') ORDER BY first_at, id LIMIT 10000", {})
}

/** The newest of a tenant. */
export async function fetchLatestDeliveries(
  client: ClickHouseClient,
  tenant: string,
  limit: number,
): Promise<Delivery[]> {
  return select(client, 'tenant = {tenant:String} ORDER BY changed_at DESC, id LIMIT {limit:UInt32}', { tenant, limit })
}

/** When each chat was last sent a notification, within two days. */
export async function fetchLastSent(client: ClickHouseClient): Promise<ReadonlyMap<number, Date>> {
  const rows = await selectRows<{ chat_id: string; sent_ms: string }>(
    client,
    `SELECT chat_id, toUnixTimestamp64Milli(max(sent_at)) AS sent_ms
FROM current_telegram_deliveries
WHERE state = 'sent' AND changed_at > now() - INTERVAL 2 DAY
GROUP BY chat_id`,
    {},
  )
  return new Map(rows.map(({ chat_id, sent_ms }) => [Number(chat_id), new Date(Number(sent_ms))]))
}

/** The newest notification of each incident of a kind and tenant within thirty days: its content, and since when. */
export async function fetchLatestOfIncidents(
  client: ClickHouseClient,
  kind: string,
): Promise<readonly { readonly content: string; readonly since: Date }[]> {
  const rows = await selectRows<{ content: string; since_ms: string }>(
    client,
    `SELECT argMax(content, last_at) AS content, toUnixTimestamp64Milli(argMax(first_at, last_at)) AS since_ms
FROM current_telegram_deliveries
WHERE kind = {kind:String} AND changed_at > now() - INTERVAL 30 DAY
GROUP BY tenant, incident`,
    { kind },
  )
  return rows.map(({ content, since_ms }) => ({ content, since: new Date(Number(since_ms)) }))
}

/** Writes the deliveries as they are now. @returns them with their versions */
export async function saveDeliveries(
  client: ClickHouseClient,
  deliveries: readonly Delivery[],
): Promise<readonly Delivery[]> {
  const versioned = deliveries.map((delivery) => ({ ...delivery, version: versionAfter(delivery.version) }))
  await client.insert({
    table: 'telegram_deliveries',
    values: versioned.map((delivery) => ({
      id: delivery.id,
      version: String(delivery.version),
      tenant: delivery.tenant,
      chat_id: String(delivery.chatId),
      user_id: delivery.userId,
      kind: delivery.kind,
      incident: delivery.incident,
      state: delivery.state,
      content: delivery.content,
      occurrences: delivery.occurrences,
      first_at: delivery.firstAt.toISOString(),
      last_at: delivery.lastAt.toISOString(),
      attempts: delivery.attempts,
      uncertain_attempts: delivery.uncertainAttempts,
      error: delivery.error,
      message: delivery.message ?? null,
      telegram_message_id: delivery.telegramMessageId === undefined ? null : String(delivery.telegramMessageId),
      cut: delivery.cut,
      sent_at: delivery.sentAt?.toISOString() ?? null,
      changed_at: delivery.changedAt.toISOString(),
    })),
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
  return versioned
}

/** Numbers of 64 bits are decimal text, times milliseconds since 1970. */
interface DeliveryRow {
  readonly id: string
  readonly version: string
  readonly tenant: string
  readonly chat_id: string
  readonly user_id: string
  readonly kind: string
  readonly incident: string
  readonly state: DeliveryState
  readonly content: string
  readonly occurrences: number
  readonly first_ms: string
  readonly last_ms: string
  readonly attempts: number
  readonly uncertain_attempts: number
  readonly error: string
  readonly message: string | null
  readonly telegram_message_id: string | null
  readonly cut: boolean
  readonly sent_ms: string | null
  readonly changed_ms: string
}

async function select(
  client: ClickHouseClient,
  condition: string,
  params: Readonly<Record<string, unknown>>,
): Promise<Delivery[]> {
  const rows = await selectRows<DeliveryRow>(
    client,
    `SELECT id, version, tenant, chat_id, user_id, kind, incident, state, content, occurrences, attempts,
  uncertain_attempts, error, message, telegram_message_id, cut, toUnixTimestamp64Milli(first_at) AS first_ms,
  toUnixTimestamp64Milli(last_at) AS last_ms, toUnixTimestamp64Milli(sent_at) AS sent_ms,
  toUnixTimestamp64Milli(changed_at) AS changed_ms
FROM current_telegram_deliveries
WHERE ${condition}`,
    params,
  )
  return rows.map((row) => ({
    id: row.id,
    version: BigInt(row.version),
    tenant: row.tenant,
    chatId: Number(row.chat_id),
    userId: row.user_id,
    kind: row.kind,
    incident: row.incident,
    state: row.state,
    content: row.content,
    occurrences: row.occurrences,
    firstAt: new Date(Number(row.first_ms)),
    lastAt: new Date(Number(row.last_ms)),
    attempts: row.attempts,
    uncertainAttempts: row.uncertain_attempts,
    error: row.error,
    message: row.message ?? undefined,
    telegramMessageId: row.telegram_message_id === null ? undefined : Number(row.telegram_message_id),
    cut: row.cut,
    sentAt: row.sent_ms === null ? undefined : new Date(Number(row.sent_ms)),
    changedAt: new Date(Number(row.changed_ms)),
  }))
}
