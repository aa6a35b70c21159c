/** Section A of the catalogue: what arrives is no HTTP request we take, or none at all. Cases that stand elsewhere: catalogue.ts. */

import { connect } from 'node:net'
import * as zlib from 'node:zlib'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { expectInvariants, freshJson, secret } from '../support/invariants.ts'
import { encodeExportLogsRequest } from '../support/otlp-reference.ts'
import { type Connection, openConnection, requestBytes, send } from '../support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../support/spool-only-gateway.ts'

const json = { 'Content-Type': 'application/json' }

let gateway: SpoolOnlyGateway
/** Cuts who is slow after a second instead of thirty. */
let hasty: SpoolOnlyGateway
const connections: Connection[] = []
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway()
  hasty = await startSpoolOnlyGateway({ arriveWithinMs: 1_200 })
})
afterAll(() => Promise.all([gateway.stop(), hasty.stop()]))
afterEach(async () => {
  for (const { socket } of connections.splice(0)) socket.destroy()
  await expectInvariants(gateway)
})

const stored = (): number => gateway.counts().backlogRecords

async function open({ port } = gateway): Promise<Connection> {
  const connection = await openConnection(port)
  connections.push(connection)
  return connection
}

/** Writes the bytes on a connection of their own. @returns the status of the first answer, or 'cut' */
async function answerTo(bytes: string | Buffer, by = gateway): Promise<number | 'cut'> {
  const { socket, answer } = await open(by)
  socket.write(bytes)
  return answer().then(
    ({ status, body }) => {
      expect(body.toString('latin1')).not.toContain('canary')
      return status
    },
    () => 'cut',
  )
}

const head = (...lines: string[]): string =>
  ['POST /v1/logs HTTP/1.1', 'Host: x', 'Content-Type: application/json', ...lines, '', ''].join('\r\n')

describe('compressed bodies', () => {
  test('#14 a bomb that stays within the size, made of a million records of two bytes, is refused whole', async () => {
    const records = Buffer.alloc(2_000_000, Buffer.from([0x12, 0x00]))
    const body = gzipSync(wrapped(0x0a, wrapped(0x12, records)))
    expect(body.length).toBeLessThan(10_000)
    const before = stored()
    const headers = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'gzip' }
    const answer = await send(gateway.port, { headers, body })
    expect(answer.status).toBe(413)
    expect(answer.body.toString()).toContain('more than 50000 log records')
    expect(stored()).toBe(before)
  })

  test('#17 zeros behind gzip are padding and taken, other bytes are refused', async () => {
    const headers = { ...json, 'Content-Encoding': 'gzip' }
    const zipped = gzipSync(freshJson())
    const padded = Buffer.concat([zipped, Buffer.alloc(1_000)])
    expect(await send(gateway.port, { headers, body: padded })).toMatchObject({ status: 200 })
    const trailing = Buffer.concat([gzipSync(freshJson()), Buffer.from(secret)])
    expect(await send(gateway.port, { headers, body: trailing })).toMatchObject({ status: 400 })
  })

  const zstd = 'zstdDecompress' in zlib
  test.each<[string, Buffer]>([
    // Frame header descriptor, window descriptor (RFC 8878, section 3.1.1.1), one empty last block.
    ['a window of 2 GiB', Buffer.from('28b52ffd00a8010000', 'hex')],
    ['a declared size of 2^60', Buffer.from('28b52ffde00000000000000010010000', 'hex')],
    ['a dictionary', Buffer.from('28b52ffd2101000000010000', 'hex')],
    ['half a frame', Buffer.from('28b52ffd', 'hex')],
  ])('#19 zstd with %s is refused', async (_, body) => {
    const answer = await send(gateway.port, { headers: { ...json, 'Content-Encoding': 'zstd' }, body })
    expect(zstd ? [400, 413] : [415]).toContain(answer.status)
  })
})

