/** Who may come in, as clients see it over HTTP and gRPC: with keys of the environment, ClickHouse being away. */
import { createFailureLimit, keyParameter } from '@agnes/clickhouse'
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeExportLogsRequest } from '../../../tests/support/otlp-reference.ts'
import { openConnection, type RawAnswer, requestBytes, send } from '../../../tests/support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'

const secret = (letter: string): string => letter.repeat(40)
const keys = [
  { name: 'app', tenant: 'default', scopes: ['ingest'], secret: secret('a') },
  { name: 'acme', tenant: 'acme', scopes: ['ingest'], secret: secret('b') },
  { name: 'reader', tenant: 'default', scopes: ['read'], secret: secret('c') },
  { name: 'boss', tenant: 'default', scopes: ['admin'], secret: secret('d') },
] as const
const [app, acme, reader, boss] = keys.map((key) => `Bearer ${key.secret}`) as [string, string, string, string]

/** On loopback, and as if it were beyond. */
let near: SpoolOnlyGateway
let far: SpoolOnlyGateway
beforeAll(async () => {
  near = await startSpoolOnlyGateway({ keys })
  far = await startSpoolOnlyGateway({ keys, needsKeys: true })
})
afterAll(async () => {
  for (const gateway of [near, far]) {
    for (const { secret } of keys) expect(gateway.logged.join('\n')).not.toContain(secret)
    await gateway.stop()
  }
})

const json = { 'Content-Type': 'application/json' }
let events = 0
const oneRecord = (): string =>
  JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${++events}` } }] }] }] })

function post(gateway: SpoolOnlyGateway, headers: Record<string, string>, path = '/v1/logs'): Promise<RawAnswer> {
  return send(gateway.port, { path, headers: { ...json, ...headers }, body: oneRecord() })
}
const messageOf = ({ body }: RawAnswer): string => (JSON.parse(body.toString()) as { message: string }).message

describe('sending events', () => {
  test('on loopback takes no key, beyond it takes one with scope ingest', async () => {
    expect(await post(near, {})).toMatchObject({ status: 200 })
    const refused = await post(far, {})
    expect(refused).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } })
    expect(JSON.parse(refused.body.toString())).toEqual({
      code: 16,
      message: expect.stringContaining('a key is needed'),
    })
    for (const Authorization of [app, acme, boss, app.replace('Bearer', 'bEARER')]) {
      for (const gateway of [near, far]) expect(await post(gateway, { Authorization })).toMatchObject({ status: 200 })
    }
  })

  test('with a key that lacks the scope is forbidden, on loopback too', async () => {
    for (const gateway of [near, far]) {
      const refused = await post(gateway, { Authorization: reader })
      expect(refused).toMatchObject({ status: 403 })
      expect(messageOf(refused)).toBe('the key lacks the scope ingest')
    }
  })

  test.each([
    ['an unknown key', `Bearer ${secret('x')}`],
    ['an unknown key with an id', `Bearer agn_abcdefgh_${secret('x')}`],
    ['a cut key', app.slice(0, -1)],
    ['an empty bearer', 'Bearer '],
    ['no scheme', secret('a')],
    ['Basic', `Basic ${Buffer.from(`agnes:${secret('a')}`).toString('base64')}`],
    ['two in one', `${app}, ${app}`],
    ['10 KiB', `Bearer ${'x'.repeat(10_240)}`],
    ['letters of another script', `Bearer ${'ключ'.repeat(10)}`],
  ])('with %s is refused, on loopback too, and what was sent is not repeated', async (what, Authorization) => {
    for (const gateway of [near, far]) {
      const refused = await post(gateway, { Authorization })
      // Without ClickHouse nobody can say whether a key of its kind is known.
      expect(refused.status).toBe(what.includes('with an id') ? 503 : 401)
      expect(refused.body.toString() + JSON.stringify(refused.headers)).not.toMatch(/aaaa|xxxx|QWdu/)
    }
  })

  test('with two Authorization headers is refused, though both are right', async () => {
    const request = requestBytes({
      headers: { ...json, Authorization: `${app}\r\nAuthorization: ${app}` },
      body: oneRecord(),
    })
    const { socket, answer } = await openConnection(near.port)
    socket.write(request)
    expect(await answer()).toMatchObject({ status: 401 })
    socket.destroy()
  })

  test('with the key in the body, or with a NUL in the header, is refused', async () => {
    const body = JSON.stringify({ api_key: secret('a'), Authorization: app, ...JSON.parse(oneRecord()) })
    expect(await send(far.port, { headers: json, body })).toMatchObject({ status: 401 })
    expect(await post(far, { Authorization: `Bearer \0${secret('a')}` })).toMatchObject({ status: 400 })
  })

  test('to /v1/traces and /v1/metrics needs a key as well', async () => {
    for (const path of ['/v1/traces', '/v1/metrics']) {
      expect(await post(far, {}, path)).toMatchObject({ status: 401 })
      expect(await post(far, { Authorization: app }, path)).toMatchObject({ status: 200 })
    }
  })

  test('who waits for "100 Continue" is refused without being asked for the body', async () => {
    const { socket, answer, closed } = await openConnection(far.port)
    const headers = { ...json, Expect: '100-continue', 'Content-Length': '1000' }
    socket.write(requestBytes({ headers }))
    expect(await answer()).toMatchObject({ status: 401, headers: { connection: 'close' } })
    await closed()
  })
})

test.each(['api_key', 'key', 'TOKEN', 'access_token', '%6Bey'])(
  'a key in the URL (?%s=…) is refused as leaked, and not repeated',
  async (name) => {
    for (const path of [`/v1/logs?${name}=${secret('a')}`, `/metrics?x=1&${name}=${secret('a')}`]) {
      const refused = await post(near, { Authorization: app }, path)
      expect(refused).toMatchObject({ status: 400 })
      expect(messageOf(refused)).toContain('counts as leaked')
      expect(refused.body.toString()).not.toContain('aaaa')
    }
  },
)

test('any other parameter is none', () => {
  expect(keyParameter('/v1/logs?monkey=1&keys=2')).toBeUndefined()
})

describe('what the gateway says about itself', () => {
  const get = (gateway: SpoolOnlyGateway, path: string, headers = {}): Promise<RawAnswer> =>
    send(gateway.port, { method: 'GET', path, headers })

  test('is open on loopback', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics']) expect(await get(near, path)).toMatchObject({ status: 200 })
    expect(JSON.parse((await get(near, '/healthz')).body.toString())).toMatchObject({
      backlogRecords: expect.any(Number),
    })
  })

  test('is only whether it is ready, beyond loopback and without a key', async () => {
    for (const path of ['/healthz', '/readyz']) {
      const { status, body } = await get(far, path)
      expect([status, body.toString()]).toEqual([200, '{"ready":true}'])
    }
    expect(await get(far, '/metrics')).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } })
  })

  test('is all of it with scope read or admin, and with no other', async () => {
    for (const path of ['/healthz', '/metrics']) {
      for (const Authorization of [reader, boss]) {
        expect((await get(far, path, { Authorization })).body.toString()).toMatch(/backlogRecords|agnes_spool_records/)
      }
      expect(await get(far, path, { Authorization: app })).toMatchObject({ status: 403 })
      expect(await get(far, path, { Authorization: `Bearer ${secret('x')}` })).toMatchObject({ status: 401 })
    }
  })
})

describe('over gRPC', () => {
  function call(gateway: SpoolOnlyGateway, authorization?: string): Promise<unknown> {
    const client = new Client(`127.0.0.1:${gateway.grpcPort}`, credentials.createInsecure())
    const metadata = new Metadata()
    if (authorization !== undefined) metadata.set('authorization', authorization)
    const body = encodeExportLogsRequest({
      resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${++events}` } }] }] }],
    })
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes) => bytes,
        body,
        metadata,
        (error: ServiceError | null) => (error === null ? resolve('taken') : reject(error)),
      )
    }).finally(() => client.close())
  }

  test('the same keys count', async () => {
    expect(await call(near)).toBe('taken')
    for (const gateway of [near, far]) {
      expect(await call(gateway, app)).toBe('taken')
      await expect(call(gateway, reader)).rejects.toMatchObject({ code: status.PERMISSION_DENIED })
      for (const wrong of [`Bearer ${secret('x')}`, 'Bearer', 'Basic YTph', `Bearer ${'x'.repeat(10_240)}`]) {
        await expect(call(gateway, wrong)).rejects.toMatchObject({ code: status.UNAUTHENTICATED })
      }
    }
    await expect(call(far)).rejects.toMatchObject({ code: status.UNAUTHENTICATED, details: /a key is needed/ })
  })
})

