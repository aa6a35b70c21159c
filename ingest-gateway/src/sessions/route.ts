/**
 * `/v1/sessions/{user}/{session}.jsonl`: POST takes a transcript or the rest of one, GET and HEAD say how far it is stored.
 * The contract is in docs/sessions.md.
 */
import type { IncomingMessage } from 'node:http'
import { PassThrough, type Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import type { SessionKey } from '@agnes/clickhouse'
import { type Log, UserError } from '@agnes/config'
import { type Admission, type Gate, RefusedError } from '../auth/gate.ts'
import { BusyError, type ByteBudget } from '../byte-budget.ts'
import { AbortedError, BodyError, contentEncoding } from '../http/body.ts'
import { type Answer, failure } from '../http/status.ts'
import type { RefusalReason } from '../metrics.ts'
import type { UploadAudit } from './audit.ts'
import { isSessionPath, type SessionName, sessionOfPath } from './names.ts'
import {
  type Resume,
  type SessionStore,
  SessionTooLargeError,
  sessionLimits,
  UnknownOffsetError,
  type Upload,
  type UploadResult,
} from './upload.ts'
import { TooManyVersionsError } from './versions.ts'

export interface SessionRouteOptions {
  readonly store: SessionStore
  readonly gate: Gate
  readonly budget: ByteBudget
  readonly audit: UploadAudit
  /** Told of each upload that was answered with 200. */
  readonly onUpload: (result: UploadResult) => void
  readonly onRefused: (reason: RefusalReason) => void
  readonly log: Log
}

export interface SessionRequest {
  /** Called when nothing speaks against reading the body. */
  readonly proceed: () => void
  /** The gateway is stopping. */
  readonly closing: boolean
  /** With mutual TLS: the peer showed a certificate that is trusted. */
  readonly trusted: boolean
}

/** `early`: given for the headers alone. */
export type SessionAnswer = Answer & { readonly early?: boolean }

export interface SessionRoute {
  owns(path: string): boolean
  /** undefined: nobody is left to answer. */
  answer(path: string, request: IncomingMessage, context: SessionRequest): Promise<SessionAnswer | undefined>
  /** Uploads at this moment. */
  underWay(): number
  /** Resolves when no upload is under way. */
  idle(): Promise<void>
}

/** Uploads at the same time. Each holds some megabytes of the budget that all requests share. */
const maxUploads = 16
/** ClickHouse that is away takes longer to come back than a queue to shrink. */
const retryLater = { 'Retry-After': '5' }
const retrySoon = { 'Retry-After': '1' }
/** An outage is told once, and again when it goes on. */
const tellEveryMs = 60_000

const mediaTypes = ['application/x-ndjson', 'application/jsonl', 'application/json', 'application/octet-stream']

export function createSessionRoute(options: SessionRouteOptions): SessionRoute {
  const { store, gate, budget, audit, onUpload, onRefused, log } = options
  const underWay = new Set<Promise<unknown>>()
  let toldAtMs = Number.NEGATIVE_INFINITY

  const refuse = (status: number, message: string, headers?: Record<string, string>): Answer =>
    failure('json', status, message, headers)
  const refuseFor = (reason: RefusalReason, ...refusal: Parameters<typeof refuse>): Answer => {
    onRefused(reason)
    return refuse(...refusal)
  }

  async function answer(
    path: string,
    request: IncomingMessage,
    context: SessionRequest,
  ): Promise<SessionAnswer | undefined> {
    const reads = request.method === 'GET' || request.method === 'HEAD'
    let admission: Admission | undefined
    // What is refused unread pays for nothing.
    let decoded = 0
    try {
      const name = sessionOfPath(path)
      if (name === undefined)
        return refuse(404, 'there is nothing at this path; there is /v1/sessions/{user}/{session}.jsonl')
      if (!reads && request.method !== 'POST') {
        return refuse(405, 'a session takes POST, GET and HEAD', { Allow: 'POST, GET, HEAD' })
      }
      if (!context.trusted) return refuseFor('certificate', 403, 'a client certificate this gateway trusts is needed')
      admission = gate.ingest(
        request.headersDistinct.authorization ?? [],
        request.socket.remoteAddress ?? '',
        reads ? 0 : declaredBytes(request),
        'sessions',
      )
      const key = { tenant: admission.tenant, ...name }
      if (context.closing) return refuseFor('stopping', 503, 'the gateway is stopping: try again', retrySoon)
      if (reads) return await tellVersions(key, name, request)
      return await takeFile(key, name, request, context.proceed, admission, (bytes) => {
        decoded += bytes
        admission?.tookBytes(decoded)
      })
    } catch (error) {
      return refusalOf(error)
    } finally {
      admission?.tookBytes(decoded)
    }
  }

  function refusalOf(error: unknown): SessionAnswer | undefined {
    if (error instanceof AbortedError) return undefined
    if (error instanceof UserError) return { ...refuse(error.status, error.message), early: true }
    if (error instanceof RefusedError) {
      const { status, message, reason, retryAfterSeconds } = error
      const headers = {
        ...(status === 401 ? { 'WWW-Authenticate': 'Bearer' } : {}),
        ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) }),
      }
      return { ...refuseFor(reason, status, message, headers), early: true }
    }
    if (error instanceof BodyError) return refuseFor('body', error.status, error.message)
    if (error instanceof SessionTooLargeError) return refuseFor('body', 413, error.message)
    if (error instanceof UnknownOffsetError || error instanceof TooManyVersionsError) return refuse(409, error.message)
    if (error instanceof BusyError) return refuseFor('busy', 503, error.message, retrySoon)
    if (performance.now() - toldAtMs > tellEveryMs) {
      toldAtMs = performance.now()
      log(`gateway: sessions cannot be stored: ${(error as Error).message}`, 'warn')
    }
    return refuseFor(
      'clickhouse',
      503,
      'ClickHouse does not take sessions right now: keep the file and try again',
      retryLater,
    )
  }

  async function tellVersions(key: SessionKey, name: SessionName, request: IncomingMessage): Promise<Answer> {
    const versions = await store.versions(key)
    const [longest] = versions
    if (longest === undefined) return refuse(404, 'nothing is stored of this session')
    const resume = resumeOf(request)
    const matching = resume === undefined ? undefined : store.versionAt(key, versions, resume)
    const body = {
      ...name,
      versions: versions.map(({ version, lines, bytes }) => ({ version, lines, bytes })),
      ...(resume === undefined ? {} : { matches: matching?.version ?? null }),
    }
    return {
      status: 200,
      body: Buffer.from(JSON.stringify(body)),
      headers: {
        'Upload-Offset': String(longest.bytes),
        'Agnes-Offsets': versions.map(({ bytes }) => bytes).join(', '),
        ...(matching === undefined ? {} : { 'Agnes-Matches': matching.version }),
      },
    }
  }

  async function takeFile(
    key: SessionKey,
    name: SessionName,
    request: IncomingMessage,
    proceed: () => void,
    admission: Admission,
    onDecoded: (bytes: number) => void,
  ): Promise<Answer> {
    const start = performance.now()
    refuseMediaType(request.headers['content-type'])
    const resume = resumeOf(request)
    const { name: encoding } = contentEncoding(request.headers['content-encoding'])
    if (declaredBytes(request) > sessionLimits.maxFileBytes) {
      throw new SessionTooLargeError(`a session may have ${sessionLimits.maxFileBytes} bytes: this one has more`)
    }
    if (underWay.size >= maxUploads || !budget.take(0)) throw new BusyError()
    const taking = (async () => {
      const upload = await store.begin(key, 'upload', resume)
      proceed()
      return receive(upload, request, encoding, onDecoded)
    })()
    underWay.add(taking)
    const result = await taking.finally(() => underWay.delete(taking))
    admission.tookRecords(result.added)
    onUpload(result)
    if (result.outcome !== 'unchanged') audit(key, 'upload', result, performance.now() - start)
    return { status: 200, body: Buffer.from(JSON.stringify({ ...name, ...result })) }
  }

  async function receive(
    upload: Upload,
    request: IncomingMessage,
    encoding: string,
    onDecoded: (bytes: number) => void,
  ): Promise<UploadResult> {
    let taken = 0
    const settle = (): void => {
      const held = upload.held()
      if (held > taken && !budget.take(held - taken)) throw new BusyError()
      if (held < taken) budget.give(taken - held)
      taken = held
    }
    try {
      for await (const chunk of decodedBody(request, encoding)) {
        onDecoded(chunk.length)
        await upload.write(chunk)
        settle()
      }
      return await upload.end()
    } catch (error) {
      // What came whole before the connection was cut need not be sent again. Bytes that turned out not to be what they
      // said are kept from becoming a version.
      const keeps = error instanceof AbortedError || error instanceof BusyError || error instanceof SessionTooLargeError
      if (keeps) {
        const result = await upload.cut()
        if (result.outcome !== 'unchanged') onUpload(result)
      }
      throw error
    } finally {
      budget.give(taken)
    }
  }

  return {
    owns: isSessionPath,
    answer,
    underWay: () => underWay.size,
    async idle() {
      await Promise.allSettled([...underWay])
    },
  }
}

