import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { exitCodes, loadConfig, UserError } from '@agnes/config'
import { type Command, InvalidArgumentError } from 'commander'
import { collect, tenant } from '../arguments.ts'
import { log } from '../output/streams.ts'

interface ProvisionFlags {
  readonly dir: string
  readonly datasourceUrl: string
  readonly inboxUrl?: string
  readonly runbooksUrl?: string
  readonly dashboardsPath?: string
  readonly tenant?: readonly string[]
  readonly dailyBudgetUsd?: number
  readonly telegram?: boolean
  readonly webhook?: boolean
  readonly policies?: boolean
  readonly json?: boolean
}

export function registerGrafana(program: Command): void {
  const grafana = program
    .command('grafana')
    .description('Grafana: dashboards, data source and alert rules')
    .addHelpText(
      'after',
      '\nExamples:\n  agnes grafana provision --dir /etc/grafana/provisioning --datasource-url http://grafana@127.0.0.1:8123/agnes\n',
    )
  grafana
    .command('provision')
    .description("Write everything an existing Grafana needs into its directory 'provisioning'")
    .requiredOption('--dir <dir>', "Grafana's directory provisioning, e.g. /etc/grafana/provisioning")
    .requiredOption(
      '--datasource-url <url>',
      'ClickHouse over HTTP as Grafana reaches it: http://user:password@host:8123/agnes',
    )
    .option('--inbox-url <url>', 'where the inbox is, for links to events and sessions', webUrl)
    .option('--runbooks-url <url>', 'where docs/runbooks can be read, for links in alerts', webUrl)
    .option('--dashboards-path <path>', 'the dashboards as Grafana sees them, where that is another path (container)')
    .option('--tenant <tenant>', 'tenant whose health pulse alerts watch; may be repeated (default: default)', tenants)
    .option(
      '--daily-budget-usd <amount>',
      'cost of language models a day and tenant to alert at (default: AGNES_ALERTS_DAILY_BUDGET_USD)',
      amount,
    )
    .option('--telegram', 'send alerts to Telegram; Grafana needs TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID')
    .option('--webhook', 'send alerts to a webhook; Grafana needs AGNES_ALERT_WEBHOOK_URL')
    .option('--policies', 'also the notification policies: replaces those of the organisation')
    .option('--json', 'what was done, as JSON')
    .addHelpText(
      'after',
      `
Needs Grafana 12.3 or newer with the plugin grafana-clickhouse-datasource 4.20 or newer. Grafana reads the files when it
starts. To run it again is safe: files that are as they should be are left alone. Without --telegram or --webhook alerts
go where the organisation's own policies send them.

Examples:
  agnes grafana provision --dir /etc/grafana/provisioning --datasource-url http://grafana@127.0.0.1:8123/agnes
  agnes grafana provision --dir ./provisioning --datasource-url https://reader:secret@db.example.org:8443/agnes --telegram
`,
    )
    .action(async (flags: ProvisionFlags) => {
      const { dashboardsFolder, provisioningFiles } = await import('@agnes/grafana')
      const directory = path.resolve(flags.dir)
      const { dir, json, tenant: tenantNames, ...options } = flags
      const files = provisioningFiles({
        ...options,
        dailyBudgetUsd: flags.dailyBudgetUsd ?? loadConfig().config.alertsDailyBudgetUsd,
        dashboardsPath: flags.dashboardsPath ?? path.join(directory, dashboardsFolder),
        ...(tenantNames !== undefined && { tenants: tenantNames }),
      })
      const written = files.filter(({ path: name, text, secret }) =>
        write(path.join(directory, name), text, secret === true),
      )
      const removed = removeOthers(
        path.join(directory, dashboardsFolder),
        files.map(({ path: name }) => path.join(directory, name)),
      )
      const unchanged = files.length - written.length
      if (json === true) {
        process.stdout.write(
          `${JSON.stringify({ directory, written: written.map(({ path: name }) => name), removed, unchanged })}\n`,
        )
        return
      }
      log(`${directory}: ${written.length} files written, ${unchanged} as they should be, ${removed.length} removed`)
      if (written.length + removed.length > 0) log('restart Grafana, or let an administrator reload its provisioning')
    })
}

/** @returns whether the file was not as it should be */
function write(file: string, text: string, secret: boolean): boolean {
  try {
    if (existsSync(file) && readFileSync(file, 'utf8') === text) return false
    makeDirectory(path.dirname(file))
    writeFileSync(file, text, { mode: secret ? 0o640 : 0o644 })
    likeItsDirectory(file, secret ? 0o640 : 0o644)
    return true
  } catch (error) {
    throw new UserError(`cannot write ${file}: ${(error as Error).message}`, {
      code: 'not_written',
      exitCode: exitCodes.failure,
      hint: 'run it as a user who may write there, or write to another --dir and copy it',
      cause: error,
    })
  }
}

function makeDirectory(directory: string): void {
  if (existsSync(directory)) return
  makeDirectory(path.dirname(directory))
  mkdirSync(directory)
  likeItsDirectory(directory, 0o755)
}

/**
 * Grafana reads as its own user: what root writes gets the group that owns the directory (`root:grafana` in its packages),
 * and a mode that no umask takes away.
 */
function likeItsDirectory(file: string, mode: number): void {
  chmodSync(file, mode)
  const { uid, gid } = statSync(file)
  const wanted = statSync(path.dirname(file)).gid
  if (gid === wanted) return
  try {
    chownSync(file, uid, wanted)
  } catch (error) {
    // Who is neither root nor of that group cannot, and may read it himself at least.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
  }
}

/** Dashboards that there are no longer. The folder is ours alone. */
function removeOthers(folder: string, keep: readonly string[]): string[] {
  const others = readdirSync(folder).filter((name) => name.endsWith('.json') && !keep.includes(path.join(folder, name)))
  for (const name of others) rmSync(path.join(folder, name))
  return others
}

function tenants(text: string, before?: readonly string[]): readonly string[] {
  return collect(tenant(text), before)
}

function webUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text.replace(/\/$/, '')
  throw new InvalidArgumentError('Use a URL like https://agnes.example.org.')
}

function amount(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value
  throw new InvalidArgumentError('Use an amount above 0.')
}
