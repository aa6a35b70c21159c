/** OTLP/gRPC as its clients see it: the library's own client with bytes, and OpenTelemetry's exporter. */
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:net'
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectGrpc, type GrpcClient } from '../../../tests/support/grpc-client.ts'
import { openGate } from '../../../tests/support/open-gate.ts'
import {
  decodeExportLogsResponse,
  type ExportLogsRequest,
  encodeExportLogsRequest,
} from '../../../tests/support/otlp-reference.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'
import { createByteBudget } from '../byte-budget.ts'
import type { Ingest, Ingested } from '../ingest.ts'
import { SpoolUnavailableError } from '../spool/spool.ts'
import { listenGrpc } from './server.ts'

const maxDecodedBytes = 4 * 1024 * 1024
let gateway: SpoolOnlyGateway
let client: GrpcClient
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway({ maxDecodedBytes })
  client = connectGrpc(gateway.grpcPort)
})
afterAll(async () => {
  client.close()
  await gateway.stop()
})

let sent = 0
function fresh(records = 1): ExportLogsRequest {
  const logRecords = Array.from({ length: records }, () => ({ body: { stringValue: `event ${++sent}` } }))
  return { resourceLogs: [{ scopeLogs: [{ logRecords }] }] }
}

async function stored(body: Uint8Array): Promise<number> {
  const before = gateway.counts().backlogRecords
  await client.export(body)
  return gateway.counts().backlogRecords - before
}

describe('Export of logs', () => {
  test('an answer without an error means that the records are on disk', async () => {
    expect(await stored(encodeExportLogsRequest(fresh(3)))).toBe(3)
  })

  test('many calls at once are all taken', async () => {
    const before = gateway.counts().backlogRecords
    await Promise.all(Array.from({ length: 300 }, () => client.export(encodeExportLogsRequest(fresh()))))
    expect(gateway.counts().backlogRecords - before).toBe(300)
  })

  test('the same bytes again are a retry, also when the first came over HTTP', async () => {
    const body = encodeExportLogsRequest(fresh(2))
    const first = await fetch(`${gateway.url}/v1/logs`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-protobuf' },
      body: Buffer.from(body),
    })
    expect(first.status).toBe(200)
    expect(await stored(body)).toBe(0)
  })

  test('nothing at all is taken, as the specification says', async () => {
    expect(await stored(new Uint8Array())).toBe(0)
  })

  test('a record that is no good is left out and told, the others are kept', async () => {
    const attributes = Array.from({ length: 1_025 }, () => ({ key: 'k' }))
    const logRecords = [{ attributes }, { body: { stringValue: `good ${++sent}` } }]
    const before = gateway.counts().backlogRecords
    const answer = await client.export(encodeExportLogsRequest({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }))
    expect(decodeExportLogsResponse(answer)).toEqual({
      partialSuccess: {
        rejectedLogRecords: 1n,
        errorMessage: expect.stringContaining('1 × record rejected: more than 1024 attributes'),
      },
    })
    expect(gateway.counts().backlogRecords - before).toBe(1)
  })

  test.each<[string, () => Uint8Array, number, RegExp]>([
    ['no protobuf', () => Buffer.from('{"resourceLogs": []}'), status.INVALID_ARGUMENT, /not a valid ExportLogs/],
    ['half a message', () => encodeExportLogsRequest(fresh()).subarray(0, -1), status.INVALID_ARGUMENT, /runs past/],
    ['over the limit', () => new Uint8Array(maxDecodedBytes + 1), status.RESOURCE_EXHAUSTED, /larger than max/],
  ])('%s is refused for good', async (_what, body, code, details) => {
    const before = gateway.counts().backlogRecords
    await expect(client.export(body())).rejects.toMatchObject({ code, details: expect.stringMatching(details) })
    expect(gateway.counts().backlogRecords).toBe(before)
    expect(await stored(encodeExportLogsRequest(fresh()))).toBe(1)
  })

  test('gzip is inflated within the limit only', async () => {
    const zipping = connectGrpc(gateway.grpcPort, { compression: 'gzip' })
    const before = gateway.counts().backlogRecords
    await zipping.export(encodeExportLogsRequest(fresh(4)))
    expect(gateway.counts().backlogRecords - before).toBe(4)
    await expect(zipping.export(new Uint8Array(64 * 1024 * 1024))).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    })
    zipping.close()
  })
})

test('traces and metrics are accepted, counted and not stored', async () => {
  const before = gateway.counts().backlogRecords
  await client.export(encodeExportLogsRequest(fresh()), 'trace.v1.TraceService')
  await client.export(encodeExportLogsRequest(fresh()), 'metrics.v1.MetricsService')
  expect(gateway.counts()).toMatchObject({ backlogRecords: before, notStored: { traces: 1, metrics: 1 } })
})