describe('lengths and chunks', () => {
  const body = '{"resourceLogs":[]}'

  test('#22 a length that is too short leaves bytes behind that are no request; none is stored', async () => {
    const before = stored()
    const { socket, answer, closed } = await open()
    socket.write(`${head('Content-Length: 2')}{}${freshJson()}`)
    // The first request is whole. Behind it an answer of 400 would be its own; the connection is closed in either case.
    const first = await answer().catch(() => undefined)
    if (first !== undefined) expect(first.status).toBe(200)
    await closed().catch(() => {})
    expect(stored()).toBe(before)
  })

  test('#22 a length that is too long is waited for, then the connection is cut', async () => {
    expect(await answerTo(`${head('Content-Length: 1000')}${body}`, hasty)).toBe('cut')
  })

  test.each<[string, string]>([
    ['#22 a list of lengths', `${head('Content-Length: 5,5')}{}   `],
    ['#22 a length in hexadecimal', `${head('Content-Length: 0x13')}${body}`],
    ['#22 a length beyond 64 bits', `${head('Content-Length: 99999999999999999999')}${body}`],
    ['#24 chunked, identity', `${head('Transfer-Encoding: chunked, identity')}13\r\n${body}\r\n0\r\n\r\n`],
    ['#24 xchunked', `${head('Transfer-Encoding: xchunked')}13\r\n${body}\r\n0\r\n\r\n`],
    ['#24 a space before the colon', `${head('Transfer-Encoding : chunked')}13\r\n${body}\r\n0\r\n\r\n`],
    ['#24 a folded header', `${head('Transfer-Encoding:', ' chunked')}13\r\n${body}\r\n0\r\n\r\n`],
    ['#25 a chunk size beyond 64 bits', `${head('Transfer-Encoding: chunked')}fffffffffffffffff\r\n${body}`],
    ['#25 a negative chunk size', `${head('Transfer-Encoding: chunked')}-1\r\n${body}`],
    [
      '#25 64 KiB of chunk extension',
      `${head('Transfer-Encoding: chunked')}13;${'x'.repeat(65_536)}\r\n${body}\r\n0\r\n\r\n`,
    ],
    ['#25 a trailer that is none', `${head('Transfer-Encoding: chunked')}13\r\n${body}\r\n0\r\n\x00bad\r\n\r\n`],
    ['#30 a line feed alone in a header', head('X: a\nY: b', 'Content-Length: 0')],
    ['#30 a carriage return alone in a header', head('X: a\rb', 'Content-Length: 0')],
  ])('%s: refused with 400 or 413, or cut; nothing is stored', async (_, bytes) => {
    const before = stored()
    expect([400, 413, 'cut']).toContain(await answerTo(bytes))
    expect(stored()).toBe(before)
  })

  test('#26 a body in chunks that never ends is cut in time, however lively it is', async () => {
    const { socket, closed } = await open(hasty)
    socket.write(head('Transfer-Encoding: chunked'))
    const drip = setInterval(() => socket.write('1\r\n \r\n'), 20)
    const begun = performance.now()
    await closed().catch(() => {})
    clearInterval(drip)
    expect(performance.now() - begun).toBeLessThan(15_000)
  })
})

describe('headers', () => {
  test('#27 headers that come byte by byte are cut in time', async () => {
    const { socket, closed } = await open(hasty)
    socket.write('POST /v1/logs HTTP/1.1\r\nX: ')
    const drip = setInterval(() => socket.write('x'), 20)
    const begun = performance.now()
    await closed().catch(() => {})
    clearInterval(drip)
    expect(performance.now() - begun).toBeLessThan(8_000)
  })

  test('#28 3,000 headers: the body still ends where its length says', async () => {
    const body = freshJson()
    const before = stored()
    const bytes = `${head(`Content-Length: ${body.length}`, ...Array<string>(3_000).fill('a:'))}${body}`
    const status = await answerTo(bytes)
    // Newer releases of Node.js take no more than they keep, and say so.
    if (status === 431) return expect(stored()).toBe(before)
    expect(status).toBe(200)
    expect(stored() - before).toBe(1)
    // With the length behind those that Node.js keeps.
    const late = freshJson()
    expect(await answerTo(`${head(...Array<string>(3_000).fill('a:'), `Content-Length: ${late.length}`)}${late}`)).toBe(
      200,
    )
    expect(stored() - before).toBe(2)
  })

  test('#31 a body that is refused by its headers is not read', async () => {
    const { socket, answer } = await open()
    socket.write(head('Content-Encoding: br', 'Content-Length: 8000000', 'Expect: 100-continue'))
    expect(await answer()).toMatchObject({ status: 415, headers: { connection: 'close' } })
    expect(socket.bytesRead).toBeLessThan(1_000)
  })

  test('#36 #39 whom the request says it is for or comes from is never reflected', async () => {
    const named = { Host: `${secret}.test`, Origin: `https://${secret}.test`, Referer: `https://${secret}.test/` }
    const forwarded = {
      'X-Forwarded-For': secret,
      'X-Forwarded-Host': secret,
      'X-Forwarded-Proto': secret,
      Forwarded: secret,
    }
    for (const path of ['/v1/logs', '/nothing', '/healthz', '/metrics', `http://${secret}.test/v1/logs`]) {
      const answer = await send(gateway.port, { path, headers: { ...json, ...named, ...forwarded }, body: 'no JSON' })
      expect(JSON.stringify(answer.headers) + answer.body.toString()).not.toContain('canary')
    }
  })

  test.each([
    ['#41 a URL of 64 KiB', `/v1/logs?${'x'.repeat(65_536)}`, [414, 431]],
    ['#41 NUL', '/v1/logs%00', [404]],
    ['#41 a way up', '/v1/..%2flogs', [404]],
    ['#41 a way up and back', '/v1/../v1/logs', [404]],
    ['#41 half a percent sign', '/v1/logs%', [404]],
    ['#41 bytes beyond ASCII', '/v1/log\xff', [400, 404]],
  ] as const)('%s', async (_, path, expected) => {
    const bytes = Buffer.from(head('Content-Length: 0').replace('/v1/logs', path), 'latin1')
    expect(expected).toContain(await answerTo(bytes))
  })

  test('#44 no page of another origin may read our answers or send our types', async () => {
    const origin = { Origin: 'https://x.test', 'Access-Control-Request-Method': 'POST' }
    for (const request of [
      { method: 'OPTIONS', headers: origin },
      { headers: { ...json, ...origin }, body: freshJson() },
    ]) {
      const { headers } = await send(gateway.port, request)
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([])
    }
  })
})

