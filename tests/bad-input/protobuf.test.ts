/** Section D of the catalogue: bytes that are hardly protobuf, or too much of it. Cases that stand elsewhere: catalogue.ts. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { transcodeProtobuf } from '../../ingest-gateway/src/otlp/transcode-protobuf.ts'
import { expectInvariants, secret } from '../support/invariants.ts'
import { decodeExportLogsResponse, decodeStatus } from '../support/otlp-reference.ts'
import { type Field, message } from '../support/protobuf-wire.ts'
import { send } from '../support/raw-http.ts'
import { type Row, rowsOf } from '../support/rowbinary.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../support/spool-only-gateway.ts'

const now = 1_795_000_000_000_000_000n

let gateway: SpoolOnlyGateway
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway()
})
afterAll(() => gateway.stop())
afterEach(() => expectInvariants(gateway))

interface Taken {
  readonly status: number
  /** `error_message` of the partial success, or the message of the Status. */
  readonly said: string
  readonly stored: number
}

async function post(body: Uint8Array): Promise<Taken> {
  const before = gateway.counts().backlogRecords
  const headers = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'gzip' }
  const answer = await send(gateway.port, { headers, body: gzipSync(body, { level: 1 }) })
  expect(answer.body.toString('latin1')).not.toContain('canary')
  const said =
    answer.status === 200
      ? decodeExportLogsResponse(answer.body).partialSuccess?.errorMessage
      : decodeStatus(answer.body).message
  return { status: answer.status, said: said ?? '', stored: gateway.counts().backlogRecords - before }
}

const request = (...records: Field[][]): Buffer =>
  message([{ number: 1, message: [{ number: 2, message: records.map((record) => ({ number: 2, message: record })) }] }])
const rows = (bytes: Uint8Array): Row[] => rowsOf(transcodeProtobuf(bytes, now).bytes)

test.each<[string, () => Buffer]>([
  ['60 MiB in one', () => message([{ number: 15, bytes: Buffer.alloc(60 * 1024 * 1024) }])],
  ['10 million of two bytes', () => Buffer.alloc(20_000_000, Buffer.from([0x78, 0x01]))],
  [
    '10 million empty ones in a record',
    () =>
      request([
        { number: 15, bytes: '' },
        { number: 200, bytes: Buffer.alloc(20_000_000, Buffer.from([0x7a, 0])) },
      ]),
  ],
])('#87 unknown fields, %s: jumped over, and nobody waits a second for it', async (_, body) => {
  const bytes = body()
  const delay = monitorEventLoopDelay({ resolution: 5 })
  const zipped = gzipSync(bytes, { level: 1 })
  delay.enable()
  const headers = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'gzip' }
  const answer = await send(gateway.port, { headers, body: zipped })
  delay.disable()
  expect(answer.status).toBe(200)
  expect(delay.max / 1e6).toBeLessThan(1_000)
})

test('#90 packed numbers where a single one belongs are another wire type, hence an unknown field', async () => {
  const record: Field[] = [
    { number: 2, bytes: Buffer.from([9, 9, 9]) },
    { number: 8, bytes: Buffer.alloc(8, 1) },
  ]
  expect(await post(request(record))).toEqual({ status: 200, said: '', stored: 1 })
  expect(rows(request(record))[0]).toMatchObject({ SeverityNumber: 0, TraceFlags: 0 })
})

test('#93 text by index into a table, as profiles have it, is an empty value here', async () => {
  const record: Field[] = [{ number: 5, message: [{ number: 8, varint: 4n }] }]
  expect(await post(request(record))).toEqual({ status: 200, said: '', stored: 1 })
  expect(rows(request(record))[0]).toMatchObject({ Body: '' })
})

test('#94 spans sent to the path of logs have the same shape outside; none of them is stored as a log', async () => {
  const span: Field[] = [
    { number: 1, bytes: Buffer.alloc(16, 1) },
    { number: 2, bytes: Buffer.alloc(8, 2) },
    { number: 5, bytes: 'GET /orders' },
    { number: 6, varint: 2n },
    { number: 7, fixed64: now },
    { number: 8, fixed64: now },
  ]
  expect(await post(request(span))).toMatchObject({ status: 400, stored: 0 })
})

test.each<[bigint, bigint, RegExp]>([
  [0n, now, /^$/],
  [2n ** 63n - 1n, 2n ** 63n - 1n, /^$/],
  [2n ** 63n, now, /^1 × time beyond the year 2262/],
  [2n ** 64n - 1n, now, /^1 × time beyond the year 2262/],
])('#95 the time %i', async (time, timestamp, said) => {
  const record: Field[] = [{ number: 1, fixed64: time }]
  expect(await post(request(record))).toEqual({ status: 200, said: expect.stringMatching(said), stored: 1 })
  expect(rows(request(record))[0]?.Timestamp).toBe(timestamp)
})

test.each([0, 1, 15, 17, 32, 2 ** 20])('#96 a trace id of %i bytes is left out', async (length) => {
  const record: Field[] = [{ number: 9, bytes: Buffer.alloc(length, 1) }]
  const said = length === 0 ? '' : expect.stringMatching(/^1 × trace_id was not 16 bytes/)
  expect(await post(request(record))).toEqual({ status: 200, said, stored: 1 })
  expect(rows(request(record))[0]?.TraceId).toBe('')
})

test('what is refused quotes none of it', async () => {
  for (const text of [secret, `\x0a\x20${secret}`, `\x0a\x02\x12\xff${secret}`]) {
    expect(await post(Buffer.from(text, 'latin1'))).toMatchObject({ status: 400, stored: 0 })
  }
})
