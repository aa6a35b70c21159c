/** Requests for the benches: audit events as a busy Agnes writes them, 11 attributes, about 440 bytes a record. */
import { Buffer } from 'node:buffer'

const digits = 12

/** A request whose event ids can be changed in place: building one costs far more than sending it. */
export interface Template {
  readonly body: Buffer
  /** Where the digits of each record's id lie. */
  readonly idOffsets: readonly number[]
}

/** A copy of the template with the ids `first … first + records - 1`, zeros before them. */
export function stamp({ body, idOffsets }: Template, first: number): Buffer {
  const copy = Buffer.from(body)
  for (let i = 0; i < idOffsets.length; i++) {
    let rest = first + i
    // Digit by digit: the load must not be what is measured.
    for (let at = (idOffsets[i] as number) + digits - 1; rest > 0; at--) {
      const tens = Math.floor(rest / 10)
      copy[at] = 0x30 + rest - tens * 10
      rest = tens
    }
  }
  return copy
}

interface Event {
  readonly timeUnixNano: bigint
  readonly strings: Readonly<Record<string, string>>
  readonly durationMs: number
}

const actions = ['sync.trigger', 'query.local', 'data.download', 'token.create', 'catalog.list', 'run_verification']
const idPlaceholder = `0193f0a0-7b1c-7000-8000-${'#'.repeat(digits)}`
const resource = {
  'service.name': 'agnes',
  'service.version': '1.42.0',
  'deployment.environment.name': 'production',
  'host.name': 'agnes-1',
  'process.pid': '812',
  'telemetry.sdk.language': 'python',
}

/** The same events for the same seed: a small linear congruential generator is random enough here. */
function events(records: number, startNs: bigint): Event[] {
  let state = 7
  const random = (below: number): number => {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff
    return state % below
  }
  return Array.from({ length: records }, (_, i) => ({
    timeUnixNano: startNs + BigInt(i) * 1_000_000n,
    durationMs: random(5_000),
    strings: {
      'log.record.uid': idPlaceholder,
      'user.id': `user-${random(50)}`,
      'agnes.action': actions[random(actions.length)] ?? '',
      'agnes.resource': `table:in.c-main.orders_${random(200)}`,
      'agnes.result': random(20) === 0 ? 'error' : 'success',
      'client.address': `10.0.${random(4)}.${random(255)}`,
      'agnes.client_kind': 'cli',
      'agnes.correlation_id': `c0ffee-${random(1_000_000)}`,
      'agnes.params': JSON.stringify({ table: `orders_${random(200)}`, rows: random(100_000), note: 'nightly' }),
      'session.id': `s-${random(1_000)}`,
    },
  }))
}

/** @param moreAttributes beside the usual eleven */
export function protobufTemplate(records: number, startNs: bigint, moreAttributes = 0): Template {
  const more = Array.from(
    { length: moreAttributes },
    (_, i) => [`app.detail_${i}`, `value ${i} of this event`] as const,
  )
  const logRecords = events(records, startNs).map((event) =>
    field(2, [
      fixed64(1, event.timeUnixNano),
      fixed64(11, event.timeUnixNano),
      varintField(2, 9),
      text(3, 'INFO'),
      text(12, 'agnes.audit'),
      ...[...Object.entries(event.strings), ...more].map(([key, value]) =>
        field(6, [text(1, key), field(2, [text(1, value)])]),
      ),
      field(6, [text(1, 'agnes.duration_ms'), field(2, [varintField(3, event.durationMs)])]),
    ]),
  )
  const attributes = Object.entries(resource).map(([key, value]) =>
    field(1, [text(1, key), field(2, [text(1, value)])]),
  )
  const scope = field(1, [text(1, 'agnes.recorder'), text(2, '1.0.0')])
  return template(field(1, [field(1, attributes), field(2, [scope, ...logRecords])]))
}

export function jsonTemplate(records: number, startNs: bigint): Template {
  const keyValues = (strings: Readonly<Record<string, string>>) =>
    Object.entries(strings).map(([key, stringValue]) => ({ key, value: { stringValue } }))
  const request = {
    resourceLogs: [
      {
        resource: { attributes: keyValues(resource) },
        scopeLogs: [
          {
            scope: { name: 'agnes.recorder', version: '1.0.0' },
            logRecords: events(records, startNs).map((event) => ({
              timeUnixNano: String(event.timeUnixNano),
              observedTimeUnixNano: String(event.timeUnixNano),
              severityNumber: 9,
              severityText: 'INFO',
              eventName: 'agnes.audit',
              attributes: [
                ...keyValues(event.strings),
                { key: 'agnes.duration_ms', value: { intValue: String(event.durationMs) } },
              ],
            })),
          },
        ],
      },
    ],
  }
  return template(Buffer.from(JSON.stringify(request)))
}

function template(body: Buffer): Template {
  const idOffsets: number[] = []
  const marker = '#'.repeat(digits)
  for (let at = body.indexOf(marker); at >= 0; at = body.indexOf(marker, at + digits)) idOffsets.push(at)
  for (const at of idOffsets) body.fill(0x30, at, at + digits)
  return { body, idOffsets }
}

// A writer of the protobuf wire format, as small as the benches need: https://protobuf.dev/programming-guides/encoding/
function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80)
    rest = Math.floor(rest / 128)
  }
  return Buffer.from([...bytes, rest])
}

function field(number: number, parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content])
}

function text(number: number, value: string): Buffer {
  return field(number, [Buffer.from(value)])
}

function varintField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)])
}

function fixed64(number: number, value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return Buffer.concat([varint(number * 8 + 1), bytes])
}
