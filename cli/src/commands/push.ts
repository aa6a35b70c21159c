import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { type Config, exitCodes, isLoopback, loadConfig, UserError } from '@agnes/config'
import { type Command, InvalidArgumentError } from 'commander'
import { readAdminKey } from '../admin-key.ts'
import { gatewayAgent } from '../gateway-client.ts'
import { findInstance } from '../instance.ts'
import { startProgress } from '../output/progress.ts'
import { log } from '../output/streams.ts'
import { renderTable } from '../output/table.ts'
import { harmless, harmlessJson } from '../output/text.ts'
import { claudeProjects, findSessions } from '../push/find.ts'
import type { GatewayTarget } from '../push/gateway.ts'
import { type Pushed, pushSessions } from '../push/push.ts'

interface PushCommandOptions {
  readonly to?: string
  readonly keyFile?: string
  readonly user?: string
  readonly dryRun?: boolean
  readonly json?: boolean
}

export function registerPush(program: Command): void {
  program
    .command('push')
    .argument('[paths...]', 'directories or .jsonl files (default: those of Claude Code, ~/.claude/projects)')
    .description('Send Claude Code sessions of this machine: of each what is not stored yet')
    .option(
      '--to <url>',
      'gateway, http(s)://host:4318 (default: AGNES_PUSH_URL, or the one of this machine)',
      gatewayUrl,
    )
    .option('--key-file <file>', 'file with a key of scope sessions (default: AGNES_PUSH_KEY)')
    .option('--user <name>', 'whose sessions they are (default: your login name)')
    .option('--dry-run', 'only say what would be sent')
    .option('--json', 'print what came of each file as JSON')
    .addHelpText(
      'after',
      `
It may run again at any time, from cron too: what is stored is not sent again, a file that grew sends what is new, and one
that was cut goes on where it stopped. The gateway takes secrets out before it stores anything. A file that fails does not
stop the others; the exit code is 1 then.

Examples:
  agnes push --dry-run
  agnes push
  agnes push --to https://agnes.example.org:4318 --key-file ~/.agnes-key
  agnes push ~/old-sessions --user ann --json
`,
    )
    .action(async (paths: readonly string[], options: PushCommandOptions) => {
      const { config } = loadConfig()
      const sessions = await findSessions(paths.length > 0 ? paths : [claudeProjects()])
      const total = sessions.reduce((sum, { bytes }) => sum + bytes, 0)
      const progress = startProgress(options.dryRun ? 'comparing' : 'sending', total)
      let settled = 0
      const results = await pushSessions(sessions, {
        target: targetOf(options, config),
        user: options.user ?? loginName(),
        dryRun: options.dryRun === true,
        onProgress(bytes) {
          settled += bytes
          progress.update(settled)
        },
      }).finally(() => progress.end())
      if (options.json) process.stdout.write(`${harmlessJson(results.map(describe), 2)}\n`)
      else tell(results)
      if (results.some(isFailure)) process.exitCode = exitCodes.failure
    })
}

function targetOf({ to, keyFile }: PushCommandOptions, config: Config): GatewayTarget {
  const remote = to ?? config.pushUrl
  const key = keyFile === undefined ? config.pushKey : readKey(keyFile)
  if (remote !== undefined) return { url: remote, key, agent: undefined }
  // On loopback none is needed, and one that went stale would only do harm.
  const own = isLoopback(config.host) ? undefined : readAdminKey(config)
  return { url: findInstance(config).otlpUrl, key: key ?? own, agent: gatewayAgent(config) }
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new UserError(`cannot read the key: ${(error as Error).message}`, {
      code: 'no_key',
      exitCode: exitCodes.usage,
      hint: 'have one made: "agnes keys create --scope sessions"',
      cause: error,
    })
  }
}

function loginName(): string {
  try {
    return userInfo().username
  } catch (error) {
    throw new UserError('this user has no name', {
      code: 'no_user',
      exitCode: exitCodes.usage,
      hint: 'say whose sessions they are: --user <name>',
      cause: error,
    })
  }
}

function gatewayUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new InvalidArgumentError('Use http(s)://host:4318.')
  return url.origin
}

function isFailure({ outcome }: Pushed): boolean {
  return outcome === 'failed' || outcome === 'skipped'
}

function describe({ session, outcome, sentBytes, stored, error }: Pushed) {
  return {
    path: session.path,
    outcome,
    bytes: session.bytes,
    sent_bytes: sentBytes,
    ...(stored && {
      user: stored.user,
      session: stored.file,
      version: stored.version,
      lines: stored.lines,
      added_lines: stored.added,
      redactions: stored.redactions,
      too_long_lines: stored.tooLong,
      unfinished_bytes: stored.unfinishedBytes,
    }),
    ...(error === undefined ? {} : { error }),
  }
}

function tell(results: readonly Pushed[]): void {
  if (results.length === 0) {
    log('there are no sessions here')
    return
  }
  const pending = results.filter(({ outcome }) => outcome === 'pending')
  if (pending.length > 0) process.stdout.write(tableOf(pending))
  for (const { session, error, concernsAll } of results.filter(({ outcome }) => outcome === 'failed')) {
    if (concernsAll === undefined) log(`agnes: ${harmless(session.path)}: ${harmless(error ?? '')}`)
  }
  const stopper = results.find(({ concernsAll }) => concernsAll !== undefined)
  if (stopper?.concernsAll !== undefined) {
    log(`agnes: ${harmless(stopper.error ?? '')}`)
    log(`  hint: ${hints[stopper.concernsAll]}`)
  }
  for (const { session, stored } of results.filter(({ outcome }) => outcome === 'diverged')) {
    log(
      `${harmless(session.path)} differs from what is stored under its name: it is kept as version ${stored?.version}`,
    )
  }
  const parts = summaries.flatMap(([outcome, words]) => {
    const count = results.filter((one) => one.outcome === outcome).length
    return count === 0 ? [] : [`${count} ${words}`]
  })
  const sent = results.reduce((sum, { sentBytes }) => sum + sentBytes, 0)
  const count = results.length === 1 ? '1 session' : `${results.length} sessions`
  process.stdout.write(`${count}: ${parts.join(', ')}; ${size(sent)} ${pending.length > 0 ? 'to send' : 'sent'}\n`)
}

const hints: Readonly<Record<NonNullable<Pushed['concernsAll']>, string>> = {
  key: 'send a key of scope sessions: --key-file, or AGNES_PUSH_KEY; "agnes keys create --scope sessions" makes one',
  gateway: 'is there a gateway at that address? --to, or AGNES_PUSH_URL, says which',
}

const summaries: readonly (readonly [Pushed['outcome'], string])[] = [
  ['pending', 'with something new'],
  ['created', 'new'],
  ['grown', 'grown'],
  ['diverged', 'kept as versions'],
  ['unchanged', 'unchanged'],
  ['failed', 'failed'],
  ['skipped', 'not tried'],
]

function tableOf(pending: readonly Pushed[]): string {
  return renderTable(pending, [
    { title: 'session', text: ({ session }) => session.session, flexible: true },
    { title: 'changed', text: ({ session }) => session.changedAt.toISOString().slice(0, 16).replace('T', ' ') },
    { title: 'size', text: ({ session }) => size(session.bytes), right: true },
    { title: 'to send', text: ({ sentBytes }) => size(sentBytes), right: true },
  ])
}

function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`
}
