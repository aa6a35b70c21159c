import { EventEmitter, once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  type AnyValue,
  decodeExportLogsRequest,
  type KeyValue,
  type LogRecord,
} from '../../tests/support/otlp-reference.ts'
import { startTelemetry, type Telemetry, type TelemetryOptions } from './telemetry.ts'

interface Received {
  readonly path: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly resource: Readonly<Record<string, unknown>>
  readonly records: readonly LogRecord[]
}

interface Receiver {
  readonly url: string
  readonly requests: readonly Received[]
  /** Resolves when this many requests have come in. */
  received(count: number): Promise<void>
  /** Attribute `agnes.action` of every record so far. */
  actions(): unknown[]
}

let cleanups: (() => unknown)[]
let warnings: string[]
beforeEach(() => {
  cleanups = []
  warnings = []
})
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
  vi.unstubAllEnvs()
})

/** @param answer the status of the nth answer, from 1; it is sent when it resolves */
async function startReceiver(answer: (n: number) => number | Promise<number> = () => 200): Promise<Receiver> {
  const requests: Received[] = []
  const arrivals = new EventEmitter()
  const server = createServer(async (request, response) => {
    const message = decodeExportLogsRequest(await buffer(request))
    const resourceLogs = message.resourceLogs ?? []
    requests.push({
      path: request.url,
      headers: request.headers,
      resource: plain(resourceLogs[0]?.resource?.attributes),
      records: resourceLogs.flatMap(({ scopeLogs = [] }) => scopeLogs.flatMap(({ logRecords = [] }) => logRecords)),
    })
    const number = requests.length
    arrivals.emit('request')
    response.writeHead(await answer(number), { 'content-type': 'application/x-protobuf' }).end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async received(count) {
      while (requests.length < count) await once(arrivals, 'request')
    },
    actions: () =>
      requests.flatMap(({ records }) => records.map(({ attributes }) => plain(attributes)['agnes.action'])),
  }
}

/** A URL nobody listens at. */
async function deadUrl(): Promise<string> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return `http://127.0.0.1:${port}`
}

function start(endpoint: string | undefined, options: TelemetryOptions = {}): Telemetry {
  const telemetry = startTelemetry({
    ...(endpoint === undefined ? {} : { endpoint }),
    warn: (line) => warnings.push(line),
    ...options,
  })
  cleanups.push(() => telemetry.shutdown())
  return telemetry
}

const audit = ({ recorder }: Telemetry, count: number, prefix = 'a'): void => {
  for (let i = 0; i < count; i++) recorder.audit({ action: `${prefix}${i}` })
}

async function elapsedMs(work: () => unknown): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

describe('who hands over within the process', () => {
  const handedOver = async (): Promise<string> => {
    const requests: Buffer[] = []
    const telemetry = startTelemetry({ deliver: async (request) => void requests.push(Buffer.from(request)) })
    telemetry.recorder.system({ component: 'ingest-gateway', event: 'start' })
    await telemetry.shutdown()
    return Buffer.concat(requests).toString('latin1')
  }

  test('says which of several of its name it is', async () => {
    expect(await handedOver()).toContain(`service.instance.id`)
    expect(await handedOver()).toContain(`${hostname()}:${process.pid}`)
  })

  test('unless the environment says it', async () => {
    vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'service.instance.id=gateway-7')
    const request = await handedOver()
    vi.unstubAllEnvs()
    expect(request).toContain('gateway-7')
    expect(request).not.toContain(`${hostname()}:${process.pid}`)
  })
})