/** As sent; 0 where the headers do not say. */
function declaredBytes({ headers }: IncomingMessage): number {
  return Number(headers['content-length'] ?? 0)
}

/** @throws BodyError if the body is of a type that is no transcript */
function refuseMediaType(header: string | undefined): void {
  const type = header?.split(';', 1)[0]?.trim().toLowerCase()
  if (type === undefined || type === '' || type.startsWith('text/') || mediaTypes.includes(type)) return
  throw new BodyError(415, `Content-Type "${type.slice(0, 60)}" is not supported: send ${mediaTypes[0]}`)
}

/** @throws UserError (status 400) if the headers are not what they should be */
function resumeOf(request: IncomingMessage): Resume | undefined {
  const offset = request.headers['upload-offset']
  const prefix = request.headers['agnes-prefix-hash']
  if (offset === undefined && prefix === undefined) return undefined
  if (typeof offset !== 'string' || !/^\d{1,15}$/.test(offset)) {
    throw badHeader('Upload-Offset must be a number of bytes')
  }
  if (offset === '0') return undefined
  if (typeof prefix !== 'string' || !/^[0-9a-f]{64}$/i.test(prefix)) {
    throw badHeader('with Upload-Offset, Agnes-Prefix-Hash must be 64 hex digits')
  }
  return { offset: Number(offset), prefix: Buffer.from(prefix, 'hex') }
}

