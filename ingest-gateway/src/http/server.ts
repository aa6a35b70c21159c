/** The gateway's HTTP listener: parse, call, answer. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { keyParameter } from '@agnes/clickhouse'
import { bindPort, type Log } from '@agnes/config'
import { type Admission, type Gate, RefusedError } from '../auth/gate.ts'
import { BusyError, type ByteBudget } from '../byte-budget.ts'
import type { Ingest } from '../ingest.ts'
import type { Metrics, RefusalReason } from '../metrics.ts'
import { RequestError, type WireFormat } from '../otlp/decode.ts'
import type { SessionRoute } from '../sessions/route.ts'
import { SpoolUnavailableError } from '../spool/spool.ts'
import type { Tls } from '../tls.ts'
import { AbortedError, BodyError, type BodyLimits, contentEncoding, readBody } from './body.ts'
import { type Answer, contentTypes, failure, success } from './status.ts'
import { createTlsServer, mayExport } from './tls-server.ts'

export interface HealthReport {
  /** A new write would be durable. */
  readonly ready: boolean
  readonly details: Readonly<Record<string, unknown>>
}

export interface HttpOptions {
  readonly host: string
  readonly port: number
  readonly limits: BodyLimits
  /** Milliseconds a request may take to arrive, a third of them for its headers; 30 s unless told. */
  readonly arriveWithinMs?: number | undefined
  /** Plain HTTP without it. */
  readonly tls?: Tls | undefined
  readonly budget: ByteBudget
  readonly gate: Gate
  readonly ingest: Pick<Ingest, 'logs'>
  readonly sessions: SessionRoute
  readonly health: () => HealthReport
  readonly metrics: Metrics
  readonly log: Log
}

export interface HttpListener {
  readonly port: number
  /** Spans and metric points are accepted and not stored; this counts the requests. */
  readonly notStored: { traces: number; metrics: number }
  /** Takes no new requests, lets those under way end. */
  close(): Promise<void>
}

/** JavaScript and Python SDKs give up after about 10 s in total: more than a few seconds loses their data. */
const retryAfter = { 'Retry-After': '1' }

/**
 * A client that was answered before it had sent everything may go on sending this long: to close at once would reset the
 * connection, and the client would see that instead of what was wrong. It is read and thrown away.
 */
const lingerMs = 2_000

const maxHeaderBytes = 16 * 1024

/** A transcript may take so many times longer to arrive; what was whole when it is cut need not be sent again. */
const sessionPatience = 20

/** When the gateway stops, a request that is still arriving after this long is cut off; it was not acknowledged. */
const slowRequestMs = 2_000

const routes: Readonly<Record<string, 'POST' | 'GET'>> = {
  '/v1/logs': 'POST',
  '/v1/traces': 'POST',
  '/v1/metrics': 'POST',
  '/healthz': 'GET',
  '/readyz': 'GET',
  '/metrics': 'GET',
}

