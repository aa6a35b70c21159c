import type { ClickHouseClient, TimelineFilter, TimelineRow } from '@agnes/clickhouse'
import { type Command, Option } from 'commander'
import { withClickHouse } from '../connect.ts'
import { log } from '../output/streams.ts'
import { renderRow, renderTable, renderTitles, type TableColumn, terminalWidth } from '../output/table.ts'
import { harmlessJson } from '../output/text.ts'
import { addFilterOptions, type FilterOptions, filterOf } from './activity-arguments.ts'

const formats = ['table', 'json', 'ndjson', 'csv'] as const
type Format = (typeof formats)[number]

interface ActivityOptions extends FilterOptions {
  readonly follow?: boolean
  readonly format: Format
  readonly json?: boolean
}

export function registerActivity(program: Command): void {
  addFilterOptions(program.command('activity').description('What happened? The timeline, newest first'))
    .addOption(
      new Option('--follow', 'wait for what happens next, oldest first; Ctrl-C ends').conflicts([
        'cursor',
        'limit',
        'until',
      ]),
    )
    .addOption(new Option('--format <format>', 'how to print').choices(formats).default('table'))
    .option('--json', 'the same as --format json')
    .addHelpText(
      'after',
      `
Examples:
  agnes activity --since 24h --result error
  agnes activity --action-prefix sync. --follow
  agnes activity --user anna --since 2026-11-01 --format csv > anna.csv
  agnes activity --q orders --json | jq '.[].params'
`,
    )
    .action(async (options: ActivityOptions) => {
      const format = options.json ? 'json' : options.format
      const filter = filterOf(options)
      await withClickHouse((client) =>
        options.follow ? follow(client, filter, format) : printPage(client, filter, format),
      )
    })
}

async function printPage(client: ClickHouseClient, filter: TimelineFilter, format: Format): Promise<void> {
  const { csvLine, fetchTimeline } = await import('@agnes/clickhouse')
  const { rows, nextCursor } = await fetchTimeline(client, filter)
  process.stdout.write(renderPage(rows, format, csvLine))
  if (format === 'table' && rows.length === 0) {
    log('nothing matches: leave out a filter, or widen --since; on a new instance, "agnes demo" sends events')
  }
  if (nextCursor !== null) log(`next page: --cursor ${nextCursor}`)
}

async function follow(client: ClickHouseClient, filter: TimelineFilter, format: Format): Promise<void> {
  const { csvLine, followTimeline } = await import('@agnes/clickhouse')
  const stopping = new AbortController()
  const stop = (): void => stopping.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const widths = followWidths(terminalWidth())
  const print = (row: TimelineRow): string => {
    if (format === 'table') return renderRow(row, columns, widths)
    // An array would have no end: one object a line instead.
    return format === 'csv' ? csvLine(cellsOf(row)) : `${harmlessJson(row)}\n`
  }
  if (format === 'table') process.stdout.write(renderTitles(columns, widths))
  if (format === 'csv') process.stdout.write(csvLine(csvColumns))
  for await (const row of followTimeline(client, filter, { signal: stopping.signal })) process.stdout.write(print(row))
}

/** Of a room that is loaded when ClickHouse is asked: every other command starts sooner without it. */
type CsvLine = typeof import('@agnes/clickhouse').csvLine

export function renderPage(
  rows: readonly TimelineRow[],
  format: Format,
  csvLine: CsvLine,
  width = terminalWidth(),
): string {
  switch (format) {
    case 'json':
      return `${harmlessJson(rows, 2)}\n`
    case 'ndjson':
      return rows.map((row) => `${harmlessJson(row)}\n`).join('')
    case 'csv':
      return csvLine(csvColumns) + rows.map((row) => csvLine(cellsOf(row))).join('')
    case 'table':
      return rows.length === 0 ? '' : renderTable(rows, columns, width)
  }
}

const columns: readonly TableColumn<TimelineRow>[] = [
  {
    title: 'time (UTC)',
    text: (row) => `${row.timestamp.slice(0, 10)} ${row.timestamp.slice(11, 19)}`,
    color: () => 'dim',
  },
  { title: 'who', text: (row) => row.userId || row.clientKind, flexible: true },
  { title: 'action', text: (row) => row.action || row.eventName, flexible: true },
  { title: 'result', text: (row) => row.result || '–', color: colorOf },
  { title: 'ms', text: (row) => (row.durationMs === null ? '' : String(row.durationMs)), right: true },
  { title: 'what', text: whatOf, flexible: true },
]

/** Widths of the columns when the content is not known yet. */
function followWidths(width: number): readonly number[] {
  const fixed = [19, 12, 24, 10, 7]
  const rest = width - fixed.reduce((sum, one) => sum + one + 2, 0)
  return [...fixed, Math.max(10, rest)]
}

function colorOf({ resultClass }: TimelineRow): 'green' | 'yellow' | 'red' | 'dim' {
  switch (resultClass) {
    case 'success':
      return 'green'
    case 'error':
      return 'red'
    case 'denied':
      return 'yellow'
    case 'none':
    case 'other':
      return 'dim'
  }
}

/** What the other columns do not say: the object, what went wrong, what a change replaced. */
function whatOf({ resource, message, params, paramsBefore }: TimelineRow): string {
  const change = paramsBefore === '' ? '' : `${paramsBefore} → ${params}`
  return [resource, message || change || params].filter((part) => part !== '').join(' ')
}

const csvColumns = [
  'timestamp',
  'receivedAt',
  'id',
  'eventName',
  'serviceName',
  'userId',
  'action',
  'resource',
  'result',
  'resultClass',
  'durationMs',
  'clientKind',
  'clientAddress',
  'correlationId',
  'sessionId',
  'runId',
  'summary',
  'message',
  'params',
  'paramsBefore',
] as const satisfies readonly (keyof TimelineRow)[]

function cellsOf(row: TimelineRow): (string | number | null)[] {
  return csvColumns.map((name) => row[name])
}
