/**
 * A reader of ClickHouse's Native format at revision 0, as clickhouse-go reads what the embedded engine writes. It knows
 * the types that dashboards may have in a result; any other is an error, as it would be a surprise to Grafana too.
 * @see https://clickhouse.com/docs/interfaces/formats/Native
 */

export type NativeValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | NativeValue[]
  | { [key: string]: NativeValue }

export interface NativeColumn {
  readonly name: string
  readonly type: string
  readonly values: readonly NativeValue[]
}

export function readNative(bytes: Buffer): NativeColumn[] {
  const reader = createReader(bytes)
  const columns: { name: string; type: string; values: NativeValue[] }[] = []
  while (!reader.atEnd()) {
    const width = reader.varint()
    const height = reader.varint()
    for (let i = 0; i < width; i++) {
      const name = reader.text()
      const type = reader.text()
      const values = height === 0 ? [] : readColumn(reader, type, height)
      const before = columns[i]
      if (before === undefined) columns.push({ name, type, values })
      else before.values.push(...values)
    }
  }
  return columns
}

type Reader = ReturnType<typeof createReader>

function createReader(bytes: Buffer) {
  let at = 0
  return {
    atEnd: () => at >= bytes.length,
    take(length: number): Buffer {
      if (at + length > bytes.length)
        throw new Error(`the block ends at ${bytes.length}, and ${length} bytes at ${at} are wanted`)
      at += length
      return bytes.subarray(at - length, at)
    },
    varint(): number {
      let value = 0
      for (let factor = 1; ; factor *= 128) {
        const byte = this.take(1)[0] as number
        value += (byte & 0x7f) * factor
        if (byte < 0x80) return value
      }
    },
    text(): string {
      return this.take(this.varint()).toString('utf8')
    },
  }
}

function readColumn(reader: Reader, type: string, height: number): NativeValue[] {
  // Before the column, once for each dictionary in it: the version of its serialization.
  for (const _ of type.matchAll(/\bLowCardinality\(/g)) reader.take(8)
  return readPlain(reader, type, height)
}

function readPlain(reader: Reader, type: string, height: number): NativeValue[] {
  const dictionary = inside(type, 'LowCardinality')
  if (dictionary !== undefined) return readDictionary(reader, dictionary, height)
  const nullable = inside(type, 'Nullable')
  if (nullable !== undefined) {
    const nulls = reader.take(height)
    return readPlain(reader, nullable, height).map((value, i) => (nulls[i] === 1 ? null : value))
  }
  const array = inside(type, 'Array')
  if (array !== undefined) return readArrays(reader, height, (length) => readPlain(reader, array, length))
  const map = inside(type, 'Map')
  if (map !== undefined) {
    const [key = '', value = ''] = splitTypes(map)
    return readArrays(reader, height, (length) => {
      const keys = readPlain(reader, key, length)
      const values = readPlain(reader, value, length)
      return keys.map((name, i) => [name, values[i] ?? null])
    }).map((pairs) => Object.fromEntries(pairs as [string, NativeValue][]))
  }
  const fixed = /^(?:Enum8|Enum16)\(/.exec(type) ? undefined : sized(type)
  if (type === 'String') return Array.from({ length: height }, () => reader.text())
  if (fixed !== undefined) {
    return Array.from({ length: height }, () => fixed.read(reader.take(fixed.bytes)))
  }
  throw new Error(`a column of type ${type}: Grafana would not know it either`)
}

function readArrays(reader: Reader, height: number, readItems: (length: number) => NativeValue[]): NativeValue[][] {
  const ends = Array.from({ length: height }, () => Number(reader.take(8).readBigUInt64LE()))
  const items = (ends.at(-1) ?? 0) === 0 ? [] : readItems(ends.at(-1) as number)
  return ends.map((end, i) => items.slice(ends[i - 1] ?? 0, end))
}

/** Additional keys, then an index a row; index 0 of a nullable dictionary is NULL. */
function readDictionary(reader: Reader, type: string, height: number): NativeValue[] {
  const values: NativeValue[] = []
  while (values.length < height) {
    const indexBytes = 1 << (Number(reader.take(8).readBigUInt64LE()) & 0xff)
    const nullable = inside(type, 'Nullable')
    const keys = readPlain(reader, nullable ?? type, Number(reader.take(8).readBigUInt64LE()))
    if (nullable !== undefined) keys[0] = null
    const count = Number(reader.take(8).readBigUInt64LE())
    for (let i = 0; i < count; i++)
      values.push(keys[reader.take(indexBytes).readUIntLE(0, Math.min(6, indexBytes))] ?? null)
  }
  return values
}

function sized(type: string): { bytes: number; read: (bytes: Buffer) => NativeValue } | undefined {
  if (type === 'Bool') return { bytes: 1, read: (bytes) => bytes[0] === 1 }
  const whole = /^(U?)Int(8|16|32|64)$/.exec(type)
  if (whole !== null) {
    const bytes = Number(whole[2]) / 8
    if (bytes === 8) return { bytes, read: (b) => (whole[1] === 'U' ? b.readBigUInt64LE() : b.readBigInt64LE()) }
    return { bytes, read: (b) => (whole[1] === 'U' ? b.readUIntLE(0, bytes) : b.readIntLE(0, bytes)) }
  }
  if (type === 'Float32') return { bytes: 4, read: (b) => b.readFloatLE() }
  if (type === 'Float64') return { bytes: 8, read: (b) => b.readDoubleLE() }
  if (type === 'Date') return { bytes: 2, read: (b) => new Date(b.readUInt16LE() * 86_400_000) }
  if (/^DateTime(\('.*'\))?$/.test(type)) return { bytes: 4, read: (b) => new Date(b.readUInt32LE() * 1000) }
  const fraction = /^DateTime64\((\d)/.exec(type)?.[1]
  if (fraction !== undefined) {
    return { bytes: 8, read: (b) => new Date(Number(b.readBigInt64LE()) / 10 ** (Number(fraction) - 3)) }
  }
  if (type === 'UUID') return { bytes: 16, read: (b) => b.toString('hex') }
  return undefined
}

function inside(type: string, wrapper: string): string | undefined {
  return type.startsWith(`${wrapper}(`) ? type.slice(wrapper.length + 1, -1) : undefined
}

function splitTypes(text: string): string[] {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++
    if (text[i] === ')') depth--
    if (text[i] === ',' && depth === 0) return [text.slice(0, i), text.slice(i + 1).trim()]
  }
  return [text]
}