/** @throws UserError if the port can't be bound */
export async function listen(options: HttpOptions): Promise<HttpListener> {
  const { gate, ingest, limits, budget, metrics, tls, log, arriveWithinMs = 30_000 } = options
  const notStored = { traces: 0, metrics: 0 }
  let closing = false

  /** undefined: nobody is left to answer. */
  async function answerTo(request: IncomingMessage, proceed: () => void): Promise<FormattedAnswer | undefined> {
    const path = pathOf(request.url ?? '/')
    const method = Object.hasOwn(routes, path) ? routes[path] : undefined
    const format = wireFormat(request.headers['content-type'])
    const refuse = (status: number, message: string, headers?: Record<string, string>): FormattedAnswer => ({
      format: format ?? 'json',
      ...failure(format ?? 'json', status, message, headers),
    })
    const refuseFor = (reason: RefusalReason, ...refusal: Parameters<typeof refuse>): FormattedAnswer => {
      metrics.refused(reason)
      return refuse(...refusal)
    }
    const leaked = keyParameter(request.url ?? '')
    if (leaked !== undefined) {
      const advice = 'it counts as leaked: revoke it, and send the next one as "Authorization: Bearer <key>"'
      metrics.refused('leaked_key')
      return { ...refuse(400, `a key must not stand in the URL (${leaked}): ${advice}`), early: true }
    }
    if (options.sessions.owns(path)) {
      const trusted = tls === undefined || mayExport(request.socket, tls)
      const answer = await options.sessions.answer(path, request, { proceed, closing, trusted })
      return answer && { format: 'json', ...answer }
    }
    if (method === undefined) {
      return refuse(404, `there is nothing at this path; there is ${Object.keys(routes).join(', ')}, /v1/sessions/`)
    }
    if (request.method !== method && !(method === 'GET' && request.method === 'HEAD')) {
      return refuse(405, `${path} takes ${method}`, { Allow: method === 'GET' ? 'GET, HEAD' : method })
    }
    const credentials = credentialsOf(request)
    const address = request.socket.remoteAddress ?? ''
    let admission: Admission
    try {
      if (path === '/metrics') {
        return { format: 'json', ...(await answerMetrics(gate.read(credentials, address))) }
      }
      if (method === 'GET') return { format: 'json', ...answerHealth(path, gate.seesDetails(credentials, address)) }
      if (tls !== undefined && !mayExport(request.socket, tls)) {
        const advice = 'send one (OTEL_EXPORTER_OTLP_CLIENT_KEY)'
        return refuseFor('certificate', 403, `a client certificate this gateway trusts is needed: ${advice}`)
      }
      const declared = declaredBytes(request)
      // A body that is too large will not be read, so nobody is to pay for it.
      admission = gate.ingest(
        credentials,
        address,
        declared !== undefined && declared > limits.maxBodyBytes ? 0 : declared,
      )
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error
      metrics.refused(error.reason)
      return { ...refuse(error.status, error.message, refusalHeaders(error)), early: true }
    }
    let held = 0
    let body: Buffer | undefined
    const room = {
      take(bytes: number): void {
        if (!budget.take(bytes)) throw new BusyError()
        held += bytes
      },
    }
    try {
      if (format === undefined) {
        const sent = request.headers['content-type']
        const problem = sent === undefined ? 'is missing' : `"${sent.slice(0, 60)}" is not supported`
        return refuseFor('body', 415, `Content-Type ${problem}: send ${contentTypes.protobuf} or ${contentTypes.json}`)
      }
      if (closing) return refuseFor('stopping', 503, 'the gateway is stopping: try again', retryAfter)
      const encoding = contentEncoding(request.headers['content-encoding'])
      body = await readBody(request, encoding, limits, room, proceed)
      return { format, ...(await answerExport(path, body, format, admission)) }
    } catch (error) {
      if (error instanceof AbortedError) return undefined
      if (error instanceof BodyError || error instanceof RequestError) {
        return refuseFor('body', error.status, error.message)
      }
      if (error instanceof BusyError) return refuseFor('busy', 503, error.message, retryAfter)
      if (error instanceof SpoolUnavailableError) {
        return refuseFor('spool', 503, `${error.message}: nothing was stored, try again`, retryAfter)
      }
      log(`gateway: unexpected error: ${(error as Error).stack ?? error}`, 'error')
      // Not 500: clients would drop the data for good (OTLP specification, "Retryable Response Codes").
      return refuseFor('error', 503, 'the gateway failed on this request: try again', retryAfter)
    } finally {
      if (body === undefined) settleUnread(request, admission, held)
      budget.give(held)
    }
  }

  async function answerExport(path: string, body: Buffer, format: WireFormat, admission: Admission): Promise<Answer> {
    admission.tookBytes(body.length)
    if (path === '/v1/logs') {
      const { rejected, notes } = await ingest.logs(body, format, admission.tenant, admission.tookRecords)
      return success(format, rejected, notes)
    }
    const signal = path === '/v1/traces' ? 'traces' : 'metrics'
    notStored[signal]++
    metrics.notStored(signal)
    return success(format)
  }

  /** Those who ask at the same time get the same page: 60 kB of requests on one connection would cost 150 MB. */
  const metricsPages = new Map<string | undefined, Promise<Buffer>>()
  async function answerMetrics(tenant: string | undefined): Promise<Answer> {
    const page = metricsPages.get(tenant) ?? metrics.text(tenant).then(Buffer.from)
    metricsPages.set(tenant, page)
    const body = await page.finally(() => metricsPages.delete(tenant))
    return { status: 200, body, headers: { 'Content-Type': metrics.contentType } }
  }

  function answerHealth(path: string, detailed: boolean): Answer {
    const { ready, details } = options.health()
    const body = Buffer.from(
      detailed ? `${JSON.stringify({ ready, ...details }, null, 2)}\n` : JSON.stringify({ ready }),
    )
    return { status: path === '/readyz' && !ready ? 503 : 200, body }
  }

  /** Requests that are not answered yet, by connection. */
  const underWay = new WeakMap<Duplex, number>()

  function handle(request: IncomingMessage, response: ServerResponse, proceed: () => void = () => {}): void {
    const { socket } = request
    const start = performance.now()
    underWay.set(socket, (underWay.get(socket) ?? 0) + 1)
    const isSession = options.sessions.owns(pathOf(request.url ?? '/'))
    const patience = arriveWithinMs * (isSession ? sessionPatience : 1)
    const late = setTimeout(() => request.complete || socket.destroy(), patience).unref()
    response.once('close', () => {
      clearTimeout(late)
      underWay.set(socket, (underWay.get(socket) ?? 1) - 1)
    })
    answerTo(request, proceed)
      .then((answer) => {
        if (answer === undefined) {
          response.destroy()
          return
        }
        send(request, response, answer)
        const protocol = isSession ? 'sessions' : 'http'
        if (request.method === 'POST') metrics.request(protocol, answer.status, (performance.now() - start) / 1000)
      })
      .catch((error: Error) => {
        log(`gateway: unexpected error: ${error.stack ?? error.message}`, 'error')
        response.destroy()
      })
  }

  const serverOptions = {
    // Not Node.js' own: it would cut a transcript of a gigabyte on a slow line too.
    requestTimeout: 0,
    headersTimeout: arriveWithinMs / 3,
    // Node.js looks for late requests every 30 s only.
    connectionsCheckingInterval: arriveWithinMs / 12,
    keepAliveTimeout: 65_000,
    maxHeaderSize: maxHeaderBytes,
    requireHostHeader: false,
    // One read of the socket fills it. With the 64 KiB of Node.js 22 a second one would follow, of a body nobody takes.
    highWaterMark: 16 * 1024,
  }
  const tlsServer =
    tls === undefined
      ? undefined
      : createTlsServer(serverOptions, tls, refusal(400, 'this port speaks TLS: use https:// in the endpoint'))
  const server = tlsServer?.server ?? createServer(serverOptions)
  // A client may end its side once it has sent everything (RFC 9293, 3.6) and wait for the answer. Node.js has the switch
  // on every server, its types do not.
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('request', (request, response) => handle(request, response))
  // Node would say "100 Continue" to everyone; a client that is refused need not send its body at all.
  server.on('checkContinue', (request, response) => handle(request, response, () => response.writeContinue()))
  // Neither side has moved a byte for that long: a client that does not take its answers is cut, like one that asks
  // nothing more. One that waits for us is not.
  server.timeout = arriveWithinMs
  server.on('timeout', (socket) => {
    if (socket.writableLength > 0 || (underWay.get(socket) ?? 0) === 0) socket.destroy()
  })
  // A request that is not HTTP at all: Node would answer without a body.
  server.on('clientError', (error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket) => {
    // Too slow, or no TLS, or earlier requests of the connection wait for their answers, which this one must not be taken
    // for: it is cut. To clients that is a network error, and they send again. HPE_ are the parser's.
    const cut = error.code?.startsWith('HPE_') !== true || !socket.writable
    if (cut || (underWay.get(socket) ?? 0) > 0) socket.destroy()
    else socket.end(unreadable(error.code, error.rawPacket))
  })
  const port = await bindPort(server, options.host, options.port, 'AGNES_OTLP_PORT')

  return {
    port,
    notStored,
    close: () => {
      closing = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      const slow = setTimeout(() => {
        server.closeAllConnections()
        tlsServer?.cutAll()
      }, slowRequestMs).unref()
      return closed.finally(() => clearTimeout(slow))
    },
  }
}