describe('connections', () => {
  test('#34 a client that closes its side after the body still gets the answer', async () => {
    const { socket, answer } = await open()
    socket.end(requestBytes({ headers: json, body: freshJson() }))
    expect(await answer()).toMatchObject({ status: 200 })
  })

  test('#32 1,000 requests in one write are all answered', async () => {
    const { socket, answer } = await open()
    const before = stored()
    socket.write(Buffer.concat(Array.from({ length: 1_000 }, () => requestBytes({ headers: json, body: freshJson() }))))
    for (let i = 0; i < 1_000; i++) expect(await answer()).toMatchObject({ status: 200 })
    expect(stored() - before).toBe(1_000)
  })

  test('#35 1,000 connections that say nothing keep nobody out', async () => {
    for (let i = 0; i < 1_000; i++) await open()
    const begun = performance.now()
    expect(await send(gateway.port, { headers: json, body: freshJson() })).toMatchObject({ status: 200 })
    expect(performance.now() - begun).toBeLessThan(1_000)
  })

  test('#43 a client that asks and never reads fills no memory, and is cut', async () => {
    const own = await startSpoolOnlyGateway({ arriveWithinMs: 300 })
    const peak = (): number => process.resourceUsage().maxRSS * 1024
    const before = peak()
    const socket = connect(own.port, '127.0.0.1')
    socket.on('error', () => {})
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.pause()
    // 40 MB of answers: more than the kernel keeps for anybody. A power of two bytes each, so that no request is cut in
    // half where the gateway stops to read: that one would be late, and the connection cut for it.
    const ask = requestBytes({ method: 'GET', path: '/metrics', headers: { 'X-Filling': 'x'.repeat(9) } })
    expect(ask.length).toBe(64)
    socket.write(Buffer.concat(Array<Buffer>(4_096).fill(ask)))
    // Who does not read learns of the cut by writing.
    const asking = setInterval(() => socket.write(ask), 100)
    await closed
    clearInterval(asking)
    expect(peak() - before).toBeLessThan(100e6)
    await own.stop()
  })

  test('#42 whatever makes us refuse for now, the client is told when to come back, as a whole number of seconds', async () => {
    const small = await startSpoolOnlyGateway({ maxBodyBytes: 50_000, maxDecodedBytes: 50_000 })
    const slow = await Promise.all(Array.from({ length: 5 }, () => openConnection(small.port)))
    const filler = requestBytes({ headers: json, body: ' '.repeat(49_000) })
    for (const { socket } of slow) socket.write(filler.subarray(0, -10))
    const large = encodeExportLogsRequest({ resourceLogs: [{ schemaUrl: 'x'.repeat(45_000) }] })
    const headers = { 'Content-Type': 'application/x-protobuf' }
    await expect
      .poll(() => send(small.port, { headers, body: large }), { timeout: 10_000 })
      .toMatchObject({ status: 503, headers: { 'retry-after': expect.stringMatching(/^[1-5]$/) } })
    for (const { socket } of slow) socket.destroy()
    await small.stop()
  })
})

/** A length-delimited protobuf field. */
function wrapped(tag: number, content: Buffer): Buffer {
  const length: number[] = []
  let rest = content.length
  for (; rest > 0x7f; rest >>>= 7) length.push((rest & 0x7f) | 0x80)
  return Buffer.concat([Buffer.from([tag, ...length, rest]), content])
}
