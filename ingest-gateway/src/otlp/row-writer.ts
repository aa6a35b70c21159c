/**
 * RowBinary, written into one growing buffer.
 * A RowBinary string is a varint length and the bytes: the same bytes as a protobuf string, so text moves by copying.
 * @see https://clickhouse.com/docs/interfaces/formats/RowBinary
 */
import { isUtf8 } from 'node:buffer'
import { giveBack, takeBuffer } from '../buffer-pool.ts'
import { maxRowBytes, tooManyRowBytes } from './rows.ts'

/** Up to here copying four bytes a step in JavaScript beats the fixed cost of a native copy and check (bench/transcode). */
const inlineCopyBytes = 192

const utf8 = new TextEncoder()
/** Replaces what is not UTF-8 by U+FFFD, as the WHATWG Encoding Standard says. */
const lossyUtf8 = new TextDecoder('utf-8', { ignoreBOM: true })

const hexDigits = utf8.encode('0123456789abcdef')
const base64Digits = utf8.encode('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')

/** What JSON writes after a backslash; 0 = written as it is, 'u' = \u00xx (RFC 8259, section 7). */
const jsonEscape = new Uint8Array(256)
for (let code = 0; code < 0x20; code++) jsonEscape[code] = 0x75
for (const [char, letter] of ['\bb', '\tt', '\nn', '\ff', '\rr', '""', '\\\\']) {
  jsonEscape[(char as string).charCodeAt(0)] = (letter as string).charCodeAt(0)
}

/** Width of a place kept free for a count that is not known yet: a varint padded with continuation bits, up to 2^28 - 1. */
const reservedVarintBytes = 4

export class RowWriter {
  bytes: Uint8Array
  view: DataView
  /** Next byte to write = bytes written so far. */
  at = 0
  /** Strings in which bytes that are not UTF-8 were replaced by U+FFFD. */
  repairedStrings = 0

  constructor(capacity: number) {
    this.bytes = takeBuffer(capacity)
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
  }

  /** What was written, in the writer's own memory; whoever needs it no more may give that back (buffer-pool.ts). */
  written(): Uint8Array {
    return this.bytes.subarray(0, this.at)
  }

  /**
   * Makes room for `count` more bytes. Every method below calls it for what it writes.
   * @throws RequestError 413 past `maxRowBytes`
   */
  reserve(count: number): void {
    if (this.at + count > this.bytes.length) this.grow(count)
  }

  uint8(value: number): void {
    this.reserve(1)
    this.bytes[this.at++] = value
  }

  uint32(value: number): void {
    this.reserve(4)
    this.view.setUint32(this.at, value, true)
    this.at += 4
  }

  /** A 64-bit integer by its halves. */
  uint64(low: number, high: number): void {
    this.reserve(8)
    this.view.setUint32(this.at, low, true)
    this.view.setUint32(this.at + 4, high, true)
    this.at += 8
  }

  varint(value: number): void {
    this.reserve(5)
    let rest = value
    while (rest > 0x7f) {
      this.bytes[this.at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.bytes[this.at++] = rest
  }

  /** Keeps a place for a count or length; fill it with {@link fillVarint}. */
  reserveVarint(): number {
    this.reserve(reservedVarintBytes)
    const place = this.at
    this.at += reservedVarintBytes
    return place
  }

  /** @param value at most `maxRowBytes`, which is what fits the place */
  fillVarint(place: number, value: number): void {
    const { bytes } = this
    bytes[place] = (value & 0x7f) | 0x80
    bytes[place + 1] = ((value >>> 7) & 0x7f) | 0x80
    bytes[place + 2] = ((value >>> 14) & 0x7f) | 0x80
    bytes[place + 3] = value >>> 21
  }

  /** Bytes as they are, e.g. a part that was encoded before. */
  raw(source: Uint8Array): void {
    this.reserve(source.length)
    this.bytes.set(source, this.at)
    this.at += source.length
  }

  /** A String column from UTF-8 bytes; what is not UTF-8 becomes U+FFFD and is counted. */
  string(source: Uint8Array, view: DataView, start: number, end: number): void {
    const length = end - start
    this.reserve(length + 5)
    if (length < 0x80) this.bytes[this.at++] = length
    else this.varint(length)
    if (!this.copyUtf8(source, view, start, end)) {
      this.at -= varintBytes(length)
      this.text(lossyUtf8.decode(source.subarray(start, end)))
      this.repairedStrings++
    }
  }

  /** A String column from a JavaScript string; lone surrogates become U+FFFD. */
  text(text: string): void {
    const { length } = text
    if (length < 0x80) {
      // Short and ASCII is the rule (keys, numbers, ids); anything else starts over below.
      this.reserve(length + 1)
      const { bytes } = this
      const start = this.at
      bytes[start] = length
      let seen = 0
      for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i)
        seen |= code
        bytes[start + 1 + i] = code
      }
      if (seen < 0x80) {
        this.at = start + 1 + length
        return
      }
    }
    if (!text.isWellFormed()) this.repairedStrings++
    const encoded = utf8.encode(text)
    this.varint(encoded.length)
    this.raw(encoded)
  }

  /** An Array(String) column. */
  texts(texts: readonly string[]): void {
    this.varint(texts.length)
    for (const text of texts) this.text(text)
  }

