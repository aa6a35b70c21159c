/** Tables that fit the terminal: 100 columns where there is none. */
import { harmless, paint } from './paint.ts'

export interface TableColumn<T> {
  readonly title: string
  readonly text: (row: T) => string
  /** Gives way first when the table is too wide. */
  readonly flexible?: boolean
  readonly right?: boolean
  readonly color?: (row: T) => 'green' | 'yellow' | 'red' | 'dim' | undefined
}

const gap = '  '
const narrowest = 6

export function renderTable<T>(
  rows: readonly T[],
  columns: readonly TableColumn<T>[],
  width = terminalWidth(),
): string {
  const cells = rows.map((row) => columns.map((column) => harmless(column.text(row))))
  const widths = fit(
    columns.map((column, i) => Math.max(lengthOf(column.title), ...cells.map((line) => lengthOf(line[i] ?? '')))),
    columns,
    width,
  )
  const pad = (text: string, i: number): string => {
    const cut = shorten(text, widths[i] ?? 0)
    const blanks = ' '.repeat(Math.max(0, (widths[i] ?? 0) - lengthOf(cut)))
    return columns[i]?.right ? blanks + cut : cut + blanks
  }
  const lines = [
    columns.map((column, i) => paint.dim(pad(column.title, i))),
    ...cells.map((line, r) =>
      line.map((text, i) => {
        const color = columns[i]?.color?.(rows[r] as T)
        return color === undefined ? pad(text, i) : paint[color](pad(text, i))
      }),
    ),
  ]
  return lines.map((line) => `${line.join(gap).trimEnd()}\n`).join('')
}

export function terminalWidth(): number {
  return process.stdout.isTTY ? Math.max(60, process.stdout.columns) : 100
}

function fit<T>(wanted: readonly number[], columns: readonly TableColumn<T>[], width: number): number[] {
  const widths = [...wanted]
  const total = (): number => widths.reduce((sum, one) => sum + one, 0) + gap.length * (widths.length - 1)
  while (total() > width) {
    // The widest flexible column gives one; without one left to give, the table stays too wide.
    let widest = -1
    for (const [i, column] of columns.entries()) {
      if (column.flexible && (widths[i] ?? 0) > narrowest && (widest < 0 || (widths[i] ?? 0) > (widths[widest] ?? 0)))
        widest = i
    }
    if (widest < 0) break
    widths[widest] = (widths[widest] ?? 0) - 1
  }
  return widths
}

function shorten(text: string, width: number): string {
  const characters = [...text]
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`
}

function lengthOf(text: string): number {
  return [...text].length
}
