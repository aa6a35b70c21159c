/**
 * The small parts of JSON as bytes: spaces, primitives, keys, and the text of strings.
 *
 * All of it lies within one line whose end holds a newline byte, which stops every loop without a bounds check. Values
 * that nobody asks for are checked only for where they end: `01` or `[}` within one goes unnoticed.
 */

const backslash = 0x5c

export function skipSpace(bytes: Buffer, i: number): number {
  for (;;) {
    const c = bytes[i]
    if (c !== 0x20 && c !== 0x09 && c !== 0x0d) return i
    i++
  }
}

/** Index behind a number, true, false or null: the next comma, bracket or space. */
export function endOfPrimitive(bytes: Buffer, i: number): number {
  for (;;) {
    const c = bytes[i] as number
    if (c === 0x2c || c === 0x7d || c === 0x5d || c <= 0x20 || c === 0x3a || c === 0x22) return i
    i++
  }
}

/**
 * The string between two quotes, its first `limit` UTF-16 units; half a surrogate pair is not kept at the cut.
 * Escapes that JSON does not know stand for themselves.
 */
export function decodeString(bytes: Buffer, start: number, end: number, limit: number): string {
  if (end - start <= limit) {
    const text = utf8(bytes, start, end)
    return text.includes('\\') ? unescaped(text) : text
  }
  // Most text is one byte a character: a little more than the limit is tried first, then what six bytes a unit can need.
  const first = decodeHead(bytes, start, end, limit + (limit >> 2) + 16)
  if (first.whole || first.text.length > limit) return cutAt(first.text, limit)
  return cutAt(decodeHead(bytes, start, end, 6 * limit + 12).text, limit)
}

/** Node's own method behind `toString('utf8', …)`; the types leave it out. It halves the time of a short string. */
function utf8(bytes: Buffer, start: number, end: number): string {
  return (bytes as unknown as { utf8Slice(start: number, end: number): string }).utf8Slice(start, end)
}

/** What the first `most` bytes hold of whole characters and escapes. */
function decodeHead(bytes: Buffer, start: number, end: number, most: number): { text: string; whole: boolean } {
  let cut = Math.min(end, start + most)
  const whole = cut === end
  if (!whole) while (cut > start && ((bytes[cut] as number) & 0xc0) === 0x80) cut--
  const text = utf8(bytes, start, cut)
  if (!text.includes('\\')) return { text, whole }
  return { text: unescaped(whole ? text : withoutPartialEscape(text)), whole }
}

/** The first `limit` UTF-16 units, without the first half of a pair at the end. */
export function cutAt(text: string, limit: number): string {
  if (text.length <= limit) return text
  const last = text.charCodeAt(limit - 1)
  return text.slice(0, last >= 0xd800 && last < 0xdc00 ? limit - 1 : limit)
}

function withoutPartialEscape(text: string): string {
  for (let k = text.length - 1; k >= 0 && k >= text.length - 6; k--) {
    if (text.charCodeAt(k) !== backslash) continue
    let first = k
    while (first > 0 && text.charCodeAt(first - 1) === backslash) first--
    const opens = ((k - first) & 1) === 0
    if (!opens) return text
    const length = text.charCodeAt(k + 1) === 0x75 ? 6 : 2
    return text.length - k < length ? text.slice(0, k) : text
  }
  return text
}

function unescaped(text: string): string {
  try {
    return JSON.parse(`"${text}"`) as string
  } catch {
    return text.replace(/\\(?:u([0-9a-fA-F]{4})|(.))/gs, (_, code: string | undefined, letter: string | undefined) =>
      code === undefined
        ? (shortEscapes[letter as string] ?? `\\${letter}`)
        : String.fromCharCode(Number.parseInt(code, 16)),
    )
  }
}

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

/** Tells which of some names a key is, without making a string of it. */
export interface KeyTable {
  readonly names: readonly string[]
  /** Index of the name that stands between `start` and `end`, -1 for any other. */
  find(bytes: Buffer, start: number, end: number): number
}

export function keyTable(names: readonly string[]): KeyTable {
  return new Keys(names)
}

class Keys implements KeyTable {
  private readonly spelled: readonly Buffer[]
  private readonly buckets: readonly (readonly number[])[]

  constructor(readonly names: readonly string[]) {
    this.spelled = names.map((name) => Buffer.from(name))
    const buckets: number[][] = Array.from({ length: 256 }, () => [])
    for (const [index, name] of this.spelled.entries()) buckets[bucketOf(name, 0, name.length)]?.push(index)
    this.buckets = buckets
  }

  find(bytes: Buffer, start: number, end: number): number {
    if (start === end) return -1
    const bucket = this.buckets[bucketOf(bytes, start, end)] as readonly number[]
    for (let i = 0; i < bucket.length; i++) {
      const index = bucket[i] as number
      if (equals(this.spelled[index] as Buffer, bytes, start, end)) return index
    }
    for (let i = start; i < end; i++) {
      if (bytes[i] === backslash) return this.names.indexOf(decodeString(bytes, start, end, 256))
    }
    return -1
  }
}

function bucketOf(bytes: Uint8Array, start: number, end: number): number {
  return ((end - start) * 37 + (bytes[start] as number) * 5 + (bytes[end - 1] as number)) & 255
}

/** Whether `name` is what stands between `start` and `end`. */
export function equals(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const { length } = name
  if (end - start !== length) return false
  for (let i = 0; i < length; i++) if (name[i] !== bytes[start + i]) return false
  return true
}

const internSlots = 1024
const maxInternedBytes = 128

/** Decodes names that come again and again, such as ids, paths and versions, to one string each. */
export class Interner {
  private readonly spelled = Buffer.alloc(internSlots * maxInternedBytes)
  private readonly lengths = new Uint16Array(internSlots)
  private readonly texts: string[] = new Array(internSlots).fill('')

  constructor(private readonly limit: number) {}

  text(bytes: Buffer, start: number, end: number): string {
    const { spelled, lengths } = this
    const length = end - start
    if (length > maxInternedBytes) return decodeString(bytes, start, end, this.limit)
    if (length === 0) return ''
    const mix =
      length * 31 +
      (bytes[start] as number) * 7 +
      (bytes[end - 1] as number) * 131 +
      (bytes[start + (length >> 1)] as number) * 17 +
      (bytes[start + (length >> 2)] as number) * 257
    const slot = mix & (internSlots - 1)
    const at = slot * maxInternedBytes
    if (lengths[slot] === length) {
      let i = 0
      while (i < length && spelled[at + i] === bytes[start + i]) i++
      if (i === length) return this.texts[slot] as string
    }
    const text = decodeString(bytes, start, end, this.limit)
    for (let i = 0; i < length; i++) spelled[at + i] = bytes[start + i] as number
    lengths[slot] = length
    this.texts[slot] = text
    return text
  }
}
