import fc from 'fast-check'
import { expect, test } from 'vitest'
import { expectedRows } from '../../../tests/support/expected-rows.ts'
import { exportLogsRequest } from '../../../tests/support/otlp-arbitraries.ts'
import { encodeJson } from '../../../tests/support/otlp-json.ts'
import { encodeExportLogsRequest } from '../../../tests/support/otlp-reference.ts'
import { rowsOf } from '../../../tests/support/rowbinary.ts'
import { transcodeJson } from './transcode-json.ts'
import { transcodeProtobuf } from './transcode-protobuf.ts'

const noon = 1_795_000_000_000_000_000n

test('any request in protobuf becomes the rows the rules ask for', () => {
  fc.assert(
    fc.property(exportLogsRequest, (request) => {
      const { bytes, records, rejected } = transcodeProtobuf(encodeExportLogsRequest(request), noon)
      const rows = rowsOf(bytes)
      expect(rows).toEqual(expectedRows(request, noon))
      expect(records).toBe(rows.length)
      expect(rejected).toBe(0)
    }),
    { numRuns: 300 },
  )
})

test('every character of ASCII is itself in a text, and JSON in a list', () => {
  const text = String.fromCharCode(...Array.from({ length: 128 }, (_, code) => code))
  const logRecords = [{ body: { stringValue: text } }, { body: { arrayValue: { values: [{ stringValue: text }] } } }]
  const { bytes } = transcodeProtobuf(
    encodeExportLogsRequest({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }),
    noon,
  )
  expect(rowsOf(bytes).map((row) => row.Body)).toEqual([text, JSON.stringify([text])])
})

test('the same request in JSON, however its sender writes it, becomes the same rows and the same notes', () => {
  const style = fc.record({
    integersAsNumbers: fc.boolean(),
    upperCaseIds: fc.boolean(),
    urlSafeBase64: fc.boolean(),
    nulls: fc.boolean(),
    unknownFields: fc.boolean(),
  })
  fc.assert(
    fc.property(exportLogsRequest, style, (request, style) => {
      const fromProtobuf = transcodeProtobuf(encodeExportLogsRequest(request), noon)
      const fromJson = transcodeJson(encodeJson(request, style), noon)
      // The bytes may differ by one thing: the protobuf path pads the varints of lengths it does not know beforehand.
      expect(rowsOf(fromJson.bytes)).toEqual(rowsOf(fromProtobuf.bytes))
      expect([...fromJson.notes].sort()).toEqual([...fromProtobuf.notes].sort())
    }),
    { numRuns: 300 },
  )
})
