/**
 * Reads a frame's payload back into records, for people who look into the spool. Driven by the declared type
 * (layout.ts), so that both cannot drift apart. Nothing here is on the way of a request.
 */
import { groupsType, groupsTypeWithoutRedactions } from '../otlp/layout.ts'

/** A record with the columns of its group; times are nanoseconds since 1970, maps are objects. */
export type SpooledRecord = Readonly<Record<string, unknown>> & { readonly Index: number }

/** @throws RangeError if the payload does not have the declared type */
export function readRecords(payload: Uint8Array, format: 1 | 2): readonly SpooledRecord[] {
  const source: Source = { bytes: Buffer.from(payload.buffer, payload.byteOffset, payload.length), at: 0 }
  const groups = decodeGroups[format](source) as readonly { readonly Records: readonly object[] }[]
  return groups.flatMap(({ Records, ...group }) => Records.map((record) => ({ ...group, ...record }) as SpooledRecord))
}

interface Source {
  readonly bytes: Buffer
  at: number
}

type Decode = (source: Source) => unknown

const decodeGroups = { 1: decoderOf(groupsTypeWithoutRedactions), 2: decoderOf(groupsType) } as const

/** @param type `String`, `Map(String, String)`, `Array(Tuple(name type, …))`, … */
function decoderOf(type: string): Decode {
  const [, name = '', inner = ''] = /^(\w+)(?:\((.*)\))?$/s.exec(type.trim()) ?? []
  const parts = splitOuter(inner)
  switch (name) {
    case 'UInt8':
      return (source) => source.bytes.readUInt8(advance(source, 1))
    case 'UInt16':
      return (source) => source.bytes.readUInt16LE(advance(source, 2))
    case 'UInt32':
      return (source) => source.bytes.readUInt32LE(advance(source, 4))
    case 'UInt64':
      return (source) => source.bytes.readBigUInt64LE(advance(source, 8))
    case 'DateTime64':
    case 'Int64':
      return (source) => source.bytes.readBigInt64LE(advance(source, 8))
    case 'Float64':
      return (source) => source.bytes.readDoubleLE(advance(source, 8))
    case 'String':
      return text
    case 'FixedString': {
      const length = Number(inner)
      return (source) => source.bytes.toString('hex', advance(source, length), source.at)
    }
    case 'Array': {
      const item = decoderOf(inner)
      return (source) => Array.from({ length: count(source) }, () => item(source))
    }
    case 'Map': {
      const [key = text, value = text] = parts.map(decoderOf)
      return (source) => Object.fromEntries(Array.from({ length: count(source) }, () => [key(source), value(source)]))
    }
    case 'Tuple': {
      const elements = parts.map((part) => {
        const [, label = '', elementType = ''] = /^(\w+)\s+(.*)$/s.exec(part) ?? []
        return { label, decode: decoderOf(elementType) }
      })
      return (source) => Object.fromEntries(elements.map(({ label, decode }) => [label, decode(source)]))
    }
    default:
      throw new Error(`type ${type} cannot be read back`)
  }
}

/** At commas that stand in no parentheses. */
function splitOuter(list: string): string[] {
  const parts: string[] = []
  let depth = 0
  let from = 0
  for (let at = 0; at <= list.length; at++) {
    const character = list[at]
    if (character === '(') depth++
    if (character === ')') depth--
    if (at === list.length || (character === ',' && depth === 0)) {
      parts.push(list.slice(from, at).trim())
      from = at + 1
    }
  }
  return parts
}

function text(source: Source): string {
  const length = count(source)
  return source.bytes.toString('utf8', advance(source, length), source.at)
}

/** LEB128 */
function count(source: Source): number {
  let value = 0
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = source.bytes.readUInt8(advance(source, 1))
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) break
  }
  // Each item takes a byte at least; a count that cannot be would otherwise be a long loop.
  if (value > source.bytes.length - source.at) throw new RangeError(`a length of ${value} does not fit the bytes`)
  return value
}

function advance(source: Source, bytes: number): number {
  const { at } = source
  if (at + bytes > source.bytes.length) throw new RangeError(`${bytes} bytes at ${at} run past the end`)
  source.at += bytes
  return at
}
