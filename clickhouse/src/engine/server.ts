/** ClickHouse's HTTP interface over the engine: routes, headers, errors. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createGzip, type Gzip } from 'node:zlib'
import { bindPort, isLoopback } from '@agnes/config'
import { EngineError, fromChdb } from './errors.ts'
import type { AnswerSink, Engine, Summary } from './execute.ts'
import { parseRequest } from './request.ts'

export interface EngineListener {
  readonly port: number
  close(): Promise<void>
}

const contentTypes: Readonly<Record<string, string>> = {
  TabSeparated: 'text/tab-separated-values; charset=UTF-8',
  TSV: 'text/tab-separated-values; charset=UTF-8',
  TabSeparatedWithNames: 'text/tab-separated-values; charset=UTF-8',
  TSVWithNames: 'text/tab-separated-values; charset=UTF-8',
  CSV: 'text/csv; charset=UTF-8; header=absent',
  CSVWithNames: 'text/csv; charset=UTF-8; header=present',
  JSON: 'application/json; charset=UTF-8',
  JSONCompact: 'application/json; charset=UTF-8',
  JSONEachRow: 'application/x-ndjson; charset=UTF-8',
  JSONCompactEachRow: 'application/x-ndjson; charset=UTF-8',
  XML: 'application/xml; charset=UTF-8',
}
const textFormat = /^(Pretty|Vertical|JSON|Markdown|Values|SQLInsert|TSKV|LineAsString|Raw)/

export async function listen(engine: Engine, host: string, port: number): Promise<EngineListener> {
  const server = createServer(
    { keepAliveTimeout: 10_000, requestTimeout: 0, headersTimeout: 10_000 },
    (request, response) => {
      answer(engine, request, response).catch(() => response.destroy())
    },
  )
  const bound = await bindPort(server, host, port, 'AGNES_CLICKHOUSE_PORT')
  return {
    port: bound,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      // A connection becomes idle when its answer has gone, and clients would keep it for seconds.
      const closing = setInterval(() => server.closeIdleConnections(), 20)
      await closed
      clearInterval(closing)
    },
  }
}

async function answer(engine: Engine, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const sink = responseSink(response)
  try {
    refuseForeignPages(request)
    const path = (request.url ?? '/').split('?', 1)[0]
    const isRead = request.method === 'GET' || request.method === 'HEAD'
    if (isRead && (path === '/ping' || (path === '/' && !/[?&]query=/.test(request.url ?? '')))) {
      response.writeHead(200, { 'Content-Type': 'text/plain; charset=UTF-8' }).end('Ok.\n')
      return
    }
    if (path !== '/')
      throw new EngineError(80, 'INCORRECT_QUERY', `There is no handle ${path}. Use / or /ping for health checks.`)
    if (request.method !== 'POST' && !isRead) {
      throw new EngineError(48, 'NOT_IMPLEMENTED', `The method ${request.method} is not supported: send POST or GET.`)
    }
    const parsed = await parseRequest(request)
    sink.gzip = parsed.gzipAnswer
    sink.queryId = parsed.queryId
    await engine.execute(parsed, sink)
    await sink.end()
  } catch (error) {
    sink.fail(error instanceof EngineError ? error : fromChdb(error as Error), engine.version)
  }
}

/**
 * The engine asks for no password on loopback, and a page in a browser can reach loopback: by a plain cross-site POST,
 * or by a name of its own that resolves to 127.0.0.1. Both give themselves away in their headers.
 */
function refuseForeignPages(request: IncomingMessage): void {
  const { host, origin } = request.headers
  const site = request.headers['sec-fetch-site']
  const name = (host ?? 'localhost').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  const sameOrigin = origin === undefined || origin === `http://${host}`
  if (isLoopback(name) && sameOrigin && site !== 'cross-site' && site !== 'same-site') return
  throw new EngineError(497, 'ACCESS_DENIED', 'Requests of web pages from elsewhere are refused.')
}

interface ResponseSink extends AnswerSink {
  gzip: boolean
  queryId: string
  end(): Promise<void>
  fail(error: EngineError, version: string): void
}

function responseSink(response: ServerResponse): ResponseSink {
  let compressor: Gzip | undefined
  let format = 'TabSeparated'
  const tag = randomUUID().replaceAll('-', '').slice(0, 16)

  function head(status: number, headers: Record<string, string>): void {
    if (response.headersSent) return
    response.writeHead(status, {
      'X-ClickHouse-Server-Display-Name': 'agnes',
      'X-ClickHouse-Query-Id': sink.queryId,
      'X-ClickHouse-Timezone': 'UTC',
      'X-ClickHouse-Exception-Tag': tag,
      ...headers,
    })
  }

  async function write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return
    if (sink.gone) return
    const target = compressor ?? response
    if (!target.write(bytes)) await drained(target, response)
  }

  const sink: ResponseSink = {
    gzip: false,
    queryId: randomUUID(),
    get gone() {
      return response.destroyed || response.writableEnded
    },
    onGone(listener) {
      const left = (): void => {
        if (!response.writableEnded) listener()
      }
      response.once('close', left)
      return () => response.off('close', left)
    },
    start(answered: string, summary: Summary | undefined) {
      format = answered
      head(200, {
        'Content-Type':
          contentTypes[format] ?? (textFormat.test(format) ? 'text/plain; charset=UTF-8' : 'application/octet-stream'),
        'X-ClickHouse-Format': format,
        'X-ClickHouse-Summary': summaryJson(summary),
        ...(sink.gzip ? { 'Content-Encoding': 'gzip' } : {}),
      })
      if (sink.gzip) {
        compressor = createGzip()
        compressor.pipe(response)
      }
    },
    chunk: write,
    async end() {
      if (compressor !== undefined) compressor.end()
      else if (!response.writableEnded) response.end()
    },
    fail(error: EngineError, version: string) {
      const text = error.text(version)
      if (!response.headersSent) {
        head(error.status, {
          'Content-Type': 'text/plain; charset=UTF-8',
          'X-ClickHouse-Exception-Code': String(error.code),
          // The body may be unread.
          Connection: 'close',
        })
        response.end(text)
        return
      }
      // The status is gone: ClickHouse's form of an exception in the middle of a stream.
      const bytes = Buffer.byteLength(text)
      const target = compressor ?? response
      target.end(`\r\n__exception__\r\n${tag}\r\n${text}${bytes} ${tag}\r\n__exception__\r\n`)
    },
  }
  return sink
}

/** Resolves when more may be written, or when nobody reads any more. */
function drained(target: ServerResponse | Gzip, response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      target.off('drain', done)
      response.off('close', done)
      resolve()
    }
    target.on('drain', done)
    response.on('close', done)
  })
}

/** All values are strings, as ClickHouse sends them. */
function summaryJson(summary: Summary | undefined): string {
  const { readRows = 0, readBytes = 0, resultBytes = 0, elapsedNs = 0 } = summary ?? {}
  const text = (value: number): string => String(value)
  return JSON.stringify({
    read_rows: text(readRows),
    read_bytes: text(readBytes),
    written_rows: '0',
    written_bytes: '0',
    total_rows_to_read: '0',
    result_rows: '0',
    result_bytes: text(resultBytes),
    elapsed_ns: text(elapsedNs),
  })
}
