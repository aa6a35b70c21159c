/** A connection for the commands that read, with errors a user understands. */
import type { ClickHouseClient } from '@agnes/clickhouse'
import { type Config, loadConfig, UserError } from '@agnes/config'
import { findInstance } from './instance.ts'
import { harmless } from './output/text.ts'

export interface ConnectOptions {
  /** How long one request may take; 30 s unless told. */
  readonly requestTimeoutMs?: number
}

/** Runs `work` with a client for the instance of the environment's configuration. */
export async function withClickHouse<T>(
  work: (client: ClickHouseClient, config: Config) => Promise<T>,
  options: ConnectOptions = {},
): Promise<T> {
  const { config } = loadConfig()
  const { clickhouseUrl } = findInstance(config)
  const { createAgnesClient } = await import('@agnes/clickhouse')
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-cli', ...options })
  try {
    return await work(client, config)
  } catch (error) {
    throw explain(error, clickhouseUrl, config.clickhouseUrl === undefined)
  } finally {
    await client.close()
  }
}

const unreachable = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
])

/** The client hands on what it was answered, without a code: a page, or what the native port tells HTTP clients. */
const notClickHouse = /^\s*<|^Unexpected token '<'|^Port \d+ is for clickhouse-client/

/** From an error of the client to one line and a hint; what is no error of a connection or of ClickHouse is left alone. */
export function explain(thrown: unknown, url: string, embedded: boolean): unknown {
  if (!(thrown instanceof Error) || thrown instanceof UserError) return thrown
  const { code, type } = thrown as { readonly code?: string; readonly type?: string }
  const where = new URL(url).origin
  // The client says so without a code.
  const timedOut = thrown.message === 'Timeout error.'
  if (timedOut || thrown.message === 'socket hang up' || (code !== undefined && unreachable.has(code))) {
    const hint = embedded ? 'is "agnes up" running? "agnes doctor" says more' : 'check CLICKHOUSE_URL and the server'
    return new UserError(
      timedOut ? `ClickHouse at ${where} did not answer in time` : `cannot reach ClickHouse at ${where}`,
      {
        code: 'unreachable',
        hint,
        cause: thrown,
      },
    )
  }
  if (type === undefined) {
    if (notClickHouse.test(thrown.message)) {
      return new UserError(`what answers at ${where} is not the HTTP interface of ClickHouse`, {
        code: 'unreachable',
        hint: 'check CLICKHOUSE_URL; 9000 and 9440 are ports of the native protocol',
        cause: thrown,
      })
    }
    // TLS, for one.
    if (code === undefined || /^\d+$/.test(code)) return thrown
    return new UserError(`cannot use ClickHouse at ${where}: ${oneLine(thrown.message)}`, {
      code: 'unreachable',
      hint: 'check CLICKHOUSE_URL and the server',
      cause: thrown,
    })
  }
  const hint = hints[type]
  return new UserError(`ClickHouse: ${oneLine(thrown.message)} (${type})`, {
    code: 'clickhouse',
    cause: thrown,
    ...(hint === undefined ? {} : { hint }),
  })
}

const hints: Readonly<Record<string, string>> = {
  UNKNOWN_TABLE: '"SHOW TABLES" lists them; if one of ours is missing, run "agnes migrate"',
  UNKNOWN_DATABASE: 'run "agnes migrate", or check the path of CLICKHOUSE_URL',
  UNKNOWN_IDENTIFIER: '"DESCRIBE audit_log" lists the columns of a table',
  AUTHENTICATION_FAILED: 'check user and password in CLICKHOUSE_URL',
}

const longestMessage = 300

/** ClickHouse lists every token it would have taken, over a screen; and it quotes values, which come from anybody. */
function oneLine(message: string): string {
  const [first = ''] = message.trim().split('\n', 1)
  const line = harmless(first.replace(/\. Expected one of: .*$/, ''))
  return line.length <= longestMessage ? line : `${line.slice(0, longestMessage)}…`
}
