/** What is too deep, too many or too large, and text that is not text: one record pays, or the request, never the process. */

import { compileRules, createRedaction } from '@agnes/redaction'
import { describe, expect, test } from 'vitest'
import type { AnyValue, ExportLogsRequest, KeyValue, ScopeLogs } from '../../../tests/support/otlp-reference.ts'
import { type Field, message, recordFields, requestFields, varint } from '../../../tests/support/protobuf-wire.ts'
import { type Row, rowsOf } from '../../../tests/support/rowbinary.ts'
import { defaultLimits, type Rows } from './rows.ts'
import { transcodeJson } from './transcode-json.ts'
import { transcodeProtobuf } from './transcode-protobuf.ts'

const noon = 1_795_000_000_000_000_000n
const rules = await compileRules({})

function protobuf(request: ExportLogsRequest): Rows {
  return transcodeProtobuf(message(requestFields(request)), noon)
}

function json(text: string | Buffer): Rows {
  return transcodeJson(Buffer.from(text), noon)
}

function onlyRow({ bytes }: Rows): Row {
  const rows = rowsOf(bytes)
  expect(rows).toHaveLength(1)
  return rows[0] as Row
}

const bodies = (...values: AnyValue[]): ExportLogsRequest => ({
  resourceLogs: [{ scopeLogs: [{ logRecords: values.map((body) => ({ body })) }] }],
})

const jsonBodies = (...values: string[]): string =>
  `{"resourceLogs":[{"scopeLogs":[{"logRecords":[${values.map((body) => `{"body":${body}}`).join(',')}]}]}]}`

/** A record with `count` length-delimited levels of lists around nothing, written without recursion. */
function nestedProtobuf(levels: number): Buffer {
  const parts: Buffer[] = []
  let length = 0
  for (let level = 0; level < levels; level++) {
    // An AnyValue with an array that holds the AnyValue so far.
    for (const tag of [0x0a, 0x2a]) {
      const head = Buffer.concat([Buffer.from([tag]), varint(BigInt(length))])
      parts.push(head)
      length += head.length
    }
  }
  const body = Buffer.concat(parts.reverse())
  const records: Field[] = [
    { number: 2, message: [{ number: 5, bytes: body }] },
    { number: 2, message: recordFields({ body: { stringValue: 'good' } }) },
  ]
  return message([{ number: 1, message: [{ number: 2, message: records }] }])
}

const nestedJson = (levels: number): string =>
  jsonBodies('{"arrayValue":{"values":['.repeat(levels) + ']}}'.repeat(levels), '{"stringValue":"good"}')

describe('depth', () => {
  const kvlist = (levels: number): AnyValue =>
    levels === 0 ? { intValue: 1n } : { kvlistValue: { values: [{ key: 'k', value: kvlist(levels - 1) }] } }

  test('63 levels around a value are stored, 64 are not', () => {
    expect(onlyRow(protobuf(bodies(kvlist(63)))).Body).toBe(`${'{"k":'.repeat(63)}1${'}'.repeat(63)}`)
    expect(protobuf(bodies(kvlist(64)))).toMatchObject({
      records: 0,
      rejected: 1,
      notes: ['1 × record rejected: a value nests deeper than 64 levels; flatten it'],
    })
  })

  test.each<[string, () => Rows]>([
    ['10,000 lists in each other, protobuf', () => transcodeProtobuf(nestedProtobuf(10_000), noon)],
    ['10,000 lists in each other, JSON', () => json(nestedJson(10_000))],
  ])('%s: the record is rejected, the one beside it kept', (_, transcode) => {
    const rows = transcode()
    expect(rows).toMatchObject({ records: 1, rejected: 1, notes: [expect.stringContaining('deeper than 64 levels')] })
    expect(onlyRow(rows).Body).toBe('good')
  })

  test('200,000 lists in each other in a JSON field nobody knows are ignored like any other', () => {
    expect(json(`{"resourceLogs":[],"x":${'['.repeat(200_000)}${']'.repeat(200_000)}}`)).toMatchObject({ notes: [] })
  })

  test('a resource or a scope that nests too deep refuses the request and says which one it is', () => {
    const attributes = [{ key: 'deep', value: kvlist(65) }]
    const logRecords = [{}]
    expect(() => protobuf({ resourceLogs: [{}, { resource: { attributes }, scopeLogs: [{ logRecords }] }] })).toThrow(
      expect.objectContaining({
        status: 400,
        message: 'resourceLogs[1].resource: a value nests deeper than 64 levels; flatten it',
      }),
    )
    expect(() => protobuf({ resourceLogs: [{ scopeLogs: [{}, { scope: { attributes }, logRecords }] }] })).toThrow(
      expect.objectContaining({
        status: 400,
        message: 'resourceLogs[0].scopeLogs[1].scope: a value nests deeper than 64 levels; flatten it',
      }),
    )
  })
})

