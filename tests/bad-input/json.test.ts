/** Section C of the catalogue: OTLP/JSON as no SDK would write it. Cases that stand elsewhere: catalogue.ts. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { transcodeJson } from '../../ingest-gateway/src/otlp/transcode-json.ts'
import { expectInvariants, secret } from '../support/invariants.ts'
import { type RawAnswer, send } from '../support/raw-http.ts'
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
  /** `error_message` of the partial success. */
  readonly said: string
  readonly rejected: number
  /** Records that came to lie on the disk. */
  readonly stored: number
  /** What they are. */
  readonly rows: readonly Row[]
}

/** Posts a request of these records, and reads what becomes of them. */
async function take(...records: string[]): Promise<Taken> {
  const body = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[${records.join(',')}]}]}]}`
  const before = gateway.counts().backlogRecords
  const answer = await send(gateway.port, { headers: { 'Content-Type': 'application/json' }, body })
  expect(answer.body.toString()).not.toContain('canary')
  const { errorMessage = '', rejectedLogRecords = '0' } = partialSuccess(answer)
  return {
    status: answer.status,
    said: errorMessage,
    rejected: Number(rejectedLogRecords),
    stored: gateway.counts().backlogRecords - before,
    rows: rowsOf(transcodeJson(Buffer.from(body), now).bytes),
  }
}

function partialSuccess({ body }: RawAnswer): { errorMessage?: string; rejectedLogRecords?: string } {
  const answer = JSON.parse(body.toString()) as {
    partialSuccess?: { errorMessage?: string; rejectedLogRecords?: string }
  }
  return answer.partialSuccess ?? {}
}

describe('size', () => {
  test('#61 a body of 7 MiB in one record is stored whole', async () => {
    const text = 'ž'.repeat(3_500_000)
    const { rows, ...taken } = await take(`{"body":{"stringValue":"${text}"}}`)
    expect(taken).toEqual({ status: 200, said: '', rejected: 0, stored: 1 })
    expect(rows[0]?.Body === text).toBe(true)
  })

  test('#61 100,000 attributes on a record: it is rejected, the one beside it kept', async () => {
    const attributes = Array.from({ length: 100_000 }, (_, i) => `{"key":"${i}"}`)
    const { rows, ...taken } = await take(`{"attributes":[${attributes}]}`, '{}')
    expect(taken).toEqual({ status: 200, said: expect.stringMatching(/^1 × .*more than 1024/), rejected: 1, stored: 1 })
  })
})

test.each([
  ['empty', ''],
  ['of 64 KiB', 'k'.repeat(65_536)],
  ['with a newline, quotes, a backtick and a backslash', 'a\n"\'`\\b'],
  ['with an emoji', '🔑'],
  ['that reads from right to left', '\u202etxt.exe'],
  ['of NUL', '\u0000'],
])('#62 an attribute key %s is stored as it came, and so is the same key again', async (_, key) => {
  const attribute = (value: string): string => `{"key":${JSON.stringify(key)},"value":{"stringValue":"${value}"}}`
  const { rows, ...taken } = await take(`{"attributes":[${attribute('1')},${attribute('2')}]}`)
  expect(taken).toEqual({ status: 200, said: '', rejected: 0, stored: 1 })
  expect(rows[0]?.LogAttributes).toEqual([
    [key, '1'],
    [key, '2'],
  ])
})

describe('numbers', () => {
  test.each([
    ['-0', '-0'],
    ['5e-324', '5e-324'],
    ['1e400', 'Infinity'],
    ['"Infinity"', 'Infinity'],
    ['"-Infinity"', '-Infinity'],
    ['"NaN"', 'NaN'],
    ['1.7976931348623157e308', '1.7976931348623157e+308'],
  ])('#65 the double %s is stored as %s', async (double, text) => {
    const { rows, ...taken } = await take(`{"body":{"doubleValue":${double}}}`)
    expect(taken).toEqual({ status: 200, said: '', rejected: 0, stored: 1 })
    expect(rows[0]?.Body).toBe(text)
  })

  test.each<[string, string, bigint, RegExp]>([
    ['missing', '', now, /^$/],
    ['0', '"timeUnixNano":"0"', now, /^$/],
    ['1', '"timeUnixNano":"1"', 1n, /^$/],
    [
      'a number with lost digits',
      '"timeUnixNano":1795000000123456789',
      1_795_000_000_123_456_768n,
      /^1 × integer beyond 2\^53/,
    ],
    [
      'the last of 64 bits',
      '"timeUnixNano":"18446744073709551615"',
      now,
      /^1 × time beyond the year 2262 was left out/,
    ],
    ['the first of 2262 that no column holds', `"timeUnixNano":"${2n ** 63n}"`, now, /^1 × time beyond the year 2262/],
    ['the last one a column holds', `"timeUnixNano":"${2n ** 63n - 1n}"`, 2n ** 63n - 1n, /^$/],
    ['later than it was observed', '"timeUnixNano":"2000","observedTimeUnixNano":"1000"', 2_000n, /^$/],
  ])('#66 #67 a time that is %s: the record is kept', async (_, fields, timestamp, said) => {
    const { rows, ...taken } = await take(`{${fields}}`)
    expect(taken).toEqual({ status: 200, said: expect.stringMatching(said), rejected: 0, stored: 1 })
    expect(rows[0]?.Timestamp).toBe(timestamp)
  })

  test.each<[string, number, RegExp]>([
    ['0', 0, /^$/],
    ['24', 24, /^$/],
    ['25', 25, /^$/],
    ['"9"', 0, /^1 × severity_number/],
    ['-1', 0, /^1 × severity_number was not an integer from 0 to 255/],
    ['2147483648', 0, /^1 × severity_number/],
    ['9.5', 0, /^1 × severity_number/],
    ['"SEVERITY_NUMBER_INFO"', 0, /^1 × severity_number/],
    ['{}', 0, /^1 × severity_number/],
  ])('#68 severity %s becomes %i, and the record is kept', async (severity, number, said) => {
    const { rows, ...taken } = await take(`{"severityNumber":${severity}}`)
    expect(taken).toEqual({ status: 200, said: expect.stringMatching(said), rejected: 0, stored: 1 })
    expect(rows[0]?.SeverityNumber).toBe(number)
  })

  test.each([
    ['"droppedAttributesCount":-1', 0],
    ['"droppedAttributesCount":1e300', 0],
    ['"droppedAttributesCount":"many"', 0],
    ['"flags":4294967295', 255],
    ['"flags":"257"', 1],
  ])('#80 %s is taken, the count of what a sender dropped being no business of ours', async (field, flags) => {
    const { rows, ...taken } = await take(`{${field}}`)
    expect(taken).toEqual({ status: 200, said: '', rejected: 0, stored: 1 })
    expect(rows[0]?.TraceFlags).toBe(flags)
  })
})

