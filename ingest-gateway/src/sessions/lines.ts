/**
 * Bytes of a file, in chunks that end anywhere, as lines with the hash of all before them. A line that is too long to be
 * held is hashed as it passes, and a short one that says so stands in its place.
 */
import { Buffer } from 'node:buffer'
import type { Hash } from 'node:crypto'
import { extendPrefix, startLine } from '@agnes/clickhouse'

export interface FileLine {
  /** Without its line break. */
  readonly content: Buffer
  /** Of this and all lines before it, not keyed. */
  readonly prefix: Buffer
  /** Length as sent, with its line break. */
  readonly bytes: number
}

export interface LineReader {
  /** The lines that end in this chunk. */
  read(chunk: Buffer): Iterable<FileLine>
  /**
   * What stands behind the last line break. A writer may be in the middle of it, so it counts as a line only if nothing
   * can be missing: the text of a whole JSON object or array.
   */
  rest(): { readonly line: FileLine | undefined; readonly unfinishedBytes: number }
  /** Bytes behind the last line break. */
  length(): number
  /** Of these, the ones in memory. */
  held(): number
}

/** @param prefix hash of the lines before the first chunk */
export function createLineReader(prefix: Uint8Array, maxLineBytes: number): LineReader {
  let last = prefix
  let pieces: Buffer[] = []
  let length = 0
  /** Of a line that is too long to be held. */
  let long: Hash | undefined

  function hold(piece: Buffer): void {
    length += piece.length
    if (long === undefined && length > maxLineBytes) {
      long = startLine(last)
      for (const held of pieces) long.update(held)
      pieces = []
    }
    if (long === undefined) pieces.push(piece)
    else long.update(piece)
  }

  function finish(): FileLine {
    const content = long === undefined ? whole(pieces, length) : Buffer.from(tooLong(length))
    const hash = long === undefined ? extendPrefix(last, content) : long.digest()
    const line = { content, prefix: hash, bytes: length + 1 }
    last = hash
    pieces = []
    length = 0
    long = undefined
    return line
  }

  return {
    *read(chunk) {
      let at = 0
      for (let end = chunk.indexOf(lineBreak); end >= 0; end = chunk.indexOf(lineBreak, at)) {
        hold(chunk.subarray(at, end))
        at = end + 1
        yield finish()
      }
      if (at < chunk.length) hold(chunk.subarray(at))
    },
    rest() {
      if (length === 0) return { line: undefined, unfinishedBytes: 0 }
      if (long === undefined && isWholeJson(whole(pieces, length))) return { line: finish(), unfinishedBytes: 0 }
      return { line: undefined, unfinishedBytes: length }
    },
    length: () => length,
    held: () => (long === undefined ? length : 0),
  }
}

const lineBreak = 0x0a

/** What stands for a line that is not kept. */
export function tooLong(bytes: number): string {
  return JSON.stringify({ type: 'agnes-line-too-long', bytes })
}

function whole(pieces: readonly Buffer[], length: number): Buffer {
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces, length)
}

/** No text of an object or array goes on and is still one; that of a number does. */
function isWholeJson(text: Buffer): boolean {
  if (text[0] !== 0x7b && text[0] !== 0x5b) return false
  try {
    JSON.parse(text.toString())
    return true
  } catch {
    return false
  }
}
