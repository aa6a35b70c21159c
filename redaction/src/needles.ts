/**
 * Where in a request something could need redacting: one quick look over its bytes, so that the usual request, which
 * holds nothing secret, costs no more than that look.
 *
 * Every rule has needles, ASCII texts of which one stands in whatever the rule redacts. Of each needle its three rarest
 * bytes in a row are looked for (chunk-filter.ts); where they may be, the whole needle is compared.
 */

import { isCardNumber } from './cards.ts'
import { createChunkFilter, type Triple } from './chunk-filter.ts'

export interface Needle {
  /** Lower-case ASCII, at least three characters. */
  readonly text: string
  /** A, a and so on are different. */
  readonly exact?: boolean
  /** The needle does not count with one of these characters after it. */
  readonly notBefore?: string
  /** A closer look at what is around it; only called for a needle that is there. */
  readonly accepts?: (bytes: Uint8Array, start: number, end: number) => boolean
}

export interface NeedleScan {
  /**
   * Offsets of candidates, ascending; each lies within the needle that was found there.
   * @returns undefined if there are too many to be worth a list: look everywhere
   */
  find(bytes: Uint8Array): Int32Array | undefined
}

export const shortestNeedle = 3
/** Payment cards have 13 to 19 digits (ISO/IEC 7812), in one piece or in groups divided by single blanks or hyphens. */
const cardDigits = 13
const maxCandidates = 100_000
const none = new Int32Array(0)
const nowhere: readonly Place[] = []

/** Pairs of characters that are common in telemetry and transcripts, the commonest first: a scan that stops at them is slow. */
const commonPairs =
  'es en re er on nt in ti se at io ag st te me id to s. ne or ss t. ge ce ta de gn al am le li ve na an co ro si us cl lo tr ra n_ ok n. it ca ns th od he ac pe el ai ut ri .c ke ho rs t_ ic ec et nc ea ng ch is pa ue .i ad .r ty .n ir ar nd ct yp la ni ev vi qu pr e. pu _t oo ex ur fi rr .t .a il su do np em ma eq .l ul cr ed om /c mp ol ep ou ow ie sa ig so og ry mi mo as ui _i oc no ms .s rv rd ee da du un g. if di .p uc im ha _a au s/ os y.'.split(
    ' ',
  )
const frequency = (pair: string): number =>
  commonPairs.includes(pair) ? commonPairs.length - commonPairs.indexOf(pair) : 0

/** Where of a needle its rarest three bytes stand. */
interface Place {
  readonly needle: Needle
  readonly bytes: Uint8Array
  /** 0x20 where case does not matter. */
  readonly fold: Uint8Array
  readonly offset: number
}

/** Three bytes, without case, as a place in a table; different ones may share a place. */
const triplePlaces = 1 << 14
function placeOfTriple(a: number, b: number, c: number): number {
  return (((a | 0x20) << 7) ^ ((b | 0x20) << 4) ^ (c | 0x20)) & (triplePlaces - 1)
}

/** @param cards also find runs of digits that may be a card number */
export function createNeedleScan(needles: readonly Needle[], cards: boolean): NeedleScan {
  const isTriple = new Uint8Array(triplePlaces)
  const places = new Map<number, Place[]>()
  const triples: Triple[] = []
  for (const needle of needles) register(needle)
  const filter = createChunkFilter(triples, cards)

  function register(needle: Needle): void {
    const bytes = Uint8Array.from(needle.text, (char) => char.charCodeAt(0))
    if (bytes.length < shortestNeedle) throw new RangeError(`needle of less than ${shortestNeedle} characters`)
    const isLetter = (code: number): boolean => code >= 0x61 && code <= 0x7a
    const fold = bytes.map((code) => (!needle.exact && isLetter(code) ? 0x20 : 0))
    const offset = rarestTriple(needle.text)
    const triple = [0, 1, 2].map((i) => bytes[offset + i] as number)
    triples.push(triple.map((code, i) => cases(code, fold[offset + i] as number)))
    const place = placeOfTriple(triple[0] as number, triple[1] as number, triple[2] as number)
    isTriple[place] = 1
    places.set(place, [...(places.get(place) ?? []), { needle, bytes, fold, offset }])
  }

  function isCandidate(bytes: Uint8Array, at: number): boolean {
    const place = placeOfTriple(bytes[at] as number, bytes[at + 1] ?? 0, bytes[at + 2] ?? 0)
    if (isTriple[place] === 0) return false
    for (const candidate of places.get(place) ?? nowhere) if (isNeedle(bytes, candidate, at)) return true
    return false
  }

  function find(bytes: Uint8Array): Int32Array | undefined {
    const found: number[] = []
    let cardsUntil = 0
    filter.chunks(bytes, (start, end, needle, digits) => {
      if (found.length > maxCandidates) return
      for (let at = start; needle && at < end; at++) if (isCandidate(bytes, at)) found.push(at)
      if (digits && end > cardsUntil) cardsUntil = findCards(bytes, Math.max(start, cardsUntil), end, found)
    })
    if (found.length > maxCandidates) return undefined
    return found.length === 0 ? none : Int32Array.from(found).sort()
  }

  return { find }
}

