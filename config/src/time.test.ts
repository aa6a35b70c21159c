import { expect, test } from 'vitest'
import { parseTime } from './time.ts'

const now = new Date('2026-11-21T10:00:00Z')

test.each([
  ['90s', '2026-11-21T09:58:30.000Z'],
  ['30m', '2026-11-21T09:30:00.000Z'],
  ['2h', '2026-11-21T08:00:00.000Z'],
  ['7d', '2026-11-14T10:00:00.000Z'],
  ['4w', '2026-10-24T10:00:00.000Z'],
])('%s is that long ago', (text, expected) => {
  expect(parseTime(text, now)?.toISOString()).toBe(expected)
})

test.each([
  ['2026-11-21', '2026-11-21T00:00:00.000Z'],
  ['2024-02-29', '2024-02-29T00:00:00.000Z'],
  ['2026-11-21T10:30', '2026-11-21T10:30:00.000Z'],
  ['2026-11-21T10:30:15.250', '2026-11-21T10:30:15.250Z'],
  ['2026-11-21T10:30:15Z', '2026-11-21T10:30:15.000Z'],
  ['2026-11-21T10:30:15+02:00', '2026-11-21T08:30:15.000Z'],
])('%s is a time, in UTC where it names no zone', (text, expected) => {
  expect(parseTime(text, now)?.toISOString()).toBe(expected)
})

test.each([
  '2026-02-31',
  '2026-02-29T10:00:00Z',
  '2026-13-01',
  '2026-11-00',
  '2026-11-21T25:00',
  '2026-11-21T10:00:00+99:00',
  '2026-11-21 10:00',
  '21.11.2026',
  'yesterday',
  '7',
  '7 d',
  '-7d',
  '1.5h',
  '7D',
  '9999999999999w',
  '',
])('"%s" is refused instead of guessed at', (text) => {
  expect(parseTime(text, now)).toBeUndefined()
})
