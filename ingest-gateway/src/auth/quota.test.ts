/** Limits of keys and tenants: what is let in, what is told to wait, and how little of that is read. */
import diagnostics from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { KeyHolder } from '@agnes/clickhouse'
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import fc from 'fast-check'
import protobuf from 'protobufjs'
import { afterEach, describe, expect, test } from 'vitest'
import { encodeExportLogsRequest } from '../../../tests/support/otlp-reference.ts'
import { openConnection, type RawAnswer, requestBytes, send } from '../../../tests/support/raw-http.ts'
import {
  type SpoolOnlyGateway,
  type SpoolOnlyOptions,
  startSpoolOnlyGateway,
} from '../../../tests/support/spool-only-gateway.ts'
import { createQuotas } from './quota.ts'

const keys = ['noisy', 'quiet', 'other'].map((name) => ({
  name,
  tenant: name,
  scopes: ['ingest'] as const,
  secret: name.padEnd(40, 'x'),
}))
const bearer = (tenant: string): string => `Bearer ${tenant.padEnd(40, 'x')}`
const json = { 'Content-Type': 'application/json' }

const gateways: SpoolOnlyGateway[] = []
async function start(options: SpoolOnlyOptions = {}): Promise<SpoolOnlyGateway> {
  const gateway = await startSpoolOnlyGateway({ keys, needsKeys: true, ...options })
  gateways.push(gateway)
  return gateway
}
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.stop()
})

let events = 0
function records(count: number, text = ''): string {
  const logRecords = Array.from({ length: count }, () => ({ body: { stringValue: `event ${++events}${text}` } }))
  return JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] })
}
function post(gateway: SpoolOnlyGateway, tenant: string, body = records(1)): Promise<RawAnswer> {
  return send(gateway.port, { headers: { ...json, Authorization: bearer(tenant) }, body })
}

/** Needs a gateway that asks nobody for a key. */
async function refused(gateway: SpoolOnlyGateway, reason: string): Promise<number> {
  const text = await (await fetch(`${gateway.url}/metrics`)).text()
  return Number(new RegExp(`agnes_ingest_refused_requests_total\\{reason="${reason}"\\} (\\d+)`).exec(text)?.[1])
}

describe('a bucket', () => {
  const holder: KeyHolder = { keyId: 'k', tenant: 't', scopes: ['ingest'], recordsPerSecond: 10, bytesPerSecond: 0 }
  const noTenantLimit = { recordsPerSecond: 0, bytesPerSecond: 0 }

  test('never lets in more than its rate and two seconds of it, but for the last request', () => {
    const request = fc.record({ afterMs: fc.nat(2_000), records: fc.integer({ min: 1, max: 500 }) })
    fc.assert(
      fc.property(fc.array(request, { maxLength: 200 }), (requests) => {
        let now = 0
        let taken = 0
        let last = 0
        const quotas = createQuotas({ tenantRates: noTenantLimit, nowMs: () => now })
        for (const { afterMs, records } of requests) {
          now += afterMs
          if (quotas.wait(holder) !== undefined) continue
          quotas.charge(holder, records, 0)
          taken += records
          last = Math.max(last, records)
          expect(taken).toBeLessThanOrEqual((now / 1000) * 10 + 20 + last)
        }
      }),
    )
  })

  test('lets in again as soon as its debt is paid, and says 1 to 3 seconds until then', () => {
    let now = 0
    const quotas = createQuotas({ tenantRates: noTenantLimit, nowMs: () => now })
    quotas.charge(holder, 70, 0) // of 20
    expect(quotas.wait(holder)).toBe(3)
    now = 2_500
    expect(quotas.wait(holder)).toBe(3)
    now = 4_500
    expect(quotas.wait(holder)).toBe(1)
    now = 5_001
    expect(quotas.wait(holder)).toBeUndefined()
  })

  test('of a tenant is shared by its keys, and no other tenant draws on it', () => {
    const quotas = createQuotas({ tenantRates: { recordsPerSecond: 0, bytesPerSecond: 100 }, nowMs: () => 0 })
    const unlimited = { ...holder, recordsPerSecond: 0 }
    quotas.charge({ ...unlimited, keyId: 'one' }, 1, 1_000)
    expect(quotas.wait({ ...unlimited, keyId: 'two' })).toBe(3)
    expect(quotas.wait({ ...unlimited, tenant: 'other' })).toBeUndefined()
  })
})

