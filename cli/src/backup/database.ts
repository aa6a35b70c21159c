/** The database to back up or restore into: the one that runs, or an engine of our own while nothing runs. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { ClickHouseClient } from '@agnes/clickhouse'
import { type Config, UserError } from '@agnes/config'
import { explain } from '../connect.ts'
import { findInstance } from '../instance.ts'
import { log } from '../output/streams.ts'

/** Counting and checking read every row of a table. */
const requestTimeoutMs = 3_600_000

export function databaseDirectory({ dataDir }: Pick<Config, 'dataDir'>): string {
  return path.join(dataDir, 'clickhouse')
}

/**
 * Runs `work` on the database of this configuration, wherever it is.
 * @throws UserError if there is none
 */
export async function withDatabase<T>(config: Config, work: (client: ClickHouseClient) => Promise<T>): Promise<T> {
  const { clickhouseUrl } = findInstance(config)
  if (config.clickhouseUrl !== undefined || (await answers(clickhouseUrl))) {
    return withClient(clickhouseUrl, config.clickhouseUrl === undefined, work)
  }
  if (!existsSync(databaseDirectory(config))) {
    throw new UserError(`there is no database in ${config.dataDir}`, {
      code: 'no_database',
      hint: 'set AGNES_DATA_DIR to the data directory of the instance, or CLICKHOUSE_URL to its server',
    })
  }
  return withEngine(databaseDirectory(config), work)
}

/** Starts an engine on a directory for as long as `work` takes. @throws UserError if another process has it open */
export async function withEngine<T>(dataDir: string, work: (client: ClickHouseClient) => Promise<T>): Promise<T> {
  const { startEngine } = await import('@agnes/clickhouse/engine')
  const engine = await startEngine({ dataDir, host: '127.0.0.1', port: 0, log })
  try {
    return await withClient(engine.url, true, work)
  } finally {
    await engine.stop()
  }
}

async function withClient<T>(
  url: string,
  embedded: boolean,
  work: (client: ClickHouseClient) => Promise<T>,
): Promise<T> {
  const { createAgnesClient } = await import('@agnes/clickhouse')
  const client = createAgnesClient({ url, application: 'agnes-backup', requestTimeoutMs })
  try {
    return await work(client)
  } catch (error) {
    throw explain(error, url, embedded)
  } finally {
    await client.close()
  }
}

async function answers(url: string): Promise<boolean> {
  const { createAgnesClient } = await import('@agnes/clickhouse')
  const client = createAgnesClient({ url, application: 'agnes-backup', requestTimeoutMs: 5_000 })
  const { success } = await client.ping()
  await client.close()
  return success
}