describe('number', () => {
  const { maxAttributes, maxRecords } = defaultLimits
  const attributes = (count: number): KeyValue[] =>
    Array.from({ length: count }, (_, i) => ({ key: `k${i}`, value: { intValue: BigInt(i) } }))
  const jsonAttributes = (count: number): string => `[${attributes(count).map(({ key }) => `{"key":"${key}"}`)}]`

  test('a record may have 1,024 attributes; one more and it is rejected, the others are kept', () => {
    const request = (count: number): ExportLogsRequest => ({
      resourceLogs: [{ scopeLogs: [{ logRecords: [{ attributes: attributes(count) }, {}] }] }],
    })
    expect(protobuf(request(maxAttributes))).toMatchObject({ records: 2, rejected: 0, notes: [] })
    const rejected = { records: 1, rejected: 1, notes: [expect.stringContaining('more than 1024 attributes')] }
    expect(protobuf(request(maxAttributes + 1))).toMatchObject(rejected)
    const record = `{"attributes":${jsonAttributes(maxAttributes + 1)}}`
    expect(json(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[${record},{}]}]}]}`)).toMatchObject(rejected)
  })

  test('a resource with more attributes refuses the request', () => {
    const refused = expect.objectContaining({
      status: 400,
      message: expect.stringMatching(/^resourceLogs\[0]\.resource: more than 1024 attributes/),
    })
    const resource = { attributes: attributes(maxAttributes + 1) }
    expect(() => protobuf({ resourceLogs: [{ resource }] })).toThrow(refused)
    const text = `{"resourceLogs":[{"resource":{"attributes":${jsonAttributes(maxAttributes + 1)}}}]}`
    expect(() => json(text)).toThrow(refused)
  })

  test('more records than 50,000 are refused whole, however small they are', () => {
    const refused = expect.objectContaining({ status: 413, message: expect.stringContaining('50000 log records') })
    const records = (count: number): Field[] => Array.from({ length: count }, () => ({ number: 2, bytes: '' }))
    const request = (count: number): Buffer =>
      message([{ number: 1, message: [{ number: 2, message: records(count) }] }])
    expect(transcodeProtobuf(request(maxRecords), noon).records).toBe(maxRecords)
    expect(() => transcodeProtobuf(request(maxRecords + 1), noon)).toThrow(refused)
    const list = Array(maxRecords + 1).fill('{}')
    expect(() => json(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[${list}]}]}]}`)).toThrow(refused)
  })

  test('rejected records count too: they cost as much to read', () => {
    const record: Field = { number: 2, message: Array(3).fill({ number: 6, bytes: '' }) }
    const request = message([{ number: 1, message: [{ number: 2, message: Array(11).fill(record) }] }])
    const limits = { ...defaultLimits, maxAttributes: 2, maxRecords: 10 }
    expect(() => transcodeProtobuf(request, noon, { limits })).toThrow(expect.objectContaining({ status: 413 }))
  })

  test('millions of empty resources or scopes are refused', () => {
    const refused = expect.objectContaining({ status: 413, message: expect.stringContaining('resources and scopes') })
    const empty = Buffer.alloc(2_000_000, Buffer.from([0x0a, 0x00]))
    expect(() => transcodeProtobuf(empty, noon)).toThrow(refused)
    const scopes = Buffer.alloc(2_000_000, Buffer.from([0x12, 0x00]))
    expect(() => transcodeProtobuf(message([{ number: 1, bytes: scopes }]), noon)).toThrow(refused)
    const objects = Array(100_001).fill('{}')
    expect(() => json(`{"resourceLogs":[${objects}]}`)).toThrow(refused)
    expect(() => json(`{"resourceLogs":[{"scopeLogs":[${objects}]}]}`)).toThrow(refused)
  })

  test('a million lists and objects in JSON are refused before they are parsed; braces inside text are no objects', () => {
    const start = performance.now()
    expect(() => json(`{"x":[${'{},'.repeat(8_000_000)}{}]}`)).toThrow(
      expect.objectContaining({ status: 413, message: expect.stringContaining('lists and objects') }),
    )
    // Parsing this takes ten seconds.
    expect(performance.now() - start).toBeLessThan(3_000)
    const braces = '{[\\"'.repeat(500_000)
    expect(json(jsonBodies(`{"stringValue":"${braces}"}`)).records).toBe(1)
  })
})

