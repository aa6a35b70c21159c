/** Protobuf leaves writers many freedoms; the rows must not depend on them. And what is no protobuf is refused, always. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { dice } from '../../../tests/support/dice.ts'
import { expectedRows } from '../../../tests/support/expected-rows.ts'
import { exportLogsRequest } from '../../../tests/support/otlp-arbitraries.ts'
import {
  decodeExportLogsRequest,
  type ExportLogsRequest,
  encodeExportLogsRequest,
} from '../../../tests/support/otlp-reference.ts'
import { type Field, message, requestFields, varint, type Wire } from '../../../tests/support/protobuf-wire.ts'
import { type Row, rowsOf } from '../../../tests/support/rowbinary.ts'
import { RequestError } from './rows.ts'
import { transcodeProtobuf } from './transcode-protobuf.ts'

const noon = 1_795_000_000_000_000_000n

const rows = (bytes: Uint8Array): Row[] => rowsOf(transcodeProtobuf(bytes, noon).bytes)

/** @returns the rows, or the RequestError; anything else thrown fails the test */
function rowsOrRefusal(bytes: Uint8Array): Row[] | RequestError {
  try {
    return rows(bytes)
  } catch (error) {
    if (error instanceof RequestError) return error
    throw error
  }
}

function shuffled<T>(items: readonly T[], roll: (limit: number) => number): T[] {
  const result = [...items]
  for (let i = result.length - 1; i > 0; i--) {
    const j = roll(i + 1)
    ;[result[i], result[j]] = [result[j] as T, result[i] as T]
  }
  return result
}

/** Any order between the fields of a message; repeated fields keep theirs, which is all protobuf promises. */
function reordered(fields: readonly Field[], roll: (limit: number) => number): Field[] {
  const waiting = new Map<number, Field[]>()
  for (const field of fields) waiting.set(field.number, [...(waiting.get(field.number) ?? []), field])
  return shuffled(fields, roll).flatMap(({ number }) => waiting.get(number)?.shift() ?? [])
}

/** A field no version of OTLP has. Numbers: the first free one of one byte, of two, and the largest there is. */
function unknownField(roll: (limit: number) => number): Field {
  const number = [15, 1_000, 2 ** 29 - 1][roll(3)] as number
  const content: Field[] = [
    { number, varint: 2n ** 64n - 1n },
    { number, fixed32: 0xffff_ffff },
    { number, fixed64: 2n ** 64n - 1n },
    { number, bytes: Buffer.from([0xff, 0xfe, 0x00]) },
    {
      number,
      group: [
        { number: 1, bytes: 'in a group' },
        { number: 2, group: [{ number: 3, varint: 7n }] },
      ],
    },
  ]
  return content[roll(content.length)] as Field
}

test('fields come in any order', () => {
  fc.assert(
    fc.property(exportLogsRequest, fc.integer(), (request, seed) => {
      const roll = dice(seed)
      const wire: Wire = { arrange: (fields) => reordered(fields, roll) }
      expect(rows(message(requestFields(request), wire))).toEqual(expectedRows(request, noon))
    }),
    { numRuns: 150 },
  )
})

test('fields nobody knows yet, of every wire type and at every level, are ignored', () => {
  fc.assert(
    fc.property(exportLogsRequest, fc.integer(), (request, seed) => {
      const roll = dice(seed)
      const wire: Wire = {
        arrange: (fields) => reordered([...fields, ...Array.from({ length: roll(3) }, () => unknownField(roll))], roll),
      }
      expect(rows(message(requestFields(request), wire))).toEqual(expectedRows(request, noon))
    }),
    { numRuns: 150 },
  )
})

