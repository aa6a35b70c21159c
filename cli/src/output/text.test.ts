import fc from 'fast-check'
import { expect, test } from 'vitest'
import { displayWidth, harmless, harmlessJson, shorten } from './text.ts'

const hostile = fc.constantFrom(
  '\u001b[31m',
  '\u001b[2J\u001b[H',
  '\u001b]0;title\u0007',
  '\u001b]8;;https://evil.example\u001b\\click\u001b]8;;\u001b\\',
  '\u009b31m',
  '\u001b\u001b[[31mm',
  '\r',
  '\n',
  '\b\b\b',
  '\u007f',
  '\u202egnp.exe',
  '\u2066',
  '\u200f',
  '\u2028',
  '\ufeff',
)
/** Anything Unicode has, with what an attacker would write in between. */
const anybodysText = fc
  .array(fc.oneof(hostile, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })))
  .map((parts) => parts.join(''))
const steering = /\p{Cc}|\p{Bidi_Control}|\u2028|\u2029|\ufeff/u

test('no text can move the cursor, change colours, break the line or read backwards', () => {
  fc.assert(
    fc.property(anybodysText, (text) => {
      expect(harmless(text)).not.toMatch(steering)
    }),
  )
})

test('what people write stays as it is', () => {
  for (const text of ['table:orders', 'Žluťoučký kůň', '東京 → 서울', 'שלום', '🚀 100 %', '']) {
    expect(harmless(text)).toBe(text)
  }
})

test('colours vanish, line breaks and tabs become blanks, the rest of it is seen', () => {
  expect(harmless('\u001b[31mred\u001b[0m')).toBe('red')
  expect(harmless('one\ntwo\tthree')).toBe('one two three')
  expect(harmless('invoice\u202efdp.exe')).toBe('invoice·fdp.exe')
})

test('JSON is harmless on a terminal and the same for a parser', () => {
  fc.assert(
    fc.property(fc.dictionary(anybodysText, fc.oneof(anybodysText, fc.integer())), fc.boolean(), (value, indented) => {
      const text = harmlessJson(value, indented ? 2 : undefined)
      expect(indented ? text.replaceAll('\n', '') : text).not.toMatch(steering)
      expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})

test.each([
  ['orders', 6],
  ['東京', 4],
  ['한국', 4],
  ['ａｂ', 4],
  ['🚀', 2],
  ['🇨🇿', 2],
  ['👍🏽', 2],
  ['e\u0301', 1],
  ['\u0301', 0],
  ['a\u0300\u0301\u0302b', 2],
  ['…', 1],
  ['', 0],
])('"%s" takes %i columns', (text, columns) => {
  expect(displayWidth(text)).toBe(columns)
})

test('a shortened text never takes more columns than it may, and says that it was cut', () => {
  fc.assert(
    fc.property(anybodysText.map(harmless), fc.nat(20), (text, width) => {
      const cut = shorten(text, width)
      expect(displayWidth(cut)).toBeLessThanOrEqual(width)
      if (cut === text) return
      expect(cut === '' || (cut.endsWith('…') && text.startsWith(cut.slice(0, -1)))).toBe(true)
    }),
  )
  expect(shorten('東京タワー', 6)).toBe('東京…')
  expect(shorten('e\u0301e\u0301e\u0301', 2)).toBe('e\u0301…')
})
