/** From an HTTP request to what is to be run: ClickHouse's HTTP interface, as its clients use it. */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { EngineError } from './errors.ts'

export interface EngineRequest {
  /** The statement from the URL; may be empty. */
  readonly query: string
  readonly body: Buffer
  readonly user: string
  readonly database: string
  readonly defaultFormat: string
  readonly settings: ReadonlyMap<string, string>
  readonly params: ReadonlyMap<string, string>
  readonly queryId: string
  readonly sessionId: string | undefined
  readonly sessionTimeoutS: number
  readonly gzipAnswer: boolean
  /** GET may not write. */
  readonly readOnly: boolean
}

/** URL parameters with a meaning of their own; all others are settings. */
const ownParameters = new Set([
  'query',
  'database',
  'default_format',
  'query_id',
  'session_id',
  'session_timeout',
  'session_check',
  'user',
  'password',
  'quota_key',
  'role',
  'compress',
  'decompress',
  'client_protocol_version',
  'enable_http_compression',
  'wait_end_of_query',
  'buffer_size',
  'stacktrace',
  'close_session',
])
/** Settings of the HTTP handler itself: they have no meaning within a session. */
const handlerSettings = new Set([
  'send_progress_in_http_headers',
  'http_headers_progress_interval_ms',
  'cancel_http_readonly_queries_on_client_close',
])

const users = new Set(['agnes', 'default', 'grafana'])
const maxBodyBytes = 1024 * 1024 * 1024
const inflate = promisify(gunzip)

export async function parseRequest(request: IncomingMessage): Promise<EngineRequest> {
  const searchParams = new URLSearchParams((request.url ?? '').split('?').slice(1).join('?'))
  for (const name of ['compress', 'decompress']) {
    if (searchParams.get(name) === '1') {
      throw new EngineError(
        48,
        'NOT_IMPLEMENTED',
        `${name}=1 (LZ4) is not supported: use gzip with Accept-Encoding or Content-Encoding.`,
      )
    }
  }
  const user = userOf(request, searchParams)
  const body = await readBody(request)
  const settings = new Map<string, string>()
  const params = new Map<string, string>()
  let query = searchParams.get('query') ?? ''
  for (const [name, value] of searchParams) {
    if (name.startsWith('param_')) params.set(name.slice('param_'.length), value)
    else if (!ownParameters.has(name) && !handlerSettings.has(name)) settings.set(name, value)
  }
  let content = body
  const boundary = /^multipart\/form-data;.*boundary="?([^";]+)"?/i.exec(request.headers['content-type'] ?? '')?.[1]
  if (boundary !== undefined) {
    content = Buffer.alloc(0)
    for (const [name, value] of multipartFields(body, boundary)) {
      if (name.startsWith('param_')) params.set(name.slice('param_'.length), value)
      else if (name === 'query') query = query === '' ? value : `${query}\n${value}`
      else
        throw new EngineError(
          48,
          'NOT_IMPLEMENTED',
          `the form field "${name}" is not supported: send query and param_* only.`,
        )
    }
  }
  return {
    query,
    body: content,
    user,
    database: databaseOf(header(request, 'x-clickhouse-database') ?? searchParams.get('database')),
    defaultFormat: header(request, 'x-clickhouse-format') ?? searchParams.get('default_format') ?? 'TabSeparated',
    settings,
    params,
    queryId: queryIdOf(searchParams.get('query_id')),
    sessionId: searchParams.get('session_id') ?? undefined,
    sessionTimeoutS: Math.min(3600, Number(searchParams.get('session_timeout') ?? 60) || 60),
    gzipAnswer:
      /\bgzip\b/.test(header(request, 'accept-encoding') ?? '') &&
      (searchParams.get('enable_http_compression') === '1' ||
        /clickhouse-go\//.test(header(request, 'user-agent') ?? '')),
    readOnly: user === 'grafana' || request.method === 'GET' || request.method === 'HEAD',
  }
}

/** It goes back in a header, which takes printable ASCII only (RFC 9110, section 5.5). */
function queryIdOf(given: string | null): string {
  if (given === null || given === '') return randomUUID()
  if (/^[\x21-\x7e]{1,200}$/.test(given)) return given
  throw new EngineError(36, 'BAD_ARGUMENTS', 'query_id must be at most 200 printable ASCII characters.')
}

/** In chDB `default` is an overlay of the file system; whoever asks for a server's default database means ours. */
function databaseOf(name: string | null | undefined): string {
  return name === null || name === undefined || name === '' || name === 'default' ? 'agnes' : name
}

function userOf(request: IncomingMessage, searchParams: URLSearchParams): string {
  const basic = /^Basic (.+)$/i.exec(header(request, 'authorization') ?? '')?.[1]
  const fromBasic = basic === undefined ? undefined : Buffer.from(basic, 'base64').toString('utf8').split(':', 1)[0]
  const user = header(request, 'x-clickhouse-user') ?? (fromBasic || undefined) ?? searchParams.get('user') ?? 'agnes'
  if (users.has(user)) return user
  throw new EngineError(
    516,
    'AUTHENTICATION_FAILED',
    `${user.slice(0, 64)}: Authentication failed: there are the users agnes and grafana.`,
  )
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const encoding = (header(request, 'content-encoding') ?? '').trim().toLowerCase()
  if (encoding !== '' && encoding !== 'identity' && encoding !== 'gzip') {
    throw new EngineError(
      48,
      'NOT_IMPLEMENTED',
      `Content-Encoding "${encoding.slice(0, 40)}" is not supported: send gzip, or none.`,
      415,
    )
  }
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBodyBytes)
      throw new EngineError(
        307,
        'TOO_MANY_BYTES',
        `The body is larger than ${maxBodyBytes} bytes: insert in smaller pieces.`,
      )
    chunks.push(chunk)
  }
  const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes)
  if (encoding !== 'gzip') return body
  try {
    return await inflate(body, { maxOutputLength: maxBodyBytes })
  } catch {
    throw new EngineError(354, 'ZLIB_INFLATE_FAILED', 'The body is not valid gzip, or too large when inflated.')
  }
}

/** RFC 7578, as far as @clickhouse/client writes it: text fields with a name. */
function multipartFields(body: Buffer, boundary: string): [string, string][] {
  return body
    .toString('utf8')
    .split(`--${boundary}`)
    .slice(1, -1)
    .map((part) => {
      const headEnd = part.indexOf('\r\n\r\n')
      const name = /name="([^"]*)"/i.exec(part.slice(0, headEnd))?.[1] ?? ''
      return [name, part.slice(headEnd + 4).replace(/\r\n$/, '')]
    })
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  return Array.isArray(value) ? value[0] : value
}