test('a method we do not have is UNIMPLEMENTED', async () => {
  await expect(client.export(new Uint8Array(), 'profiles.v1.ProfilesService')).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
  })
})

test("OpenTelemetry's own exporter delivers", async () => {
  const { OTLPLogExporter } = await import('@opentelemetry/exporter-logs-otlp-grpc')
  const { LoggerProvider, SimpleLogRecordProcessor } = await import('@opentelemetry/sdk-logs')
  const exporter = new OTLPLogExporter({ url: `http://127.0.0.1:${gateway.grpcPort}` })
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] })
  const before = gateway.counts().backlogRecords
  provider.getLogger('test').emit({ eventName: 'agnes.audit', body: 'by gRPC' })
  await provider.forceFlush()
  await expect.poll(() => gateway.counts().backlogRecords - before).toBe(1)
  await provider.shutdown()
})

describe('a gateway in trouble', () => {
  async function withIngest(logs: Ingest['logs'], work: (client: GrpcClient, lines: string[]) => Promise<void>) {
    const lines: string[] = []
    const listener = await listenGrpc({
      host: '127.0.0.1',
      port: 0,
      limits: { maxBodyBytes: maxDecodedBytes, maxDecodedBytes },
      budget: createByteBudget(maxDecodedBytes),
      ingest: { logs },
      gate: openGate,
      onNotStored: () => {},
      onAnswered: () => {},
      onRefused: () => {},
      log: (line) => lines.push(line),
    })
    const own = connectGrpc(listener.port)
    await work(own, lines)
    own.close()
    await listener.close()
  }

  test('a disk that cannot be written is UNAVAILABLE: clients try again', async () => {
    const fails = (): Promise<Ingested> => Promise.reject(new SpoolUnavailableError('the disk is full'))
    await withIngest(fails, async (own) => {
      await expect(own.export(new Uint8Array([1]))).rejects.toMatchObject({
        code: status.UNAVAILABLE,
        details: expect.stringContaining('nothing was stored, try again'),
      })
    })
  })

  test('an error of ours is UNAVAILABLE too, logged, and no secret of ours is told', async () => {
    const fails = (): Promise<Ingested> => Promise.reject(new Error('secret detail'))
    await withIngest(fails, async (own, lines) => {
      const failed = own.export(new Uint8Array([1]))
      await expect(failed).rejects.toMatchObject({ code: status.UNAVAILABLE })
      await expect(failed).rejects.not.toMatchObject({ details: expect.stringContaining('secret') })
      expect(lines.join('\n')).toContain('secret detail')
    })
  })

  test('more than it can hold is UNAVAILABLE, until there is room again', async () => {
    const entered = new EventEmitter()
    const slow = (): Promise<Ingested> =>
      new Promise((resolve) => {
        entered.emit('call', () => resolve({ rejected: 0, notes: [] }))
      })
    await withIngest(slow, async (own) => {
      const large = new Uint8Array(maxDecodedBytes - 1)
      const begun = once(entered, 'call')
      const first = own.export(new Uint8Array(2))
      const [release] = (await begun) as [() => void]
      await expect(own.export(large)).rejects.toMatchObject({
        code: status.UNAVAILABLE,
        details: expect.stringContaining('try again'),
      })
      release()
      await first
      entered.once('call', (resolve: () => void) => resolve())
      await own.export(large)
    })
  })

  test('it stops within seconds though a call hangs', async () => {
    const before = performance.now()
    await withIngest(
      () => new Promise<Ingested>(() => {}),
      async (own) => {
        own.export(new Uint8Array([1])).catch(() => {})
        await own.ready()
      },
    )
    expect(performance.now() - before).toBeLessThan(8_000)
  })
})

test('a taken port is named with the variable to change', async () => {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
  const { port } = holder.address() as { port: number }
  await expect(
    listenGrpc({
      host: '127.0.0.1',
      port,
      limits: { maxBodyBytes: 1, maxDecodedBytes: 1 },
      budget: createByteBudget(1),
      ingest: { logs: () => Promise.reject(new Error()) },
      gate: openGate,
      onNotStored: () => {},
      onAnswered: () => {},
      onRefused: () => {},
      log: () => {},
    }),
  ).rejects.toMatchObject({ code: 'port_taken', hint: expect.stringContaining('AGNES_OTLP_GRPC_PORT') })
  await new Promise((resolve) => holder.close(resolve))
})
