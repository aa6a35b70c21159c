/** The real engine on a directory of its own, for tests of any room. */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ClickHouseClient, createAgnesClient, loadMigrations, migrate } from '@agnes/clickhouse'
import { startEngine } from '@agnes/clickhouse/engine'

export interface TestEngine {
  readonly url: string
  readonly client: ClickHouseClient
  stop(): Promise<void>
}

export interface TestEngineOptions {
  /** Without our tables; they are there unless told. */
  readonly empty?: boolean
}

/** Node's own place for what can be made again. */
const cache = path.join(import.meta.dirname, '../../node_modules/.cache/agnes')

export async function startTestEngine({ empty = false }: TestEngineOptions = {}): Promise<TestEngine> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-engine-'))
  if (!empty) cpSync(await migratedDatabase(), dataDir, { recursive: true })
  const engine = await startEngine({ dataDir, host: '127.0.0.1', port: 0 })
  const client = createAgnesClient({ url: engine.url, application: 'test' })
  return {
    url: engine.url,
    client,
    async stop() {
      await client.close()
      await engine.stop()
      rmSync(dataDir, { recursive: true })
    },
  }
}

/**
 * A database with all migrations, to be copied: they take seconds, and most tests need what they leave, not them. Made
 * anew when a migration or the engine changes.
 */
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
