/** Requests nobody would send, one after the other over connections that are kept alive, and what became of them. */
import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { type Dice, dice, pick } from './dice.ts'
import { mutateBytes, mutateFields, mutateJson } from './mutations.ts'
import { exportLogsRequest } from './otlp-arbitraries.ts'
import { encodeJson, plainStyle } from './otlp-json.ts'
import { encodeExportLogsRequest } from './otlp-reference.ts'
import { type Field, message, requestFields } from './protobuf-wire.ts'
import { type Connection, openConnection, requestBytes } from './raw-http.ts'

export interface FuzzOptions {
  readonly port: number
  readonly requests: number
  readonly seed: number
  /** Called now and then with how many were sent. */
  readonly onProgress?: (sent: number) => Promise<void>
}

export interface FuzzReport {
  /** Answers by status; `cut` are connections that ended without one. */
  readonly statuses: Readonly<Record<string, number>>
  /** Statuses no request may get: the bytes sent, in base64, and what was answered. */
  readonly wrong: readonly string[]
}

/** Everything a server may answer to nonsense. 503 would say that it failed, or that it is overloaded: it is neither. */
const allowed = new Set([200, 400, 404, 405, 413, 415, 431])
const connectionCount = 32
const progressEvery = 1_000
/** An answer that takes longer counts as none: the gateway hangs. */
const patienceMs = 20_000

export async function fuzz({ port, requests, seed, onProgress }: FuzzOptions): Promise<FuzzReport> {
  const nextRequest = requestMaker(seed, requests)
  const statuses: Record<string, number> = {}
  const wrong: string[] = []
  let sent = 0

  async function work(): Promise<void> {
    let connection = await openConnection(port)
    while (sent < requests && wrong.length < 3) {
      if (sent++ % progressEvery === 0) await onProgress?.(sent - 1)
      const { bytes, last } = nextRequest()
      connection.socket.write(bytes)
      if (last === 'end') connection.socket.end()
      if (last === 'reset') connection.socket.resetAndDestroy()
      const answer = await within(connection)
      const status = answer?.status ?? 'cut'
      statuses[status] = (statuses[status] ?? 0) + 1
      if (answer !== undefined && !allowed.has(answer.status)) {
        wrong.push(`${answer.status} ${answer.body.toString('latin1')} to ${bytes.toString('base64')}`)
      }
      if (answer === undefined || last !== undefined || answer.headers.connection === 'close') {
        connection.socket.destroy()
        connection = await openConnection(port)
      }
    }
    connection.socket.destroy()
  }

  await Promise.all(Array.from({ length: connectionCount }, work))
  return { statuses, wrong }
}

/** @throws if there is neither an answer nor an end in time */
async function within({ answer }: Connection) {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer, and no end of the connection')), patienceMs)
  })
  try {
    return await Promise.race([answer().catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
  }
}

interface Fuzzed {
  readonly bytes: Buffer
  /** The connection is of no use afterwards: the client ends its side, or breaks it off. */
  readonly last?: 'end' | 'reset'
}

interface Template {
  readonly fields: readonly Field[]
  readonly protobuf: Uint8Array
  readonly json: string
}

/** A template serves about ten requests; hundreds are as good as thousands. */
function corpusOf(seed: number, requests: number): Template[] {
  const numRuns = Math.min(400, Math.ceil(requests / 10))
  return fc.sample(exportLogsRequest, { seed, numRuns }).map((request) => ({
    fields: requestFields(request),
    protobuf: encodeExportLogsRequest(request),
    json: encodeJson(request, plainStyle).toString(),
  }))
}

/** @returns makes one bad body after the other */
export function badProtobufMaker(seed: number, requests: number): () => Uint8Array {
  const roll = dice(seed)
  const corpus = corpusOf(seed, requests)
  return () => badProtobuf(pick(corpus, roll), pick(corpus, roll), roll)
}

function requestMaker(seed: number, requests: number): () => Fuzzed {
  const roll = dice(seed)
  const corpus = corpusOf(seed, requests)
  return () => {
    const isJson = roll(2) === 0
    const body = (isJson ? badJson : badProtobuf)(pick(corpus, roll), pick(corpus, roll), roll)
    return framed(body, isJson, roll)
  }
}

function badProtobuf({ fields, protobuf }: Template, other: Template, roll: Dice): Uint8Array {
  switch (roll(10)) {
    case 0:
      return protobuf
    case 1:
      return Buffer.concat([protobuf, other.protobuf])
    case 2:
    case 3:
    case 4:
      return mutateBytes(protobuf, other.protobuf, roll)
    case 5:
      return message(mutateFields(fields, roll), { padding: () => roll(12) })
    default:
      return message(mutateFields(fields, roll))
  }
}

function badJson({ json }: Template, other: Template, roll: Dice): Uint8Array {
  switch (roll(8)) {
    case 0:
      return Buffer.from(json)
    case 1:
      return Buffer.from(json + other.json)
    case 2:
    case 3:
      return mutateBytes(Buffer.from(json), Buffer.from(other.json), roll)
    default:
      return Buffer.from(mutateJson(json, roll))
  }
}

const oddTypes = ['text/plain', 'application/json ; charset=utf-16', 'APPLICATION/JSON', 'application/grpc', '', '*/*']
const oddEncodings = ['identity', 'br', 'gzip, gzip', 'compress', 'zstd', 'x'.repeat(500)]
const oddPaths = [
  '/',
  '/v1/log',
  '/v1/logs/',
  '/v1/traces',
  '/v1/metrics',
  '/healthz',
  '/v1/logs?a=b',
  '/%00',
  `/${'x'.repeat(2_000)}`,
]

/** The body as an HTTP request: mostly a proper one, or the body would never be looked at. */
function framed(body: Uint8Array, isJson: boolean, roll: Dice): Fuzzed {
  const headers: Record<string, string> = { 'Content-Type': isJson ? 'application/json' : 'application/x-protobuf' }
  let content = body
  let [method, path] = ['POST', '/v1/logs']
  switch (roll(24)) {
    case 0:
      headers['Content-Encoding'] = 'gzip'
      content = gzipSync(body, { level: 1 })
      break
    case 1:
      headers['Content-Encoding'] = pick(['gzip', 'deflate'], roll)
      content = mutateBytes(headers['Content-Encoding'] === 'gzip' ? gzipSync(body) : deflateSync(body), body, roll)
      break
    case 2:
      headers['Content-Encoding'] = pick(oddEncodings, roll)
      break
    case 3:
      headers['Content-Type'] = pick(oddTypes, roll)
      break
    case 4:
      path = pick(oddPaths, roll)
      break
    case 5:
      method = pick(['GET', 'PUT', 'PATCH', 'NONSENSE'], roll)
      break
    case 6:
      // The other type: JSON called protobuf.
      headers['Content-Type'] = isJson ? 'application/x-protobuf' : 'application/json'
      break
    case 7: {
      const bytes = requestBytes({ method, path, headers, body: content })
      return { bytes: bytes.subarray(0, roll(bytes.length)), last: pick(['end', 'reset'], roll) }
    }
    case 8:
      return { bytes: mutateHead(requestBytes({ method, path, headers, body: content }), roll), last: 'end' }
  }
  return { bytes: requestBytes({ method, path, headers, body: content, chunked: roll(8) === 0 }) }
}

function mutateHead(bytes: Buffer, roll: Dice): Buffer {
  const end = bytes.indexOf('\r\n\r\n')
  return Buffer.concat([mutateBytes(bytes.subarray(0, end), bytes, roll), bytes.subarray(end)])
}