interface FormattedAnswer extends Answer {
  readonly format: WireFormat
  /** Given for the headers alone: a body that is not small is not read at all. */
  readonly early?: boolean
}

function refusalHeaders({ status, retryAfterSeconds }: RefusedError): Record<string, string> {
  return {
    ...(status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {}),
    ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) }),
  }
}

/** With the headers before it, at most 64 KiB are read from a connection whose request is refused early. */
const smallBodyBytes = 48 * 1024

function send(request: IncomingMessage, response: ServerResponse, answer: FormattedAnswer): void {
  const whole = request.complete || request.method === 'GET' || request.method === 'HEAD'
  response.writeHead(answer.status, {
    'Content-Type': contentTypes[answer.format],
    'Content-Length': answer.body.length,
    ...answer.headers,
    // With the body unread the connection ends after the answer, or the rest of it would be taken for a request.
    ...(whole ? {} : { Connection: 'close' }),
  })
  // An empty body would be written as a part of its own.
  if (whole && answer.body.length === 0) response.end()
  else if (whole) response.end(answer.body)
  else {
    response.write(answer.body)
    const timer = setTimeout(() => response.end(), lingerMs)
    request.once('close', () => {
      clearTimeout(timer)
      response.end()
    })
    const declared = declaredBytes(request)
    if (!answer.early || (declared !== undefined && declared <= smallBodyBytes)) request.resume()
  }
}

