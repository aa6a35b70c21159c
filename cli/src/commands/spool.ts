import path from 'node:path'
import { exitCodes, loadConfig } from '@agnes/config'
import type { SpoolFileReport } from '@agnes/ingest-gateway'
import { Argument, type Command } from 'commander'
import { wholeNumber } from '../arguments.ts'
import { renderTable } from '../output/table.ts'
import { harmless, harmlessJson } from '../output/text.ts'
import { typed } from '../output/typed.ts'

const views = ['list', 'show', 'verify', 'quarantine', 'redrive'] as const
type View = (typeof views)[number]

interface SpoolOptions {
  readonly json?: boolean
  readonly limit: number
}

export function registerSpool(program: Command): void {
  program
    .command('spool')
    .description('Look at what waits on disk for ClickHouse, and at what was set aside')
    .addArgument(new Argument('<view>', 'what to do').choices(views))
    .argument('[files...]', 'show, redrive: which files; without any, all')
    .option('--json', 'print as JSON; show: one record a line')
    .option('--limit <n>', 'show: at most so many records', wholeNumber(1, 1_000_000), 100)
    .addHelpText(
      'after',
      `
  list        the files, with their requests and records
  show        the records in them
  verify      holds every checksum against the bytes; exit code 3 when something is damaged
  quarantine  what was set aside: refused by ClickHouse for its content, or damaged
  redrive     has refused records tried again, once what was wrong is mended

All but redrive only read. They work while nothing runs, and beside a running gateway. A running gateway takes what is
redriven within a second, another one when it starts; nothing is stored twice.

Examples:
  agnes spool list
  agnes spool show quarantine/refused-0000000000000f21.rowbinary
  agnes spool show --json --limit 5 | jq .EventName
  agnes spool verify || echo "call somebody"
  agnes spool quarantine
  agnes spool redrive
`,
    )
    .action(async (view: View, files: readonly string[], options: SpoolOptions) => {
      const directory = path.join(loadConfig().config.dataDir, 'spool')
      await actions[view](directory, files, options)
    })
}

const actions: Readonly<
  Record<View, (directory: string, files: readonly string[], options: SpoolOptions) => Promise<void>>
> = { list, show, verify, quarantine, redrive }

async function list(directory: string, _files: readonly string[], { json }: SpoolOptions): Promise<void> {
  const { inspectSpool } = await import('@agnes/ingest-gateway')
  const reports = (await inspectSpool(directory)).filter(({ bytes }) => bytes > 0)
  if (json) return print(reports.map(summary))
  const records = reports.reduce((total, report) => total + report.records, 0)
  const bytes = reports.reduce((total, report) => total + report.bytes, 0)
  process.stdout.write(reports.length === 0 ? '' : `${table(reports)}\n`)
  process.stdout.write(`${records} records in ${reports.length} files, ${bytes} bytes\n`)
}

async function quarantine(directory: string, _files: readonly string[], { json }: SpoolOptions): Promise<void> {
  const { inspectSpool } = await import('@agnes/ingest-gateway')
  const reports = (await inspectSpool(directory)).filter(({ kind }) => kind === 'refused' || kind === 'damaged')
  if (json) return print(reports.map(summary))
  if (reports.length === 0) {
    process.stdout.write('nothing was set aside\n')
    return
  }
  process.stdout.write(table(reports))
  for (const { name, reasons } of reports) {
    const [reason] = reasons
    if (reason === undefined) continue
    const others = reasons.length === 1 ? '' : ` (and ${reasons.length - 1} more)`
    process.stdout.write(`\n${harmless(`${name}: ${reason.type}: ${reason.message.slice(0, 500)}${others}`)}\n`)
  }
  process.stdout.write(`\nLook: ${typed} spool show <file>. Try again: ${typed} spool redrive <file>\n`)
}