describe('size', () => {
  const resource: Field = {
    number: 1,
    message: [
      {
        number: 1,
        message: [
          { number: 1, bytes: 'k' },
          { number: 2, message: [{ number: 1, bytes: 'x'.repeat(1_000_000) }] },
        ],
      },
    ],
  }
  const refused = expect.objectContaining({ status: 413, message: expect.stringContaining('bytes of rows') })

  const withScopes = (content: Field): Buffer => {
    const scopes: Field[] = Array(50_000).fill({ number: 2, message: [content] })
    return message([{ number: 1, message: [resource, ...scopes] }])
  }
  const jsonWithScopes = (scope: string): string => {
    const large = `{"attributes":[{"key":"k","value":{"stringValue":"${'x'.repeat(1_000_000)}"}}]}`
    return `{"resourceLogs":[{"resource":${large},"scopeLogs":[${Array(50_000).fill(scope)}]}]}`
  }

  test('a large resource with 50,000 scopes that hold a record does not become 50 GB', () => {
    const request = withScopes({ number: 2, bytes: '' })
    const before = process.memoryUsage().rss
    expect(() => transcodeProtobuf(request, noon)).toThrow(refused)
    expect(process.memoryUsage().rss - before).toBeLessThan(800e6)
    expect(() => json(jsonWithScopes('{"logRecords":[{}]}'))).toThrow(refused)
  })

  test('a large resource is not written at all for scopes that hold nothing', () => {
    const nothing = withScopes({ number: 15, varint: 0n })
    for (const transcode of [() => transcodeProtobuf(nothing, noon), () => json(jsonWithScopes('{}'))]) {
      const rows = transcode()
      expect(rows).toMatchObject({ records: 0, rejected: 0, notes: [] })
      expect(rowsOf(rows.bytes)).toEqual([])
    }
  })

  test('text that JSON escapes make six times as long is refused when it no longer fits, not stored cut', () => {
    const controls = Buffer.alloc(60_000_000, 1)
    const value: Field = { number: 5, message: [{ number: 1, message: [{ number: 1, bytes: controls }] }] }
    const record: Field = { number: 2, message: [{ number: 5, message: [value] }] }
    expect(() =>
      transcodeProtobuf(message([{ number: 1, message: [{ number: 2, message: [record] }] }]), noon),
    ).toThrow(refused)
  })
})

describe('what a request becomes with its resources and scopes on each record', () => {
  const refused = expect.objectContaining({
    status: 413,
    message: expect.stringMatching(/stored with each of their log records, become more than 268435456 bytes: send/),
  })
  const attribute = (length: number): KeyValue[] => [{ key: 'k', value: { stringValue: 'x'.repeat(length) } }]
  const both = (request: ExportLogsRequest): (() => Rows)[] => [
    () => protobuf(request),
    () => json(JSON.stringify(request)),
  ]
  const logRecords = (count: number): object[] => Array(count).fill({})

  test.each<[string, ExportLogsRequest]>([
    [
      'a resource of 400 KiB and 50,000 records',
      {
        resourceLogs: [
          { resource: { attributes: attribute(400 * 1024) }, scopeLogs: [{ logRecords: logRecords(50_000) }] },
        ],
      },
    ],
    [
      'a scope of 400 KiB and 50,000 records',
      {
        resourceLogs: [
          { scopeLogs: [{ scope: { attributes: attribute(400 * 1024) }, logRecords: logRecords(50_000) }] },
        ],
      },
    ],
    [
      '20 resources of 100 KiB and 200 records each',
      {
        resourceLogs: Array(20).fill({
          resource: { attributes: attribute(100 * 1024) },
          scopeLogs: [{ logRecords: logRecords(200) }],
        }),
      },
    ],
    [
      '1,000 attributes of next to nothing and 10,000 records',
      {
        resourceLogs: [
          {
            resource: { attributes: Array.from({ length: 1_000 }, () => ({ key: '', value: { stringValue: '' } })) },
            scopeLogs: [{ logRecords: logRecords(10_000) }],
          },
        ],
      },
    ],
  ])('%s: refused', (_, request) => {
    for (const transcode of both(request)) expect(transcode).toThrow(refused)
  })

  test('up to the bound it is taken, and told', () => {
    const request: ExportLogsRequest = {
      resourceLogs: [
        { resource: { attributes: attribute(5_000) }, scopeLogs: [{ logRecords: logRecords(50_000) }] },
        { resource: { attributes: attribute(1_000_000) }, scopeLogs: [{ logRecords: logRecords(1).slice(1) }] },
      ],
    }
    for (const transcode of both(request)) {
      const { records, unfoldedBytes } = transcode()
      expect(records).toBe(50_000)
      expect(unfoldedBytes).toBeGreaterThan(50_000 * 5_000)
      expect(unfoldedBytes).toBeLessThan(50_000 * 5_100)
    }
  })
})