/**
 * The body of a request was not taken: it pays for what was read of it, and for what is yet to be read and thrown away,
 * not for what it declared.
 */
function settleUnread(request: IncomingMessage, admission: Admission, alreadyRead: number): void {
  let bytes = alreadyRead
  admission.tookBytes(bytes)
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    admission.tookBytes(bytes)
  })
}

function declaredBytes({ headers }: IncomingMessage): number | undefined {
  return headers['content-length'] === undefined ? undefined : Number(headers['content-length'])
}

/** All values of the header. Node.js keeps only the first of several, and takes a while to tell them all. */
function credentialsOf(request: IncomingMessage): readonly string[] {
  return request.headers.authorization === undefined ? [] : (request.headersDistinct.authorization ?? [])
}

/** The path of a request target, which may be a whole URI (RFC 9112, section 3.2.2). */
function pathOf(target: string): string {
  if (Object.hasOwn(routes, target)) return target
  return target.replace(/^https?:\/\/[^/?]*/i, '').split('?', 1)[0] as string
}

/** The whole answer to bytes that are not an HTTP request we can read. */
function unreadable(code: string | undefined, packet: Buffer | undefined): string {
  const tooLong = code === 'HPE_HEADER_OVERFLOW'
  let message = 'this is not a valid HTTP/1.1 request'
  if (tooLong) message = `the headers are larger than ${maxHeaderBytes} bytes`
  else if (packet?.[0] === 0x16) message = 'this port speaks plain HTTP, not TLS: use http:// in the endpoint'
  else if (packet?.toString('latin1', 0, 14) === 'PRI * HTTP/2.0') {
    message =
      'this port speaks OTLP over HTTP/1.1, not gRPC: use the gRPC port (4317), or OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf'
  }
  return refusal(tooLong ? 431 : 400, message)
}

/** A whole answer, for where Node.js has no request to answer. */
function refusal(status: 400 | 431, message: string): string {
  const { body } = failure('json', status, message)
  return [
    `HTTP/1.1 ${status === 431 ? '431 Request Header Fields Too Large' : '400 Bad Request'}`,
    'Connection: close',
    `Content-Type: ${contentTypes.json}`,
    `Content-Length: ${body.length}`,
    '',
    Buffer.from(body).toString(),
  ].join('\r\n')
}

/** Media types are case-insensitive and may carry parameters (RFC 9110, section 8.3.1). */
function wireFormat(header: string | undefined): WireFormat | undefined {
  const match = /^(application\/[a-z-]+)[ \t]*(;.*)?$/i.exec(header ?? '')
  switch (match?.[1]?.toLowerCase()) {
    case contentTypes.protobuf:
      return 'protobuf'
    case contentTypes.json:
      return 'json'
    default:
      return undefined
  }
}
