/** The members of one JSON object that somebody asks for: where each value stands in the line. */
import { decodeString, endOfPrimitive, type KeyTable, skipSpace } from './json-bytes.ts'
import type { IndexedLine } from './structure.ts'

/** Takes the objects of an array, one after the other. */
export interface ObjectList {
  begin(): void
  /** Reads the object at token `k`; returns the token behind it, or -1. */
  element(line: IndexedLine, k: number): number
}

export interface Fields {
  readonly table: KeyTable
  /** Of strings, between the quotes. */
  readonly start: Int32Array
  readonly end: Int32Array
  /** First byte of the value, 0 where there is none: 0x22 for a string, `t` for true … */
  readonly first: Uint8Array
  /** Members whose object, or array of objects, is read on the way instead of stepped over. */
  readonly objects: readonly (Fields | undefined)[]
  readonly lists: readonly (ObjectList | undefined)[]
}

export function createFields(
  table: KeyTable,
  objects: Readonly<Record<string, Fields>> = {},
  lists: Readonly<Record<string, ObjectList>> = {},
): Fields {
  const { length } = table.names
  return {
    table,
    start: new Int32Array(length),
    end: new Int32Array(length),
    first: new Uint8Array(length),
    objects: table.names.map((name) => objects[name]),
    lists: table.names.map((name) => lists[name]),
  }
}

/**
 * Reads the object at token `k` and returns the token behind it; -1 if it is none. Of members of the same name the last
 * counts, as with JSON.parse.
 */
export function readObject(fields: Fields, line: IndexedLine, k: number): number {
  const { bytes, tokens, end } = line
  const { table, first, start, end: ends } = fields
  first.fill(0)
  let at = tokens[k] as number
  if (bytes[at] !== 0x7b) return -1
  at = skipSpace(bytes, at + 1)
  k++
  if (at === tokens[k] && bytes[at] === 0x7d) return k + 1
  for (;;) {
    // A key, between two tokens that follow each other.
    const keyEnd = tokens[k + 1] as number
    if (at !== tokens[k] || bytes[at] !== 0x22 || keyEnd === end) return -1
    const key = table.find(bytes, at + 1, keyEnd)
    k += 2
    at = skipSpace(bytes, keyEnd + 1)
    if (bytes[at] !== 0x3a) return -1
    at = skipSpace(bytes, at + 1)
    const c = bytes[at] as number
    if (key >= 0) first[key] = c
    let after: number
    if (c === 0x22) {
      if (at !== tokens[k]) return -1
      const stop = tokens[k + 1] as number
      if (stop === end) return -1
      k += 2
      after = stop + 1
      if (key >= 0) {
        start[key] = at + 1
        ends[key] = stop
      }
    } else {
      if (c === 0x7b || c === 0x5b) {
        if (at !== tokens[k]) return -1
        k = key < 0 ? skipNested(line, k) : readNested(fields, key, line, k, c)
        if (k < 0) return -1
        after = (tokens[k - 1] as number) + 1
      } else {
        after = endOfPrimitive(bytes, at)
        if (after === at) return -1
      }
      if (key >= 0) {
        start[key] = at
        ends[key] = after
      }
    }
    at = skipSpace(bytes, after)
    const next = bytes[at]
    if (next === 0x7d) return at === tokens[k] ? k + 1 : -1
    if (next !== 0x2c) return -1
    at = skipSpace(bytes, at + 1)
  }
}

function readNested(fields: Fields, key: number, line: IndexedLine, k: number, bracket: number): number {
  if (bracket === 0x7b) {
    const object = fields.objects[key]
    return object === undefined ? skipNested(line, k) : readObject(object, line, k)
  }
  const list = fields.lists[key]
  return list === undefined ? skipNested(line, k) : readList(list, line, k)
}

/** The token behind the object or array at token `k`, however deep it nests; -1 if the line ends before. */
function skipNested({ bytes, tokens, end }: IndexedLine, k: number): number {
  let depth = 0
  for (;;) {
    const at = tokens[k] as number
    if (at === end) return -1
    const c = bytes[at] as number
    k++
    if (c === 0x22) {
      // The end of a string follows its beginning.
      if (tokens[k] === end) return -1
      k++
    } else if (c === 0x7d || c === 0x5d) {
      if (--depth === 0) return k
    } else depth++
  }
}

/** Hands the objects of the array at token `k` to `list`, steps over what is none; the token behind the array, or -1. */
function readList(list: ObjectList, line: IndexedLine, k: number): number {
  list.begin()
  const { bytes, tokens, end } = line
  let at = skipSpace(bytes, (tokens[k] as number) + 1)
  k++
  if (bytes[at] === 0x5d) return at === tokens[k] ? k + 1 : -1
  for (;;) {
    const c = bytes[at]
    let after: number
    if (c === 0x22) {
      if (tokens[k + 1] === end) return -1
      after = (tokens[k + 1] as number) + 1
      k += 2
    } else if (c === 0x7b || c === 0x5b) {
      k = c === 0x7b ? list.element(line, k) : skipNested(line, k)
      if (k < 0) return -1
      after = (tokens[k - 1] as number) + 1
    } else {
      after = endOfPrimitive(bytes, at)
      if (after === at) return -1
    }
    at = skipSpace(bytes, after)
    if (bytes[at] === 0x5d) return at === tokens[k] ? k + 1 : -1
    if (bytes[at] !== 0x2c) return -1
    at = skipSpace(bytes, at + 1)
  }
}

/** The string, cut to `limit` UTF-16 units; '' where there is none. */
export function stringOf(fields: Fields, key: number, bytes: Buffer, limit: number): string {
  if (fields.first[key] !== 0x22) return ''
  return decodeString(bytes, fields.start[key] as number, fields.end[key] as number, limit)
}

export function isTrue(fields: Fields, key: number): boolean {
  return fields.first[key] === 0x74
}

/** The number, undefined where there is none. */
export function numberOf(fields: Fields, key: number, bytes: Buffer): number | undefined {
  const first = fields.first[key] as number
  if (first !== 0x2d && (first < 0x30 || first > 0x39)) return undefined
  const start = fields.start[key] as number
  const end = fields.end[key] as number
  let value = 0
  for (let i = start; i < end; i++) {
    const digit = (bytes[i] as number) - 0x30
    if (digit < 0 || digit > 9 || i - start > 14) return longNumber(bytes, start, end)
    value = value * 10 + digit
  }
  return value
}

function longNumber(bytes: Buffer, start: number, end: number): number | undefined {
  const value = Number(bytes.toString('latin1', start, Math.min(end, start + 400)))
  return Number.isFinite(value) ? value : undefined
}
