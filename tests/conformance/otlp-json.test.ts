/**
 * What the OTLP specification asks of whoever reads OTLP/JSON, one test a requirement.
 * @see https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
 */
import { expect, test } from 'vitest'
import type { Rows } from '../../ingest-gateway/src/otlp/rows.ts'
import { transcodeJson } from '../../ingest-gateway/src/otlp/transcode-json.ts'
import { type Row, rowsOf } from '../support/rowbinary.ts'

const now = 1_795_000_000_000_000_000n

const read = (text: string): Rows => transcodeJson(Buffer.from(text), now)
const withRecord = (record: string): string => `{"resourceLogs":[{"scopeLogs":[{"logRecords":[${record}]}]}]}`

function rowOf(record: string): Row {
  const [row] = rowsOf(read(withRecord(record)).bytes)
  if (row === undefined) throw new Error('no row')
  return row
}

test('traceId and spanId are case-insensitive hex-encoded strings', () => {
  const ids = { TraceId: '5b8efff798038103d269b633813fc60c', SpanId: 'eee19b7ec3c1b174' }
  expect(rowOf('{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174"}')).toMatchObject(ids)
  expect(rowOf('{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"}')).toMatchObject(ids)
})

test('… not base64, as the standard mapping has it: such an id is left out, and the sender told', () => {
  const rows = read(withRecord('{"traceId":"W47/95gDgQPSabYzgT/GDA=="}'))
  expect(rowsOf(rows.bytes)[0]).toMatchObject({ TraceId: '' })
  expect(rows.notes).toEqual([expect.stringContaining('32 hexadecimal digits in JSON')])
})

test('values of enum fields MUST be integers', () => {
  expect(rowOf('{"severityNumber":9}').SeverityNumber).toBe(9)
})

test('… enum names MUST NOT be used: the record is kept without, and the sender told', () => {
  const rows = read(withRecord('{"severityNumber":"SEVERITY_NUMBER_INFO"}'))
  expect(rows).toMatchObject({ records: 1, rejected: 0, notes: [expect.stringContaining('severity_number was not')] })
  expect(rowsOf(rows.bytes)[0]).toMatchObject({ SeverityNumber: 0 })
})

test('receivers MUST ignore fields with unknown names, at every level', () => {
  const unknown = '"future":{"values":[1,{"a":null}]},"":0'
  const text = `{${unknown},"resourceLogs":[{${unknown},"resource":{${unknown},"attributes":[{${unknown},"key":"a","value":{${unknown},"intValue":"1"}}]},
    "scopeLogs":[{${unknown},"scope":{${unknown},"name":"s"},"logRecords":[{${unknown},"body":{${unknown},"stringValue":"b"}}]}]}]}`
  const plain = text.replaceAll(`${unknown},`, '')
  expect(plain).not.toContain('future')
  expect(read(text)).toMatchObject({ records: 1, rejected: 0, notes: [] })
  expect(rowsOf(read(text).bytes)).toEqual(rowsOf(read(plain).bytes))
})

test('original field names are not valid keys: they are unknown, and who sends nothing else is told', () => {
  expect(rowOf('{"severity_number":9,"event_name":"x.y","severityText":"kept"}')).toMatchObject({
    SeverityNumber: 0,
    EventName: '',
    SeverityText: 'kept',
  })
  expect(read('{"resource_logs":[]}').notes).toEqual([expect.stringContaining('lowerCamelCase')])
})

test.each([
  [
    'strings',
    '"timeUnixNano":"1795000000000000123","body":{"intValue":"-9223372036854775808"}',
    '-9223372036854775808',
  ],
  ['numbers', '"timeUnixNano":1795000000000000123,"body":{"intValue":-5}', '-5'],
])('64-bit integers are accepted as %s', (_, fields, body) => {
  const row = rowOf(`{${fields}}`)
  expect(row.Body).toBe(body)
  // As a number it has lost its last digits before it reaches us.
  expect(Number(row.Timestamp)).toBe(Number(1_795_000_000_000_000_123n))
})

test('proto3 JSON: null is an absent field, NaN and infinities are strings, bytes are base64 of both alphabets', () => {
  expect(rowOf('{"traceId":null,"attributes":null,"body":{"doubleValue":"-Infinity"}}').Body).toBe('-Infinity')
  expect(rowOf('{"body":{"bytesValue":"+/8="}}').Body).toBe('+/8=')
  expect(rowOf('{"body":{"bytesValue":"-_8"}}').Body).toBe('+/8=')
})
