/** gRPC over HTTP/2 as its protocol text has it: what clients other than the usual ones may send, and are answered. */
import * as diagnostics from 'node:diagnostics_channel'
import { EventEmitter, once } from 'node:events'
import { type ClientHttp2Session, connect, constants } from 'node:http2'
import { connect as connectTcp, type Socket } from 'node:net'
import { deflateSync, gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { connectGrpc } from '../../../tests/support/grpc-client.ts'
import { openGate } from '../../../tests/support/open-gate.ts'
import { encodeExportLogsRequest } from '../../../tests/support/otlp-reference.ts'
import { type CallEnd, endOf, framed, openCall } from '../../../tests/support/raw-grpc.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'
import { createByteBudget } from '../byte-budget.ts'
import { listenGrpc } from './server.ts'
import { trailers } from './status.ts'

const maxDecodedBytes = 4 * 1024 * 1024
const arriveWithinMs = 3_000

const key = { name: 'app', tenant: 'default', scopes: ['ingest' as const], secret: 'a'.repeat(40) }

let gateway: SpoolOnlyGateway
let session: ClientHttp2Session
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway({ maxDecodedBytes, arriveWithinMs, keys: [key] })
})
afterAll(() => gateway.stop())
beforeEach(() => {
  session = connect(`http://127.0.0.1:${gateway.grpcPort}`)
  session.on('error', () => {})
})
afterEach(() => session.destroy())

