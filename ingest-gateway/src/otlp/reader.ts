/**
 * Protobuf wire format, read in place: no copies, no objects, every length checked against its container.
 * @see https://protobuf.dev/programming-guides/encoding/
 */

/** Wire types that exist in messages we read; 3 and 4 are the deprecated groups, skipped whole. */
export const wireType = { varint: 0, fixed64: 1, bytes: 2, startGroup: 3, endGroup: 4, fixed32: 5 } as const

/** The bytes are not a valid protobuf message; `offset` is where reading stopped. */
export class ProtobufError extends Error {
  readonly offset: number

  constructor(problem: string, offset: number) {
    super(`${problem} at byte ${offset}`)
    this.name = 'ProtobufError'
    this.offset = offset
  }
}

/** Groups may nest only this deep; official decoders limit recursion to 100. */
const maxGroupDepth = 100

export class Reader {
  bytes: Uint8Array
  view: DataView
  /** Next byte to read. */
  at = 0
  /** High 32 bits of the last 64-bit read; the low ones are the return value. */
  high = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** A field's tag: `fieldNumber << 3 | wireType`. */
  tag(end: number): number {
    const first = this.at < end ? (this.bytes[this.at] as number) : -1
    if (first >= 0x08 && first < 0x80) {
      this.at++
      return first
    }
    const start = this.at
    const tag = this.varint32(end, 'tag')
    if (tag >>> 3 === 0) throw new ProtobufError('field number 0', start)
    return tag
  }

  /** Length of a length-delimited field; the field is known to lie within `end` afterwards. */
  length(end: number): number {
    const start = this.at
    const length = this.varint32(end, 'length')
    if (length > end - this.at) {
      throw new ProtobufError(`length ${length} runs past the end of its message`, start)
    }
    return length
  }

  /** Low 32 bits of a varint; the high 32 bits are left in `high`. */
  varint64(end: number): number {
    const { bytes } = this
    let at = this.at
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) throw new ProtobufError('varint is cut off', this.at)
      const byte = bytes[at++] as number
      const bits = byte & 0x7f
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high |= bits >>> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) {
        this.at = at
        this.high = high >>> 0
        return low >>> 0
      }
    }
    throw new ProtobufError('varint is longer than 10 bytes', this.at)
  }

  /** Low 32 bits of a fixed64; the high 32 bits are left in `high`. */
  fixed64(end: number): number {
    if (end - this.at < 8) throw new ProtobufError('fixed64 is cut off', this.at)
    const low = this.view.getUint32(this.at, true)
    this.high = this.view.getUint32(this.at + 4, true)
    this.at += 8
    return low
  }

  fixed32(end: number): number {
    if (end - this.at < 4) throw new ProtobufError('fixed32 is cut off', this.at)
    const value = this.view.getUint32(this.at, true)
    this.at += 4
    return value
  }

  double(end: number): number {
    if (end - this.at < 8) throw new ProtobufError('double is cut off', this.at)
    const value = this.view.getFloat64(this.at, true)
    this.at += 8
    return value
  }

  /** Skips the value of a field whose tag was just read: unknown fields, and known ones with an unexpected wire type. */
  skip(tag: number, end: number): void {
    switch (tag & 7) {
      case wireType.varint:
        this.varint64(end)
        return
      case wireType.fixed64:
        this.advance(8, end)
        return
      case wireType.bytes: {
        const length = this.length(end)
        this.at += length
        return
      }
      case wireType.fixed32:
        this.advance(4, end)
        return
      case wireType.startGroup:
        this.skipGroup(tag >>> 3, end)
        return
      default:
        throw new ProtobufError(
          (tag & 7) === wireType.endGroup ? 'end of a group that was not opened' : `unknown wire type ${tag & 7}`,
          this.at,
        )
    }
  }

  private skipGroup(fieldNumber: number, end: number): void {
    const open = [fieldNumber]
    while (open.length > 0) {
      const tag = this.tag(end)
      if ((tag & 7) === wireType.startGroup) {
        if (open.length === maxGroupDepth) throw new ProtobufError(`groups nest deeper than ${maxGroupDepth}`, this.at)
        open.push(tag >>> 3)
      } else if ((tag & 7) === wireType.endGroup) {
        if (open.pop() !== tag >>> 3) throw new ProtobufError('group ends with another number', this.at)
      } else this.skip(tag, end)
    }
  }

  private varint32(end: number, what: string): number {
    const start = this.at
    const low = this.varint64(end)
    if (this.high !== 0) throw new ProtobufError(`${what} is beyond 32 bits`, start)
    return low
  }

  private advance(count: number, end: number): void {
    if (end - this.at < count) throw new ProtobufError('field is cut off', this.at)
    this.at += count
  }
}
