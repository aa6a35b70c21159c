/** OTLP/JSON is often written by hand or by a script: what is wrong must be named, and what is right must be kept. */
import { describe, expect, test } from 'vitest'
import { expectedRows } from '../../../tests/support/expected-rows.ts'
import { type Row, rowsOf } from '../../../tests/support/rowbinary.ts'
import { RequestError, type Rows } from './rows.ts'
import { transcodeJson } from './transcode-json.ts'

const noon = 1_795_000_000_000_000_000n

function transcode(text: string | Buffer): Rows {
  return transcodeJson(Buffer.from(text), noon)
}

function refusal(text: string | Buffer): RequestError {
  try {
    transcode(text)
  } catch (error) {
    if (error instanceof RequestError) return error
    throw error
  }
  throw new Error('the request was taken')
}

const withRecords = (...records: string[]): string =>
  `{"resourceLogs":[{"scopeLogs":[{"logRecords":[${records.join(',')}]}]}]}`

const emptyRow = expectedRows({ resourceLogs: [{ scopeLogs: [{ logRecords: [{}] }] }] }, noon)[0] as Row

function rowOf(record: string): Row {
  const [row] = rowsOf(transcode(withRecords(record)).bytes)
  if (row === undefined) throw new Error('no row')
  return row
}

describe('a request without records is fine', () => {
  test.each(['{}', '{"resourceLogs":[]}', '{"resourceLogs":null}', '{"resourceLogs":[{}]}', ' \n{ } \n'])(
    '%s',
    (text) => {
      expect(transcode(text)).toMatchObject({ records: 0, rejected: 0, notes: [] })
    },
  )

  test.each([
    ['snake_case names', '{"resource_logs":[{"scope_logs":[]}]}'],
    ['spans', '{"resourceSpans":[]}'],
  ])('but %s get a hint, since nothing was stored', (_, text) => {
    expect(transcode(text)).toMatchObject({
      records: 0,
      rejected: 0,
      notes: ['1 × request without resourceLogs stored nothing; OTLP/JSON names are in lowerCamelCase'],
    })
  })
})

test.each<[string, string | Buffer, RegExp]>([
  ['nothing', '', /^the body is empty: the smallest request in JSON is \{}$/],
  ['white space', ' \n', /^the body is not valid JSON: it ends too early$/],
  ['null', 'null', /^the body must be a JSON object, but is null$/],
  ['a list', '[{}]', /^the body must be a JSON object, but is a list$/],
  ['a string', '"secret"', /^the body must be a JSON object, but is a string$/],
  ['a number', '1', /^the body must be a JSON object, but is a number$/],
  ['an object for resourceLogs', '{"resourceLogs":{}}', /^resourceLogs must be a list, but is an object$/],
  ['text for resourceLogs', '{"resourceLogs":"secret"}', /^resourceLogs must be a list, but is a string$/],
  ['null in resourceLogs', '{"resourceLogs":[{},null]}', /^resourceLogs\[1] must be an object, but is null$/],
  ['a list for resource', '{"resourceLogs":[{"resource":[]}]}', /^resourceLogs\[0]\.resource must be an object/],
  [
    'a number for a resource attribute',
    '{"resourceLogs":[{"resource":{"attributes":[{"key":"service.version","value":1}]}}]}',
    /^resourceLogs\[0]\.resource: value must be an object such as \{"stringValue": "…"}, but is a number$/,
  ],
  [
    'a number for a scope name',
    '{"resourceLogs":[{"scopeLogs":[{"scope":{"name":5}}]}]}',
    /^resourceLogs\[0]\.scopeLogs\[0]\.scope: name must be a string, but is a number$/,
  ],
  ['a record that is text', withRecords('{}', '"secret"'), /scopeLogs\[0]\.logRecords\[1] must be an object/],
  ['a trailing comma', '{"resourceLogs":[],}', /^the body is not valid JSON: mistake at position 19/],
  ['a comment', '{"resourceLogs":[] /* secret */}', /^the body is not valid JSON/],
  ['single quotes', "{'secret':[]}", /^the body is not valid JSON/],
  ['two documents', '{}\n{"secret":1}', /^the body is not valid JSON: mistake at position 3/],
  ['an object that is cut off', '{"resourceLogs":["secret"', /^the body is not valid JSON/],
  ['a byte order mark', '\ufeff{}', /^the body is not valid JSON/],
  ['UTF-16', Buffer.from('{}secret', 'utf16le'), /^the body is not valid JSON/],
  [
    'bytes that are not UTF-8',
    Buffer.from('{"secret":"\xff"}', 'latin1'),
    /^the body is not UTF-8: send JSON in UTF-8/,
  ],
])('%s is refused; the message says what is wrong and shows nothing of the content', (_, text, says) => {
  const { status, message } = refusal(text)
  expect(status).toBe(400)
  expect(message).toMatch(says)
  expect(message).not.toContain('secret')
})