let sent = 0
const fresh = (): Uint8Array =>
  encodeExportLogsRequest({
    resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${++sent}` } }] }] }],
  })

/** @returns how the call ended, and how many records came to lie on the disk */
async function call(headers: Record<string, string>, bytes: Buffer): Promise<CallEnd & { stored: number }> {
  const before = gateway.counts().backlogRecords
  const stream = openCall(session, headers)
  const end = endOf(stream)
  stream.end(bytes)
  return { ...(await end), stored: gateway.counts().backlogRecords - before }
}

const taken = { httpStatus: 200, code: status.OK, stored: 1 }

describe('is taken', () => {
  const gzip = gzipSync(fresh())
  test.each<[string, Record<string, string>, () => Buffer]>([
    ['gzip', { 'grpc-encoding': 'gzip' }, () => framed(gzip, { compressed: 1 })],
    ['deflate', { 'grpc-encoding': 'deflate' }, () => framed(deflateSync(fresh()), { compressed: 1 })],
    ['a plain message of a client that may compress', { 'grpc-encoding': 'gzip' }, () => framed(fresh())],
    ['a plain message of one that may compress as we cannot', { 'grpc-encoding': 'snappy' }, () => framed(fresh())],
    ['application/grpc+proto', { 'content-type': 'application/grpc+proto' }, () => framed(fresh())],
    ['a parameter', { 'content-type': 'application/grpc; charset=utf-8' }, () => framed(fresh())],
    ['a generous deadline', { 'grpc-timeout': '99999999H' }, () => framed(fresh())],
  ])('%s', async (_, headers, bytes) => {
    const end = await call(headers, bytes())
    expect(end).toMatchObject(taken)
    expect(end.headers['content-type']).toBe('application/grpc+proto')
    expect(end.headers['grpc-accept-encoding']).toBe('identity,deflate,gzip')
  })
})

describe('is refused, and the connection goes on', () => {
  const compressed = (): Buffer => framed(gzipSync(fresh()), { compressed: 1 })
  test.each<[string, Record<string, string>, () => Buffer, number, RegExp]>([
    [
      'zstd',
      { 'grpc-encoding': 'zstd' },
      compressed,
      status.UNIMPLEMENTED,
      /^grpc-encoding "zstd" is not supported: send/,
    ],
    ['compressed, no encoding', {}, compressed, status.INTERNAL, /no grpc-encoding says how/],
    ['compressed as it is', { 'grpc-encoding': 'identity' }, compressed, status.INTERNAL, /no grpc-encoding says how/],
    ['another flag', {}, () => framed(fresh(), { compressed: 2 }), status.INTERNAL, /^the message begins with 2/],
    [
      'half of gzip',
      { 'grpc-encoding': 'gzip' },
      () => framed(gzipSync(fresh()).subarray(0, -9), { compressed: 1 }),
      status.INTERNAL,
      /^the message is not valid gzip \(unexpected end of file\): send whole gzip/,
    ],
    ['no message', {}, () => Buffer.alloc(0), status.UNIMPLEMENTED, /^no message came: Export takes one$/],
    ['half of one', {}, () => framed(fresh(), { length: 999 }), status.UNIMPLEMENTED, /ended before its message did/],
    ['two', {}, () => Buffer.concat([framed(fresh()), framed(fresh())]), status.UNIMPLEMENTED, /^more came than one/],
    ['a deadline in days', { 'grpc-timeout': '1D' }, () => framed(fresh()), status.INTERNAL, /^Invalid grpc-timeout/],
    ['another path', { ':path': '/50%ö' }, () => framed(fresh()), status.UNIMPLEMENTED, /implement the method \/50%/],
  ])('%s', async (_, headers, bytes, code, message) => {
    const end = await call(headers, bytes())
    expect(end).toMatchObject({ httpStatus: 200, code, message: expect.stringMatching(message), stored: 0 })
    expect(end.headers['grpc-accept-encoding']).toBe('identity,deflate,gzip')
    expect(await call({}, framed(fresh()))).toMatchObject(taken)
  })

  test.each<[string, Record<string, string>]>([
    ['JSON', { 'content-type': 'application/grpc+json' }],
    ['gRPC for browsers', { 'content-type': 'application/grpc-web' }],
    ['GET', { ':method': 'GET' }],
  ])('%s, with HTTP 415: it may not be gRPC at all', async (_, headers) => {
    const end = await call(headers, headers[':method'] === 'GET' ? Buffer.alloc(0) : framed(fresh()))
    expect(end).toMatchObject({ httpStatus: 415, code: undefined, stored: 0 })
    expect(await call({}, framed(fresh()))).toMatchObject(taken)
  })
})

test('two keys in one call are one too many, as over HTTP', async () => {
  // By hand: Node.js' client sends one, and its server keeps the first.
  const literal = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])
  const fields = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':authority', 'gateway.test'],
    [':path', '/opentelemetry.proto.collector.logs.v1.LogsService/Export'],
    ['content-type', 'application/grpc'],
    ['authorization', `Bearer ${key.secret}`],
    ['authorization', 'Bearer another'],
  ].flatMap((field) => [Buffer.from([0]), ...field.map(literal)])
  const socket = connectTcp(gateway.grpcPort, '127.0.0.1')
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  socket.write(frame(constants.NGHTTP2_FLAG_NONE, 4, 0, Buffer.alloc(0))) // SETTINGS
  socket.write(frame(constants.NGHTTP2_FLAG_END_HEADERS, 1, 1, Buffer.concat(fields))) // HEADERS
  socket.write(frame(constants.NGHTTP2_FLAG_END_STREAM, 0, 1, framed(fresh()))) // DATA
  await expect.poll(() => gateway.logged.join('\n')).toContain('gateway: wrong keys: 1')
  socket.destroy()
})

/** @see RFC 9113, section 4.1 */
function frame(flags: number, type: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

test("a call's own deadline ends it before ours does", async () => {
  const stream = openCall(session, { 'grpc-timeout': '100m' })
  stream.write(framed(fresh(), { length: 1_000 }))
  const begun = performance.now()
  expect(await endOf(stream)).toMatchObject({ code: status.DEADLINE_EXCEEDED, message: 'Deadline exceeded' })
  expect(performance.now() - begun).toBeLessThan(arriveWithinMs)
})

test('a message of text beyond ASCII is percent-encoded', () => {
  expect(trailers({ code: 3, message: 'größer als 50%\n' })).toEqual({
    'grpc-status': 3,
    'grpc-message': 'gr%C3%B6%C3%9Fer als 50%25%0A',
  })
})

test('a large message is refused unread: its sender has the status, and the connection goes on', async () => {
  expect(await call({}, framed(fresh()))).toMatchObject(taken) // over a connection that does not count
  const accepted: Socket[] = []
  const remember = (message: unknown): void => void accepted.push((message as { socket: Socket }).socket)
  diagnostics.subscribe('net.server.socket', remember)
  const client = connectGrpc(gateway.grpcPort)
  try {
    for (let round = 0; round < 3; round++) {
      await expect(client.export(Buffer.alloc(60_000_000))).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
      await client.export(fresh())
    }
    expect(accepted).toHaveLength(1)
    expect(accepted[0]?.bytesRead).toBeLessThan(1_000_000)
  } finally {
    diagnostics.unsubscribe('net.server.socket', remember)
    client.close()
  }
})

test('a refused call is ended though its client never ends it', async () => {
  const stream = openCall(session, { ':path': '/another' })
  stream.write(framed(Buffer.alloc(1_000_000)))
  expect(await endOf(stream)).toMatchObject({ httpStatus: 200, code: status.UNIMPLEMENTED })
  expect(await call({}, framed(fresh()))).toMatchObject(taken)
})

test('a client that connects and says nothing is cut in time, one that waits between calls is not', async () => {
  const silent = connectTcp(gateway.grpcPort, '127.0.0.1')
  const begun = performance.now()
  expect(await call({}, framed(fresh()))).toMatchObject(taken)
  await once(silent.resume(), 'close')
  expect(performance.now() - begun).toBeLessThan(2 * arriveWithinMs)
  expect(await call({}, framed(fresh()))).toMatchObject(taken)
})

describe('room', () => {
  /** A listener whose budget tells what is taken of it. */
  async function withBudget(
    work: (session: ClientHttp2Session, taken: () => number, takes: EventEmitter) => Promise<void>,
  ): Promise<void> {
    const budget = createByteBudget(2 * maxDecodedBytes)
    let taken = 0
    const takes = new EventEmitter()
    const listener = await listenGrpc({
      host: '127.0.0.1',
      port: 0,
      limits: { maxBodyBytes: maxDecodedBytes, maxDecodedBytes },
      budget: {
        take(bytes) {
          const room = budget.take(bytes)
          if (room) taken += bytes
          takes.emit('take')
          return room
        },
        give(bytes) {
          taken -= bytes
          budget.give(bytes)
        },
      },
      ingest: {
        logs: () => Promise.resolve({ rejected: 0, notes: [] }),
      },
      gate: openGate,
      onNotStored: () => {},
      onAnswered: () => {},
      onRefused: () => {},
      log: () => {},
    })
    const own = connect(`http://127.0.0.1:${listener.port}`)
    own.on('error', () => {})
    await work(own, () => taken, takes)
    own.destroy()
    await listener.close()
  }

  test('is taken for what has come of a message, not for what it is called', async () => {
    await withBudget(async (own, taken) => {
      const bytes = framed(Buffer.alloc(100_000), { length: maxDecodedBytes })
      openCall(own).write(bytes)
      await expect.poll(taken).toBeGreaterThanOrEqual(100_000)
      expect(taken()).toBeLessThanOrEqual(200_000)
    })
  })

  test.each<[string, (session: ClientHttp2Session, stream: ReturnType<typeof openCall>) => void]>([
    ['its call is reset', (_, stream) => stream.close(constants.NGHTTP2_CANCEL)],
    ['its call is reset without an error', (_, stream) => stream.close(constants.NGHTTP2_NO_ERROR)],
    ['its call ends there', (_, stream) => stream.end()],
    ['its connection is cut', (own) => own.destroy()],
  ])('of half a message is given back when %s', async (_, end) => {
    await withBudget(async (own, taken) => {
      const stream = openCall(own)
      stream.write(framed(Buffer.alloc(100_000), { length: 200_000 }))
      await expect.poll(taken).toBeGreaterThanOrEqual(100_000)
      end(own, stream)
      await expect.poll(taken).toBe(0)
    })
  })

  test('is given back when a call is answered, refused or cancelled while it is inflated', async () => {
    await withBudget(async (own, taken, takes) => {
      const bomb = framed(gzipSync(Buffer.alloc(2 * maxDecodedBytes)), { compressed: 1 })
      const headers = { 'grpc-encoding': 'gzip' }
      const began = once(takes, 'take')
      const streams = Array.from({ length: 12 }, (_, i) => {
        const stream = openCall(own, headers)
        stream.end(i % 3 === 0 ? framed(gzipSync(Buffer.alloc(1_000)), { compressed: 1 }) : bomb)
        return stream
      })
      const ends = streams.map(endOf)
      await began
      streams[1]?.close(constants.NGHTTP2_CANCEL)
      const codes = (await Promise.all(ends)).map(({ code }) => code)
      expect(codes[0]).toBe(status.OK)
      await expect.poll(taken).toBe(0)
    })
  })
})
