/** The admin key of this data directory: `agnes up` creates it, the other commands send it where a key is needed. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import type { ClickHouseClient, IssuedKey } from '@agnes/clickhouse'
import { type Config, isLoopback, UserError } from '@agnes/config'

export function adminKeyFile({ dataDir }: Pick<Config, 'dataDir'>): string {
  return path.join(dataDir, 'admin.key')
}

/** undefined if there is none. @throws the file system's errors */
export function readAdminKey(config: Pick<Config, 'dataDir'>): string | undefined {
  try {
    return readFileSync(adminKeyFile(config), 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** What a request to the gateway needs: nothing on loopback, where a key that went stale would only do harm. */
export function gatewayHeaders(
  config: Pick<Config, 'dataDir' | 'host'> & Partial<Pick<Config, 'gatewayUrl' | 'gatewayKey'>>,
): Record<string, string> {
  if (config.gatewayKey !== undefined) return { Authorization: `Bearer ${config.gatewayKey}` }
  // Ours is for our own gateway.
  if (config.gatewayUrl !== undefined) return {}
  if (isLoopback(config.host)) return {}
  const key = readAdminKey(config)
  return key === undefined ? {} : { Authorization: `Bearer ${key}` }
}

/**
 * Creates the admin key where there is none, or where the database knows nothing of the one there is.
 * @returns the new key; undefined if there was one
 * @throws UserError if it can't be written
 */
export async function ensureAdminKey(
  client: ClickHouseClient,
  config: Pick<Config, 'dataDir'>,
): Promise<IssuedKey | undefined> {
  const { createKey, fetchKeys, parseKeyText } = await import('@agnes/clickhouse')
  const before = parseKeyText(readAdminKey(config) ?? '')
  // A revoked one was revoked on purpose.
  if (before !== undefined && (await fetchKeys(client)).some(({ id }) => id === before.id)) return undefined
  const note = `created by agnes up on ${hostname()}`
  const issued = await createKey(client, { tenant: 'default', scopes: ['admin'], note })
  writeAdminKey(config, issued.text)
  return issued
}

/** The file follows its key: one that is given a new secret would soon open nothing. @returns whether it is that key */
export async function followRotation(config: Pick<Config, 'dataDir'>, text: string): Promise<boolean> {
  const { parseKeyText } = await import('@agnes/clickhouse')
  const kept = parseKeyText(readAdminKey(config) ?? '')
  if (kept === undefined || kept.id !== parseKeyText(text)?.id) return false
  writeAdminKey(config, text)
  return true
}

function writeAdminKey(config: Pick<Config, 'dataDir'>, text: string): void {
  const file = adminKeyFile(config)
  const temporary = `${file}.${process.pid}`
  try {
    mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
    rmSync(temporary, { force: true })
    writeFileSync(temporary, `${text}\n`, { mode: 0o600, flag: 'wx', flush: true })
    renameSync(temporary, file)
  } catch (error) {
    throw new UserError(`cannot write the admin key to ${file}: ${(error as Error).message}`, {
      code: 'data_directory',
      hint: 'make the data directory writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
}
