/** Arbitrary OTLP requests: everything the protocol allows, and the edges our rules speak of more often than chance would. */
import fc from 'fast-check'
import type { AnyValue, ExportLogsRequest, KeyValue, LogRecord } from './otlp-reference.ts'

/** `object` with any of its members left out. */
function partial<T extends object>(members: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> {
  return fc.record(members, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>
}

/** Well-formed Unicode of all planes and controls; short and ASCII most of the time, now and then long. */
export const text: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', minLength: 60, maxLength: 300 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('', '"', '\\', '\u0000', '\b\t\n\f\r\u001b\u007f', '\u2028\u2029', '\ufeffBOM', '💥'),
  },
)

const key: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: text },
  {
    weight: 2,
    arbitrary: fc.constantFrom('event.name', 'log.record.uid', 'event.id', 'service.name', 'user.id', '__proto__', ''),
  },
)

const bytes = fc.uint8Array({ maxLength: 40 })

const int64: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -300n, max: 300n }),
  fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 32n, 2n ** 32n - 1n, -1n, 0n),
)

const double: fc.Arbitrary<number> = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom(-0, 0, Number.NaN, Infinity, -Infinity, 5e-324, Number.MAX_VALUE, 1e21, 1e-7, 0.1 + 0.2),
)

const { value } = fc.letrec<{ value: AnyValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6, depthSize: 'small' },
    text.map((stringValue) => ({ stringValue })),
    fc.boolean().map((boolValue) => ({ boolValue })),
    int64.map((intValue) => ({ intValue })),
    double.map((doubleValue) => ({ doubleValue })),
    bytes.map((bytesValue) => ({ bytesValue })),
    fc.constant({}),
    partial({ values: fc.array(tie('value'), { maxLength: 4 }) }).map((arrayValue) => ({ arrayValue })),
    partial({
      values: fc.array(partial<KeyValue>({ key, value: tie('value') }), { maxLength: 4 }),
    }).map((kvlistValue) => ({ kvlistValue })),
  ),
}))

const attributes: fc.Arbitrary<KeyValue[]> = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: partial<KeyValue>({ key, value }) },
      // What nearly every sender writes.
      { weight: 2, arbitrary: fc.record({ key, value: text.map((stringValue) => ({ stringValue })) }) },
    ),
    { maxLength: 8 },
  )
  // Some attributes twice.
  .chain((list) => fc.subarray(list).map((repeated) => [...list, ...repeated]))

const time: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 1_700_000_000_000_000_000n, max: 1_900_000_000_000_000_000n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0n, 1n, 2n ** 32n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n),
)

const id = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.oneof(
    { weight: 3, arbitrary: fc.uint8Array({ minLength: length, maxLength: length }) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }) },
    { weight: 1, arbitrary: fc.constant(new Uint8Array(length)) },
  )

const eventName = fc.oneof(
  text,
  fc.constantFrom('', 'agnes.audit', 'claude_code.user_prompt', 'claude_code.', 'a.b:c-d_e', '1.2', 'no dots', 'a..b'),
  fc.constantFrom(`long.${'x'.repeat(123)}`, `long.${'x'.repeat(124)}`, 'trailing.newline\n', 'ünicode.name'),
)

const record: fc.Arbitrary<LogRecord> = partial<LogRecord>({
  timeUnixNano: time,
  observedTimeUnixNano: time,
  severityNumber: fc.oneof(fc.integer({ min: 0, max: 24 }), fc.constantFrom(-1, 25, 255, 256, 2 ** 31 - 1, -(2 ** 31))),
  severityText: text,
  body: fc.oneof(
    value,
    eventName.map((stringValue) => ({ stringValue })),
  ),
  attributes,
  droppedAttributesCount: fc.nat(),
  flags: fc.oneof(fc.constantFrom(0, 1, 0x100, 0x1ff, 2 ** 32 - 1), fc.nat()),
  traceId: id(16),
  spanId: id(8),
  eventName,
})

export const exportLogsRequest: fc.Arbitrary<ExportLogsRequest> = fc.record({
  resourceLogs: fc.array(
    partial({
      resource: partial({ attributes }),
      schemaUrl: text,
      scopeLogs: fc.array(
        partial({
          scope: partial({ name: text, version: text, attributes }),
          schemaUrl: text,
          logRecords: fc.array(record, { maxLength: 4 }),
        }),
        { maxLength: 3 },
      ),
    }),
    { maxLength: 3 },
  ),
})
