/**
 * What the OTLP specification asks of a server over HTTP, one test a requirement, named by the section it stands in.
 * Requirements that hold for both encodings are tried in both. Where we do otherwise the title says so, and why.
 * @see https://opentelemetry.io/docs/specs/otlp/
 */
import { gzipSync } from 'node:zlib'
import { parseConfig } from '@agnes/config'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  decodeExportLogsResponse,
  decodeStatus,
  type ExportLogsRequest,
  type ExportLogsResponse,
  encodeExportLogsRequest,
  type LogRecord,
} from '../support/otlp-reference.ts'
import { openConnection, type RawAnswer, type RawRequest, requestBytes, send } from '../support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../support/spool-only-gateway.ts'

const maxBodyBytes = 100_000
const maxDecodedBytes = 200_000

let gateway: SpoolOnlyGateway
beforeAll(async () => {
  gateway = await startSpoolOnlyGateway({ maxBodyBytes, maxDecodedBytes })
})
afterAll(() => gateway.stop())

/** One of the two encodings: how a client writes requests in it and reads the answers. */
interface Encoding {
  readonly name: string
  readonly contentType: string
  readonly encode: (request: ExportLogsRequest) => Uint8Array | string
  readonly response: (body: Buffer) => ExportLogsResponse
  readonly status: (body: Buffer) => { code?: number; message?: string }
  /** Bytes that no request in this encoding has. */
  readonly nonsense: string
}

const protobuf: Encoding = {
  name: 'binary protobuf',
  contentType: 'application/x-protobuf',
  encode: encodeExportLogsRequest,
  response: decodeExportLogsResponse,
  status: decodeStatus,
  nonsense: '\x0a\xff',
}

const json: Encoding = {
  name: 'JSON',
  contentType: 'application/json',
  encode: (request) => JSON.stringify(request),
  response(body) {
    const { partialSuccess: partial, ...rest } = JSON.parse(body.toString()) as {
      partialSuccess?: { rejectedLogRecords?: string; errorMessage?: string }
    }
    if (partial === undefined) return rest
    const { rejectedLogRecords: rejected, ...message } = partial
    // Protobuf leaves a 0 away.
    return {
      partialSuccess: { ...message, ...(rejected === '0' ? {} : { rejectedLogRecords: BigInt(rejected ?? 0) }) },
    }
  },
  status: (body) => JSON.parse(body.toString()),
  nonsense: '{"resourceLogs":',
}

const encodings = [protobuf, json]

const withRecords = (...logRecords: LogRecord[]): ExportLogsRequest => ({
  resourceLogs: [{ scopeLogs: [{ logRecords }] }],
})
let sent = 0
const fresh = (): LogRecord => ({ body: { stringValue: `event ${++sent}` } })
/** More attributes than a record may have. */
const rejected = (): LogRecord => ({ ...fresh(), attributes: Array(1_025).fill({ key: 'k' }) })

/** Posts to /v1/logs unless told; `stored` says how many records came to lie on the disk. */
async function post(
  { contentType }: Encoding,
  body: Uint8Array | string,
  request: RawRequest = {},
): Promise<RawAnswer & { stored: number }> {
  const before = gateway.counts().backlogRecords
  const headers = { 'Content-Type': contentType, ...request.headers }
  const answer = await send(gateway.port, { ...request, headers, body })
  return { ...answer, stored: gateway.counts().backlogRecords - before }
}

describe('Protocol Details', () => {
  test.each(encodings)('all server components MUST support no compression and gzip ($name)', async (encoding) => {
    expect(await post(encoding, encoding.encode(withRecords(fresh())))).toMatchObject({ status: 200, stored: 1 })
    const zipped = gzipSync(encoding.encode(withRecords(fresh())))
    const answer = await post(encoding, zipped, { headers: { 'Content-Encoding': 'gzip' } })
    expect(answer).toMatchObject({ status: 200, stored: 1 })
  })
})

