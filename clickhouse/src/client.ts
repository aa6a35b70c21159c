/**
 * The one way to open a connection to ClickHouse: a server, a cluster node or the embedded engine.
 * Settings that decide correctness are pinned here, so that the answer does not depend on a server's profile.
 */
import { exitCodes, UserError } from '@agnes/config'
import { type ClickHouseClient, ClickHouseLogLevel, type ClickHouseSettings, createClient } from '@clickhouse/client'

export type { ClickHouseClient } from '@clickhouse/client'

/** Database of the product unless the URL's path names another one. */
export const defaultDatabase = 'agnes'

export interface AgnesClientOptions {
  /** `http(s)://user:password@host:8123/database`, as in CLICKHOUSE_URL. */
  readonly url: string
  /** Shown as the user agent in `system.query_log`. */
  readonly application?: string
  /** How long a request may take before the client gives up; 30 s unless told. */
  readonly requestTimeoutMs?: number
}

const pinnedSettings: ClickHouseSettings = {
  // Times are read and written in UTC whatever zone the server runs in.
  session_timezone: 'UTC',
  // On by default since 26.3; would acknowledge a batch together with strangers' rows.
  async_insert: 0,
  // An INSERT into a Distributed table returns when the shard has it, not when it is queued.
  distributed_foreground_insert: 1,
  // A reader that goes away (closed page, timeout) stops costing CPU.
  cancel_http_readonly_queries_on_client_close: 1,
}

/** @throws UserError (exit code 2) when the URL is not one of an HTTP interface. The password is never in the message. */
export function createAgnesClient(options: AgnesClientOptions): ClickHouseClient {
  const url = parseClickhouseUrl(options.url)
  return createClient({
    url: url.origin,
    ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
    database: databaseOf(options.url),
    application: options.application ?? 'agnes',
    request_timeout: options.requestTimeoutMs ?? 30_000,
    clickhouse_settings: pinnedSettings,
    // Errors are thrown; the caller says them in one line.
    log: { level: ClickHouseLogLevel.OFF },
  })
}

/** The database a URL points at: its path, or `agnes`. */
export function databaseOf(url: string): string {
  const name = decodeURIComponent(parseClickhouseUrl(url).pathname.replace(/^\/+|\/+$/g, ''))
  if (name === '') return defaultDatabase
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw new UserError(`"${name}" in the ClickHouse URL is not a database name`, {
      code: 'bad_clickhouse_url',
      exitCode: exitCodes.usage,
      hint: 'use letters, digits and "_": http://host:8123/agnes',
    })
  }
  return name
}

function parseClickhouseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  throw new UserError('the ClickHouse URL is not one of an HTTP interface', {
    code: 'bad_clickhouse_url',
    exitCode: exitCodes.usage,
    hint: 'it looks like http(s)://user:password@host:8123/agnes; 9000 and 9440 are ports of the native protocol',
  })
}
