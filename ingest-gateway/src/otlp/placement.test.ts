/** Wherever in a request a secret stands, and however the request is written, it is not in the rows. */
import { compileRules, createRedaction } from '@agnes/redaction'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Canary, canaries, plant, secretIn } from '../../../tests/support/canaries.ts'
import { exportLogsRequest } from '../../../tests/support/otlp-arbitraries.ts'
import { encodeJson } from '../../../tests/support/otlp-json.ts'
import { type ExportLogsRequest, encodeExportLogsRequest } from '../../../tests/support/otlp-reference.ts'
import { type Row, rowsOf } from '../../../tests/support/rowbinary.ts'
import { transcodeJson } from './transcode-json.ts'
import { transcodeProtobuf } from './transcode-protobuf.ts'

const noon = 1_795_000_000_000_000_000n
const rules = await compileRules({})
const key = Buffer.alloc(32, 5)
const redaction = createRedaction(rules, key)
/** The same rules, looked for in every text. */
const everywhere = createRedaction({ ...rules, scan: undefined }, key)

const fromProtobuf = (request: ExportLogsRequest, start = redaction): Row[] =>
  rowsOf(transcodeProtobuf(encodeExportLogsRequest(request), noon, { redactor: start('default') }).bytes)
const fromJson = (request: ExportLogsRequest): Row[] =>
  rowsOf(transcodeJson(encodeJson(request), noon, { redactor: redaction('default') }).bytes)

/** Canaries in some of the texts: one in three, or one in sixty, so that most of the request holds none. */
const planted: fc.Arbitrary<ExportLogsRequest> = fc
  .tuple(exportLogsRequest, fc.constantFrom(3, 60), fc.infiniteStream(fc.nat()))
  .map(([request, rarity, numbers]) =>
    plant(request, (): Canary | undefined => {
      const number = numbers.next().value as number
      return number % rarity === 0 ? canaries[Math.floor(number / rarity) % canaries.length] : undefined
    }),
  )

const asText = (rows: readonly Row[]): string =>
  rows.map((row) => Object.values(row).flat(3).map(String).join('\n')).join('\n')

test('P28 no secret is left in the rows of a request in protobuf', () => {
  fc.assert(
    fc.property(planted, (request) => {
      expect(secretIn(asText(fromProtobuf(request)))).toBeUndefined()
    }),
    { numRuns: 300 },
  )
})

test('the quick look over the bytes of a request misses nothing that a look into every text finds', () => {
  fc.assert(
    fc.property(planted, (request) => {
      expect(fromProtobuf(request)).toEqual(fromProtobuf(request, everywhere))
    }),
    { numRuns: 300 },
  )
})

test('JSON and protobuf of the same request are redacted alike', () => {
  fc.assert(
    fc.property(planted, (request) => {
      expect(fromJson(request)).toEqual(fromProtobuf(request))
    }),
    { numRuns: 300 },
  )
})

test('escapes in JSON hide no secret', () => {
  const text =
    '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"p\\u0061ssword=canary-password"}},{"body":{"stringValue":"postgres:\\/\\/ann:canary-pw@db"}}]}]}]}'
  const { bytes } = transcodeJson(Buffer.from(text), noon, { redactor: redaction('default') })
  expect(secretIn(asText(rowsOf(bytes)))).toBeUndefined()
})

test('what was redacted is listed with its place, the resource and the scope with every record', () => {
  const [row, second] = fromProtobuf({
    resourceLogs: [
      {
        resource: { attributes: [{ key: 'db.password', value: { intValue: 1234n } }] },
        scopeLogs: [
          {
            scope: { name: 'Bearer abcdefgh12345678' },
            logRecords: [
              { attributes: [{ key: 'agnes.params', value: { stringValue: '{"token":"abc","n":1}' } }] },
              { body: { stringValue: 'nothing' } },
            ],
          },
        ],
      },
    ],
  })
  const mark = / x[0-9a-f]{16}$/
  const group = ['resource.attributes.db.password password', 'scope.name bearer_token']
  expect(row?.GroupRedactions.map((text) => text.replace(mark, ''))).toEqual(group)
  expect(row?.Redactions.map((text) => text.replace(mark, ''))).toEqual(['attributes.agnes.params token'])
  expect(row?.LogAttributes).toEqual([
    ['agnes.params', expect.stringMatching(/^\{"token":"\[redacted token x[0-9a-f]{16}\]","n":1\}$/)],
  ])
  expect(second?.GroupRedactions).toEqual(row?.GroupRedactions)
  expect(second?.Redactions).toEqual([])
  // Mark and list name the same secret.
  expect(row?.LogAttributes[0]?.[1]).toContain(row?.Redactions[0]?.split(' ').at(-1))
})

test('numbers, times and ids are no card numbers', () => {
  const record = {
    attributes: [
      { key: 'n', value: { intValue: 4_716_461_583_322_103n } },
      { key: 'id', value: { stringValue: '0193f0a0-7b1c-7000-8000-471646158332' } },
      { key: 'password_set', value: { boolValue: true } },
      { key: 'password', value: { boolValue: true } },
    ],
  }
  const [row] = fromProtobuf({ resourceLogs: [{ scopeLogs: [{ logRecords: [record] }] }] })
  expect(row?.LogAttributes.map(([, value]) => value)).toEqual([
    '4716461583322103',
    '0193f0a0-7b1c-7000-8000-471646158332',
    'true',
    'true',
  ])
  expect(row?.Redactions).toEqual([])
})