describe('OTLP/HTTP > Binary Protobuf Encoding, JSON Protobuf Encoding', () => {
  test.each(encodings)('the server MUST set Content-Type: $contentType when sending $name', async (encoding) => {
    const answer = await post(encoding, encoding.encode(withRecords(rejected())))
    expect(answer.headers['content-type']).toBe(encoding.contentType)
    expect(encoding.response(answer.body)).toMatchObject({ partialSuccess: { rejectedLogRecords: 1n } })
  })
})

describe('OTLP/HTTP > OTLP/HTTP Request', () => {
  test.each(['/v1/logs', '/v1/traces', '/v1/metrics'])('the default URL path %s is served, for POST', async (path) => {
    for (const encoding of encodings) {
      const empty = encoding === json ? '{}' : ''
      expect(await post(encoding, empty, { path })).toMatchObject({ status: 200 })
    }
  })

  test.each(encodings)(
    'the server MUST limit the size of the request body; over it SHOULD answer 413 ($name)',
    async (encoding) => {
      const large = encoding.encode(withRecords({ body: { stringValue: 'x'.repeat(maxBodyBytes) } }))
      for (const chunked of [false, true]) {
        expect(await post(encoding, large, { chunked })).toMatchObject({ status: 413, stored: 0 })
      }
    },
  )

  test.each(encodings)('… including after decompression ($name)', async (encoding) => {
    const zipped = gzipSync(encoding.encode(withRecords({ body: { stringValue: 'x'.repeat(maxDecodedBytes) } })))
    expect(zipped.length).toBeLessThan(maxBodyBytes)
    const answer = await post(encoding, zipped, { headers: { 'Content-Encoding': 'gzip' } })
    expect(answer).toMatchObject({ status: 413, stored: 0 })
  })
})

describe('OTLP/HTTP > OTLP/HTTP Response', () => {
  test.each(encodings)(
    'the server MUST use the Content-Type of the request, in success and failure ($name)',
    async (encoding) => {
      for (const [body, headers] of [
        [encoding.encode(withRecords(fresh())), {}],
        [encoding.encode(withRecords(rejected())), {}],
        [encoding.nonsense, {}],
        ['x', { 'Content-Encoding': 'br' }],
        ['x'.repeat(maxBodyBytes + 1), {}],
      ] as const) {
        const answer = await post(encoding, body, { headers })
        expect(answer.headers['content-type']).toBe(encoding.contentType)
      }
      const parameters = { headers: { 'Content-Type': `${encoding.contentType}; charset=utf-8` } }
      expect((await post(encoding, encoding.nonsense, parameters)).headers['content-type']).toBe(encoding.contentType)
    },
  )

  test('the server MAY gzip-encode the response: we never do, it is a few bytes', async () => {
    const answer = await post(json, json.encode(withRecords(rejected())), { headers: { 'Accept-Encoding': 'gzip' } })
    expect(answer.headers).not.toHaveProperty('content-encoding')
  })
})

describe('OTLP/HTTP > OTLP/HTTP Response > Full Success', () => {
  test.each(encodings)('to an empty request the server SHOULD respond with success ($name)', async (encoding) => {
    const empties: ExportLogsRequest[] = [{}, { resourceLogs: [] }, { resourceLogs: [{}] }, withRecords()]
    for (const request of empties) {
      const answer = await post(encoding, encoding.encode(request))
      expect(answer).toMatchObject({ status: 200, stored: 0 })
      expect(encoding.response(answer.body)).toEqual({})
    }
  })

  test.each(encodings)(
    'the server MUST respond with 200, the body MUST be an ExportLogsServiceResponse, partial_success MUST be unset ($name)',
    async (encoding) => {
      const answer = await post(encoding, encoding.encode(withRecords(fresh(), fresh())))
      expect(answer).toMatchObject({ status: 200, stored: 2 })
      expect(encoding.response(answer.body)).toEqual({})
    },
  )

  test('spans and metric points are "successfully accepted" and not stored: senders need no special set-up; health counts them', async () => {
    const before = gateway.counts().notStored
    const answer = await post(json, '{"resourceSpans":[{}]}', { path: '/v1/traces' })
    expect(answer).toMatchObject({ status: 200, stored: 0 })
    expect(answer.body.toString()).toBe('{}')
    expect(gateway.counts().notStored).toEqual({ ...before, traces: before.traces + 1 })
  })
})