  /** The bytes of an ASCII text without a length. */
  ascii(text: string): void {
    this.reserve(text.length)
    for (let i = 0; i < text.length; i++) this.bytes[this.at++] = text.charCodeAt(i)
  }

  /** Lower-case hexadecimal String column. */
  hexString(source: Uint8Array, start: number, end: number): void {
    this.varint((end - start) * 2)
    this.reserve((end - start) * 2)
    for (let i = start; i < end; i++) {
      const byte = source[i] as number
      this.bytes[this.at++] = hexDigits[byte >>> 4] as number
      this.bytes[this.at++] = hexDigits[byte & 15] as number
    }
  }

  /** Base64 (RFC 4648, section 4) without a length. */
  base64(source: Uint8Array, start: number, end: number): void {
    this.reserve(base64Length(end - start))
    const { bytes } = this
    let at = this.at
    for (let i = start; i < end; i += 3) {
      const left = end - i
      const triple =
        ((source[i] as number) << 16) |
        ((left > 1 ? (source[i + 1] as number) : 0) << 8) |
        (left > 2 ? (source[i + 2] as number) : 0)
      bytes[at++] = base64Digits[triple >>> 18] as number
      bytes[at++] = base64Digits[(triple >>> 12) & 63] as number
      bytes[at++] = left > 1 ? (base64Digits[(triple >>> 6) & 63] as number) : 0x3d
      bytes[at++] = left > 2 ? (base64Digits[triple & 63] as number) : 0x3d
    }
    this.at = at
  }

  /** A JSON string literal, quotes included, from UTF-8 bytes. */
  jsonString(source: Uint8Array, start: number, end: number): void {
    let from = source
    let first = start
    let last = end
    if (!isUtf8(source.subarray(start, end))) {
      from = utf8.encode(lossyUtf8.decode(source.subarray(start, end)))
      first = 0
      last = from.length
      this.repairedStrings++
    }
    this.reserve((last - first) * 6 + 2)
    const { bytes } = this
    let at = this.at
    bytes[at++] = 0x22
    for (let i = first; i < last; i++) {
      const byte = from[i] as number
      const letter = jsonEscape[byte] as number
      if (letter === 0) bytes[at++] = byte
      else {
        bytes[at++] = 0x5c
        bytes[at++] = letter
        if (letter === 0x75) {
          bytes[at++] = 0x30
          bytes[at++] = 0x30
          bytes[at++] = hexDigits[byte >>> 4] as number
          bytes[at++] = hexDigits[byte & 15] as number
        }
      }
    }
    bytes[at++] = 0x22
    this.at = at
  }

  /**
   * Copies and checks in one go: four bytes a step, their high bits collected.
   * @returns false if the bytes are not UTF-8; nothing counts as written then.
   */
  private copyUtf8(source: Uint8Array, view: DataView, start: number, end: number): boolean {
    const length = end - start
    if (length > inlineCopyBytes) {
      const part = source.subarray(start, end)
      if (!isUtf8(part)) return false
      this.bytes.set(part, this.at)
      this.at += length
      return true
    }
    const target = this.view
    const { bytes } = this
    let at = this.at
    let seen = 0
    let i = start
    for (; i <= end - 4; i += 4, at += 4) {
      const word = view.getInt32(i, true)
      seen |= word
      target.setInt32(at, word, true)
    }
    for (; i < end; i++) {
      const byte = source[i] as number
      seen |= byte
      bytes[at++] = byte
    }
    if ((seen & 0x80808080) !== 0 && !isUtf8(source.subarray(start, end))) return false
    this.at = at
    return true
  }

  private grow(count: number): void {
    if (this.at + count > maxRowBytes) throw tooManyRowBytes()
    const larger = takeBuffer(Math.max(this.bytes.length * 2, this.at + count))
    larger.set(this.bytes.subarray(0, this.at))
    giveBack(this.bytes)
    this.bytes = larger
    this.view = new DataView(larger.buffer, larger.byteOffset, larger.byteLength)
  }
}

/** What the groups of one resource have in common, encoded once: to look at each text again for each scope would take seconds. */
export interface ResourcePrefix {
  /** ServiceName, ResourceSchemaUrl, ResourceAttributes. */
  readonly columns: Uint8Array
  /** What was redacted in them: elements of an Array(String) without their number. */
  readonly redactions: Uint8Array
  readonly redactionCount: number
  readonly attributeCount: number
}

export function resourcePrefix(
  columns: Uint8Array,
  attributeCount: number,
  redactions: readonly string[],
): ResourcePrefix {
  if (redactions.length === 0) return { columns, attributeCount, redactions: nothing, redactionCount: 0 }
  const writer = new RowWriter(256)
  for (const text of redactions) writer.text(text)
  return { columns, attributeCount, redactions: writer.written(), redactionCount: redactions.length }
}

/** GroupRedactions: those of the resource, then those of the scope. */
export function writeGroupRedactions(writer: RowWriter, resource: ResourcePrefix, ofScope: readonly string[]): void {
  writer.varint(resource.redactionCount + ofScope.length)
  writer.raw(resource.redactions)
  for (const text of ofScope) writer.text(text)
}

const nothing = new Uint8Array(0)

export function base64Length(bytes: number): number {
  return Math.ceil(bytes / 3) * 4
}

function varintBytes(value: number): number {
  let count = 1
  for (let rest = value; rest > 0x7f; rest >>>= 7) count++
  return count
}
