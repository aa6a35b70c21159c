/**
 * Walks JSON as bytes and decodes only what is asked for.
 *
 * All functions work within one line whose end, `end`, holds a newline byte: a newline cannot stand inside JSON text on one
 * line, so it stops every loop without a bounds check. Values that are stepped over are checked only for where they end:
 * whoever wrote `01` or `[}` into a value that nobody reads goes unnoticed.
 */

const quote = 0x22
const backslash = 0x5c
const newline = 0x0a
/** From here on the next quote is looked for by Node's own `memchr`: a call costs as much as 20 bytes of a loop. */
const nearBytes = 20

/** Where a search for a quote ended that went beyond its line, so that a file without quotes is not searched per line. */
let searched: { readonly bytes: Buffer; readonly from: number; readonly at: number } | undefined

/** Index of the quote that ends the string whose first byte is `i`; -1 if the line ends before. */
export function endOfString(bytes: Buffer, i: number, end: number): number {
  const near = i + nearBytes
  while (i < near) {
    const c = bytes[i]
    if (c === quote) return i
    if (c === newline) return -1
    if (c === backslash) {
      if (bytes[i + 1] === newline) return -1
      i += 2
    } else i++
  }
  // `i` stands behind a whole character or escape, so backslashes are counted from there.
  for (;;) {
    const at = nextQuote(bytes, i, end)
    if (at < 0) return -1
    let k = at - 1
    while (k >= i && bytes[k] === backslash) k--
    if (((at - k) & 1) === 1) return at
    i = at + 1
  }
}

function nextQuote(bytes: Buffer, i: number, end: number): number {
  if (searched !== undefined) {
    if (searched.bytes === bytes && searched.from <= i && i <= searched.at) return searched.at < end ? searched.at : -1
    if (searched.bytes !== bytes) searched = undefined
  }
  const at = i >= end ? -1 : bytes.indexOf(quote, i)
  if (at >= 0 && at < end) return at
  if (i < end) searched = { bytes, from: i, at: at < 0 ? bytes.length : at }
  return -1
}

export function skipSpace(bytes: Buffer, i: number): number {
  for (;;) {
    const c = bytes[i]
    if (c !== 0x20 && c !== 0x09 && c !== 0x0d) return i
    i++
  }
}

/** Index behind the value that begins at `i`, however deep it nests; -1 if there is none or the line ends before. */
export function skipValue(bytes: Buffer, i: number, end: number): number {
  const c = bytes[i]
  if (c === quote) {
    const at = endOfString(bytes, i + 1, end)
    return at < 0 ? -1 : at + 1
  }
  if (c === 0x7b || c === 0x5b) return skipNested(bytes, i + 1, end)
  const at = endOfPrimitive(bytes, i)
  return at === i ? -1 : at
}

function skipNested(bytes: Buffer, i: number, end: number): number {
  let depth = 1
  for (;;) {
    const c = bytes[i]
    if (c === quote) {
      const at = endOfString(bytes, i + 1, end)
      if (at < 0) return -1
      i = at + 1
    } else if (c === 0x7d || c === 0x5d) {
      i++
      if (--depth === 0) return i
    } else if (c === 0x7b || c === 0x5b) {
      depth++
      i++
    } else if (c === newline) return -1
    else i++
  }
}

/** Numbers, true, false, null: up to the next comma, bracket or space. */
function endOfPrimitive(bytes: Buffer, i: number): number {
  for (;;) {
    const c = bytes[i] as number
    if (c === 0x2c || c === 0x7d || c === 0x5d || c <= 0x20 || c === 0x3a || c === quote) return i
    i++
  }
}

/**
 * The string between two quotes, its first `limit` UTF-16 units; half a surrogate pair is not kept at the cut.
 * Escapes that JSON does not know stand for themselves.
 */
export function decodeString(bytes: Buffer, start: number, end: number, limit: number): string {
  // Most text is one byte a character: a little more than the limit is tried first, then what six bytes a unit can need.
  const first = decodeHead(bytes, start, end, limit + (limit >> 2) + 16)
  if (first.whole || first.text.length > limit) return cutAt(first.text, limit)
  return cutAt(decodeHead(bytes, start, end, 6 * limit + 12).text, limit)
}

/** What the first `most` bytes hold of whole characters and escapes. */
function decodeHead(bytes: Buffer, start: number, end: number, most: number): { text: string; whole: boolean } {
  let cut = Math.min(end, start + most)
  const whole = cut === end
  if (!whole) while (cut > start && ((bytes[cut] as number) & 0xc0) === 0x80) cut--
  const text = bytes.toString('utf8', start, cut)
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
  const spelled = names.map((name) => Buffer.from(name))
  const buckets: number[][] = Array.from({ length: 256 }, () => [])
  for (const [index, name] of spelled.entries()) buckets[bucketOf(name, 0, name.length)]?.push(index)

  function find(bytes: Buffer, start: number, end: number): number {
    if (start === end) return -1
    for (const index of buckets[bucketOf(bytes, start, end)] as readonly number[]) {
      if (equals(spelled[index] as Buffer, bytes, start, end)) return index
    }
    for (let i = start; i < end; i++) {
      if (bytes[i] === backslash) return names.indexOf(decodeString(bytes, start, end, 256))
    }
    return -1
  }

  return { names, find }
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