const valueCases: [string, string, RegExp][] = [
  ['a bare string as value', '"secret"', /value must be an object such as \{"stringValue": "…"}, but is a string$/],
  ['a number in stringValue', '{"stringValue":5}', /stringValue must be a string, but is a number$/],
  ['text in boolValue', '{"boolValue":"true"}', /boolValue must be true or false, but is a string$/],
  ['a fraction in intValue', '{"intValue":1.5}', /intValue must be an integer/],
  [
    'words in intValue',
    '{"intValue":"secret"}',
    /intValue must be an integer, as a string or a number, but is a string$/,
  ],
  ['an exponent in intValue', '{"intValue":"1e3"}', /intValue must be an integer/],
  [
    '2^63 in intValue',
    '{"intValue":"9223372036854775808"}',
    /intValue is out of range, it must be from -2\^63 to 2\^63-1$/,
  ],
  ['1e300 in intValue', '{"intValue":1e300}', /intValue is out of range/],
  ['an empty doubleValue', '{"doubleValue":""}', /doubleValue must be a number, "NaN", "Infinity" or "-Infinity"/],
  ['words in doubleValue', '{"doubleValue":"secret"}', /doubleValue must be a number/],
  ['bytesValue that is not base64', '{"bytesValue":"se cret"}', /bytesValue was not base64/],
  ['bytesValue that was cut off', '{"bytesValue":"AAAAA"}', /bytesValue was not base64/],
  ['a list as arrayValue', '{"arrayValue":[]}', /arrayValue must be an object \{"values": \[…]}, but is a list$/],
  ['an object as values', '{"arrayValue":{"values":{}}}', /values must be a list, but is an object$/],
  ['a kvlist of values', '{"kvlistValue":{"values":["secret"]}}', /kvlistValue.values must be a list of \{key, value}/],
  ['two members at once', '{"stringValue":"secret","intValue":"1"}', /holds both stringValue and intValue; send one/],
]

const recordCases: [string, string, RegExp][] = [
  ['an object as attributes', '{"attributes":{"secret":1}}', /attributes must be a list, but is an object$/],
  ['text as attribute', '{"attributes":["secret"]}', /attributes must be a list of \{key, value}, but is a string$/],
  ['a number as attribute key', '{"attributes":[{"key":1}]}', /key must be a string, but is a number$/],
  ['a number as eventName', '{"eventName":1}', /eventName must be a string, but is a number$/],
  ['a list as severityText', '{"severityText":[]}', /severityText must be a string, but is a list$/],
  ['a number as traceId', '{"traceId":1}', /traceId must be a string, but is a number$/],
  ['a date as time', '{"timeUnixNano":"2026-11-21"}', /timeUnixNano must be an integer, as a string or a number/],
  ['a negative time', '{"timeUnixNano":"-1"}', /timeUnixNano is out of range, it must be nanoseconds since 1970/],
  ['a time beyond 64 bits', '{"observedTimeUnixNano":"18446744073709551616"}', /observedTimeUnixNano is out of range/],
  ['flags beyond 32 bits', '{"flags":4294967296}', /flags is out of range, it must be from 0 to 2\^32-1$/],
  ['words as flags', '{"flags":"secret"}', /flags must be an integer/],
]

