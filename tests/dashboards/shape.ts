/** What Grafana's frames and panels expect of a result; a result of another shape shows nothing, or an error. */
import type { Panel, Target, TimeRange } from '@agnes/grafana'
import type { Answer } from '../support/grafana-plugin.ts'
import type { NativeColumn } from '../support/native.ts'

const isTime = ({ type }: NativeColumn): boolean => /^(Nullable\()?Date/.test(type)
const isNumber = ({ type }: NativeColumn): boolean => /^(Nullable\()?(U?Int|Float)/.test(type)
const isText = ({ type }: NativeColumn): boolean => /String\)*$/.test(type) && !/^(Array|Map)/.test(type)

/** Beyond it a number loses digits in the browser. */
const safeInteger = 2n ** 53n
/** More lines than people can tell apart. */
const maxSeries = 60

/** Points stand at the begin of their interval, which may lie before the range: a week at most. */
const longestInterval = 7 * 86_400_000

export function problemsWithShape(panel: Panel, target: Target, { columns, rows }: Answer, range: TimeRange): string[] {
  const problems: string[] = []
  for (const column of columns) {
    const known = isTime(column) || isNumber(column) || isText(column) || /^(Bool|Array\(String\))$/.test(column.type)
    if (!known) problems.push(`${column.name} is of type ${column.type}`)
    if (column.values.some((value) => typeof value === 'bigint' && (value > safeInteger || value < -safeInteger))) {
      problems.push(`${column.name} has whole numbers that a browser rounds: make them text`)
    }
    if (column.values.some((value) => typeof value === 'number' && !Number.isFinite(value))) {
      problems.push(`${column.name} has values that are no number`)
    }
  }
  if (new Set(columns.map(({ name }) => name)).size < columns.length) problems.push('two columns have the same name')
  if (target.format === 0) problems.push(...ofSeries(columns, range))
  if (target.format === 2) {
    for (const name of ['timestamp', 'body', 'level']) {
      if (!columns.some((column) => column.name === name)) problems.push(`a log needs a column ${name}`)
    }
  }
  if (panel.type === 'bargauge' && !(columns.some(isText) && columns.some(isNumber))) {
    problems.push('bars need a name and a number')
  }
  if (panel.type === 'stat' && target.format === 1 && rows > 1) problems.push('a stat shows one row')
  for (const { matcher } of panel.fieldConfig?.overrides ?? []) {
    // Series are named by their values, which may be missing on a quiet day.
    if (matcher.id === 'byName' && target.format === 1 && !columns.some(({ name }) => name === matcher.options)) {
      problems.push(`an override names the column ${matcher.options}, which there is not`)
    }
  }
  return problems
}

/** From long to wide: a time that ascends, texts as labels, numbers as values; one line for each set of labels. */
function ofSeries(columns: readonly NativeColumn[], { from, to }: TimeRange): string[] {
  const problems: string[] = []
  const [time, ...moreTimes] = columns.filter(isTime)
  const labels = columns.filter(isText)
  const values = columns.filter(isNumber)
  if (time === undefined || moreTimes.length > 0) problems.push('a series has exactly one column of time')
  if (values.length === 0) problems.push('a series has a column of numbers')
  if (labels.length + values.length + 1 !== columns.length) problems.push('a series has times, texts and numbers only')
  const times = (time?.values ?? []).map((value) => (value as Date | null)?.getTime() ?? Number.NaN)
  if (times.some((value, i) => !(value >= (times[i - 1] ?? 0)))) problems.push('long series must be sorted ascending')
  if (times.some((value) => value < from.getTime() - longestInterval || value > to.getTime())) {
    problems.push(`times beyond the range, which the graph does not show: ${new Date(times[0] ?? 0).toISOString()}`)
  }
  const keys = times.map((_, row) => JSON.stringify(labels.map(({ values }) => values[row])))
  if (new Set(keys).size * values.length > maxSeries)
    problems.push(`${new Set(keys).size * values.length} lines in one graph`)
  const points = new Set(keys.map((key, row) => `${times[row]} ${key}`))
  if (points.size < keys.length) problems.push('a line has two values at the same time')
  return problems
}
