import { exitCodes, UserError } from '@agnes/config'
import type { SessionRun } from '@agnes/processors'
import type { Command } from 'commander'
import { tenant } from '../arguments.ts'
import { recordRuns } from '../audit.ts'
import { withClickHouse } from '../connect.ts'
import { startProgress } from '../output/progress.ts'
import { log } from '../output/streams.ts'
import { harmless, harmlessJson } from '../output/text.ts'

interface RunProcessorOptions {
  readonly session?: string
  readonly user?: string
  readonly tenant?: string
  readonly all?: boolean
  readonly dryRun?: boolean
  readonly json?: boolean
}

export function registerRunProcessor(program: Command): void {
  program
    .command('run-processor')
    .argument('<name>', 'transcripts, failure_scan, usage')
    .description('Run one processor now: what is due, a session, or all')
    .option('--session <file>', 'this session file, due or not, parked or not')
    .option('--user <name>', 'sessions of this user, due or not')
    .option('--tenant <tenant>', 'sessions of this tenant, due or not', tenant)
    .option('--all', 'all sessions, due or not')
    .option('--dry-run', 'compute and count, write nothing')
    .option('--json', 'print the totals as JSON')
    .addHelpText(
      'after',
      `
Safe beside a running scheduler: both come to the same result. Without a choice it takes what is due. Exit code 1 when a
session failed.

Examples:
  agnes run-processor failure_scan
  agnes run-processor failure_scan --session 0f8d2c1e-5b7a-4c55-9a57-3f1f7b0f1f11
  agnes run-processor usage --all
  agnes run-processor transcripts --user anna --dry-run
`,
    )
    .action(async (name: string, options: RunProcessorOptions) => {
      const { processorOf, runChosen } = await import('@agnes/processors')
      const processor = processorOf(name)
      const { session: file, user } = options
      const chosen = file !== undefined || user !== undefined || options.tenant !== undefined
      if (chosen && options.all) {
        throw new UserError('--all and a choice of sessions exclude each other', {
          code: 'bad_arguments',
          exitCode: exitCodes.usage,
          hint: 'leave out --all, or --session, --user and --tenant',
        })
      }
      const choice = {
        ...(file === undefined ? {} : { file: file.replace(/\.jsonl$/, '') }),
        ...(user === undefined ? {} : { user }),
        ...(options.tenant === undefined ? {} : { tenant: options.tenant }),
      }
      const dryRun = options.dryRun ?? false
      const runs: SessionRun[] = []
      let progress = startProgress(name, 0)
      const totals = await withClickHouse(
        (client) =>
          runChosen(processor, {
            client,
            choice: chosen || options.all ? choice : undefined,
            dryRun,
            log: (line) => log(harmless(line)),
            onFound: (sessions) => {
              progress = startProgress(name, sessions)
            },
            onRun: (run) => {
              runs.push(run)
              progress.update(runs.length)
            },
          }),
        { requestTimeoutMs: 120_000 },
      ).finally(() => progress.end())
      if (!dryRun) await recordRuns(runs)
      if (chosen && totals.found === 0) {
        throw new UserError('there is no such session', {
          code: 'no_session',
          hint: '"agnes sessions list" shows them',
        })
      }
      const { found, done, failed, items } = totals
      process.stdout.write(
        options.json
          ? `${harmlessJson({ processor: name, dryRun, found, done, failed, items })}\n`
          : `${name}: ${done} of ${found} sessions, ${items} items${failed === 0 ? '' : `, ${failed} failed`}${dryRun ? ' (nothing was written)' : ''}\n`,
      )
      if (failed > 0) process.exitCode = exitCodes.failure
    })
}
