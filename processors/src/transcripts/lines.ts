/**
 * Chunks of bytes → lines, in bounded memory whatever the lines are.
 *
 * Lines that lie within a chunk are read where they lie. A line that is longer than `maxLineBytes` loses the tails of its
 * long strings on the way, so that a pasted image of a gigabyte passes like any other; only a line that is still longer
 * then is cut.
 */
import type { Missing } from './skim.ts'

export interface Line {
  readonly bytes: Buffer
  readonly start: number
  /** A newline byte stands here. */
  readonly end: number
  readonly missing: Missing | undefined
  /** More than could be kept: what is between `start` and `end` is its beginning. */
  readonly isCut: boolean
  /** The last one, which no newline ended. */
  readonly isPartial: boolean
}

export interface LineSplitter {
  write(chunk: Buffer): void
  end(): void
}

const newline = 0x0a

export function createLineSplitter(
  { maxLineBytes, maxStringBytes }: { maxLineBytes: number; maxStringBytes: number },
  onLine: (line: Line) => void,
): LineSplitter {
  /** The beginning of a line whose end has not come, `pendingLength` bytes of it. */
  let pending = Buffer.alloc(0)
  let pendingLength = 0
  let squeezer: Squeezer | undefined

  function keep(chunk: Buffer, start: number, end: number): void {
    if (squeezer === undefined && pendingLength + end - start > maxLineBytes) {
      squeezer = createSqueezer(maxLineBytes, maxStringBytes)
      squeezer.write(pending, 0, pendingLength)
      pendingLength = 0
    }
    if (squeezer !== undefined) {
      squeezer.write(chunk, start, end)
      return
    }
    const length = pendingLength + end - start
    if (length >= pending.length) {
      const larger = Buffer.allocUnsafe(Math.max(64 * 1024, 2 * length))
      pending.copy(larger, 0, 0, pendingLength)
      pending = larger
    }
    chunk.copy(pending, pendingLength, start, end)
    pendingLength = length
  }

  function finish(isPartial: boolean): void {
    if (squeezer !== undefined) {
      const { bytes, length, missing, isCut } = squeezer.end()
      squeezer = undefined
      // What it grew to is given back.
      pending = Buffer.alloc(0)
      onLine({ bytes, start: 0, end: length, missing, isCut, isPartial })
      return
    }
    pending[pendingLength] = newline
    const end = pendingLength
    pendingLength = 0
    onLine({ bytes: pending, start: 0, end, missing: undefined, isCut: false, isPartial })
  }

  return {
    write(chunk) {
      let start = 0
      for (;;) {
        const end = chunk.indexOf(newline, start)
        if (end < 0) break
        if (pendingLength > 0 || squeezer !== undefined || end - start > maxLineBytes) {
          keep(chunk, start, end)
          finish(false)
        } else onLine({ bytes: chunk, start, end, missing: undefined, isCut: false, isPartial: false })
        start = end + 1
      }
      if (start < chunk.length) keep(chunk, start, chunk.length)
    },
    end() {
      if (pendingLength > 0 || squeezer !== undefined) finish(true)
    },
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
