/** What happens on the connection: pipelining, refusals in the middle of a body, clients that vanish, bytes that are no HTTP. */
import type { Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Connection, openConnection, requestBytes, send } from '../../../tests/support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'

const maxBodyBytes = 100_000
const json = { 'Content-Type': 'application/json' }

let gateway: SpoolOnlyGateway
const connections: Connection[] = []

beforeEach(async () => {
  gateway = await startSpoolOnlyGateway({ maxBodyBytes })
})
afterEach(async () => {
  // Whatever a test did: the gateway still takes events, and nothing surprised it.
  expect(await send(gateway.port, { headers: json, body: oneRecord('after all') })).toMatchObject({ status: 200 })
  expect(gateway.logged.filter((line) => line.includes('unexpected'))).toEqual([])
  for (const { socket } of connections.splice(0)) socket.destroy()
  await gateway.stop()
})

async function open(): Promise<Connection> {
  const connection = await openConnection(gateway.port)
  connections.push(connection)
  return connection
}

const oneRecord = (text: string): string =>
  JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: text } }] }] }] })
const good = (text: string): Buffer => requestBytes({ headers: json, body: oneRecord(text) })
const stored = (): number => gateway.counts().backlogRecords

test('100 requests sent at once on one connection are answered one after the other, and stored', async () => {
  const { socket, answer } = await open()
  socket.write(Buffer.concat(Array.from({ length: 100 }, (_, i) => good(`event ${i}`))))
  for (let i = 0; i < 100; i++) expect(await answer()).toMatchObject({ status: 200 })
  expect(stored()).toBe(100)
})

test('a request in single bytes is a request', async () => {
  const { socket, answer } = await open()
  socket.setNoDelay(true)
  for (const byte of good('slowly')) socket.write(Buffer.from([byte]))
  expect(await answer()).toMatchObject({ status: 200 })
  expect(stored()).toBe(1)
})

