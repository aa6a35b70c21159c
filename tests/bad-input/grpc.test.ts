/** Cases of section A that have a counterpart over gRPC: HTTP/2 by hand, since no gRPC library would send this. */
import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { expectInvariants, secret } from '../support/invariants.ts'
import { encodeExportLogsRequest } from '../support/otlp-reference.ts'
import { framed } from '../support/raw-grpc.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../support/spool-only-gateway.ts'

const arriveWithinMs = 1_200
const maxDecodedBytes = 1024 * 1024

let gateway: SpoolOnlyGateway
let session: ClientHttp2Session
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway({ arriveWithinMs, maxDecodedBytes })
})
afterAll(() => gateway.stop())
beforeEach(() => {
  session = connect(`http://127.0.0.1:${gateway.grpcPort}`)
  session.on('error', () => {})
})
afterEach(async () => {
  session.destroy()
  await expectInvariants(gateway)
})

function open(headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  stream.on('error', () => {})
  stream.resume()
  return stream
}

/** The gRPC status, wherever it stands; the HTTP status if there is none; 'cut' without either. */
async function statusOf(stream: ClientHttp2Stream): Promise<string> {
  let status = 'cut'
  const read = (headers: Record<string, unknown>): void => {
    if (headers['grpc-status'] !== undefined) status = String(headers['grpc-status'])
    else if (status === 'cut' && headers[':status'] !== 200) status = `HTTP ${headers[':status']}`
    expect(JSON.stringify(headers)).not.toContain('canary')
  }
  stream.on('response', read)
  stream.on('trailers', read)
  // A call may have its answer while its sender has not ended its side: then the stream stays.
  await Promise.race([once(stream, 'end'), once(stream, 'close')]).catch(() => {})
  return status
}

const record = (text: string): Uint8Array =>
  encodeExportLogsRequest({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: text } }] }] }] })

const ok = '0'
const stored = (): number => gateway.counts().backlogRecords

describe('#26 a message that does not come', () => {
  test.each<[string, Buffer]>([
    ['at all', Buffer.alloc(0)],
    ['but for the first of the five bytes', Buffer.from([0])],
    ['to its end', framed(record(secret), { length: 1_000 })],
  ])('%s: the call is ended in time, and is to be tried again', async (_, bytes) => {
    const stream = open()
    const begun = performance.now()
    stream.write(bytes)
    expect(await statusOf(stream)).toBe(String(4)) // DEADLINE_EXCEEDED
    expect(performance.now() - begun).toBeLessThan(15_000)
  })

  test('while others are served on the same connection', async () => {
    const slow = open()
    slow.write(framed(record(secret), { length: 1_000 }))
    const stream = open()
    stream.end(framed(record('beside a slow one')))
    expect(await statusOf(stream)).toBe(ok)
    await statusOf(slow)
  })
})

test('#25 a message byte by byte is a message', async () => {
  const before = stored()
  const stream = open()
  for (const byte of framed(record('byte by byte'))) stream.write(Buffer.from([byte]))
  stream.end()
  expect(await statusOf(stream)).toBe(ok)
  expect(stored() - before).toBe(1)
})

test.each<[string, Record<string, string>, Buffer, string[]]>([
  ['#21 a length beyond the limit', {}, framed(new Uint8Array(10), { length: 2 ** 32 - 1 }), ['8']],
  [
    '#11 plain bytes called compressed',
    { 'grpc-encoding': 'gzip' },
    framed(record('x'), { compressed: 1 }),
    ['13', '3', '14'],
  ],
  ['#8 an encoding nobody knows', { 'grpc-encoding': 'br' }, framed(record('x'), { compressed: 1 }), ['12']],
  [
    '#13 gzip that inflates over the limit',
    { 'grpc-encoding': 'gzip' },
    framed(gzipSync(Buffer.alloc(64 * 1024 * 1024)), { compressed: 1 }),
    ['8'],
  ],
  ['#22 the end before the message is whole', {}, framed(record('x'), { length: 500 }), ['12']],
  ['#53 no message at all', {}, Buffer.alloc(0), ['13', '12']],
  ['#32 two messages where one belongs', {}, Buffer.concat([framed(record('x')), framed(record('y'))]), ['13', '12']],
  ['#6 another content type', { 'content-type': 'application/json' }, Buffer.from('{}'), ['HTTP 415']],
  ['#2 another path', { ':path': '/v1/logs' }, framed(record('x')), ['12']],
  ['#47 a header in base64 that is none', { 'x-secret-bin': secret }, framed(record('#47')), [ok, '3', '13']],
])('%s: answered for good, and nothing of what is refused is stored', async (_, headers, bytes, expected) => {
  const before = stored()
  const stream = open(headers)
  stream.end(bytes)
  const status = await statusOf(stream)
  expect(expected).toContain(status)
  expect(stored() - before).toBe(status === ok ? 1 : 0)
})

test('#28 headers of 100 KiB are refused', async () => {
  const stream = open({ 'x-large': 'x'.repeat(100_000) })
  stream.end(framed(record('x')))
  expect(await statusOf(stream)).not.toBe(ok)
})

test('#35 two hundred calls that are reset at once leave nothing behind', async () => {
  const before = stored()
  const streams = Array.from({ length: 200 }, () => open())
  for (const stream of streams) {
    stream.write(framed(record('reset'), { length: 1_000 }))
    stream.close(constants.NGHTTP2_CANCEL)
  }
  await Promise.all(streams.map((stream) => (stream.destroyed ? undefined : once(stream, 'close'))))
  expect(stored()).toBe(before)
})