describe('OTLP/HTTP > OTLP/HTTP Response > Partial Success', () => {
  test.each(encodings)(
    'the server MUST respond with 200, MUST set partial_success and the number it rejected, SHOULD say why in English ($name)',
    async (encoding) => {
      const answer = await post(encoding, encoding.encode(withRecords(rejected(), fresh(), rejected())))
      expect(answer).toMatchObject({ status: 200, stored: 1 })
      expect(encoding.response(answer.body)).toEqual({
        partialSuccess: {
          rejectedLogRecords: 2n,
          errorMessage: '2 × record rejected: more than 1024 attributes; send fewer or put them into the body',
        },
      })
    },
  )

  test.each(encodings)(
    'with a warning rejected_log_records MUST be 0 and error_message MUST be non-empty ($name)',
    async (encoding) => {
      const answer = await post(encoding, encoding.encode(withRecords({ ...fresh(), severityNumber: 256 })))
      expect(answer).toMatchObject({ status: 200, stored: 1 })
      expect(encoding.response(answer.body)).toEqual({
        partialSuccess: { errorMessage: expect.stringContaining('severity_number') },
      })
    },
  )
})

describe('OTLP/HTTP > OTLP/HTTP Response > Failures', () => {
  const failing: [number, RawRequest][] = [
    [400, { body: 'what is this?' }],
    [404, { path: '/v1/log', body: '' }],
    [404, { path: '/v1development/profiles', body: '' }],
    [405, { method: 'PUT', body: '' }],
    [413, { body: 'x'.repeat(maxBodyBytes + 1) }],
    [415, { headers: { 'Content-Encoding': 'br' }, body: 'x' }],
  ]

  test.each(encodings)(
    'the body of all 4xx and 5xx MUST be a Status, its message SHOULD be for developers ($name)',
    async (encoding) => {
      for (const [status, request] of failing) {
        const answer = await post(encoding, request.body ?? '', request)
        expect(answer).toMatchObject({ status, stored: 0, headers: { 'content-type': encoding.contentType } })
        expect(encoding.status(answer.body)).toEqual({
          code: expect.any(Number),
          message: expect.stringMatching(/.{15}/),
        })
      }
    },
  )

  test('… also where the content type is none of ours, or the bytes are no HTTP: then in JSON', async () => {
    for (const bytes of [requestBytes({ headers: { 'Content-Type': 'text/plain' }, body: 'x' }), 'no HTTP\r\n\r\n']) {
      const { socket, answer } = await openConnection(gateway.port)
      socket.write(bytes)
      const { headers, body } = await answer()
      expect(headers['content-type']).toBe('application/json')
      expect(json.status(body)).toEqual({ code: 3, message: expect.stringMatching(/.{15}/) })
      socket.destroy()
    }
  })

  test('OTLP/HTTP > … > Retryable Response Codes: what a retry cannot mend is never answered with 429, 502, 503 or 504', async () => {
    for (const encoding of encodings) {
      for (const [, request] of failing) {
        const { status } = await post(encoding, request.body ?? '', request)
        expect([429, 502, 503, 504]).not.toContain(status)
      }
    }
  })
})

