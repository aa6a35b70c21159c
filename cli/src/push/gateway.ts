/** What `agnes push` asks of a gateway; the contract is in docs/sessions.md. */
import { type Agent, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'

export interface GatewayTarget {
  /** `http(s)://host:4318` */
  readonly url: string
  readonly key: string | undefined
  readonly agent: Agent | undefined
}

/** Where a file goes on: bytes before, and the hash of the lines before. */
export interface Point {
  readonly offset: number
  readonly prefix: Buffer
}

export interface Stored {
  readonly user: string
  readonly file: string
  readonly version: string
  readonly outcome: 'created' | 'grown' | 'diverged' | 'unchanged'
  readonly lines: number
  readonly bytes: number
  readonly added: number
  readonly redactions: number
  readonly tooLong: number
  readonly unfinishedBytes: number
}

/** The gateway answered something else than what was asked for, or nothing. */
export class GatewayError extends Error {
  /** 0: it was not reached, or the connection ended. */
  readonly status: number
  readonly retryAfterSeconds: number | undefined

  constructor(status: number, message: string, retryAfterSeconds?: number) {
    super(message)
    this.name = 'GatewayError'
    this.status = status
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** Nothing was heard for so long. A transcript that is on its way says something all the time. */
const silenceMs = 60_000

/** Sizes of the versions that are stored of a file; none if it is not known. */
export async function storedOffsets(target: GatewayTarget, path: string): Promise<number[]> {
  const { status, body } = await ask(target, 'GET', path, {})
  if (status === 404) return []
  const { versions } = JSON.parse(body) as { versions: readonly { readonly bytes: number }[] }
  return versions.map(({ bytes }) => bytes)
}

/** Whether a version of the file ends at this point. */
export async function isStored(target: GatewayTarget, path: string, point: Point): Promise<boolean> {
  const { status, body } = await ask(target, 'GET', path, pointHeaders(point))
  return status !== 404 && typeof (JSON.parse(body) as { matches?: unknown }).matches === 'string'
}

/** Sends a file from a point on. @throws GatewayError */
export async function sendSession(
  target: GatewayTarget,
  path: string,
  from: Point | undefined,
  content: Readable,
): Promise<Stored> {
  const headers = {
    'Content-Type': 'application/x-ndjson',
    'Content-Encoding': 'gzip',
    ...(from === undefined ? {} : pointHeaders(from)),
  }
  const { body } = await ask(target, 'POST', path, headers, content)
  return JSON.parse(body) as Stored
}

function pointHeaders({ offset, prefix }: Point): Record<string, string> {
  return { 'Upload-Offset': String(offset), 'Agnes-Prefix-Hash': prefix.toString('hex') }
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: string
}

/** @throws GatewayError for anything but success; 404 is an answer too */
async function ask(
  { url, key, agent }: GatewayTarget,
  method: string,
  path: string,
  headers: Record<string, string>,
  content?: Readable,
): Promise<Answer> {
  const request = (url.startsWith('https:') ? requestHttps : requestHttp)(new URL(path, url), {
    method,
    headers: { ...headers, ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }) },
    ...(agent && { agent }),
    timeout: silenceMs,
  })
  request.on('timeout', () => request.destroy(new Error('it has not answered for a minute')))
  const answered = new Promise<Answer>((resolve, reject) => {
    request.on('error', (error: NodeJS.ErrnoException) =>
      reject(new GatewayError(0, error.message || String(error.code))),
    )
    request.on('response', (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: flat(response.headers), body }),
        (error: Error) => reject(new GatewayError(0, error.message)),
      )
    })
  })
  if (content === undefined) request.end()
  // A gateway that refuses answers before it has read everything; what became of the rest does not matter then.
  else pipeline(content, createGzip(), request).catch((error: Error) => request.destroy(error))
  const answer = await answered.finally(() => content?.destroy())
  if (answer.status === 200 || answer.status === 404) {
    if (answer.status === 404 && method === 'POST')
      throw new GatewayError(404, 'there is no gateway that takes sessions')
    return answer
  }
  const retryAfter = Number(answer.headers['retry-after'])
  throw new GatewayError(answer.status, messageOf(answer), retryAfter > 0 ? retryAfter : undefined)
}

function flat(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value?.toString()]))
}

function messageOf({ status, body }: Answer): string {
  try {
    const { message } = JSON.parse(body) as { message?: unknown }
    if (typeof message === 'string') return message
  } catch {
    // A proxy's page.
  }
  return `the answer was HTTP ${status}`
}
