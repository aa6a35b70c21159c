/** What a sender gets to see: the status its SDK acts on, and a sentence its developer can act on. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import * as zlib from 'node:zlib'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  decodeExportLogsResponse,
  decodeStatus,
  type ExportLogsRequest,
  encodeExportLogsRequest,
} from '../../../tests/support/otlp-reference.ts'
import { type RawAnswer, type RawRequest, send } from '../../../tests/support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'

const maxBodyBytes = 1024 * 1024
const maxDecodedBytes = 4 * 1024 * 1024

let gateway: SpoolOnlyGateway
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway({ maxBodyBytes, maxDecodedBytes })
})
afterAll(async () => {
  expect(gateway.logged.filter((line) => line.includes('unexpected'))).toEqual([])
  await gateway.stop()
})

const json = { 'Content-Type': 'application/json' }
const protobuf = { 'Content-Type': 'application/x-protobuf' }
const gzipJson = { ...json, 'Content-Encoding': 'gzip' }

let sent = 0
/** A request that was not sent before, with one record. */
function fresh(): ExportLogsRequest {
  return { resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${++sent}` } }] }] }] }
}
const freshProtobuf = (): Uint8Array => encodeExportLogsRequest(fresh())
const freshJson = (): string => JSON.stringify(fresh())

/** Sends it and says how many records came to lie on the disk. */
async function export_(request: RawRequest): Promise<RawAnswer & { stored: number }> {
  const before = gateway.counts().backlogRecords
  const answer = await send(gateway.port, request)
  return { ...answer, stored: gateway.counts().backlogRecords - before }
}

/** The google.rpc.Status of an answer, in the content type it says it has. */
function status({ headers, body }: RawAnswer): { code?: number; message?: string } {
  return headers['content-type'] === 'application/json' ? JSON.parse(body.toString()) : decodeStatus(body)
}

/** From Node.js 22.15 and 23.8. */
const { zstdCompressSync } = zlib as { zstdCompressSync?: (body: Uint8Array) => Buffer }

test('zstd: taken where this Node.js can inflate it, else refused', async () => {
  const body = zstdCompressSync?.(freshProtobuf()) ?? 'whatever it is'
  const answer = await export_({ headers: { ...protobuf, 'Content-Encoding': 'zstd' }, body })
  if (zstdCompressSync !== undefined) expect(answer).toMatchObject({ status: 200, stored: 1 })
  else {
    expect(answer).toMatchObject({ status: 415, stored: 0 })
    expect(status(answer).message).toContain('"zstd" is not supported: send gzip or deflate')
  }
})

test.skipIf(zstdCompressSync === undefined)('zstd that inflates over the limit is refused', async () => {
  const body = zstdCompressSync?.(Buffer.alloc(16 * 1024 * 1024)) ?? Buffer.alloc(0)
  const answer = await export_({ headers: { ...protobuf, 'Content-Encoding': 'zstd' }, body })
  expect(answer).toMatchObject({ status: 413, stored: 0 })
})

describe('taken', () => {
  const gzipped = (text: string): Buffer => gzipSync(text)
  test.each<[string, () => RawRequest]>([
    ['protobuf', () => ({ headers: protobuf, body: freshProtobuf() })],
    ['JSON', () => ({ headers: json, body: freshJson() })],
    ['a charset', () => ({ headers: { 'Content-Type': 'application/json;charset=utf-8' }, body: freshJson() })],
    ['spaces and capitals', () => ({ headers: { 'Content-Type': ' Application/JSON ; a=b' }, body: freshJson() })],
    ['protobuf in capitals', () => ({ headers: { 'Content-Type': 'APPLICATION/X-PROTOBUF' }, body: freshProtobuf() })],
    ['chunks', () => ({ headers: protobuf, body: freshProtobuf(), chunked: true })],
    ['gzip', () => ({ headers: gzipJson, body: gzipped(freshJson()) })],
    ['gzip in chunks', () => ({ headers: gzipJson, body: gzipped(freshJson()), chunked: true })],
    ['GZIP in capitals', () => ({ headers: { ...json, 'Content-Encoding': 'GZIP' }, body: gzipped(freshJson()) })],
    [
      'gzipped protobuf',
      () => ({ headers: { ...protobuf, 'Content-Encoding': 'gzip' }, body: gzipSync(freshProtobuf()) }),
    ],
    ['no encoding, said so', () => ({ headers: { ...json, 'Content-Encoding': 'identity' }, body: freshJson() })],
    ['an empty Content-Encoding', () => ({ headers: { ...json, 'Content-Encoding': '' }, body: freshJson() })],
    ['deflate', () => ({ headers: { ...json, 'Content-Encoding': 'deflate' }, body: deflateSync(freshJson()) })],
    [
      'gzip of several members',
      () => {
        const text = freshJson()
        return { headers: gzipJson, body: Buffer.concat([gzipped(text.slice(0, 9)), gzipped(text.slice(9))]) }
      },
    ],
    ['a query string', () => ({ headers: json, path: '/v1/logs?x=1', body: freshJson() })],
    ['a whole URI as target', () => ({ headers: json, path: 'http://proxy.test/v1/logs', body: freshJson() })],
    [
      'header names of Object.prototype',
      () => ({
        headers: Object.fromEntries([...Object.entries(json), ['__proto__', '1'], ['constructor', '2']]),
        body: freshJson(),
      }),
    ],
  ])('%s', async (_, request) => {
    const answer = await export_(request())
    expect(answer).toMatchObject({ status: 200, stored: 1 })
  })

  test.each<[string, RawRequest, string]>([
    ['an empty body, which is an empty request in protobuf', { headers: protobuf, body: '' }, ''],
    ['no body and no length', { headers: protobuf }, ''],
    ['an empty object', { headers: json, body: '{}' }, '{}'],
    [
      'spans, which are counted and not stored',
      { headers: json, path: '/v1/traces', body: '{"resourceSpans":[]}' },
      '{}',
    ],
    ['metrics, likewise', { headers: protobuf, path: '/v1/metrics', body: 'anything' }, ''],
  ])('%s', async (_, request, body) => {
    const answer = await export_(request)
    expect(answer).toMatchObject({ status: 200, stored: 0 })
    expect(answer.body.toString()).toBe(body)
  })

  test('full success answers with an empty message in the content type of the request', async () => {
    const inProtobuf = await export_({ headers: protobuf, body: freshProtobuf() })
    expect(inProtobuf.headers).toMatchObject({ 'content-type': 'application/x-protobuf', 'content-length': '0' })
    const inJson = await export_({ headers: json, body: freshJson() })
    expect(inJson.headers).toMatchObject({ 'content-type': 'application/json' })
    expect(inJson.body.toString()).toBe('{}')
  })
})

describe('partly taken: the answer counts what was rejected and says why', () => {
  test('in JSON', async () => {
    const answer = await export_({
      headers: json,
      body: '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"good"}},{"body":"bad"},{"attributes":5}]}]}]}',
    })
    expect(answer).toMatchObject({ status: 200, stored: 1 })
    expect(JSON.parse(answer.body.toString())).toEqual({
      partialSuccess: {
        rejectedLogRecords: '2',
        errorMessage:
          '1 × record rejected: value must be an object such as {"stringValue": "…"}, but is a string; ' +
          '1 × record rejected: attributes must be a list, but is a number',
      },
    })
  })

  test('in protobuf', async () => {
    const attributes = Array.from({ length: 1_025 }, () => ({ key: 'k' }))
    const logRecords = [{ attributes }, { body: { stringValue: 'good' } }]
    const body = encodeExportLogsRequest({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] })
    const answer = await export_({ headers: protobuf, body })
    expect(answer).toMatchObject({ status: 200, stored: 1 })
    expect(decodeExportLogsResponse(answer.body)).toEqual({
      partialSuccess: {
        rejectedLogRecords: 1n,
        errorMessage: '1 × record rejected: more than 1024 attributes; send fewer or put them into the body',
      },
    })
  })

  test('a warning alone rejects nothing', async () => {
    const logRecords = [{ traceId: Buffer.from('short') }]
    const body = encodeExportLogsRequest({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] })
    const answer = await export_({ headers: protobuf, body })
    expect(answer).toMatchObject({ status: 200, stored: 1 })
    expect(decodeExportLogsResponse(answer.body)).toEqual({
      partialSuccess: {
        errorMessage: expect.stringMatching(/^1 × trace_id was not 16 bytes and was left out; send 16/),
      },
    })
  })
})

describe('refused', () => {
  const secret = 'sk-secret'
  const body = `{"resourceLogs":[],"note":"${secret}"}`
  const gzip = gzipSync(body)
  const changed = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes)
    copy[at] = (copy[at] as number) ^ 0xff
    return copy
  }
  const encoding = (name: string): Record<string, string> => ({ ...json, 'Content-Encoding': name })
  const type = (name: string): Record<string, string> => ({ 'Content-Type': name })
  const bomb = Buffer.concat(Array(256).fill(gzipSync(Buffer.alloc(1024 * 1024)))) // 256 MiB in 260 kB

  const cases: [string, RawRequest, number, number, RegExp][] = [
    ['GET', { method: 'GET' }, 405, 12, /^\/v1\/logs takes POST$/],
    ['PUT', { method: 'PUT', headers: json, body }, 405, 12, /takes POST/],
    ['DELETE', { method: 'DELETE' }, 405, 12, /takes POST/],
    ['OPTIONS, as a browser asks', { method: 'OPTIONS', headers: { Origin: 'https://x.test' } }, 405, 12, /takes POST/],
    ['TRACE', { method: 'TRACE' }, 405, 12, /takes POST/],
    ['POST to the health page', { path: '/healthz', headers: json, body }, 405, 12, /^\/healthz takes GET$/],
    ['another path', { path: '/v1/log', headers: json, body }, 404, 5, /nothing at this path; there is \/v1\/logs, /],
    ['a slash at the end', { path: '/v1/logs/', headers: json, body }, 404, 5, /nothing at this path/],
    ['two slashes', { path: '//v1/logs', headers: json, body }, 404, 5, /nothing at this path/],
    ['a path of Object.prototype', { path: '/constructor', headers: json, body }, 404, 5, /nothing at this path/],
    ['a long path', { path: `/${'x'.repeat(10_000)}`, headers: json, body }, 404, 5, /nothing at this path/],

    [
      'no content type',
      { body },
      415,
      3,
      /^Content-Type is missing: send application\/x-protobuf or application\/json$/,
    ],
    ['text', { headers: type('text/plain'), body }, 415, 3, /^Content-Type "text\/plain" is not supported: send app/],
    ['a form', { headers: type('multipart/form-data; boundary=x'), body }, 415, 3, /not supported: send app/],
    ['gRPC', { headers: type('application/grpc'), body }, 415, 3, /"application\/grpc" is not supported/],
    ['a content type with words behind it', { headers: type('application/json secret'), body }, 415, 3, /not supp/],
    ['a content type with a tab and a word', { headers: type('application/json\tx'), body }, 415, 3, /not supported/],
    ['half a content type', { headers: type('application/'), body }, 415, 3, /not supported/],

    [
      'brotli',
      { headers: encoding('br'), body },
      415,
      3,
      /^Content-Encoding "br" is not supported: send gzip or deflate.*, or no encoding at all$/,
    ],
    [
      'deflate without its zlib header',
      { headers: encoding('deflate'), body: deflateRawSync(body) },
      400,
      3,
      /deflate/,
    ],
    [
      'deflate that inflates over the limit',
      { headers: encoding('deflate'), body: deflateSync(Buffer.alloc(16 * 1024 * 1024)) },
      413,
      8,
      /larger than 4194304 bytes after inflating/,
    ],
    ['gzip twice', { headers: encoding('gzip, gzip'), body: gzipSync(gzip) }, 415, 3, /"gzip, gzip" is not supported/],
    ['brotli in gzip', { headers: encoding('br, gzip'), body: gzip }, 415, 3, /"br, gzip" is not supported/],
    ['plain text called gzip', { headers: gzipJson, body }, 400, 3, /not valid gzip \(incorrect header check\): send/],
    ['gzip called plain', { headers: json, body: gzip }, 400, 3, /not UTF-8/],
    ['gzip cut off', { headers: gzipJson, body: gzip.subarray(0, -9) }, 400, 3, /gzip \(unexpected end of file\)/],
    ['gzip that is empty', { headers: gzipJson, body: '' }, 400, 3, /gzip \(unexpected end of file\)/],
    ['gzip with a wrong checksum', { headers: gzipJson, body: changed(gzip, gzip.length - 8) }, 400, 3, /data check/],
    ['gzip with a wrong length', { headers: gzipJson, body: changed(gzip, gzip.length - 1) }, 400, 3, /length check/],
    ['gzip with bytes after it', { headers: gzipJson, body: Buffer.concat([gzip, Buffer.from(body)]) }, 400, 3, /gzip/],
    ['gzip within gzip', { headers: gzipJson, body: gzipSync(gzip) }, 400, 3, /not UTF-8/],

    [
      'a declared length over the limit',
      { headers: { ...json, 'Content-Length': String(maxBodyBytes + 1) } },
      413,
      8,
      /^the body is larger than 1048576 bytes: send smaller batches, or raise AGNES_MAX_BODY_BYTES$/,
    ],
    [
      'a body over the limit',
      { headers: protobuf, body: Buffer.alloc(maxBodyBytes + 1) },
      413,
      8,
      /larger than 1048576/,
    ],
    [
      'chunks over the limit',
      { headers: json, body: Buffer.alloc(maxBodyBytes + 1, secret), chunked: true },
      413,
      8,
      /larger than 1048576 bytes: send smaller batches/,
    ],
    [
      'gzip that inflates over the limit',
      { headers: gzipJson, body: bomb },
      413,
      8,
      /^the body is larger than 4194304 bytes after inflating: send smaller batches, or raise AGNES_MAX_DECODED_BYTES$/,
    ],

    [
      'nothing at all, as JSON',
      { headers: json, body: '' },
      400,
      3,
      /^the body is empty: the smallest request in JSON/,
    ],
    ['null', { headers: json, body: 'null' }, 400, 3, /must be a JSON object, but is null/],
    ['a list', { headers: json, body: '[]' }, 400, 3, /must be a JSON object, but is a list/],
    ['a word', { headers: json, body: `"${secret}"` }, 400, 3, /must be a JSON object, but is a string/],
    ['half of JSON', { headers: json, body: body.slice(0, -2) }, 400, 3, /not valid JSON/],
    ['protobuf called JSON', { headers: json, body: freshProtobuf() }, 400, 3, /not valid JSON/],
    ['JSON called protobuf', { headers: protobuf, body }, 400, 3, /not a valid ExportLogsServiceRequest in protobuf/],
    ['protobuf cut off', { headers: protobuf, body: freshProtobuf().subarray(0, -1) }, 400, 3, /runs past the end/],
  ]

  test.each(cases)('%s', async (_, request, expectedStatus, code, says) => {
    const answer = await export_(request)
    expect(answer).toMatchObject({ status: expectedStatus, stored: 0 })
    const problem = status(answer)
    expect(problem).toEqual({ code, message: expect.stringMatching(says) })
    // Neither what was sent, nor where in our code it failed.
    expect(answer.body.toString('latin1')).not.toMatch(/sk-secret|\.[jt]s:\d|node:|\n\s+at /)

    const next = await export_({ headers: json, body: freshJson() })
    expect(next).toMatchObject({ status: 200, stored: 1 })
  })

  test('is said in the content type of the request, or in JSON where that is unknown', async () => {
    const contentType = async (headers: Record<string, string>): Promise<string | undefined> =>
      (await send(gateway.port, { headers, body: 'x' })).headers['content-type']
    expect(await contentType(json)).toBe('application/json')
    expect(await contentType(protobuf)).toBe('application/x-protobuf')
    expect(await contentType({ ...protobuf, 'Content-Encoding': 'br' })).toBe('application/x-protobuf')
    expect(await contentType({})).toBe('application/json')
  })

  test('405 says which methods there are', async () => {
    expect((await send(gateway.port, { method: 'GET' })).headers.allow).toBe('POST')
    expect((await send(gateway.port, { path: '/readyz', headers: json, body: '{}' })).headers.allow).toBe('GET, HEAD')
  })

  test('a gzip bomb costs no more memory than the limit allows', async () => {
    const peak = (): number => process.resourceUsage().maxRSS * 1024
    const before = peak()
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => send(gateway.port, { headers: gzipJson, body: bomb })),
    )
    // Those for which there is no room while others are inflated are told to try again.
    expect(answers.map((answer) => answer.status)).toContain(413)
    expect(answers.filter(({ status }) => status !== 413 && status !== 503)).toEqual([])
    expect(peak() - before).toBeLessThan(4 * 4 * maxDecodedBytes)
  })
})

describe('the same request again', () => {
  test('is acknowledged and stored once, whether it comes after the first one or beside it', async () => {
    const before = gateway.counts()
    const request = { headers: protobuf, body: freshProtobuf() }
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(gateway.port, request)))
    answers.push(await send(gateway.port, { ...request, chunked: true }))
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([200]))
    const after = gateway.counts()
    expect(after.backlogRecords - before.backlogRecords).toBe(1)
    expect(after.duplicate - before.duplicate).toBe(10)
    expect(after.received - before.received).toBe(11)
  })

  test('is the same one if it is compressed the second time', async () => {
    const body = freshJson()
    expect(await export_({ headers: json, body })).toMatchObject({ status: 200, stored: 1 })
    expect(await export_({ headers: gzipJson, body: gzipSync(body) })).toMatchObject({ status: 200, stored: 0 })
  })

  test('gets the same answer, with what was rejected', async () => {
    const request = {
      headers: json,
      body: `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{},{"body":5}]}]}],"x":${++sent}}`,
    }
    const first = await export_(request)
    const second = await export_(request)
    expect([first.stored, second.stored]).toEqual([1, 0])
    expect(second.body.toString()).toBe(first.body.toString())
    expect(second.body.toString()).toContain('"rejectedLogRecords":"1"')
  })
})

test('requests whose resources become much on their records do not share a segment', async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'agnes-unfolded-'))
  const own = await startSpoolOnlyGateway({ dataDir })
  try {
    // 200 MiB each, of the 256 MiB a segment may become.
    const attributes = [{ key: 'k', value: { stringValue: 'x'.repeat(5_200) } }]
    const body = (schemaUrl: string): string =>
      JSON.stringify({
        resourceLogs: [{ schemaUrl, resource: { attributes }, scopeLogs: [{ logRecords: Array(40_000).fill({}) }] }],
      })
    const answers = await Promise.all(['one', 'two'].map((name) => send(own.port, { headers: json, body: body(name) })))
    expect(answers.map(({ status }) => status)).toEqual([200, 200])
    const segments = (await readdir(dataDir, { recursive: true })).filter((name) => /(^|\/)seg-[^/]*$/.test(name))
    expect(segments).toHaveLength(2)
  } finally {
    await own.stop()
    await rm(dataDir, { recursive: true })
  }
})

describe('health', () => {
  test('/healthz reports in JSON, /readyz says yes while writes are durable, even with ClickHouse away', async () => {
    const health = await send(gateway.port, { method: 'GET', path: '/healthz' })
    expect(health).toMatchObject({ status: 200, headers: { 'content-type': 'application/json' } })
    expect(JSON.parse(health.body.toString())).toMatchObject({ ready: true, backlogRecords: expect.any(Number) })
    expect(await send(gateway.port, { method: 'GET', path: '/readyz' })).toMatchObject({ status: 200 })
  })
})