function isNeedle(bytes: Uint8Array, { needle, bytes: text, fold, offset }: Place, at: number): boolean {
  const start = at - offset
  const end = start + text.length
  if (start < 0 || end > bytes.length) return false
  for (let i = 0; i < text.length; i++) {
    if (((bytes[start + i] as number) | (fold[i] as number)) !== text[i]) return false
  }
  if (needle.notBefore?.includes(String.fromCharCode(bytes[end] ?? 0))) return false
  return needle.accepts?.(bytes, start, end) ?? true
}

/** Where in a needle the three bytes stand that are looked for. */
function rarestTriple(text: string): number {
  const cost = (at: number): number => frequency(text.slice(at, at + 2)) + frequency(text.slice(at + 1, at + 3))
  let first = 0
  for (let at = 1; at + 2 < text.length; at++) if (cost(at) < cost(first)) first = at
  return first
}

function cases(code: number, fold: number): number[] {
  return fold === 0 ? [code] : [code, code & ~fold]
}

/** Looks at the runs of digits and dividers that reach into [from, to). @returns where the last of them ends */
function findCards(bytes: Uint8Array, from: number, to: number, found: number[]): number {
  let at = from
  while (at < to) {
    if (!isCardByte(bytes[at] as number)) {
      at++
      continue
    }
    let start = at
    while (start > 0 && isCardByte(bytes[start - 1] as number)) start--
    at = runOfCards(bytes, start, at, found)
  }
  return at
}

/**
 * Reads a run of digits and dividers for a card number in one piece, or groups as they are printed on cards: 4-4-4-4 and
 * 4-6-5. In protobuf a length before the number or a tag and a length behind it may read as digits, so up to two more on
 * either side are allowed for.
 * @param within a place in the run: the candidate's offset
 * @returns where the run ends
 */
function runOfCards(bytes: Uint8Array, start: number, within: number, found: number[]): number {
  // Lengths of the last groups of digits.
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  let mayBe = false
  let at = start
  for (; ; at++) {
    const byte = at < bytes.length ? (bytes[at] as number) : 0
    if (isDigit(byte)) {
      d++
      continue
    }
    if (d >= cardDigits) mayBe ||= holdsCard(bytes, at - d, at)
    else if (c === 4 && b === 4 && a >= 4 && d >= 4) mayBe = true
    else if (c === 6 && b >= 4 && d >= 5) mayBe = true
    if (!isCardByte(byte)) break
    a = b
    b = c
    c = d
    d = 0
  }
  if (mayBe) found.push(within)
  return at
}

function holdsCard(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start > 19 + 4) return false
  for (let from = start; from <= start + 2; from++) {
    for (let to = end; to >= end - 2; to--) {
      // No issuer's numbers begin with another digit: times and counters do.
      const digit = bytes[from] as number
      if (digit < 0x32 || digit > 0x36) break
      if (to - from >= cardDigits && isCardNumber(String.fromCharCode(...bytes.subarray(from, to)))) return true
    }
  }
  return false
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}

function isCardByte(byte: number): boolean {
  return isDigit(byte) || byte === 0x20 || byte === 0x2d
}

/** Whether one of the ascending offsets lies in [start, end). */
export function hasCandidate(candidates: Int32Array, start: number, end: number): boolean {
  let low = 0
  let high = candidates.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((candidates[middle] as number) < start) low = middle + 1
    else high = middle
  }
  return low < candidates.length && (candidates[low] as number) < end
}