describe('an event', () => {
  test('arrives with its name, attributes and time, from a service that says who it is', async () => {
    const receiver = await startReceiver()
    const telemetry = start(`${receiver.url}/`, {
      serviceName: 'agnes-app',
      serviceVersion: '1.2.3',
      environment: 'staging',
      headers: { authorization: 'Bearer t' },
    })
    telemetry.recorder
      .at(new Date('2026-03-01T12:00:00.250Z'))
      .audit(
        { action: 'query.local', result: 'denied', durationMs: 1.5, params: { sql: 'SELECT „ž“' }, userId: 'u1' },
        { uid: 'event-1' },
      )
    await telemetry.flush()
    expect(receiver.requests).toMatchObject([
      {
        path: '/v1/logs',
        headers: { 'content-type': 'application/x-protobuf', authorization: 'Bearer t' },
        resource: { 'service.name': 'agnes-app', 'service.version': '1.2.3', 'deployment.environment.name': 'staging' },
        records: [
          {
            eventName: 'agnes.audit',
            timeUnixNano: BigInt(Date.UTC(2026, 2, 1, 12)) * 1_000_000n + 250_000_000n,
            severityText: 'WARN',
          },
        ],
      },
    ])
    const [record] = receiver.requests[0]?.records ?? []
    expect(plain(record?.attributes)).toEqual({
      'agnes.action': 'query.local',
      'agnes.result': 'denied',
      'agnes.duration_ms': 1.5,
      'agnes.params': '{"sql":"SELECT „ž“"}',
      'user.id': 'u1',
      'log.record.uid': 'event-1',
    })
    expect(Math.abs(Number(record?.observedTimeUnixNano) / 1e6 - Date.now())).toBeLessThan(10_000)
    expect(warnings).toEqual([])
  })

  test('leaves by itself after the delay', async () => {
    const receiver = await startReceiver()
    audit(start(receiver.url, { scheduledDelayMs: 10 }), 2)
    await receiver.received(1)
    expect(receiver.actions()).toEqual(['a0', 'a1'])
  })

  test('with text that is no Unicode arrives as Unicode', async () => {
    const receiver = await startReceiver()
    const telemetry = start(receiver.url)
    telemetry.recorder.audit({ action: 'half a pair: \ud83d.' })
    await telemetry.flush()
    expect(receiver.actions()).toEqual(['half a pair: \ufffd.'])
  })
})

describe('standard variables', () => {
  test('say where events go and from whom, where no option does', async () => {
    const receiver = await startReceiver()
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.url)
    vi.stubEnv('OTEL_SERVICE_NAME', 'from-env')
    vi.stubEnv('OTEL_RESOURCE_ATTRIBUTES', 'team=data,deployment.environment.name=env')
    const telemetry = start(undefined, { environment: 'option' })
    audit(telemetry, 1)
    await telemetry.flush()
    expect(receiver.requests.map(({ resource }) => resource)).toEqual([
      { 'service.name': 'from-env', team: 'data', 'deployment.environment.name': 'option' },
    ])
  })

  test('give way to options; without either the service is agnes', async () => {
    const receiver = await startReceiver()
    for (const options of [{ serviceName: 'from-option' }, {}]) {
      vi.stubEnv('OTEL_SERVICE_NAME', 'serviceName' in options ? 'from-env' : '')
      const telemetry = start(receiver.url, options)
      audit(telemetry, 1)
      await telemetry.shutdown()
    }
    expect(receiver.requests.map(({ resource }) => resource['service.name'])).toEqual(['from-option', 'agnes'])
    expect(warnings).toEqual([])
  })
})

describe('standard variables of the SDK', () => {
  test('switch it off: nothing is sent, and nobody is troubled', async () => {
    const receiver = await startReceiver()
    vi.stubEnv('OTEL_SDK_DISABLED', 'true')
    const telemetry = start(receiver.url)
    audit(telemetry, 3)
    await telemetry.shutdown()
    expect(receiver.requests).toEqual([])
    expect(warnings).toEqual([])
  })

  test('cut attributes, those of log records before those of everything', async () => {
    const receiver = await startReceiver()
    vi.stubEnv('OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT', '2')
    vi.stubEnv('OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT', '4')
    const telemetry = start(receiver.url)
    telemetry.recorder.audit({ action: 'abcdefgh' })
    await telemetry.flush()
    expect(receiver.actions()).toEqual(['abcd'])
  })

  test('that make no sense are as if they were not there', async () => {
    const receiver = await startReceiver()
    vi.stubEnv('OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT', '-1')
    vi.stubEnv('OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT', 'many')
    const telemetry = start(receiver.url)
    telemetry.recorder.audit({ action: 'abcdefgh' })
    await telemetry.flush()
    expect(receiver.actions()).toEqual(['abcdefgh'])
  })
})

