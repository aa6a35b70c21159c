/** The members of one JSON object that somebody asks for: where each value stands in the line. */
import { decodeString, endOfString, type KeyTable, skipSpace, skipValue } from './json-bytes.ts'

/** Reads the value at `i`, returns the index behind it, or -1. */
export type Visit = (bytes: Buffer, i: number, end: number) => number

export interface Fields {
  readonly table: KeyTable
  /** Of strings, between the quotes. */
  readonly start: Int32Array
  readonly end: Int32Array
  /** First byte of the value, 0 where there is none: 0x22 for a string, `t` for true … */
  readonly first: Uint8Array
  /** Names whose value is read on the way instead of stepped over. */
  readonly visits: readonly (Visit | undefined)[]
}

export function createFields(table: KeyTable, visits: Readonly<Record<string, Visit>> = {}): Fields {
  const { length } = table.names
  return {
    table,
    start: new Int32Array(length),
    end: new Int32Array(length),
    first: new Uint8Array(length),
    visits: table.names.map((name) => visits[name]),
  }
}

/**
 * Reads the object at `i` and returns the index behind it; -1 if it is none. Of members of the same name the last counts,
 * as with JSON.parse.
 */
export function readObject(fields: Fields, bytes: Buffer, i: number, end: number): number {
  fields.first.fill(0)
  if (bytes[i] !== 0x7b) return -1
  i = skipSpace(bytes, i + 1)
  if (bytes[i] === 0x7d) return i + 1
  for (;;) {
    if (bytes[i] !== 0x22) return -1
    const keyEnd = endOfString(bytes, i + 1, end)
    if (keyEnd < 0) return -1
    const key = fields.table.find(bytes, i + 1, keyEnd)
    i = skipSpace(bytes, keyEnd + 1)
    if (bytes[i] !== 0x3a) return -1
    i = skipSpace(bytes, i + 1)
    let after: number
    if (key < 0) after = skipValue(bytes, i, end)
    else {
      const first = bytes[i] as number
      fields.first[key] = first
      const visit = fields.visits[key]
      after = visit === undefined ? skipValue(bytes, i, end) : visit(bytes, i, end)
      const inset = first === 0x22 ? 1 : 0
      fields.start[key] = i + inset
      fields.end[key] = after - inset
    }
    if (after < 0) return -1
    i = skipSpace(bytes, after)
    const c = bytes[i]
    if (c === 0x7d) return i + 1
    if (c !== 0x2c) return -1
    i = skipSpace(bytes, i + 1)
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
