import { compileRules, createRedaction } from '@agnes/redaction'
import { afterAll, expect, test } from 'vitest'
import { encodeJson } from '../../../tests/support/otlp-json.ts'
import { type ExportLogsRequest, encodeExportLogsRequest } from '../../../tests/support/otlp-reference.ts'
import { send } from '../../../tests/support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'
import { createIdCollector } from '../event-ids.ts'
import { decode, RequestError, type WireFormat } from './decode.ts'
import { createDecodeThreads } from './decode-threads.ts'

const keys = { redactionKey: Buffer.alloc(32, 1), recognitionKey: Buffer.alloc(16, 2) }
const redaction = createRedaction(await compileRules({}), keys.redactionKey)
const threads = createDecodeThreads(1, { ...keys, rules: {}, limits: undefined }, () => {})
afterAll(() => threads.close())

const receivedAtNs = 1_795_000_000_000_000_000n
const request = (ids: readonly string[], text = 'password=hunter2-hunter2'): ExportLogsRequest => ({
  resourceLogs: [
    {
      scopeLogs: [
        {
          logRecords: ids.map((id) => ({
            body: { stringValue: text },
            attributes: [{ key: 'log.record.uid', value: { stringValue: id } }],
          })),
        },
      ],
    },
  ],
})
const encode = (format: WireFormat, sent: ExportLogsRequest): Buffer =>
  Buffer.from(format === 'protobuf' ? encodeExportLogsRequest(sent) : encodeJson(sent))

test.each(['protobuf', 'json'] as const)('a thread makes of %s what this thread makes of it', async (format) => {
  const sent = request(['a', 'b', 'a', 'c'])
  const ids = createIdCollector(keys.recognitionKey)('acme')
  const here = decode(encode(format, sent), format, receivedAtNs, { redactor: redaction('acme'), ids })
  const there = await threads.decode({
    body: encode(format, sent),
    format,
    tenant: 'acme',
    receivedAtNs,
    known: undefined,
  })
  expect(Buffer.from(there.rows.bytes).equals(here.bytes)).toBe(true)
  expect({ ...there.rows, bytes: undefined }).toEqual({ ...here, bytes: undefined })
  expect(there.rows).toMatchObject({ records: 3, duplicates: 1 })
  expect(Buffer.from(there.ids).equals(ids.added())).toBe(true)
  expect(there.body.equals(encode(format, sent))).toBe(true)
})

test('events that came before are left out when the request is decoded again', async () => {
  const asked = { format: 'protobuf', tenant: 'acme', receivedAtNs } as const
  const body = encode('protobuf', request(['a', 'b', 'c']))
  const first = await threads.decode({ ...asked, body, known: undefined })
  const again = await threads.decode({ ...asked, body: first.body, known: first.ids.slice(8, 16) })
  expect(again.rows).toMatchObject({ records: 2, duplicates: 1 })
})

test('what cannot be understood is refused with the same words', async () => {
  const asked = { format: 'protobuf', tenant: 'acme', receivedAtNs, known: undefined } as const
  const refusal = await threads.decode({ ...asked, body: Buffer.from([0x0a, 0x7f]) }).catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(RequestError)
  expect(refusal).toMatchObject({
    status: 400,
    message: expect.stringContaining('not a valid ExportLogsServiceRequest'),
  })
})

test('a request whose thread ends may be sent again, and gets another thread', async () => {
  const asked = { format: 'json', tenant: 'acme', receivedAtNs, known: undefined } as const
  const others = createDecodeThreads(1, { ...keys, rules: {}, limits: undefined }, () => {})
  const lost = others.decode({ ...asked, body: encode('json', request(['a'])) })
  // Before the thread could even load its code.
  await Promise.all([others.close(), expect(lost).rejects.toThrow('the decoding thread ended')])
  expect((await others.decode({ ...asked, body: encode('json', request(['a'])) })).rows.records).toBe(1)
  await others.close()
})

/** More than a megabyte, so that a thread decodes it. */
const large = (from: number, records: number): ExportLogsRequest =>
  request(
    Array.from({ length: records }, (_, i) => `id-${from + i}`),
    'x'.repeat(2_000),
  )

async function withGateway(work: (gateway: SpoolOnlyGateway) => Promise<void>): Promise<void> {
  const gateway = await startSpoolOnlyGateway()
  try {
    await work(gateway)
  } finally {
    await gateway.stop()
  }
}

const post = (gateway: SpoolOnlyGateway, format: WireFormat, sent: ExportLogsRequest) =>
  send(gateway.port, {
    path: '/v1/logs',
    headers: { 'Content-Type': format === 'json' ? 'application/json' : 'application/x-protobuf' },
    body: encode(format, sent),
  })

test('events of large requests that overlap are stored once, also when the requests come at the same time', () =>
  withGateway(async (gateway) => {
    const answers = await Promise.all([
      post(gateway, 'protobuf', large(0, 600)),
      post(gateway, 'json', large(300, 600)),
      post(gateway, 'protobuf', large(599, 1)),
      post(gateway, 'protobuf', large(0, 600)),
    ])
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(gateway.counts()).toMatchObject({ received: 1_801, duplicate: 901, backlogRecords: 900 })
  }))

test('P24 others are answered while a large request is decoded', () =>
  withGateway(async (gateway) => {
    const sent = large(0, 3_000)
    const began = performance.now()
    let busy = true
    const answer = post(gateway, 'json', sent).finally(() => {
      busy = false
    })
    let longest = 0
    for (let id = 0; busy; id++) {
      const asked = performance.now()
      expect((await post(gateway, 'protobuf', request([`small-${id}`]))).status).toBe(200)
      longest = Math.max(longest, performance.now() - asked)
    }
    expect((await answer).status).toBe(200)
    // Decoded on the thread that answers, one of the others would wait for the whole of it.
    expect(longest).toBeLessThan((performance.now() - began) / 2)
  }))
