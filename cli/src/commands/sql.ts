import { createInterface } from 'node:readline/promises'
import { text as readAll } from 'node:stream/consumers'
import type { ClickHouseClient } from '@agnes/clickhouse'
import { exitCodes, UserError } from '@agnes/config'
import type { Command } from 'commander'
import { withClickHouse } from '../connect.ts'
import { paint } from '../output/paint.ts'

export function registerSql(program: Command): void {
  program
    .command('sql [query]')
    .description('Run a query: as argument, from standard input, or at a prompt')
    .option(
      '-f, --format <format>',
      'any ClickHouse output format; PrettyCompact on a terminal, else TabSeparatedWithNames',
    )
    .addHelpText(
      'after',
      `
Examples:
  agnes sql "SELECT action, count() FROM audit_log GROUP BY action"
  agnes sql -f JSONEachRow "SELECT * FROM sync_history LIMIT 5"
  agnes sql < report.sql
`,
    )
    .action(async (query: string | undefined, { format }: { format?: string }) => {
      const chosen = format ?? (process.stdout.isTTY ? 'PrettyCompact' : 'TabSeparatedWithNames')
      await withClickHouse(async (client) => {
        if (query !== undefined) return run(client, query, chosen)
        if (!process.stdin.isTTY) return run(client, await readAll(process.stdin), chosen)
        await prompt(client, chosen)
      })
    })
}

async function run(client: ClickHouseClient, query: string, format: string): Promise<void> {
  if (query.trim() === '') throw new UserError('there is no query', { code: 'usage', exitCode: exitCodes.usage })
  const { stream } = await client.exec({
    query: query.trim().replace(/;\s*$/, ''),
    http_headers: { 'X-ClickHouse-Format': format },
    clickhouse_settings: { output_format_pretty_color: process.stdout.isTTY ? 1 : 0 },
  })
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (!process.stdout.write(chunk)) await new Promise((resolve) => process.stdout.once('drain', resolve))
  }
}

/** A statement ends with a semicolon or an empty line; errors leave the prompt open. */
async function prompt(client: ClickHouseClient, format: string): Promise<void> {
  const lines = createInterface({ input: process.stdin, output: process.stdout, historySize: 200 })
  process.stdout.write(paint.dim('end a statement with ";", leave with Ctrl-D\n'))
  let statement = ''
  lines.setPrompt('agnes> ')
  lines.prompt()
  for await (const line of lines) {
    statement += `${line}\n`
    if (/;\s*$/.test(statement) || (line.trim() === '' && statement.trim() !== '')) {
      try {
        await run(client, statement, format)
      } catch (error) {
        process.stderr.write(`${paint.red((error as Error).message.trim().split('\n', 1)[0] ?? '')}\n`)
      }
      statement = ''
    }
    lines.setPrompt(statement.trim() === '' ? 'agnes> ' : '   ... ')
    lines.prompt()
  }
}
