/**
 * The macros that the ClickHouse plugin's backend expands, as it does: with bare functions on Unix seconds or
 * milliseconds, not within quotes or comments, and those it does not know are left alone.
 * @see https://github.com/grafana/clickhouse-datasource, pkg/macros
 */

/** What a query is asked for. */
export interface TimeRange {
  readonly from: Date
  readonly to: Date
  /** Width of one point of a graph, milliseconds. */
  readonly intervalMs: number
}

type Macro = (range: TimeRange, given: readonly string[]) => string

const macros: Readonly<Record<string, Macro>> = {
  fromTime: ({ from }) => seconds(from),
  toTime: ({ to }) => seconds(to),
  fromTime_ms: ({ from }) => milliseconds(from),
  toTime_ms: ({ to }) => milliseconds(to),
  timeFilter: ({ from, to }, [column]) => between(column, seconds(from), seconds(to)),
  timeFilter_ms: ({ from, to }, [column]) => between(column, milliseconds(from), milliseconds(to)),
  dateFilter: ({ from, to }, [column]) => between(column, date(from), date(to)),
  dateTimeFilter: dateTimeFilter,
  dt: dateTimeFilter,
  timeFrom: ({ from }, [column]) => `${needed(column)} >= ${seconds(from)}`,
  timeTo: ({ to }, [column]) => `${needed(column)} <= ${seconds(to)}`,
  timeInterval: (range, [column]) =>
    `toStartOfInterval(toDateTime(${needed(column)}), INTERVAL ${intervalSeconds(range)} second)`,
  timeInterval_ms: ({ intervalMs }, [column]) =>
    `toStartOfInterval(toDateTime64(${needed(column)}, 3), INTERVAL ${Math.max(1, Math.trunc(intervalMs))} millisecond)`,
  timeGroup: (_range, [column, width]) =>
    `toStartOfInterval(toDateTime(${needed(column)}), INTERVAL ${durationSeconds(needed(width))} second)`,
  interval_s: (range) => String(intervalSeconds(range)),
  interval_ms: ({ intervalMs }) => String(Math.trunc(intervalMs)),
}

/** Names of the macros that may stand in a query, without `$__`. */
export const macroNames: ReadonlySet<string> = new Set(Object.keys(macros))

/** A query as it goes to ClickHouse. @throws Error where a macro lacks an argument */
export function expandMacros(sql: string, range: TimeRange): string {
  let out = ''
  for (let at = 0; at < sql.length; ) {
    const skipped = quotedOrComment(sql, at)
    if (skipped > 0) {
      out += sql.slice(at, at + skipped)
      at += skipped
      continue
    }
    const name = sql[at] === '$' ? /^\$__(\w+)/.exec(sql.slice(at, at + 64))?.[1] : undefined
    const macro = name !== undefined && Object.hasOwn(macros, name) ? macros[name] : undefined
    if (name === undefined || macro === undefined) {
      out += sql[at]
      at++
      continue
    }
    let end = at + 3 + name.length
    let given: string[] = []
    if (sql[end] === '(') {
      const close = closing(sql, end)
      given = splitArguments(sql.slice(end + 1, close))
      end = close + 1
    }
    out += macro(range, given)
    at = end
  }
  return out
}

/** Length of the string, quoted name or comment that begins here; 0 if none does. */
function quotedOrComment(sql: string, at: number): number {
  const rest = /^(?:'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S])*"|`(?:[^`\\]|\\[\s\S])*`|--[^\n]*|\/\*[\s\S]*?\*\/)/
  return /['"`/-]/.test(sql[at] ?? '') ? (rest.exec(sql.slice(at))?.[0].length ?? 0) : 0
}

function closing(sql: string, open: number): number {
  let depth = 0
  for (let i = open; i < sql.length; i++) {
    i += quotedOrComment(sql, i)
    if (sql[i] === '(') depth++
    if (sql[i] === ')' && --depth === 0) return i
  }
  throw new Error(`a parenthesis is not closed: ${sql.slice(open, open + 80)}`)
}

function splitArguments(text: string): string[] {
  const found: string[] = []
  let depth = 0
  let from = 0
  for (let i = 0; i < text.length; i++) {
    i += quotedOrComment(text, i)
    if (text[i] === '(') depth++
    if (text[i] === ')') depth--
    if (text[i] === ',' && depth === 0) {
      found.push(text.slice(from, i).trim())
      from = i + 1
    }
  }
  found.push(text.slice(from).trim())
  return found
}

function dateTimeFilter({ from, to }: TimeRange, [dateColumn, timeColumn]: readonly string[]): string {
  return `(${between(dateColumn, date(from), date(to))}) AND (${between(timeColumn, seconds(from), seconds(to))})`
}

function between(column: string | undefined, from: string, to: string): string {
  return `${needed(column)} >= ${from} AND ${needed(column)} <= ${to}`
}

function needed(argument: string | undefined): string {
  if (argument === undefined || argument === '') throw new Error('a macro lacks an argument')
  return argument
}

function seconds(time: Date): string {
  return `toDateTime(${Math.floor(time.getTime() / 1000)})`
}

function milliseconds(time: Date): string {
  return `fromUnixTimestamp64Milli(${time.getTime()})`
}

function date(time: Date): string {
  return `toDate('${time.toISOString().slice(0, 10)}')`
}

function intervalSeconds({ intervalMs }: TimeRange): number {
  return Math.max(1, Math.trunc(intervalMs / 1000))
}

function durationSeconds(text: string): number {
  const found = /^'?(\d+)([smhd])'?$/.exec(text)
  if (found === null) throw new Error(`"${text}" is no duration like 5m`)
  return Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86_400 }[found[2] as 's' | 'm' | 'h' | 'd']
}
