import fc from 'fast-check'
import { expect, test } from 'vitest'
import { csvLine } from './csv.ts'

test('what was written is read back, cell by cell', () => {
  const cell = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom('"', ',', '\r', '\n', '\t', 'a', ' ', '=', "'")).map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(fc.array(fc.array(cell, { minLength: 1, maxLength: 6 }), { maxLength: 4 }), (rows) => {
      const read = parseCsv(rows.map(csvLine).join(''))
      const plain = rows.map((row) => row.map((text) => text.replace(/(?![\t\n\r])\p{Cc}/gu, '\ufffd')))
      // An apostrophe before a formula is the only thing that is added.
      expect(read.map((row, i) => row.map((text, j) => (text === `'${plain[i]?.[j]}` ? plain[i]?.[j] : text)))).toEqual(
        plain,
      )
    }),
  )
})

test.each([
  '=1+1',
  '+1+1',
  '-2+3+cmd',
  '@SUM(A1)',
  '\t=1',
  '\r=1',
  '\n=1',
  '  =1',
  '\ufeff=1',
  '＝1',
  '＋1',
  '－1+1',
  '＠x',
])('a spreadsheet does not run %j', (formula) => {
  expect(parseCsv(csvLine(['anna', formula]))).toEqual([['anna', `'${formula}`]])
})

test('no text becomes a formula, wherever it stands', () => {
  const start = fc.constantFrom('=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠')
  fc.assert(
    fc.property(start, fc.string(), (first, rest) => {
      const [[cell = ''] = []] = parseCsv(csvLine([first + rest]))
      expect(cell.startsWith("'") || /^-\d+(\.\d+)?$/.test(cell)).toBe(true)
    }),
  )
})

test('negative numbers stay numbers, null is an empty cell', () => {
  expect(csvLine([-5, '-5', '-0.25', 1.5, null, ''])).toBe('-5,-5,-0.25,1.5,,\r\n')
})

test('a terminal takes no cell for a command', () => {
  expect(csvLine(['\u001b[2J', '\u009b31m', '\u0000'])).toBe('\ufffd[2J,\ufffd31m,\ufffd\r\n')
})

/** RFC 4180, section 2: quoted cells hold anything, a doubled quote stands for one. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  for (let at = 0; at < text.length; ) {
    let cell = ''
    if (text[at] === '"') {
      for (at++; text[at] !== '"' || text[at + 1] === '"'; at++) {
        if (at >= text.length) throw new Error('a quote is open at the end')
        cell += text[at]
        if (text[at] === '"') at++
      }
      at++
    } else {
      for (; text[at] !== ',' && !text.startsWith('\r\n', at); at++) {
        if (at >= text.length || text[at] === '"') throw new Error(`unexpected ${JSON.stringify(text[at])} at ${at}`)
        cell += text[at]
      }
    }
    row.push(cell)
    if (text[at] === ',') {
      at++
      continue
    }
    if (!text.startsWith('\r\n', at)) throw new Error(`no end of the line at ${at}`)
    at += 2
    rows.push(row)
    row = []
  }
  return rows
}