async function verify(directory: string, _files: readonly string[], { json }: SpoolOptions): Promise<void> {
  const { inspectSpool } = await import('@agnes/ingest-gateway')
  const reports = await inspectSpool(directory)
  const damaged = reports.filter(({ damages }) => damages.length > 0)
  if (json) print(reports.map(summary))
  else {
    for (const { name, damages } of damaged) {
      for (const { offset, length, reason } of damages) {
        process.stdout.write(`${harmless(name)}: ${reason} at byte ${offset}, ${length} bytes\n`)
      }
    }
    const frames = reports.reduce((total, report) => total + report.frames.length, 0)
    process.stdout.write(
      `${frames} requests in ${reports.length} files are whole, ${damaged.length} files are damaged\n`,
    )
  }
  process.exitCode = damaged.length > 0 ? exitCodes.refused : exitCodes.done
}

async function show(directory: string, files: readonly string[], { json, limit }: SpoolOptions): Promise<void> {
  const { inspectSpool, recordsOf } = await import('@agnes/ingest-gateway')
  const names =
    files.length > 0
      ? files
      : (await inspectSpool(directory)).filter(({ kind }) => kind !== 'damaged').map(({ name }) => name)
  let left = limit
  for (const name of names) {
    for (const { frame, records } of await recordsOf(directory, name)) {
      for (const { Index, ...record } of records) {
        if (left-- <= 0) return
        const whole = {
          Seq: frame.seq + BigInt(Index),
          TenantId: frame.tenant,
          ReceivedAt: frame.receivedAtNs,
          ...record,
        }
        const line = Object.fromEntries(
          Object.entries(whole)
            .filter(([, value]) => !isEmpty(value))
            .map(readable),
        )
        process.stdout.write(`${harmlessJson(line, json ? undefined : 2)}\n`)
      }
    }
  }
}

async function redrive(directory: string, files: readonly string[], { json }: SpoolOptions): Promise<void> {
  const { redrive: move } = await import('@agnes/ingest-gateway')
  const moved = await move(directory, files)
  if (json) return print(moved)
  if (moved.length === 0) process.stdout.write('nothing was refused: there is nothing to try again\n')
  for (const name of moved) process.stdout.write(`${harmless(name)} is tried again\n`)
}

function table(reports: readonly SpoolFileReport[]): string {
  return renderTable(reports, [
    { title: 'file', text: ({ name }) => name },
    { title: 'kind', text: ({ kind }) => kind, color: ({ kind }) => (kind === 'segment' ? undefined : 'yellow') },
    { title: 'requests', text: ({ frames }) => String(frames.length), right: true },
    { title: 'records', text: ({ records }) => String(records), right: true },
    { title: 'bytes', text: ({ bytes }) => String(bytes), right: true },
    { title: 'first received', text: ({ frames }) => (frames[0] === undefined ? '' : instant(frames[0].receivedAtNs)) },
  ])
}

function summary(report: SpoolFileReport): unknown {
  const { frames, ...rest } = report
  return {
    ...rest,
    requests: frames.length,
    batchId: frames[0]?.batchId,
    tenants: [...new Set(frames.map(({ tenant }) => tenant))],
    firstReceivedAt: frames[0] && instant(frames[0].receivedAtNs),
    lastReceivedAt: frames.at(-1) && instant(frames.at(-1)?.receivedAtNs ?? 0n),
  }
}

function print(value: unknown): void {
  process.stdout.write(`${harmlessJson(value, 2)}\n`)
}

function isEmpty(value: unknown): boolean {
  return value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
}

/** Times as ISO 8601 with all their nanoseconds, other large numbers as text: JSON has no 64-bit numbers. */
function readable([name, value]: [string, unknown]): [string, unknown] {
  if (typeof value !== 'bigint') return [name, value]
  return [name, /(At|Timestamp)$/.test(name) ? instant(value) : value.toString()]
}

function instant(ns: bigint): string {
  const ms = ns / 1_000_000n
  const date = new Date(Number(ms))
  if (Number.isNaN(date.getTime())) return ns.toString()
  return date
    .toISOString()
    .replace(/\d{3}Z$/, `${(((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n).toString().padStart(9, '0')}Z`)
}
