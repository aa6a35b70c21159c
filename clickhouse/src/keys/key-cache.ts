/** The list of keys as it was last read, on disk: hashes and rights, no secrets. */
import { readFileSync } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { isScope } from '@agnes/config'
import type { ApiKey } from './api-keys.ts'

export interface KeyCache {
  readonly keys: readonly ApiKey[]
  /** When the list was read from ClickHouse, milliseconds since 1970. */
  readonly readAtMs: number
}

/** Whole or not at all, and readable by its owner only. @throws the file system's errors */
export async function writeKeyCache(file: string, cache: KeyCache): Promise<void> {
  const temporary = `${file}.${process.pid}`
  await rm(temporary, { force: true })
  const target = await open(temporary, 'wx', 0o600)
  try {
    await target.writeFile(`${JSON.stringify(cache)}\n`)
    await target.sync()
  } finally {
    await target.close()
  }
  await rename(temporary, file)
}

/** undefined where there is none, or none we can read: the list comes from ClickHouse then. */
export function readKeyCache(file: string): KeyCache | undefined {
  try {
    const { keys, readAtMs } = JSON.parse(readFileSync(file, 'utf8')) as { keys: unknown; readAtMs: unknown }
    if (!Array.isArray(keys) || typeof readAtMs !== 'number') return undefined
    return { keys: keys.map(keyOf), readAtMs }
  } catch {
    return undefined
  }
}

/** @throws Error if it is not what {@link writeKeyCache} writes */
function keyOf(value: unknown): ApiKey {
  const key = value as Record<keyof ApiKey, unknown>
  const text = (field: keyof ApiKey): string => {
    const found = key[field]
    if (typeof found !== 'string') throw new TypeError(`${field} is no text`)
    return found
  }
  const number = (field: keyof ApiKey): number => {
    const found = key[field]
    if (typeof found !== 'number') throw new TypeError(`${field} is no number`)
    return found
  }
  return {
    id: text('id'),
    tenant: text('tenant'),
    project: text('project'),
    scopes: list(key.scopes)
      .filter((scope) => typeof scope === 'string')
      .filter(isScope),
    note: text('note'),
    secretHash: text('secretHash'),
    secretEnd: text('secretEnd'),
    formerSecrets: list(key.formerSecrets).map((former) => {
      const { hash, validUntil } = former as { hash: unknown; validUntil: unknown }
      return { hash: String(hash), validUntil: date(validUntil) }
    }),
    recordsPerSecond: number('recordsPerSecond'),
    bytesPerSecond: number('bytesPerSecond'),
    createdAt: date(key.createdAt),
    expiresAt: key.expiresAt === undefined ? undefined : date(key.expiresAt),
    revokedAt: key.revokedAt === undefined ? undefined : date(key.revokedAt),
  }
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError('no list')
  return value
}

function date(value: unknown): Date {
  const time = new Date(String(value))
  if (Number.isNaN(time.getTime())) throw new TypeError('no time')
  return time
}
