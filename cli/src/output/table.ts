/** Tables that fit the terminal: 100 columns where there is none. */
import { paint } from './paint.ts'
import { displayWidth, harmless, shorten } from './text.ts'

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

/** Columns as wide as their content where that fits, with a line of titles. */
export function renderTable<T>(
  rows: readonly T[],
  columns: readonly TableColumn<T>[],
  width = terminalWidth(),
): string {
  const cells = rows.map((row) => columns.map((column) => harmless(column.text(row))))
  const wanted = columns.map(({ title }, i) =>
    Math.max(displayWidth(title), ...cells.map((line) => displayWidth(line[i] ?? ''))),
  )
  const widths = fit(wanted, columns, width)
  return renderTitles(columns, widths) + rows.map((row) => renderRow(row, columns, widths)).join('')
}

export function renderTitles<T>(columns: readonly TableColumn<T>[], widths: readonly number[]): string {
  return line(columns.map((column, i) => paint.dim(pad(column.title, widths[i] ?? 0, column.right))))
}

/** One row in columns of given widths: for rows that come one at a time. */
export function renderRow<T>(row: T, columns: readonly TableColumn<T>[], widths: readonly number[]): string {
  return line(
    columns.map((column, i) => {
      const cell = pad(harmless(column.text(row)), widths[i] ?? 0, column.right)
      const color = column.color?.(row)
      return color === undefined ? cell : paint[color](cell)
    }),
  )
}

export function terminalWidth(): number {
  return process.stdout.isTTY ? Math.max(60, process.stdout.columns) : 100
}

/** The widest flexible column gives way, one column at a time; without one left to give, the table stays too wide. */
function fit<T>(wanted: readonly number[], columns: readonly TableColumn<T>[], width: number): number[] {
  const widths = [...wanted]
  let excess = widths.reduce((sum, one) => sum + one, 0) + gap.length * (widths.length - 1) - width
  for (; excess > 0; excess--) {
    let widest = -1
    for (const [i, column] of columns.entries()) {
      const own = widths[i] ?? 0
      if (column.flexible && own > narrowest && own > (widths[widest] ?? 0)) widest = i
    }
    if (widest < 0) break
    widths[widest] = (widths[widest] ?? 0) - 1
  }
  return widths
}

function pad(text: string, width: number, right = false): string {
  const cut = shorten(text, width)
  const blanks = ' '.repeat(Math.max(0, width - displayWidth(cut)))
  return right ? blanks + cut : cut + blanks
}

function line(cells: readonly string[]): string {
  return `${cells.join(gap).trimEnd()}\n`
}