test('a known field with another wire type is an unknown field', () => {
  const record: Field[] = [
    { number: 1, varint: 5n },
    { number: 2, bytes: 'INFO' },
    { number: 3, fixed64: 1n },
    { number: 5, varint: 5n },
    { number: 6, fixed32: 5 },
    { number: 9, varint: 5n },
    { number: 12, group: [] },
  ]
  const request = message([{ number: 1, message: [{ number: 2, message: [{ number: 2, message: record }] }] }])
  expect(rows(request)).toEqual(expectedRows({ resourceLogs: [{ scopeLogs: [{ logRecords: [{}] }] }] }, noon))
})

test('any number but zero is true', () => {
  const bools = [0n, 1n, 2n, 2n ** 32n, 2n ** 63n]
  const records = bools.map(
    (varint): Field => ({ number: 2, message: [{ number: 5, message: [{ number: 2, varint }] }] }),
  )
  const request = message([{ number: 1, message: [{ number: 2, message: records }] }])
  expect(rows(request).map((row) => row.Body)).toEqual(['false', 'true', 'true', 'true', 'true'])
})

test('varints may be longer than they need to be', () => {
  fc.assert(
    fc.property(exportLogsRequest, fc.integer(), (request, seed) => {
      const roll = dice(seed)
      const bytes = message(requestFields(request), { padding: () => roll(12) })
      expect(rows(bytes)).toEqual(expectedRows(request, noon))
    }),
    { numRuns: 150 },
  )
})

test('of a singular field that is sent twice the last one counts', () => {
  const twice = (number: number, first: Field[], second: Field[]): Field[] => [
    { number, message: first },
    { number, message: second },
  ]
  const text = (number: number, bytes: string): Field => ({ number, bytes })
  const attribute = (key: string, ...value: Field[]): Field[] => [text(1, key), { number: 2, message: value }]
  const record: Field[] = [
    { number: 1, fixed64: 1n },
    { number: 1, fixed64: 2n },
    text(3, 'old'),
    text(3, 'new'),
    ...twice(5, [text(1, 'old')], [text(1, 'old member'), { number: 3, varint: 7n }]),
    { number: 6, message: [text(1, 'old'), ...attribute('key', text(1, 'old')), { number: 2, message: [] }] },
    text(12, 'old'),
    text(12, 'new'),
  ]
  const request = message([
    {
      number: 1,
      message: [
        ...twice(1, [{ number: 1, message: attribute('service.name', text(1, 'old')) }], []),
        { number: 2, message: [...twice(1, [text(1, 'old')], [text(2, 'new')]), { number: 2, message: record }] },
        text(3, 'old'),
        text(3, 'new'),
      ],
    },
  ])
  expect(rows(request)).toEqual([
    {
      ...(expectedRows({ resourceLogs: [{ scopeLogs: [{ logRecords: [{}] }] }] }, noon)[0] as Row),
      ResourceSchemaUrl: 'new',
      ScopeVersion: 'new',
      Timestamp: 2n,
      SeverityText: 'new',
      Body: '7',
      LogAttributes: [['key', '']],
      EventName: 'new',
    },
  ])
})