test('HTTP/1.0 without a Host is served', async () => {
  const { socket, answer } = await open()
  const body = oneRecord('old')
  socket.write(
    `POST /v1/logs HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  )
  expect(await answer()).toMatchObject({ status: 200 })
})

describe('a client that vanishes', () => {
  test('in the middle of its body leaves nothing behind', async () => {
    const { socket } = await open()
    socket.write(good('cut').subarray(0, -5))
    await send(gateway.port, { method: 'GET', path: '/healthz' }) // the gateway has seen the bytes before
    socket.resetAndDestroy()
    expect(stored()).toBe(0)
  })

  test.each<[string, (socket: Socket) => void]>([
    ['closes its side', (socket) => socket.end()],
    ['resets the connection', (socket) => socket.resetAndDestroy()],
  ])('before the answer (it %s) has its event stored once, also when it sends it again', async (_, leave) => {
    const { socket, closed } = await open()
    socket.write(good('unheard'), () => leave(socket))
    await closed().catch(() => {}) // the answer may have made it
    expect(await send(gateway.port, { headers: json, body: oneRecord('unheard') })).toMatchObject({ status: 200 })
    expect(stored()).toBe(1)
  })
})

describe('a body that is too large', () => {
  test('is refused by its declared length, before it is sent; then the connection is closed', async () => {
    const { socket, answer, closed } = await open()
    socket.write(requestBytes({ headers: { ...json, 'Content-Length': String(maxBodyBytes + 1) } }))
    expect(await answer()).toMatchObject({ status: 413, headers: { connection: 'close' } })
    await closed()
  })

  test('is never taken for the next request, whatever is in it', async () => {
    const smuggled = good('smuggled').toString()
    const body = smuggled.repeat(1 + Math.ceil(maxBodyBytes / smuggled.length))
    for (const chunked of [false, true]) {
      const { socket, answer, closed } = await open()
      socket.write(requestBytes({ headers: json, body, chunked }))
      expect(await answer()).toMatchObject({ status: 413 })
      await closed()
    }
    expect(stored()).toBe(0)
  })

  test('is answered also to a client that reads only after it has sent everything, as Python does', async () => {
    const { socket, answer } = await open()
    socket.pause()
    const body = Buffer.alloc(30_000_000, ' ')
    const sent = new Promise((resolve) => socket.write(requestBytes({ headers: json, body }), resolve))
    expect(await sent).not.toBeInstanceOf(Error) // with the connection closed this would be EPIPE
    socket.resume()
    expect(await answer()).toMatchObject({ status: 413 })
  })

  test('that never ends is cut off', async () => {
    const { socket, answer, closed } = await open()
    const chunk = Buffer.concat([Buffer.from('2710\r\n'), Buffer.alloc(10_000, ' '), Buffer.from('\r\n')])
    socket.write(requestBytes({ headers: { ...json, 'Transfer-Encoding': 'chunked' } }))
    const pump = (): void => {
      while (!socket.destroyed && socket.write(chunk));
    }
    socket.on('drain', pump)
    pump()
    expect(await answer()).toMatchObject({ status: 413 })
    await closed()
  })
})

describe('a client that asks before it sends (Expect: 100-continue)', () => {
  const expectation = { ...json, Expect: '100-continue' }

  test('is told to continue', async () => {
    const { socket, answer } = await open()
    const body = oneRecord('polite')
    socket.write(requestBytes({ headers: { ...expectation, 'Content-Length': String(body.length) } }))
    expect(await answer()).toMatchObject({ status: 100 })
    socket.write(body)
    expect(await answer()).toMatchObject({ status: 200 })
    expect(stored()).toBe(1)
  })

  test.each<[string, Record<string, string>, number]>([
    ['too large', { 'Content-Length': String(maxBodyBytes + 1) }, 413],
    ['in an encoding we do not take', { 'Content-Length': '10', 'Content-Encoding': 'br' }, 415],
    ['of a type we do not take', { 'Content-Length': '10', 'Content-Type': 'text/plain' }, 415],
  ])('is refused at once if its body is %s', async (_, headers, status) => {
    const { socket, answer } = await open()
    socket.write(requestBytes({ headers: { ...expectation, ...headers } }))
    expect(await answer()).toMatchObject({ status })
  })
})

describe('bytes that are not a request', () => {
  const http2 = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  const head = 'POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  const tls = Buffer.from('16030100c8010000c40303', 'hex')

  test.each<[string, string | Buffer, number, RegExp]>([
    ['words', 'hello?\r\n\r\n', 400, /not a valid HTTP\/1\.1 request/],
    ['TLS', tls, 400, /plain HTTP, not TLS: use http:\/\//],
    [
      'HTTP/2, as gRPC speaks it',
      http2,
      400,
      /not gRPC: use the gRPC port \(4317\), or OTEL_EXPORTER_OTLP_PROTOCOL=http\/protobuf/,
    ],
    ['a header block of 17 kB', `${head}X: ${'x'.repeat(17_000)}\r\n\r\n`, 431, /headers are larger than 16384 bytes/],
    ['a negative length', `${head}Content-Length: -1\r\n\r\n`, 400, /not a valid/],
    ['a length with a sign', `${head}Content-Length: +5\r\n\r\n{}   `, 400, /not a valid/],
    ['two lengths', `${head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`, 400, /not a valid/],
    [
      'a length and chunks',
      `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      /not a valid/,
    ],
    ['a header with NUL', `${head}X: a\0b\r\n\r\n`, 400, /not a valid/],
    ['a header without a name', `${head}: x\r\n\r\n`, 400, /not a valid/],
  ])('%s', async (_, bytes, status, says) => {
    const { socket, answer, closed } = await open()
    socket.write(bytes)
    const { body, ...rest } = await answer()
    expect(rest).toMatchObject({ status, headers: { 'content-type': 'application/json', connection: 'close' } })
    expect(JSON.parse(body.toString())).toEqual({
      code: status === 431 ? 8 : 3,
      message: expect.stringMatching(says),
    })
    await closed()
  })

  test('behind a good request are not taken for its answer', async () => {
    const { socket, answer, closed } = await open()
    socket.write(Buffer.concat([good('before the noise'), Buffer.from('noise\r\n\r\n')]))
    // Either the answer or a cut connection, upon which a client sends again; a 400 would make it drop the event.
    const first = await answer().catch(() => undefined)
    if (first !== undefined) expect(first.status).toBe(200)
    await closed().catch(() => {})
  })

  test('in the chunks of a body cut the connection or are refused; nothing is stored', async () => {
    const { socket, closed, answer } = await open()
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n`)
    const refused = await answer().catch(() => undefined)
    if (refused !== undefined) expect(refused.status).toBe(400)
    await closed()
    expect(stored()).toBe(0)
  })
})

describe('more than the gateway can hold', () => {
  test('is refused for now, with when to try again; small requests declared large keep nobody out', async () => {
    const small = await startSpoolOnlyGateway({ maxBodyBytes, maxDecodedBytes: maxBodyBytes })
    try {
      const body = oneRecord('x'.repeat(90_000))
      const unfinished = await Promise.all(Array.from({ length: 4 }, () => openConnection(small.port)))
      connections.push(...unfinished)
      // 40 declared in full, hardly begun: together far more than there is room for.
      const begun = await Promise.all(Array.from({ length: 40 }, () => openConnection(small.port)))
      connections.push(...begun)
      for (const { socket } of begun) socket.write(requestBytes({ headers: json, body }).subarray(0, 200))
      expect(await send(small.port, { headers: json, body })).toMatchObject({ status: 200 })

      for (const { socket } of unfinished) socket.write(requestBytes({ headers: json, body }).subarray(0, -10))
      const ask = async (text: string) => send(small.port, { headers: json, body: oneRecord(text.repeat(60_000)) })
      await expect.poll(async () => (await ask('y')).status, { timeout: 10_000 }).toBe(503)
      const refused = await ask('z')
      expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
      expect(refused.body.toString()).toContain('more is arriving than the gateway can hold: try again')

      for (const { socket } of unfinished) socket.destroy()
      await expect.poll(async () => (await ask('z')).status, { timeout: 10_000 }).toBe(200)
    } finally {
      await small.stop()
    }
  })
})