function badHeader(message: string): UserError {
  return new UserError(message, { code: 'bad_header', status: 400 })
}

/** From Node.js 22.15 and 23.8. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform }

const inflaters: Readonly<Record<string, () => Transform>> = {
  identity: () => new PassThrough(),
  gzip: () => zlib.createGunzip(),
  deflate: () => zlib.createInflate(),
  ...(createZstdDecompress === undefined ? {} : { zstd: createZstdDecompress }),
}

/**
 * The body as it comes, inflated piece by piece: one that inflates to gigabytes is never in memory, and ends at the limits
 * of a session.
 * @throws AbortedError if the connection ends early, BodyError if it can't be inflated
 */
async function* decodedBody(request: IncomingMessage, encoding: string): AsyncGenerator<Buffer> {
  const inflate = (inflaters[encoding] ?? inflaters.identity)?.() as Transform
  let cut = false
  const onClose = (): void => {
    if (request.complete) return
    cut = true
    // Not destroyed: what came in is still to be read from it.
    inflate.end()
  }
  request.once('close', onClose)
  request.on('error', onClose)
  request.pipe(inflate)
  try {
    for await (const chunk of inflate) yield chunk as Buffer
  } catch (error) {
    if (!cut) throw new BodyError(400, `the body is not valid ${encoding} (${(error as Error).message})`)
  } finally {
    request.unpipe(inflate)
    // Whoever answers decides what becomes of the rest.
    request.pause()
  }
  if (cut) throw new AbortedError('the connection ended before the body was complete')
}