describe('many wrong keys from one address', () => {
  test('are told to wait, while a right key from there passes', async () => {
    const wrong = await Promise.all(
      Array.from({ length: 300 }, () => post(far, { Authorization: `Bearer ${secret('x')}` })),
    )
    const statuses = new Set(wrong.map(({ status }) => status))
    expect([...statuses].sort()).toEqual([401, 429])
    for (const { status, headers } of wrong) if (status === 429) expect(headers['retry-after']).toMatch(/^[123]$/)
    expect(await post(far, { Authorization: app })).toMatchObject({ status: 200 })
  })

  test('count for the address, for a second', () => {
    let now = 0
    const { tooMany } = createFailureLimit(() => now)
    const failures = (address: string, count: number): boolean =>
      Array.from({ length: count }, () => tooMany(address)).at(-1) ?? false
    expect(failures('192.0.2.1', 100)).toBe(false)
    expect(tooMany('::ffff:192.0.2.1')).toBe(true)
    expect(tooMany('192.0.2.2')).toBe(false)
    expect(failures('2001:db8:0:1::1', 100)).toBe(false)
    expect(tooMany('2001:db8:0:1:ffff::2')).toBe(true)
    expect(tooMany('2001:db8:0:2::1')).toBe(false)
    now = 1_000
    expect(tooMany('192.0.2.1')).toBe(false)
  })

  test('from everywhere at once take the memory of ten thousand addresses: who comes then is not remembered', () => {
    const { tooMany } = createFailureLimit(() => 0)
    for (let i = 0; i < 10_000; i++) tooMany(`10.0.${i >> 8}.${i & 255}`)
    for (let i = 0; i < 200; i++) expect(tooMany('192.0.2.1')).toBe(false)
    for (let i = 0; i < 99; i++) expect(tooMany('10.0.0.1')).toBe(false)
    expect(tooMany('10.0.0.1')).toBe(true)
  })
})

test('wrong keys are told of in the log, once a minute and without the keys', () => {
  const told = far.logged.filter((line) => line.includes('wrong keys'))
  expect(told).toEqual([expect.stringMatching(/^gateway: wrong keys: 1 since .* from .*127\.0\.0\.1$/)])
})

test('no header, however broken, is an error of ours or lets anybody in', async () => {
  const header = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) })
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        header,
        header.map((text) => `Bearer ${text}`),
      ),
      async (Authorization) => {
        // An address that failed too often is told to wait.
        expect([401, 429]).toContain((await post(far, { Authorization })).status)
      },
    ),
    { numRuns: 50 },
  )
  expect(far.logged.filter((line) => line.includes('unexpected'))).toEqual([])
})
