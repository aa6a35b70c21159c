/**
 * API keys in ClickHouse: what there is, and each change of one. A change is a new row with a higher version, so nothing
 * is ever updated in place; `current_api_keys` is the state.
 */
import { randomInt } from 'node:crypto'
import { exitCodes, isScope, type Scope, UserError } from '@agnes/config'
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'
import { keyTextOf, randomKey, secretEnd, secretHash } from './key-text.ts'

export interface ApiKey {
  readonly id: string
  readonly tenant: string
  /** Empty when there is none. */
  readonly project: string
  readonly scopes: readonly Scope[]
  readonly note: string
  /** SHA-256, hex. */
  readonly secretHash: string
  /** Last characters of the secret. */
  readonly secretEnd: string
  readonly formerSecrets: readonly FormerSecret[]
  /** 0: no limit of its own. */
  readonly recordsPerSecond: number
  readonly bytesPerSecond: number
  readonly createdAt: Date
  readonly expiresAt: Date | undefined
  readonly revokedAt: Date | undefined
}

/** A secret that a rotation replaced. */
export interface FormerSecret {
  readonly hash: string
  readonly validUntil: Date
}

export interface NewKey {
  readonly tenant: string
  readonly scopes: readonly Scope[]
  readonly project?: string
  readonly note?: string
  readonly expiresAt?: Date
  readonly recordsPerSecond?: number
  readonly bytesPerSecond?: number
}

export interface IssuedKey {
  readonly key: ApiKey
  /** The whole key, which is told once and kept nowhere. */
  readonly text: string
}

/** All keys, oldest first; also those that were revoked or have expired. */
export async function fetchKeys(client: ClickHouseClient): Promise<ApiKey[]> {
  return (await select(client, 'true', {})).map(keyOf)
}

/** Those that may still be valid at the present instant, judged by the server's clock with a day to spare. */
export async function fetchLiveKeys(client: ClickHouseClient): Promise<ApiKey[]> {
  const live = 'revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now() - INTERVAL 1 DAY)'
  return (await select(client, live, {})).map(keyOf)
}

export async function createKey(client: ClickHouseClient, wanted: NewKey): Promise<IssuedKey> {
  const text = randomKey()
  const key: ApiKey = {
    id: text.id,
    tenant: wanted.tenant,
    project: wanted.project ?? '',
    scopes: wanted.scopes,
    note: wanted.note ?? '',
    secretHash: secretHash(text.secret),
    secretEnd: secretEnd(text.secret),
    formerSecrets: [],
    recordsPerSecond: wanted.recordsPerSecond ?? 0,
    bytesPerSecond: wanted.bytesPerSecond ?? 0,
    createdAt: new Date(),
    expiresAt: wanted.expiresAt,
    revokedAt: undefined,
  }
  await insert(client, key, nextVersion(0n))
  return { key, text: keyTextOf(text) }
}

export interface KeyChange {
  readonly before: ApiKey
  readonly after: ApiKey
}

/** Revokes a key for good; one that was revoked before is left as it is. @throws UserError if there is no such key */
export async function revokeKey(client: ClickHouseClient, id: string): Promise<KeyChange> {
  const { key: before } = await find(client, id)
  if (before.revokedAt !== undefined) return { before, after: before }
  const after = { ...before, formerSecrets: [], revokedAt: new Date() }
  await insert(client, after, lastVersion)
  return { before, after }
}

/**
 * Gives a key a new secret; the one it had stays valid for `graceMs`.
 * @throws UserError if there is no such key, it is no longer valid, or somebody else changed it at the same time
 */
export async function rotateKey(
  client: ClickHouseClient,
  id: string,
  graceMs: number,
): Promise<KeyChange & { readonly text: string }> {
  const { key: before, version } = await find(client, id)
  const now = new Date()
  refuseDead(before, now)
  const secret = randomKey().secret
  const validUntil = new Date(now.getTime() + graceMs)
  const after: ApiKey = {
    ...before,
    secretHash: secretHash(secret),
    secretEnd: secretEnd(secret),
    formerSecrets: [
      // Without a grace nothing older is left either: whoever says 0 has lost a secret.
      ...(graceMs === 0 ? [] : before.formerSecrets.filter((former) => former.validUntil > now)),
      ...(graceMs === 0 ? [] : [{ hash: before.secretHash, validUntil }]),
    ],
  }
  await insert(client, after, nextVersion(version))
  // Of two rotations at once the later one counts; the secret of the other would never work.
  const { key: stored } = await find(client, id)
  if (stored.secretHash !== after.secretHash || stored.revokedAt !== undefined) {
    throw new UserError(`key ${id} was changed by somebody else at the same time`, {
      code: 'key_changed',
      hint: 'look at "agnes keys list" and try again',
    })
  }
  return { before, after, text: keyTextOf({ id, secret }) }
}

