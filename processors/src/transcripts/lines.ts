/**
 * Chunks of bytes → indexed lines, in bounded memory whatever the lines are.
 *
 * A line that is longer than `maxLineBytes` loses the tails of its long strings on the way, so that a pasted image of a
 * gigabyte passes like any other; only a line that is still longer then is cut.
 */

import type { Missing } from './skim.ts'
import { borrowIndexer, giveBack, type IndexedLine, type Indexer } from './structure.ts'

export interface Line extends IndexedLine {
  readonly start: number
  readonly missing: Missing | undefined
  /** More than could be kept: what is between `start` and `end` is its beginning. */
  readonly isCut: boolean
  /** The last one, which no newline ended. */
  readonly isPartial: boolean
}

export interface LineLimits {
  readonly maxLineBytes: number
  /** Of each string of a line that is longer. */
  readonly maxStringBytes: number
}

const newline = 0x0a
/** What is copied in at once; a line is mostly much shorter. */
const pieceBytes = 256 * 1024

export class LineSplitter {
  private readonly indexer: Indexer = borrowIndexer()
  private isClosed = false
  /** The line whose end has not come: `from` to `to` of the indexer's bytes. */
  private from = 0
  private to = 0
  private squeezer: Squeezer | undefined

  constructor(
    private readonly limits: LineLimits,
    private readonly onLine: (line: Line) => void,
  ) {}

  write(chunk: Buffer): void {
    if (this.isClosed) throw new Error('this transcript has ended')
    let at = 0
    while (at < chunk.length) {
      if (this.squeezer === undefined) {
        this.take(chunk.subarray(at, at + pieceBytes))
        at += pieceBytes
        continue
      }
      const end = chunk.indexOf(newline, at)
      this.squeezer.write(chunk, at, end < 0 ? chunk.length : end)
      if (end < 0) return
      this.endSqueezed(this.squeezer, false)
      at = end + 1
    }
  }

  /** Nothing more comes: what is left is the last line. */
  end(): void {
    if (this.isClosed) return
    if (this.squeezer !== undefined) this.endSqueezed(this.squeezer, true)
    else if (this.to > this.from) {
      this.makeRoom(0)
      this.indexer.bytes[this.to] = newline
      this.emit(this.from, this.to, true)
    }
    this.close()
  }

  /** To be called where `end` is not. */
  close(): void {
    if (!this.isClosed) giveBack(this.indexer)
    this.isClosed = true
  }

  private take(piece: Buffer): void {
    this.makeRoom(piece.length)
    const { bytes } = this.indexer
    let searched = this.to
    bytes.set(piece, this.to)
    this.to += piece.length
    // Behind what has come, so that the search ends there.
    bytes[this.to] = newline
    for (;;) {
      const end = bytes.indexOf(newline, searched)
      if (end === this.to) break
      this.emit(this.from, end, false)
      this.from = end + 1
      searched = this.from
    }
    const { maxLineBytes, maxStringBytes } = this.limits
    if (this.to - this.from <= maxLineBytes) return
    this.squeezer = createSqueezer(maxLineBytes, maxStringBytes)
    this.squeezer.write(bytes, this.from, this.to)
    this.from = this.to
  }

  /** Room for `length` bytes and a newline behind `to`. */
  private makeRoom(length: number): void {
    const { indexer } = this
    if (this.to + length < indexer.capacity) return
    indexer.bytes.copyWithin(0, this.from, this.to)
    this.to -= this.from
    this.from = 0
    if (this.to + length >= indexer.capacity) indexer.grow(Math.max(2 * indexer.capacity, this.to + length + 1))
  }

  private endSqueezed(squeezer: Squeezer, isPartial: boolean): void {
    const { bytes, length, missing, isCut } = squeezer.end()
    this.squeezer = undefined
    this.from = 0
    this.to = 0
    this.makeRoom(length)
    bytes.copy(this.indexer.bytes, 0, 0, length)
    this.indexer.bytes[length] = newline
    this.emit(0, length, isPartial, missing, isCut)
  }

  private emit(start: number, end: number, isPartial: boolean, missing?: Missing, isCut = false): void {
    const { bytes, tokens } = this.indexer.index(start, end)
    this.onLine({ bytes, tokens, start, end, missing, isCut, isPartial })
  }
}

interface Squeezer {
  write(bytes: Buffer, start: number, end: number): void
  end(): { readonly bytes: Buffer; readonly length: number; readonly missing: Missing; readonly isCut: boolean }
}

/** Takes a line piece by piece and keeps `maxStringBytes` of each string, `maxBytes` of all. */
function createSqueezer(maxBytes: number, maxStringBytes: number): Squeezer {
  let out = Buffer.allocUnsafe(64 * 1024)
  let length = 0
  let isCut = false
  let inString = false
  let escaped = false
  let dropping = false
  let stringStart = 0
  const missing = new Map<number, number>()

  function put(byte: number): void {
    if (length >= maxBytes) {
      isCut = true
      return
    }
    if (length + 1 >= out.length) {
      const larger = Buffer.allocUnsafe(2 * out.length)
      out.copy(larger, 0, 0, length)
      out = larger
    }
    out[length++] = byte
  }

  function write(bytes: Buffer, start: number, end: number): void {
    let i = start
    while (i < end && !isCut) {
      const c = bytes[i] as number
      if (!inString) {
        put(c)
        i++
        if (c === 0x22) {
          inString = true
          dropping = false
          stringStart = length
        }
      } else if (escaped) {
        if (dropping) drop(1)
        else put(c)
        escaped = false
        i++
      } else if (c === 0x22) {
        put(c)
        inString = false
        i++
      } else if (c === 0x5c) {
        // A backslash never stays without what it escapes, or it would take the closing quote.
        dropping ||= length - stringStart + 2 > maxStringBytes
        if (dropping) drop(1)
        else put(c)
        escaped = true
        i++
      } else {
        dropping ||= length - stringStart >= maxStringBytes
        if (dropping) i = dropPlain(bytes, i, end)
        else {
          put(c)
          i++
        }
      }
    }
  }

  function drop(bytes: number): void {
    missing.set(stringStart, (missing.get(stringStart) ?? 0) + bytes)
  }

  /** Steps over what is neither quote nor escape. */
  function dropPlain(bytes: Buffer, i: number, end: number): number {
    let at = i
    // A loop first, as escapes are often near each other; then the search of the platform.
    const near = Math.min(end, i + 64)
    while (at < near && bytes[at] !== 0x22 && bytes[at] !== 0x5c) at++
    if (at === near && at < end) {
      const rest = bytes.subarray(at, end)
      const quoteAt = rest.indexOf(0x22)
      const upTo = quoteAt < 0 ? rest.length : quoteAt
      const escapeAt = rest.subarray(0, upTo).indexOf(0x5c)
      at += escapeAt < 0 ? upTo : escapeAt
    }
    drop(at - i)
    return at
  }

  return {
    write,
    end() {
      out[length] = newline
      return { bytes: out, length, missing, isCut }
    },
  }
}
