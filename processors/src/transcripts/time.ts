/** ISO 8601 timestamps as clients write them: `2026-01-22T02:44:32.122Z`. */
import { decodeString, equals } from './json-bytes.ts'

/** The day of the last timestamp, as bytes, and when it began. */
const lastDay = Buffer.alloc(10)
let lastDayMs = Number.NaN

/** Milliseconds since 1970; undefined if the string is no date. Equals Date.parse, ten times as fast on the usual form. */
export function parseTime(bytes: Buffer, start: number, end: number): number | undefined {
  if (end - start === 24 && bytes[start + 23] === 0x5a && bytes[start + 10] === 0x54) {
    const ms = timeOfDay(bytes, start + 11)
    if (ms >= 0) {
      if (!equals(lastDay, bytes, start, start + 10)) {
        bytes.copy(lastDay, 0, start, start + 10)
        const day = lastDay.toString('latin1')
        lastDayMs = /^\d{4}-\d\d-\d\d$/.test(day) ? Date.parse(day) : Number.NaN
      }
      if (!Number.isNaN(lastDayMs)) return lastDayMs + ms
    }
  }
  const ms = Date.parse(decodeString(bytes, start, end, 64))
  return Number.isNaN(ms) ? undefined : ms
}

/** Of `02:44:32.122`, -1 for anything else. */
function timeOfDay(bytes: Buffer, i: number): number {
  const hours = twoDigits(bytes, i)
  const minutes = twoDigits(bytes, i + 3)
  const seconds = twoDigits(bytes, i + 6)
  const tens = twoDigits(bytes, i + 9)
  const ones = (bytes[i + 11] as number) - 0x30
  const divided = bytes[i + 2] === 0x3a && bytes[i + 5] === 0x3a && bytes[i + 8] === 0x2e
  if (!divided || hours < 0 || minutes < 0 || seconds < 0 || tens < 0 || ones < 0 || ones > 9) return -1
  if (hours > 23 || minutes > 59 || seconds > 59) return -1
  return ((hours * 60 + minutes) * 60 + seconds) * 1000 + tens * 10 + ones
}

function twoDigits(bytes: Buffer, i: number): number {
  const tens = (bytes[i] as number) - 0x30
  const ones = (bytes[i + 1] as number) - 0x30
  return tens < 0 || tens > 9 || ones < 0 || ones > 9 ? -1 : tens * 10 + ones
}