describe('what was redacted in a resource', () => {
  const secrets = Array.from({ length: 5_000 }, (_, i): AnyValue => ({ stringValue: `password=s3cret${i}` }))
  const attributes: KeyValue[] = [{ key: 'k', value: { arrayValue: { values: secrets } } }]
  const limits = { ...defaultLimits, maxDepth: 2 }
  const list = (value: AnyValue): AnyValue => ({ arrayValue: { values: [value] } })
  const tooDeep = list(list(list({})))
  /** The same request by both ways. */
  const both = (scopes: number, scope: ScopeLogs): (() => Rows)[] => {
    const request: ExportLogsRequest = {
      resourceLogs: [{ resource: { attributes }, scopeLogs: Array(scopes).fill(scope) }],
    }
    const wire = message(requestFields(request))
    const text = Buffer.from(JSON.stringify(request))
    const start = createRedaction(rules, Buffer.alloc(16, 1))
    return [
      () => transcodeProtobuf(wire, noon, { limits, redactor: start('t') }),
      () => transcodeJson(text, noon, { limits, redactor: start('t') }),
    ]
  }

  test('is listed with each record of each scope that has one', () => {
    for (const transcode of both(2, { logRecords: [{}] })) {
      const rows = rowsOf(transcode().bytes)
      expect(rows.map((row) => (row.GroupRedactions as string[]).length)).toEqual([5_000, 5_000])
      expect(rows[1]?.GroupRedactions).toEqual(rows[0]?.GroupRedactions)
    }
  })

  test('is not written again for each of 90,000 scopes without a record', () => {
    for (const transcode of both(90_000, { logRecords: [] })) {
      const began = performance.now()
      expect(transcode()).toMatchObject({ records: 0 })
      expect(performance.now() - began).toBeLessThan(3_000)
    }
  })

  test('counts where the records of the scopes are rejected and the scopes taken back', () => {
    for (const transcode of both(750, { logRecords: [{ body: tooDeep }] })) {
      expect(transcode).toThrow(
        expect.objectContaining({ status: 413, message: expect.stringContaining('bytes of rows') }),
      )
    }
  })
})

describe('text that is not UTF-8', () => {
  const repaired = (count: number): string[] => [
    `${count} × string was not valid UTF-8, its bad bytes were replaced by U+FFFD; send UTF-8`,
  ]
  const logRecord = (fields: Field[]): Rows =>
    transcodeProtobuf(
      message([{ number: 1, message: [{ number: 2, message: [{ number: 2, message: fields }] }] }]),
      noon,
    )

  test.each<[string, number[], string]>([
    ['a byte that starts nothing', [0x61, 0xff, 0x62], 'a\ufffdb'],
    ['a sequence that is cut off', [0x61, 0xe2, 0x82], 'a\ufffd'],
    ['an overlong slash', [0xc0, 0xaf], '\ufffd\ufffd'],
    ['a surrogate', [0xed, 0xa0, 0x80], '\ufffd\ufffd\ufffd'],
    ['beyond U+10FFFF', [0xf4, 0x90, 0x80, 0x80], '\ufffd\ufffd\ufffd\ufffd'],
  ])('%s becomes U+FFFD and is noted', (_, bad, text) => {
    const bytes = Buffer.from(bad)
    const rows = logRecord([
      { number: 3, bytes },
      { number: 5, message: [{ number: 1, bytes }] },
    ])
    expect(onlyRow(rows)).toMatchObject({ SeverityText: text, Body: text })
    expect(rows).toMatchObject({ rejected: 0, notes: repaired(2) })
  })

  test('is repaired wherever it stands: long text, keys, inside lists, beside good characters', () => {
    const bad = Buffer.concat([Buffer.from('ž'.repeat(150)), Buffer.from([0xff])])
    const good = `${'ž'.repeat(150)}\ufffd`
    const list: Field = { number: 5, message: [{ number: 1, message: [{ number: 1, bytes: bad }] }] }
    const attribute: Field = {
      number: 6,
      message: [
        { number: 1, bytes: bad },
        { number: 2, message: [list] },
      ],
    }
    const rows = logRecord([attribute, { number: 12, bytes: bad }])
    expect(onlyRow(rows)).toMatchObject({ LogAttributes: [[good, `["${good}"]`]], EventName: good })
    expect(rows.notes).toEqual(repaired(3))
  })

  test('half a surrogate pair in JSON becomes U+FFFD, alone and inside a list', () => {
    const rows = json(jsonBodies('{"stringValue":"a\\ud83d"}', '{"arrayValue":{"values":[{"stringValue":"\\udca5"}]}}'))
    expect(rowsOf(rows.bytes).map((row) => row.Body)).toEqual(['a\ufffd', '["\ufffd"]'])
    expect(rows.notes).toEqual(repaired(2))
  })
})
