/**
 * Reads RowBinary as ClickHouse would: driven by nothing but the declared type, and strict about every byte.
 * Knows the types our insert format uses; written against ClickHouse's description of the format, not against our writer.
 * @see https://clickhouse.com/docs/interfaces/formats/RowBinary
 */
import { groupsType } from '../../ingest-gateway/src/otlp/layout.ts'

/** Maps come as pairs: RowBinary may hold a key twice, and the order is part of what is checked. */
export type Pairs = readonly (readonly [string, string])[]

/** A log record with the columns of its resource and scope, as one row of `agnes.otel_logs`. */
export interface Row {
  readonly ServiceName: string
  readonly ResourceSchemaUrl: string
  readonly ResourceAttributes: Pairs
  readonly ScopeSchemaUrl: string
  readonly ScopeName: string
  readonly ScopeVersion: string
  readonly ScopeAttributes: Pairs
  readonly Index: number
  readonly Timestamp: bigint
  readonly ObservedTimestamp: bigint
  readonly TraceId: string
  readonly SpanId: string
  readonly TraceFlags: number
  readonly SeverityText: string
  readonly SeverityNumber: number
  readonly Body: string
  readonly LogAttributes: Pairs
  readonly EventName: string
  readonly EventId: string
  readonly GroupRedactions: readonly string[]
  readonly Redactions: readonly string[]
}

type Group = Omit<Row, 'Index'> & { readonly Records: readonly Partial<Row>[] }

/** The rows of a transcoded request in order. @throws if the bytes are not exactly one value of `groupsType` */
export function rowsOf(bytes: Uint8Array): Row[] {
  const groups = readValue(bytes, groupsType) as readonly Group[]
  return groups.flatMap(({ Records, ...group }) => Records.map((record) => ({ ...group, ...record }) as Row))
}

/** Reads exactly one value of a ClickHouse type. @throws if bytes are missing or left over */
export function readValue(bytes: Uint8Array, type: string): unknown {
  const source = new Source(bytes)
  const value = decoderOf(new TypeText(type).parse())(source)
  if (source.at !== bytes.length) throw new Error(`${bytes.length - source.at} bytes are left over after ${type}`)
  return value
}

interface Type {
  readonly name: string
  /** Arguments with the element's name, where it has one (Tuple). */
  readonly of: readonly { readonly label: string; readonly type: Type }[]
}

/** `Array(Tuple(Name Type, …))` → tree. */
class TypeText {
  private readonly tokens: string[]
  private at = 0

  constructor(text: string) {
    this.tokens = text.match(/\w+|[(),]/g) ?? []
  }

  parse(): Type {
    const name = this.next()
    const of: { label: string; type: Type }[] = []
    if (this.tokens[this.at] !== '(') return { name, of }
    do {
      this.at++ // "(" or ","
      const label = /\w/.test(this.tokens[this.at + 1] ?? '') ? this.next() : ''
      of.push({ label, type: this.parse() })
    } while (this.tokens[this.at] === ',')
    if (this.next() !== ')') throw new Error(`type ${name} is not closed`)
    return { name, of }
  }

  private next(): string {
    const token = this.tokens[this.at++]
    if (token === undefined) throw new Error('type is cut off')
    return token
  }
}

type Decoder = (source: Source) => unknown

function decoderOf({ name, of }: Type): Decoder {
  switch (name) {
    case 'UInt8':
      return (source) => source.view(1).getUint8(0)
    case 'UInt32':
      return (source) => source.view(4).getUint32(0, true)
    case 'DateTime64':
      return (source) => source.view(8).getBigInt64(0, true)
    case 'String':
      return (source) => source.text()
    case 'Array': {
      const item = decoderOf(argument(of, 0))
      return (source) => source.list(() => item(source))
    }
    case 'Map': {
      const key = decoderOf(argument(of, 0))
      const value = decoderOf(argument(of, 1))
      return (source) => source.list(() => [key(source), value(source)])
    }
    case 'Tuple': {
      const elements = of.map(({ label, type }) => ({ label, decode: decoderOf(type) }))
      return (source) => Object.fromEntries(elements.map(({ label, decode }) => [label, decode(source)]))
    }
    default:
      throw new Error(`this reader does not know the type ${name}`)
  }
}

function argument(of: Type['of'], index: number): Type {
  const entry = of[index]
  if (entry === undefined) throw new Error(`type argument ${index} is missing`)
  return entry.type
}

/** The engine would store any bytes as a String; we promise UTF-8, so anything else is an error here. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Source {
  at = 0
  private readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  view(length: number): DataView {
    const { buffer, byteOffset } = this.take(length)
    return new DataView(buffer, byteOffset, length)
  }

  text(): string {
    return utf8.decode(this.take(this.count()))
  }

  list<T>(item: () => T): T[] {
    const count = this.count()
    // A count the bytes can't hold would otherwise be a very long loop over empty items.
    if (count > this.bytes.length - this.at) throw new Error(`a list of ${count} does not fit the bytes`)
    return Array.from({ length: count }, item)
  }

  private count(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.view(1).getUint8(0)
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new Error(`the varint before byte ${this.at} is too long`)
  }

  private take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at) throw new Error(`${length} bytes at ${this.at} run past the end`)
    const part = this.bytes.subarray(this.at, this.at + length)
    this.at += length
    return part
  }
}