describe('a tenant that sends more than it may', () => {
  test.each([
    ['records', { tenantRecordsPerSecond: 5 }, records(100)],
    ['bytes', { tenantBytesPerSecond: 1_000 }, records(1, 'x'.repeat(50_000))],
  ])('(%s) has one request taken and is told to wait: 429, 1 to 3 s, for HTTP and gRPC', async (_, limits, body) => {
    const gateway = await start({ ...limits, needsKeys: false })
    expect(await post(gateway, 'noisy', body)).toMatchObject({ status: 200 })
    const told = await post(gateway, 'noisy')
    expect(told).toMatchObject({ status: 429, headers: { 'retry-after': expect.stringMatching(/^[123]$/) } })
    expect(JSON.parse(told.body.toString())).toMatchObject({ code: 8, message: expect.stringContaining('wait') })

    const failure = await grpcCall(gateway, 'noisy')
    expect(failure).toMatchObject({ code: status.RESOURCE_EXHAUSTED, details: expect.stringContaining('wait') })
    expect(retryDelaySeconds(failure)).toBe(3)
    expect(await refused(gateway, 'rate')).toBe(2)
    for (const other of ['quiet', 'other']) expect(await post(gateway, other)).toMatchObject({ status: 200 })
  })

  test('at the same instant from many connections has only what it may', async () => {
    const gateway = await start({ tenantRecordsPerSecond: 10 })
    const answers = await Promise.all(Array.from({ length: 200 }, () => post(gateway, 'noisy')))
    const taken = answers.filter(({ status }) => status === 200).length
    expect(taken).toBeGreaterThanOrEqual(20)
    expect(taken).toBeLessThan(60)
    expect(gateway.counts().received).toBe(taken)
  })

  test('P21: at a hundred times its quota does not cost another one a single request', async () => {
    const gateway = await start({ tenantRecordsPerSecond: 50 })
    const noise = new AbortController()
    let noisy = 0
    const senders = Array.from({ length: 8 }, async () => {
      while (!noise.signal.aborted) {
        const { status } = await post(gateway, 'noisy', records(100))
        expect([200, 429]).toContain(status)
        noisy++
      }
    })
    const began = performance.now()
    const quiet: number[] = []
    const latencies: number[] = []
    for (let i = 0; i < 50; i++) {
      const before = performance.now()
      quiet.push((await post(gateway, 'quiet')).status)
      latencies.push(performance.now() - before)
      await pause(40) // half of what it may send
    }
    noise.abort()
    await Promise.all(senders)
    const seconds = (performance.now() - began) / 1000
    expect((noisy * 100) / seconds).toBeGreaterThan(100 * 50)
    expect(new Set(quiet)).toEqual(new Set([200]))
    expect(Math.max(...latencies)).toBeLessThan(5_000)
  })
})

describe('a request whose body is not taken pays for what was read of it', () => {
  const bytesPerSecond = 1_000_000
  /** Sends the headers and a few bytes only; the connection stays open. */
  async function declare(gateway: SpoolOnlyGateway, bytes: number, headers: Record<string, string> = {}) {
    const connection = await openConnection(gateway.port)
    const declared = { ...json, Authorization: bearer('noisy'), 'Content-Length': String(bytes), ...headers }
    connection.socket.write(requestBytes({ headers: declared }))
    connection.socket.write('{"res')
    return connection
  }

  test.each<[string, number, number, Record<string, string>]>([
    ['declares a gigabyte', 413, 1_000_000_000, {}],
    ['has a type we do not know', 415, 8_000_000, { 'Content-Type': 'text/plain' }],
    ['has an encoding we do not know', 415, 8_000_000, { 'Content-Encoding': 'br' }],
  ])('%s: %i, and the tenant goes on', async (_, status, bytes, headers) => {
    const gateway = await start({ tenantBytesPerSecond: bytesPerSecond })
    const { answer, socket } = await declare(gateway, bytes, headers)
    expect(await answer()).toMatchObject({ status })
    expect(await post(gateway, 'noisy')).toMatchObject({ status: 200 })
    socket.destroy()
  })

  test('is cut off: the tenant goes on', async () => {
    const gateway = await start({ tenantBytesPerSecond: bytesPerSecond })
    const { socket } = await declare(gateway, 8_000_000)
    await expect.poll(async () => (await post(gateway, 'noisy')).status).toBe(429)
    socket.destroy()
    // Six seconds' worth of debt were it not given back.
    await expect.poll(async () => (await post(gateway, 'noisy')).status, { timeout: 2_000 }).toBe(200)
  })

  test('that is sent all the same is paid for', async () => {
    const gateway = await start({ tenantBytesPerSecond: 100_000 })
    const { answer, socket } = await declare(gateway, 4_000_005, { 'Content-Type': 'text/plain' })
    expect(await answer()).toMatchObject({ status: 415 })
    socket.write(Buffer.alloc(4_000_000, ' '))
    await expect.poll(async () => (await post(gateway, 'noisy')).status).toBe(429)
    socket.destroy()
  })
})