describe('OTLP/HTTP > OTLP/HTTP Response > Bad Data', () => {
  test.each(encodings)('for data that cannot be decoded the server MUST respond with 400 ($name)', async (encoding) => {
    const other = encoding === json ? protobuf : json
    for (const body of [encoding.nonsense, other.encode(withRecords(fresh()))]) {
      expect(await post(encoding, body)).toMatchObject({ status: 400, stored: 0 })
    }
    const unzipped = await post(encoding, encoding.encode(withRecords(fresh())), {
      headers: { 'Content-Encoding': 'gzip' },
    })
    expect(unzipped).toMatchObject({ status: 400, stored: 0 })
  })

  test('Status.details SHOULD contain a BadRequest: ours does not, Status.message already says what is wrong and where', async () => {
    const answer = await post(json, '{"resourceLogs":[{},5]}')
    expect(json.status(answer.body)).toEqual({ code: 3, message: 'resourceLogs[1] must be an object, but is a number' })
  })

  test('spans and metric points are not decoded, hence never bad: we keep none of them', async () => {
    expect(await post(json, '{', { path: '/v1/traces' })).toMatchObject({ status: 200, stored: 0 })
  })
})

describe('OTLP/HTTP > OTLP/HTTP Response > OTLP/HTTP Throttling', () => {
  test('an overloaded server SHOULD respond with 503 and MAY include Retry-After', async () => {
    const filler = json.encode(withRecords({ body: { stringValue: 'x'.repeat(90_000) } }))
    const request = requestBytes({ headers: { 'Content-Type': json.contentType }, body: filler })
    const slow = await Promise.all(Array.from({ length: 9 }, () => openConnection(gateway.port)))
    for (const { socket } of slow) socket.write(request.subarray(0, -10))
    const another = (): Promise<RawAnswer> =>
      post(json, json.encode(withRecords(fresh(), { body: { stringValue: 'y'.repeat(80_000) } })))
    await expect.poll(another, { timeout: 10_000 }).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    for (const { socket } of slow) socket.destroy()
    await expect.poll(another, { timeout: 10_000 }).toMatchObject({ status: 200 })
  })
})

describe('OTLP/HTTP > OTLP/HTTP Connection', () => {
  test('servers SHOULD accept both encodings on the same port by their Content-Type; a connection is kept alive between requests', async () => {
    const { socket, answer } = await openConnection(gateway.port)
    for (const { contentType, encode } of [...encodings, ...encodings]) {
      socket.write(requestBytes({ headers: { 'Content-Type': contentType }, body: encode(withRecords(fresh())) }))
      expect(await answer()).toMatchObject({ status: 200, headers: { 'content-type': contentType } })
    }
    socket.destroy()
  })
})

describe('OTLP/HTTP > OTLP/HTTP Concurrent Requests', () => {
  test('several parallel connections are served', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => {
        const encoding = encodings[i % 2] as Encoding
        return send(gateway.port, {
          headers: { 'Content-Type': encoding.contentType },
          body: encoding.encode(withRecords(fresh())),
        })
      }),
    )
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
  })
})

test('OTLP/HTTP Default Port: 4318; OTLP/gRPC Default Port: 4317', () => {
  expect(parseConfig({}, {}, '/').config).toMatchObject({ otlpPort: 4318, otlpGrpcPort: 4317 })
})

describe('Implementation Recommendations > Empty Telemetry Envelopes', () => {
  test.each(encodings)(
    'receivers MAY ignore empty envelopes: what is beside them is stored ($name)',
    async (encoding) => {
      const request = { resourceLogs: [{}, { scopeLogs: [{}] }, ...(withRecords(fresh()).resourceLogs ?? [])] }
      expect(await post(encoding, encoding.encode(request))).toMatchObject({ status: 200, stored: 1 })
    },
  )
})

describe('Known Limitations > Duplicate Data', () => {
  test.each(encodings)(
    'a request that is sent again is answered alike; unlike what the specification allows, it is not stored again ($name)',
    async (encoding) => {
      const body = encoding.encode(withRecords(fresh(), rejected()))
      const first = await post(encoding, body)
      const second = await post(encoding, body)
      expect([first.stored, second.stored]).toEqual([1, 0])
      expect(second).toMatchObject({ status: 200, body: first.body })
    },
  )
})
