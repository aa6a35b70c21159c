import fc from 'fast-check'
import { expect, test } from 'vitest'
import { renderTable, type TableColumn } from './table.ts'
import { displayWidth } from './text.ts'

interface Row {
  readonly who: string
  readonly ms: number
  readonly what: string
}

const columns: readonly TableColumn<Row>[] = [
  { title: 'who', text: ({ who }) => who, flexible: true },
  { title: 'ms', text: ({ ms }) => String(ms), right: true },
  { title: 'what', text: ({ what }) => what, flexible: true },
]

test('columns are as wide as their content, numbers stand on the right', () => {
  const rows = [
    { who: 'anna', ms: 7, what: 'table:orders' },
    { who: '東京', ms: 1200, what: '' },
    { who: 'e\u0301va', ms: 30, what: 'x' },
  ]
  expect(renderTable(rows, columns, 100)).toBe(
    ['who     ms  what', 'anna     7  table:orders', '東京  1200', 'e\u0301va     30  x', ''].join('\n'),
  )
})

test('the widest column gives way first, and what is cut says so', () => {
  const table = renderTable([{ who: 'anna', ms: 7, what: 'w'.repeat(200) }], columns, 40)
  expect(table).toContain(`anna   7  ${'w'.repeat(29)}…\n`)
})

test('a row is one line and no line is wider than the terminal, whatever stands in the cells', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: 'grapheme', minLength: 30, maxLength: 120 }),
    fc.constantFrom('東京'.repeat(40), '🚀'.repeat(60), 'a\nb', '\u001b[2J'),
  )
  const row = fc.record({ who: text, ms: fc.nat(), what: text })
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), fc.integer({ min: 60, max: 120 }), (rows, width) => {
      const lines = renderTable(rows, columns, width).split('\n')
      expect(lines).toHaveLength(rows.length + 2)
      for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width)
    }),
  )
})

test('without a column that may give way nothing is cut', () => {
  const fixed = columns.map((column) => ({ ...column, flexible: false }))
  expect(renderTable([{ who: 'w'.repeat(80), ms: 1, what: 'x'.repeat(80) }], fixed, 60)).not.toContain('…')
})