describe('P20: of what is refused for its headers at most 64 KiB are read', () => {
  const most = 64 * 1024
  /** Sockets the gateway accepted, newest last. */
  const accepted: Socket[] = []
  const remember = (message: unknown): void => void accepted.push((message as { socket: Socket }).socket)
  diagnostics.subscribe('net.server.socket', remember)

  test('over HTTP, with a declared length and in chunks, and the connection is closed', async () => {
    const gateway = await start({ tenantRecordsPerSecond: 1 })
    await post(gateway, 'noisy', records(50))
    const refused: { expected: number; headers: Record<string, string>; path?: string }[] = [
      { expected: 401, headers: {} },
      { expected: 401, headers: { Authorization: bearer('nobody') } },
      { expected: 429, headers: { Authorization: bearer('noisy') } },
      { expected: 400, headers: { Authorization: bearer('quiet') }, path: '/v1/logs?api_key=x' },
    ]
    const cases = refused.flatMap((one) => [false, true].map((chunked) => ({ ...one, chunked })))
    accepted.length = 0
    await Promise.all(
      cases.map(async ({ expected, headers, path, chunked }) => {
        const { socket, answer, closed } = await openConnection(gateway.port)
        const body = Buffer.alloc(4_000_000, ' ')
        const request = { headers: { ...json, ...headers }, body, chunked, ...(path && { path }) }
        socket.write(requestBytes(request))
        expect(await answer()).toMatchObject({ status: expected, headers: { connection: 'close' } })
        await closed()
        socket.destroy()
      }),
    )
    expect(accepted).toHaveLength(cases.length)
    for (const { bytesRead } of accepted) {
      expect(bytesRead).toBeGreaterThan(0)
      expect(bytesRead).toBeLessThanOrEqual(most)
    }
  })

  test('over gRPC without a key', async () => {
    const gateway = await start()
    accepted.length = 0
    const failure = await grpcCall(
      gateway,
      undefined,
      encodeExportLogsRequest({
        resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: 'x'.repeat(3_000_000) } }] }] }],
      }),
    )
    expect(failure).toMatchObject({ code: status.UNAUTHENTICATED })
    expect(accepted).toHaveLength(1)
    // HTTP/2 grants the first 64 KiB of a message before anybody is asked; headers and framing come on top.
    expect(accepted[0]?.bytesRead).toBeLessThanOrEqual(most + 1_024)
  })
})

function grpcCall(
  gateway: SpoolOnlyGateway,
  tenant?: string,
  body = encodeExportLogsRequest({
    resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${++events}` } }] }] }],
  }),
): Promise<ServiceError | null> {
  const client = new Client(`127.0.0.1:${gateway.grpcPort}`, credentials.createInsecure())
  const metadata = new Metadata()
  if (tenant !== undefined) metadata.set('authorization', bearer(tenant))
  return new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest(
      '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes) => bytes,
      body,
      metadata,
      (error) => resolve(error),
    )
  }).finally(() => client.close())
}

const rpc = protobuf.parse(
  `syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }`,
  { keepCase: true },
).root

/** Of the RetryInfo that makes RESOURCE_EXHAUSTED something to be tried again; undefined without one. */
function retryDelaySeconds(failure: ServiceError | null): number | undefined {
  const [bytes] = failure?.metadata.get('grpc-status-details-bin') ?? []
  if (!(bytes instanceof Buffer)) return undefined
  const { details } = rpc.lookupType('Status').decode(bytes) as unknown as {
    details: { type_url: string; value: Uint8Array }[]
  }
  const info = details.find(({ type_url }) => type_url === 'type.googleapis.com/google.rpc.RetryInfo')
  if (info === undefined) return undefined
  const decoded = rpc.lookupType('RetryInfo').decode(info.value)
  return Number((decoded as unknown as { retry_delay: { seconds: number } }).retry_delay.seconds)
}