test.each<[string, string, RegExp]>([
  ['all zeros, which is none', '0'.repeat(32), /^$/],
  ['of 31 digits', 'a'.repeat(31), /^1 × trace_id was not 16 bytes/],
  ['of 33 digits', 'a'.repeat(33), /^1 × trace_id/],
  ['of 1 MiB', 'a'.repeat(2 ** 20), /^1 × trace_id/],
  ['with a minus sign', `-${'a'.repeat(31)}`, /^1 × trace_id/],
  ['with a blank', ` ${'a'.repeat(31)}`, /^1 × trace_id/],
  ['a secret', secret, /^1 × trace_id/],
])('#69 a trace id %s is left out, and the record kept', async (_, id, said) => {
  const { rows, ...taken } = await take(`{"traceId":"${id}"}`)
  expect(taken).toEqual({ status: 200, said: expect.stringMatching(said), rejected: 0, stored: 1 })
  expect(rows[0]?.TraceId).toBe('')
})

test.each([
  ['a blank', 'AA A='],
  ['a line break', 'AAAA\\nAAAA'],
  ['a bad digit', 'AA*A'],
  ['one digit over', 'AAAAA'],
  ['padding in the middle', 'AA==AAAA'],
  ['too much padding', 'AAAA===='],
])('#70 bytes in base64 with %s are rejected, not guessed at', async (_, text) => {
  const taken = await take(`{"body":{"bytesValue":"${text}"}}`, '{}')
  expect(taken).toMatchObject({ status: 200, rejected: 1, stored: 1, said: expect.stringContaining('not base64') })
})

test.each([
  ['a map', '{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"1"}}]}}', '{"a":1}'],
  ['a list', '{"arrayValue":{"values":[{"boolValue":true},{"stringValue":"x"}]}}', '[true,"x"]'],
  ['an empty list', '{"arrayValue":{}}', '[]'],
  ['bytes', '{"bytesValue":"/wA="}', '/wA='],
  ['a number', '{"intValue":"-5"}', '-5'],
  ['null', 'null', ''],
])('#74 a body that is %s instead of text is stored readably', async (_, body, text) => {
  const { rows, ...taken } = await take(`{"body":${body}}`)
  expect(taken).toEqual({ status: 200, said: '', rejected: 0, stored: 1 })
  expect(rows[0]?.Body).toBe(text)
})

test('#77 ids missing on half of the records: those that have one keep it, the others have none', async () => {
  const id = '{"attributes":[{"key":"event.id","value":{"stringValue":"e-1"}}]}'
  const { rows, stored } = await take(id, '{}', '{"attributes":[{"key":"event.id","value":{"intValue":"1"}}]}', '{}')
  expect(stored).toBe(4)
  expect(rows.map(({ EventId }) => EventId)).toEqual(['e-1', '', '', ''])
})

test('#79 one good record among a thousand bad ones is stored, and the bad ones counted exactly', async () => {
  const bad = Array<string>(1_000).fill(`{"body":"${secret}"}`)
  const taken = await take(...bad.slice(0, 500), '{"body":{"stringValue":"good"}}', ...bad.slice(500))
  expect(taken).toMatchObject({
    status: 200,
    rejected: 1_000,
    stored: 1,
    said: expect.stringMatching(/^1000 × record rej/),
  })
  expect(taken.rows.map(({ Body }) => Body)).toEqual(['good'])
})