describe('a record with a mistake is rejected by name, the one beside it is kept', () => {
  const cases = [
    ...valueCases.map(([name, value, says]) => [`${name}, as body`, `{"body":${value}}`, says] as const),
    ...valueCases.map(([name, value, says]) => [name, `{"attributes":[{"key":"k","value":${value}}]}`, says] as const),
    ...recordCases,
  ]
  test.each(cases)('%s', (_, bad, says) => {
    const { bytes, records, rejected, notes } = transcode(withRecords(bad, '{"body":{"stringValue":"good"}}', bad))
    expect({ records, rejected }).toEqual({ records: 1, rejected: 2 })
    expect(rowsOf(bytes)).toEqual([{ ...emptyRow, Body: 'good' }])
    expect(notes.at(-1)).toMatch(/^2 × record rejected: /)
    expect(notes.at(-1)).toMatch(says)
    expect(notes.join()).not.toContain('secret')
  })
})

test.each<[string, string, Partial<Row>, RegExp]>([
  ['severity as word', '{"severityNumber":"INFO"}', { SeverityNumber: 0 }, /severity_number was not an integer/],
  ['severity 256', '{"severityNumber":256}', { SeverityNumber: 0 }, /send 1 to 24/],
  ['a trace id in base64', '{"traceId":"W47/95gDgQPSabYzgT/GDA=="}', { TraceId: '' }, /trace_id was not 16 bytes/],
  ['a trace id of words', `{"traceId":"${'x'.repeat(32)}"}`, { TraceId: '' }, /32 hexadecimal digits in JSON/],
  ['a span id that is too long', `{"spanId":"${'a'.repeat(18)}"}`, { SpanId: '' }, /span_id was not 8 bytes/],
  ['a time in 2300', `{"timeUnixNano":"${2n ** 63n}"}`, { Timestamp: noon }, /time beyond the year 2262/],
  [
    'an int64 as a number too large for one',
    '{"body":{"intValue":9007199254740993}}',
    { Body: '9007199254740992' },
    /integer beyond 2\^53 .* send int64 as a string/,
  ],
])('%s is left out or repaired, noted, and the record kept', (_, record, columns, says) => {
  const { bytes, rejected, notes } = transcode(withRecords(record))
  expect(rowsOf(bytes)).toEqual([{ ...emptyRow, ...columns }])
  expect(rejected).toBe(0)
  expect(notes).toEqual([expect.stringMatching(says)])
})

test.each<[string, string, Partial<Row>]>([
  ['numbers as text', '{"flags":"1","body":{"intValue":"007"}}', { TraceFlags: 1, Body: '7' }],
  ['a time as number', '{"timeUnixNano":1000}', { Timestamp: 1000n }],
  ['int64 at its ends', `{"body":{"intValue":"${-(2n ** 63n)}"}}`, { Body: '-9223372036854775808' }],
  ['a double beyond its range', '{"body":{"doubleValue":1e400}}', { Body: 'Infinity' }],
  ['no number', '{"body":{"doubleValue":"NaN"}}', { Body: 'NaN' }],
  ['an empty value', '{"body":{}}', { Body: '' }],
  ['a member nobody knows', '{"body":{"stringValueStrindex":4}}', { Body: '' }],
  ['null in a list', '{"body":{"arrayValue":{"values":[null,{}]}}}', { Body: '[null,null]' }],
  ['a key twice', '{"severityText":"a","severityText":"b"}', { SeverityText: 'b' }],
  ['base64url without padding', '{"body":{"bytesValue":"_-8"}}', { Body: '/+8=' }],
])('%s is taken', (_, record, columns) => {
  expect(rowOf(record)).toEqual({ ...emptyRow, ...columns })
})

test('hostile text is text: stored as it came, and nothing of it reaches our own objects', () => {
  const texts = [
    '__proto__',
    'constructor',
    'toString',
    "'; DROP TABLE otel_logs; --",
    '<script>',
    '\u0000',
    '\r\nfake: 1',
  ]
  const attributes = texts.map((text) => ({ key: text, value: { stringValue: text } }))
  const record = `{"__proto__":{"attributes":[1]},"constructor":5,"attributes":${JSON.stringify(attributes)}}`
  expect(rowOf(record).LogAttributes).toEqual(texts.map((text) => [text, text]))
  expect(({} as { attributes?: unknown }).attributes).toBeUndefined()
  // A value's member is its own, never inherited.
  expect(rowOf('{"body":{"__proto__":{"stringValue":"inherited"}}}').Body).toBe('')
})
