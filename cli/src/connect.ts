/** A connection for the commands that read, with errors a user understands. */

import type { ClickHouseClient } from '@agnes/clickhouse'
import { type Config, loadConfig, UserError } from '@agnes/config'
import { findInstance } from './instance.ts'

/** Runs `work` with a client for the instance of the environment's configuration. */
export async function withClickHouse<T>(work: (client: ClickHouseClient, config: Config) => Promise<T>): Promise<T> {
  const { config } = loadConfig()
  const { clickhouseUrl } = findInstance(config)
  const { createAgnesClient } = await import('@agnes/clickhouse')
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-cli' })
  try {
    return await work(client, config)
  } catch (error) {
    throw explain(error as NodeJS.ErrnoException, clickhouseUrl)
  } finally {
    await client.close()
  }
}

function explain(error: NodeJS.ErrnoException & { type?: string }, url: string): Error {
  if (error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' || error.code === 'ENOTFOUND') {
    return new UserError(`cannot reach ClickHouse at ${new URL(url).origin}`, {
      code: 'unreachable',
      hint: 'is "agnes up" running? "agnes doctor" says more',
      cause: error,
    })
  }
  if (error.type === 'UNKNOWN_TABLE' || error.type === 'UNKNOWN_DATABASE') {
    return new UserError(`ClickHouse says: ${error.message.split('\n', 1)[0]}`, {
      code: 'clickhouse',
      hint: 'if it is one of our tables, run "agnes migrate"',
      cause: error,
    })
  }
  if (error.type !== undefined) {
    return new UserError(`ClickHouse says: ${error.message.trim().split('\n', 1)[0]} (${error.type})`, {
      code: 'clickhouse',
      cause: error,
    })
  }
  return error
}
