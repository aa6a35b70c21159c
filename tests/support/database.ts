/**
 * A database with all migrations, to be copied: they take seconds, and most tests need what they leave, not them. Made
 * anew when a migration or the engine changes.
 */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { createAgnesClient, loadMigrations, migrate } from '@agnes/clickhouse'
import { startEngine } from '@agnes/clickhouse/engine'

/** Node's own place for what can be made again. */
const cache = path.join(import.meta.dirname, '../../node_modules/.cache/agnes')

/** @param directory of the engine; within a data directory it is `clickhouse` */
export async function copyDatabase(directory: string): Promise<void> {
  cpSync(await migratedDatabase(), directory, { recursive: true })
}

async function migratedDatabase(): Promise<string> {
  const chdb = path.join(path.dirname(createRequire(import.meta.url).resolve('chdb')), 'package.json')
  const state = [readFileSync(chdb, 'utf8'), ...(await loadMigrations()).map(({ sql }) => sql)]
  const directory = path.join(
    cache,
    `database-${createHash('sha256').update(state.join('\0')).digest('hex').slice(0, 16)}`,
  )
  if (existsSync(directory)) return directory
  mkdirSync(cache, { recursive: true })
  const made = mkdtempSync(path.join(cache, 'making-'))
  const engine = await startEngine({ dataDir: made, host: '127.0.0.1', port: 0 })
  const client = createAgnesClient({ url: engine.url, application: 'test' })
  await migrate(client)
  await client.close()
  await engine.stop()
  try {
    renameSync(made, directory)
  } catch {
    // Another test made it at the same time.
    rmSync(made, { recursive: true })
  }
  return directory
}
