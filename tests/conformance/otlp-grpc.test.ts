/**
 * What the OTLP specification asks of a server over gRPC, one test a requirement, named by the section it stands in.
 * @see https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
 */
import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectGrpc, type GrpcClient } from '../support/grpc-client.ts'
import {
  decodeExportLogsResponse,
  type ExportLogsRequest,
  encodeExportLogsRequest,
  type LogRecord,
} from '../support/otlp-reference.ts'
import { openConnection, requestBytes } from '../support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../support/spool-only-gateway.ts'

const maxDecodedBytes = 200_000

let gateway: SpoolOnlyGateway
let client: GrpcClient
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway({ maxBodyBytes: maxDecodedBytes, maxDecodedBytes })
  client = connectGrpc(gateway.grpcPort)
})
afterAll(async () => {
  client.close()
  await gateway.stop()
})

const withRecords = (...logRecords: LogRecord[]): ExportLogsRequest => ({
  resourceLogs: [{ scopeLogs: [{ logRecords }] }],
})
let sent = 0
const fresh = (): LogRecord => ({ body: { stringValue: `event ${++sent}` } })
const rejected = (): LogRecord => ({ ...fresh(), attributes: Array(1_025).fill({ key: 'k' }) })

/** @returns the answer, and how many records came to lie on the disk */
async function export_(request: ExportLogsRequest, over = client) {
  const before = gateway.counts().backlogRecords
  const answer = decodeExportLogsResponse(await over.export(encodeExportLogsRequest(request)))
  return { answer, stored: gateway.counts().backlogRecords - before }
}

test('Protocol Details: all server components MUST support no compression and gzip', async () => {
  const zipping = connectGrpc(gateway.grpcPort, { compression: 'gzip' })
  expect(await export_(withRecords(fresh()))).toEqual({ answer: {}, stored: 1 })
  expect(await export_(withRecords(fresh()), zipping)).toEqual({ answer: {}, stored: 1 })
  zipping.close()
})

test('OTLP/gRPC > Request: the server MUST enforce a message size limit, compressed or not (RESOURCE_EXHAUSTED)', async () => {
  const zipping = connectGrpc(gateway.grpcPort, { compression: 'gzip' })
  const large = encodeExportLogsRequest(withRecords({ body: { stringValue: 'x'.repeat(maxDecodedBytes) } }))
  for (const over of [client, zipping]) {
    await expect(over.export(large)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
  }
  zipping.close()
})

test('OTLP/gRPC > Concurrent Requests: many unary calls at once are answered, each for itself', async () => {
  const requests = Array.from({ length: 100 }, (_, i) => withRecords(fresh(), ...(i % 2 === 0 ? [rejected()] : [])))
  const answers = await Promise.all(requests.map((request) => client.export(encodeExportLogsRequest(request))))
  const counts = answers.map((answer) => decodeExportLogsResponse(answer).partialSuccess?.rejectedLogRecords)
  expect(counts).toEqual(requests.map((_, i) => (i % 2 === 0 ? 1n : undefined)))
})

describe('OTLP/gRPC > OTLP/gRPC Response > Full Success', () => {
  test('to an empty request the server SHOULD respond with success', async () => {
    for (const request of [{}, { resourceLogs: [{}] }, withRecords()]) {
      expect(await export_(request)).toEqual({ answer: {}, stored: 0 })
    }
  })

  test('the response MUST be an ExportLogsServiceResponse with partial_success unset', async () => {
    expect(await export_(withRecords(fresh(), fresh()))).toEqual({ answer: {}, stored: 2 })
  })

  test.each(['trace.v1.TraceService', 'metrics.v1.MetricsService'])('%s: accepted, empty response', async (service) => {
    expect(await client.export(Buffer.from([0x0a, 0x00]), service)).toHaveLength(0)
  })
})

describe('OTLP/gRPC > OTLP/gRPC Response > Partial Success', () => {
  test('the server MUST set partial_success and the number it rejected, SHOULD say why in English', async () => {
    expect(await export_(withRecords(rejected(), fresh()))).toEqual({
      answer: {
        partialSuccess: { rejectedLogRecords: 1n, errorMessage: expect.stringContaining('more than 1024 attributes') },
      },
      stored: 1,
    })
  })

  test('with a warning rejected_log_records MUST be 0 and error_message MUST be non-empty', async () => {
    const { answer, stored } = await export_(withRecords({ ...fresh(), spanId: Buffer.from('short') }))
    expect(stored).toBe(1)
    expect(answer).toEqual({ partialSuccess: { errorMessage: expect.stringContaining('span_id was not 8 bytes') } })
  })
})

describe('OTLP/gRPC > OTLP/gRPC Response > Failures', () => {
  test('not-retryable errors are recommended to be INVALID_ARGUMENT', async () => {
    await expect(client.export(Buffer.from('{"resourceLogs":[]}'))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('not a valid ExportLogsServiceRequest in protobuf'),
    })
  })

  test('RESOURCE_EXHAUSTED without RetryInfo is not retryable, and we only use it for what a retry cannot mend', async () => {
    const records = Array(50_001).fill(Buffer.from([0x12, 0x00])) as Buffer[]
    const scope = Buffer.concat([Buffer.from([0x12, ...varint(records.length * 2)]), ...records])
    const tooMany = Buffer.concat([Buffer.from([0x0a, ...varint(scope.length)]), scope])
    await expect(client.export(tooMany)).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('more than 50000 log records'),
    })
  })

  test('a signal we do not know is UNIMPLEMENTED, which is not retryable', async () => {
    const call = client.export(new Uint8Array(), 'profiles.v1development.ProfilesService')
    await expect(call).rejects.toMatchObject({ code: status.UNIMPLEMENTED })
  })
})

test('OTLP/gRPC > OTLP/gRPC Throttling: an overloaded server SHOULD return UNAVAILABLE', async () => {
  // What HTTP clients are sending fills the same memory.
  const request = requestBytes({ headers: { 'Content-Type': 'application/json' }, body: ' '.repeat(190_000) })
  const slow = await Promise.all(Array.from({ length: 4 }, () => openConnection(gateway.port)))
  let refused = 0
  for (const { socket, answer } of slow) {
    socket.write(request.subarray(0, -10))
    void answer().then(
      () => refused++,
      () => {},
    )
  }
  // Two have room; they wait for their last bytes.
  await expect.poll(() => refused, { timeout: 10_000 }).toBe(2)
  const large = (): Promise<unknown> => export_(withRecords(fresh(), { body: { stringValue: 'x'.repeat(150_000) } }))
  const codeOf = (): Promise<unknown> =>
    large().then(
      () => status.OK,
      (error: { code: number }) => error.code,
    )
  await expect.poll(codeOf, { timeout: 10_000 }).toBe(status.UNAVAILABLE)
  for (const { socket } of slow) socket.destroy()
  await expect.poll(codeOf, { timeout: 10_000 }).toBe(status.OK)
})

/** Of a length below 2^21. */
function varint(value: number): number[] {
  return [(value & 0x7f) | 0x80, ((value >>> 7) & 0x7f) | 0x80, value >>> 14]
}