function refuseDead({ id, revokedAt, expiresAt }: ApiKey, now: Date): void {
  const dead =
    revokedAt !== undefined ? 'was revoked' : expiresAt !== undefined && expiresAt <= now ? 'has expired' : ''
  if (dead === '') return
  throw new UserError(`key ${id} ${dead}`, {
    code: 'key_dead',
    exitCode: exitCodes.refused,
    hint: 'create a new one: "agnes keys create"',
  })
}

/** Nothing is newer than a revocation. */
const lastVersion = 2n ** 64n - 1n

/** Two changes never get the same version, and a clock that was set back does not lose one. */
function nextVersion(before: bigint): bigint {
  const now = BigInt(Date.now()) * 1_000_000n + BigInt(randomInt(1_000_000))
  return now > before ? now : before + 1n
}

interface KeyRow {
  readonly id: string
  readonly version: string
  readonly tenant: string
  readonly project: string
  readonly scopes: readonly string[]
  readonly note: string
  readonly secret_hash: string
  readonly secret_end: string
  readonly former: readonly (readonly [hash: string, validUntilMs: string])[]
  readonly records_per_second: string
  readonly bytes_per_second: string
  /** Milliseconds since 1970. */
  readonly created_ms: string
  readonly expires_ms: string | null
  readonly revoked_ms: string | null
}

function select(client: ClickHouseClient, condition: string, params: Record<string, unknown>): Promise<KeyRow[]> {
  return selectRows<KeyRow>(
    client,
    `SELECT id, version, tenant, project, scopes, note, secret_hash, secret_end, records_per_second, bytes_per_second,
  arrayMap(former -> [former.hash, toString(toUnixTimestamp64Milli(former.valid_until))], former_secrets) AS former,
  toUnixTimestamp64Milli(created_at) AS created_ms, toUnixTimestamp64Milli(expires_at) AS expires_ms,
  toUnixTimestamp64Milli(revoked_at) AS revoked_ms
FROM current_api_keys
WHERE ${condition}
ORDER BY created_at, id`,
    params,
  )
}

async function find(client: ClickHouseClient, id: string): Promise<{ key: ApiKey; version: bigint }> {
  const [row] = await select(client, 'id = {id:String}', { id })
  if (row === undefined) {
    throw new UserError(`there is no key ${id}`, { code: 'no_key', hint: '"agnes keys list" shows the ids' })
  }
  return { key: keyOf(row), version: BigInt(row.version) }
}

function keyOf(row: KeyRow): ApiKey {
  const date = (ms: string | null): Date | undefined => (ms === null ? undefined : new Date(Number(ms)))
  return {
    id: row.id,
    tenant: row.tenant,
    project: row.project,
    // A scope of a newer release allows nothing here.
    scopes: row.scopes.filter(isScope),
    note: row.note,
    secretHash: row.secret_hash,
    secretEnd: row.secret_end,
    formerSecrets: row.former.map(([hash, ms]) => ({ hash, validUntil: new Date(Number(ms)) })),
    recordsPerSecond: Number(row.records_per_second),
    bytesPerSecond: Number(row.bytes_per_second),
    createdAt: new Date(Number(row.created_ms)),
    expiresAt: date(row.expires_ms),
    revokedAt: date(row.revoked_ms),
  }
}

async function insert(client: ClickHouseClient, key: ApiKey, version: bigint): Promise<void> {
  await client.insert({
    table: 'api_keys',
    values: [
      {
        id: key.id,
        version: String(version),
        tenant: key.tenant,
        project: key.project,
        scopes: key.scopes,
        note: key.note,
        secret_hash: key.secretHash,
        secret_end: key.secretEnd,
        former_secrets: key.formerSecrets.map(({ hash, validUntil }) => ({
          hash,
          valid_until: validUntil.toISOString(),
        })),
        records_per_second: key.recordsPerSecond,
        bytes_per_second: key.bytesPerSecond,
        created_at: key.createdAt.toISOString(),
        changed_at: new Date().toISOString(),
        expires_at: key.expiresAt?.toISOString() ?? null,
        revoked_at: key.revokedAt?.toISOString() ?? null,
      },
    ],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}