describe('a receiver in trouble', () => {
  test('that is overloaded for a moment gets the same events again', async () => {
    const receiver = await startReceiver((n) => (n === 1 ? 503 : 200))
    const telemetry = start(receiver.url)
    audit(telemetry, 3)
    await telemetry.flush(9_000)
    expect(receiver.requests).toHaveLength(2)
    expect(receiver.requests[1]?.records).toEqual(receiver.requests[0]?.records)
    expect(receiver.actions().slice(3)).toEqual(['a0', 'a1', 'a2'])
    expect(telemetry.stats()).toEqual({ dropped: 0, undelivered: 0 })
    expect(warnings).toEqual([])
  })

  test('that is down harms nobody: recording goes on, flush and shutdown return, losses are counted', async () => {
    const telemetry = start(await deadUrl(), { maxQueueSize: 100 })
    const { recorder } = telemetry
    expect(await elapsedMs(() => audit(telemetry, 10_000))).toBeLessThan(3_000)
    expect(recorder.stats()).toEqual({ emitted: 10_000, failed: 0 })
    expect(telemetry.stats()).toEqual({ dropped: 9_900, undelivered: 0 })
    expect(warnings).toEqual(['telemetry: events could not be sent: 100 wait already, the newest are dropped'])
    expect(await elapsedMs(() => telemetry.flush(50))).toBeLessThan(1_000)
    expect(await elapsedMs(() => telemetry.shutdown())).toBeLessThan(4_500)
    expect(() => audit(telemetry, 1)).not.toThrow()
  })

  test('that refuses is named in one line, and what it refused is counted', async () => {
    const receiver = await startReceiver(() => 401)
    const telemetry = start(receiver.url)
    for (let i = 0; i < 3; i++) {
      audit(telemetry, 2)
      await telemetry.flush()
    }
    expect(warnings).toEqual(['telemetry: events could not be sent: Unauthorized'])
    expect(telemetry.stats()).toEqual({ dropped: 0, undelivered: 6 })
  })

  test('that is slow makes no more events wait than allowed, also while a flush is under way', async () => {
    const { promise: released, resolve: release } = deferred<number>()
    const receiver = await startReceiver(() => released)
    const telemetry = start(receiver.url, { maxQueueSize: 50 })
    audit(telemetry, 50, 'sent')
    await receiver.received(1)
    audit(telemetry, 30, 'kept')
    const flushed = telemetry.flush()
    audit(telemetry, 1_000, 'late')
    expect(telemetry.stats()).toEqual({ dropped: 980, undelivered: 0 })
    release(200)
    await flushed
    await telemetry.flush()
    expect(receiver.actions()).toHaveLength(100)
    expect(telemetry.stats()).toEqual({ dropped: 980, undelivered: 0 })
  })

  test('that never answers is left alone after shutdown: no batch is begun any more', async () => {
    const { promise: released, resolve: release } = deferred<number>()
    const receiver = await startReceiver(() => released)
    const telemetry = start(receiver.url)
    audit(telemetry, 1_000)
    expect(await elapsedMs(() => telemetry.shutdown())).toBeLessThan(4_500)
    expect(telemetry.stats()).toEqual({ dropped: 0, undelivered: 1_000 })
    telemetry.recorder.audit({ action: 'too.late' })
    expect(telemetry.stats().dropped).toBe(1)
    release(200)
    await vi.waitFor(() => expect(telemetry.stats()).toEqual({ dropped: 1, undelivered: 488 }))
    expect(receiver.requests).toHaveLength(1)
  })
})

describe('flush and shutdown', () => {
  test('each of two flushes at once waits for what was recorded before it', async () => {
    const receiver = await startReceiver()
    const telemetry = start(receiver.url)
    audit(telemetry, 1, 'first')
    const first = telemetry.flush()
    await receiver.received(1)
    audit(telemetry, 1, 'second')
    await telemetry.flush()
    expect(receiver.actions()).toEqual(['first0', 'second0'])
    await first
  })

  test('shutdown sends what was recorded, also in the middle of a flush', async () => {
    const receiver = await startReceiver()
    const telemetry = start(receiver.url)
    audit(telemetry, 1_500)
    void telemetry.flush()
    await receiver.received(1)
    audit(telemetry, 1, 'last')
    await telemetry.shutdown()
    expect(receiver.actions()).toHaveLength(1_501)
    expect(receiver.actions().at(-1)).toBe('last0')
  })

  test('shutdown twice is shutdown once; recording and flushing after it do nothing', async () => {
    const receiver = await startReceiver()
    const telemetry = start(receiver.url)
    audit(telemetry, 1)
    await Promise.all([telemetry.shutdown(), telemetry.shutdown()])
    audit(telemetry, 1, 'late')
    await telemetry.flush()
    await telemetry.shutdown()
    expect(receiver.actions()).toEqual(['a0'])
    expect(warnings).toEqual([])
  })

  test('telemetry can be started again after a shutdown, and an old one can’t stop the new one', async () => {
    const receiver = await startReceiver()
    const old = start(receiver.url)
    await old.shutdown()
    const telemetry = start(receiver.url)
    await old.shutdown()
    audit(telemetry, 1, 'new')
    await telemetry.flush()
    expect(receiver.actions()).toEqual(['new0'])
    expect(warnings).toEqual([])
  })
})

function plain(attributes: readonly KeyValue[] = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, scalar(value)]))
}

function scalar({ stringValue, boolValue, intValue, doubleValue }: AnyValue = {}): unknown {
  return stringValue ?? boolValue ?? intValue ?? doubleValue
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
