import { createInterface } from 'node:readline'
import { text as readAll } from 'node:stream/consumers'
import type { ClickHouseClient } from '@agnes/clickhouse'
import { exitCodes, UserError } from '@agnes/config'
import type { Command } from 'commander'
import { explain, withClickHouse } from '../connect.ts'
import { findInstance } from '../instance.ts'
import { colorful, paint } from '../output/paint.ts'
import { log } from '../output/streams.ts'

export function registerSql(program: Command): void {
  program
    .command('sql [query]')
    .description('Run a query: an argument, standard input, or a prompt')
    .option('-f, --format <format>', 'an output format of ClickHouse: JSONEachRow, CSVWithNames, Vertical, …')
    .option('--json', 'the same as --format JSONEachRow')
    .addHelpText(
      'after',
      `
Prints a table on a terminal and TabSeparatedWithNames elsewhere. Views to start with: audit_log, sync_history,
session_processor_runs, timeline. "SHOW TABLES" lists all, "DESCRIBE audit_log" explains one.

Examples:
  agnes sql
  agnes sql "SELECT action, count() FROM audit_log GROUP BY action ORDER BY count() DESC"
  agnes sql --json "SELECT * FROM sync_history WHERE status != 'ok' LIMIT 5"
  agnes sql < report.sql
`,
    )
    .action(async (query: string | undefined, { format, json }: { format?: string; json?: boolean }) => {
      const chosen = format ?? (json ? 'JSONEachRow' : process.stdout.isTTY ? 'PrettyCompact' : 'TabSeparatedWithNames')
      await withClickHouse(
        async (client, config) => {
          if (query !== undefined) return run(client, query, chosen)
          if (!process.stdin.isTTY) return run(client, await readAll(process.stdin), chosen)
          const { clickhouseUrl } = findInstance(config)
          await prompt(client, chosen, (error) => explain(error, clickhouseUrl, config.clickhouseUrl === undefined))
        },
        { requestTimeoutMs: patienceMs },
      )
    })
}

/** Whoever writes a query decides how long it may take; Ctrl-C ends it. */
const patienceMs = 3_600_000

async function run(client: ClickHouseClient, query: string, format: string, signal?: AbortSignal): Promise<void> {
  const statement = query.trim().replace(/;\s*$/, '')
  if (statement === '') {
    throw new UserError('there is no query', {
      code: 'usage',
      exitCode: exitCodes.usage,
      hint: 'agnes sql "SELECT …"',
    })
  }
  const { stream } = await client.exec({
    query: statement,
    // Unlike a FORMAT clause of ours it leaves the query's own in force, and INSERT alone.
    http_headers: { 'X-ClickHouse-Format': format },
    clickhouse_settings: { output_format_pretty_color: colorful ? 1 : 0 },
    ...(signal === undefined ? {} : { abort_signal: signal }),
  })
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (!process.stdout.write(chunk)) await new Promise((resolve) => process.stdout.once('drain', resolve))
  }
}

/** A statement ends with a semicolon or an empty line. An error leaves the prompt open, Ctrl-C ends only the statement. */
async function prompt(client: ClickHouseClient, format: string, explained: (error: unknown) => unknown): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stdout, historySize: 200 })
  let statement = ''
  let running: AbortController | undefined
  const ask = (): void => {
    lines.setPrompt(statement === '' ? paint.bold('agnes> ') : '   ... ')
    lines.prompt()
  }
  lines.on('SIGINT', () => {
    running?.abort()
    if (running !== undefined) return
    statement = ''
    process.stdout.write('\n')
    ask()
  })
  process.stdout.write(paint.dim('End a statement with ";". Leave with Ctrl-D or "exit".\n'))
  ask()
  for await (const line of lines) {
    if (statement === '' && /^\s*(exit|quit|\\q)\s*;?\s*$/i.test(line)) break
    statement = (statement === '' ? line : `${statement}\n${line}`).trimStart()
    if (statement !== '' && (/;\s*$/.test(line) || line.trim() === '')) {
      running = new AbortController()
      try {
        await run(client, statement, format, running.signal)
      } catch (error) {
        const known = explained(error)
        log(paint.red(running.signal.aborted ? 'cancelled' : known instanceof Error ? known.message : String(known)))
        if (known instanceof UserError && known.hint !== undefined && !running.signal.aborted)
          log(`  hint: ${known.hint}`)
      }
      running = undefined
      statement = ''
    }
    ask()
  }
  lines.close()
}