describe('what is no valid message', () => {
  test('cut anywhere: refused with 400, or understood exactly as far as another decoder understands it', () => {
    fc.assert(
      fc.property(exportLogsRequest, (request) => {
        const whole = encodeExportLogsRequest(request)
        const step = Math.max(1, Math.floor(whole.length / 200))
        for (let cut = 0; cut < whole.length; cut += step) {
          const part = whole.subarray(0, cut)
          const result = rowsOrRefusal(part)
          const reference = referenceRows(part)
          if (reference === undefined) expect(result).toMatchObject({ status: 400 })
          else expect(result).toEqual(reference)
        }
      }),
      { numRuns: 40 },
    )
  })

  test('random bytes are refused, or read as rows that are whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        rowsOrRefusal(bytes)
      }),
      { numRuns: 3_000 },
    )
  })

  test('a good message with a few bytes changed is refused, or read as rows that are whole', () => {
    const change = fc.record({ at: fc.nat(), byte: fc.constantFrom(0, 1, 2, 0x0a, 0x12, 0x7f, 0x80, 0xff, -1) })
    fc.assert(
      fc.property(exportLogsRequest, fc.array(change, { minLength: 1, maxLength: 6 }), (request, changes) => {
        const bytes = Buffer.from(encodeExportLogsRequest(request))
        if (bytes.length === 0) return
        for (const { at, byte } of changes) {
          const place = at % bytes.length
          bytes[place] = byte < 0 ? (bytes[place] as number) ^ (1 << (at % 8)) : byte
        }
        rowsOrRefusal(bytes)
      }),
      { numRuns: 800 },
    )
  })

  /** Bytes follow the record, so that what runs past its end still lies within the body. */
  const inRecord = (bytes: Uint8Array): Buffer =>
    message([
      { number: 1, message: [{ number: 2, message: [{ number: 2, bytes }] }] },
      { number: 15, bytes: Buffer.alloc(100) },
    ])
  const tag = (number: number, wireType: number): Buffer => varint((BigInt(number) << 3n) | BigInt(wireType))

  test.each<[string, Uint8Array, RegExp]>([
    ['a length beyond the end', Buffer.from([0x0a, 0x05, 0x00]), /length 5 runs past the end .*at byte 1/],
    ['a length of 2^31', Buffer.concat([tag(1, 2), varint(2n ** 31n)]), /runs past the end/],
    ['a length of 2^32-1', Buffer.concat([tag(1, 2), varint(2n ** 32n - 1n)]), /runs past the end/],
    ['a negative length', Buffer.concat([tag(1, 2), varint(-1n)]), /length is beyond 32 bits/],
    ['a length that runs past its own message', inRecord(Buffer.from([0x1a, 0x20, 0x41])), /runs past the end/],
    ['a varint of 11 bytes', Buffer.from([0x78, ...Array(10).fill(0x80), 0x01]), /longer than 10 bytes/],
    ['a varint that is cut off', Buffer.from([0x78, 0x80]), /varint is cut off/],
    ['a fixed64 that is cut off', inRecord(Buffer.from([0x09, 1, 2, 3])), /cut off/],
    ['a fixed32 that is cut off', inRecord(Buffer.from([0x45, 1, 2, 3])), /cut off/],
    ['field number 0', Buffer.from([0x00, 0x00]), /field number 0/],
    ['field number 0 with padding', Buffer.from([0x80, 0x00, 0x00]), /field number 0/],
    ['a field number beyond 2^29-1', Buffer.concat([varint(2n ** 32n), Buffer.from([0])]), /tag is beyond 32 bits/],
    ['wire type 6', Buffer.from([0x7e]), /unknown wire type 6/],
    ['wire type 7', Buffer.from([0x7f]), /unknown wire type 7/],
    ['the end of a group nobody opened', tag(15, 4), /end of a group that was not opened/],
    ['a group that never ends', tag(15, 3), /cut off/],
    ['a group that ends with another number', Buffer.concat([tag(15, 3), tag(16, 4)]), /ends with another number/],
    ['10,000 groups in each other', Buffer.concat(Array(10_000).fill(tag(15, 3))), /groups nest deeper than 100/],
    ['a gRPC frame', Buffer.concat([Buffer.from([0, 0, 0, 0, 2]), Buffer.from([0x0a, 0])]), /field number 0/],
    ['JSON text', Buffer.from('{"resourceLogs":[]}'), /not a valid ExportLogsServiceRequest in protobuf/],
    ['gzip', Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), /not a valid ExportLogsServiceRequest in protobuf/],
  ])('%s is refused, and the message says so', (_, bytes, says) => {
    expect(rowsOrRefusal(bytes)).toMatchObject({ status: 400, message: expect.stringMatching(says) })
  })
})

/** What protobufjs makes of it; undefined if it refuses. */
function referenceRows(bytes: Uint8Array): Row[] | undefined {
  let request: ExportLogsRequest
  try {
    request = decodeExportLogsRequest(bytes)
  } catch {
    return undefined
  }
  return expectedRows(request, noon)
}
