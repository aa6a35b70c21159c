import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import path from 'node:path'
import { type Config, exitCodes, loadConfig, loadKeyFile, UserError } from '@agnes/config'
import { feedbackLimits } from '@agnes/events'
import { type Command, InvalidArgumentError } from 'commander'
import { readAdminKey } from '../admin-key.ts'
import { findInstance } from '../instance.ts'
import { log } from '../output/streams.ts'
import { harmless, harmlessJson } from '../output/text.ts'
import { typed } from '../output/typed.ts'
import { isTerminal, needsTerminal, saysYes, show, writeMessage } from '../report/ask.ts'
import { type Bundle, makeBundle, reporterOf } from '../report/bundle.ts'
import { type Answer, type Delivery, type Server, sendReport } from '../report/send.ts'
import { currentSession, namedSession } from '../report/session.ts'
import { type KeptReport, openState, type ReportState } from '../report/state.ts'
import { readLastTurns } from '../report/turns.ts'
import { version } from '../version.ts'

interface ReportCommandOptions {
  readonly message?: string
  /** false: --no-session. */
  readonly session?: string | false
  readonly user?: string
  readonly yes?: boolean
  readonly preview?: boolean
  readonly send?: string
  readonly resend?: boolean
  readonly to?: string
  readonly keyFile?: string
  readonly json?: boolean
}

export function registerReport(program: Command): void {
  program
    .command('report')
    .description('Stuck? Tell whoever looks after this Agnes, with what happened in your Claude Code session')
    .option('-m, --message <text>', 'what you wanted and what happened instead (default: opens $EDITOR)')
    .option(
      '--session <id>',
      'session to send the end of: its id or a .jsonl file (default: the newest of this directory)',
    )
    .option('--no-session', 'send no session')
    .option('--user <name>', 'who reports (default: your login name)')
    .option('-y, --yes', 'send without asking; what is sent is printed all the same')
    .option('--preview', 'print what would be sent, and keep it for --send')
    .option('--send <id>', 'send what --preview printed, as it was')
    .option('--resend', 'send again what could not be delivered, and nothing new')
    .option(
      '--to <url>',
      'inbox, http(s)://host:8080 (default: AGNES_REPORT_URL, or the one of this machine)',
      inboxUrl,
    )
    .option('--key-file <file>', 'file with a key of scope feedback (default: AGNES_REPORT_KEY)')
    .option('--json', 'print the answer of the server as JSON, everything else on standard error')
    .addHelpText(
      'after',
      `
You see every byte before it is sent, secrets taken out; the server refuses anything else. What cannot be delivered is kept
and sent with the next report. Exit code 0 when it arrived, 1 when it waits, 3 when the server refused it.

Examples:
  agnes report
  agnes report --message "the nightly sync does not start"
  agnes report -m "no access to orders" --no-session --yes
  agnes report -m "stuck in a loop" --preview
  agnes report --resend
`,
    )
    .action(async (options: ReportCommandOptions) => {
      const { config } = loadConfig()
      const server = serverOf(options, config)
      const state = openState(process.env)
      if (options.resend) {
        await resend(server, state, true)
        return
      }
      const report =
        options.send === undefined ? await newReport(options, config, state) : keptPreview(options.send, state)
      if (report === undefined) return
      await deliver({ ...report, to: server.remote }, server, state, options.json === true)
      await resend(server, state, false)
    })
}

interface Destination extends Server {
  /** Its origin; undefined for the instance of this machine, whose port may change. */
  readonly remote: string | undefined
}

function serverOf({ to, keyFile }: ReportCommandOptions, config: Config): Destination {
  const remote = to ?? config.reportUrl
  const key = keyFile === undefined ? config.reportKey : readKey(keyFile)
  if (remote !== undefined) return { url: remote, remote, key }
  return { url: findInstance(config).inboxUrl, remote, key: key ?? readAdminKey(config) }
}

/** @returns undefined when nothing shall be sent */
async function newReport(
  options: ReportCommandOptions,
  config: Config,
  state: ReportState,
): Promise<KeptReport | undefined> {
  const asks = !options.yes && !options.preview
  if (asks && !isTerminal()) throw needsTerminal('ask whether this shall be sent')
  if (options.message === undefined && !isTerminal()) throw needsTerminal('write the message at')
  const message = options.message ?? writeMessage(process.env)
  checkMessage(message)
  const bundle = await bundleOf(message, options, config, state)
  const report = { ...bundle, answer: asks ? ('asked' as const) : ('yes' as const), to: undefined }
  if (options.preview) {
    state.keep('previews', { ...report, answer: undefined })
    process.stdout.write(`${bundle.text}\n`)
    log(`\nNothing was sent. To send this as it is: ${typed} report --send ${bundle.id}`)
    return undefined
  }
  if (options.json) log(`This will be sent:\n\n${bundle.text}\n`)
  else show('This will be sent:', bundle.text, process.env)
  if (!asks || (await saysYes('Send this?'))) return report
  log('nothing was sent')
  process.exitCode = exitCodes.failure
  return undefined
}

function keptPreview(id: string, state: ReportState): KeptReport {
  const kept = state.find('previews', id)
  if (kept !== undefined) return { ...kept, answer: 'yes' }
  throw new UserError(`there is no preview ${id}`, {
    code: 'no_preview',
    exitCode: exitCodes.usage,
    hint: 'it was sent, or changed since it was shown; make another one with --preview',
  })
}

async function bundleOf(
  message: string,
  { session, user }: ReportCommandOptions,
  config: Config,
  state: ReportState,
): Promise<Bundle> {
  const { createRedaction, loadRules } = await import('@agnes/redaction')
  const { mkdirSync } = await import('node:fs')
  mkdirSync(state.directory, { recursive: true, mode: 0o700 })
  const key = loadKeyFile(path.join(state.directory, 'redaction.key'), 32, 'XDG_STATE_HOME')
  const redactor = createRedaction(await loadRules(config.redactionRules), key)('report')
  const file =
    session === false
      ? undefined
      : session === undefined
        ? currentSession(process.cwd(), process.env)
        : namedSession(session, process.env)
  if (file === undefined && session === undefined) log('no Claude Code session was found for this directory')
  const reporter = reporterOf(user ?? loginName())
  return makeBundle(
    { message, reporter, version, session: file === undefined ? undefined : sessionOf(file), env: process.env },
    redactor,
  )
}

function sessionOf(file: string) {
  try {
    return { file, ...readLastTurns(file, feedbackLimits.turns) }
  } catch (error) {
    throw new UserError(`cannot read the session ${file}: ${(error as Error).message}`, {
      code: 'no_session',
      exitCode: exitCodes.usage,
      hint: 'name another one with --session, or send none: --no-session',
      cause: error,
    })
  }
}

function checkMessage(message: string): void {
  if (message.trim() === '') {
    throw new UserError('the message is empty', {
      code: 'empty_message',
      exitCode: exitCodes.usage,
      hint: 'say in a sentence what you wanted and what happened instead; nothing was sent',
    })
  }
  const { length } = [...message]
  if (length <= feedbackLimits.messageCharacters) return
  throw new UserError(`the message has ${length} characters, and may have ${feedbackLimits.messageCharacters}`, {
    code: 'too_large',
    exitCode: exitCodes.usage,
    hint: 'shorten it; what the session says need not be repeated',
  })
}

/** On disk first: whatever happens then, it is not lost. */
async function deliver(report: KeptReport, server: Server, state: ReportState, json: boolean): Promise<void> {
  const file = state.keep('outbox', report)
  state.remove('previews', report.id)
  const delivery = await sendReport(server, report)
  if (delivery.kind === 'delivered') {
    state.remove('outbox', report.id)
    if (json) process.stdout.write(`${harmlessJson(delivery.answer, 2)}\n`)
    else tell(delivery.answer, server)
    return
  }
  if (json) process.stdout.write(`${harmlessJson({ kind: delivery.kind, id: report.id, why: delivery.why }, 2)}\n`)
  settle(report, delivery, state, file)
}

function settle(
  report: KeptReport,
  delivery: Exclude<Delivery, { kind: 'delivered' }>,
  state: ReportState,
  file: string,
): void {
  log(`agnes: ${harmless(delivery.why)}`)
  if (delivery.hint !== undefined) log(`  hint: ${harmless(delivery.hint)}`)
  if (delivery.kind === 'later') {
    log(`It is kept in ${file}, and sent with the next report or "${typed} report --resend".`)
    process.exitCode = exitCodes.failure
    return
  }
  const refused = state.keep('refused', report)
  state.remove('outbox', report.id)
  log(`It is kept in ${refused}, and not sent again.`)
  process.exitCode = exitCodes.refused
}

/** @param asked whether the user asked for it: then it says so when there is nothing, and fails when something is left */
async function resend(server: Destination, state: ReportState, asked: boolean): Promise<void> {
  const waiting = state.list('outbox')
  const mine = waiting.filter(({ to }) => to === server.remote)
  // What just could not be delivered is not tried again at once.
  const tried = !asked && process.exitCode !== undefined && process.exitCode !== exitCodes.done
  let left = waiting.length
  for (const report of tried ? [] : mine) {
    const delivery = await sendReport(server, report)
    if (delivery.kind === 'delivered') {
      state.remove('outbox', report.id)
      left--
      log(`an earlier report has arrived: ${harmless(delivery.answer.id)}`)
      continue
    }
    if (delivery.kind === 'refused') {
      settle(report, delivery, state, '')
      left--
      continue
    }
    if (asked) {
      log(`agnes: ${harmless(delivery.why)}`)
      if (delivery.hint !== undefined) log(`  hint: ${harmless(delivery.hint)}`)
    }
    if (!delivery.reachable) break
  }
  if (!asked) return
  if (left === 0) log(waiting.length === 0 ? 'nothing is waiting' : 'everything has arrived')
  else {
    const elsewhere = waiting.length - mine.length
    log(
      `${left} still ${left === 1 ? 'waits' : 'wait'}${elsewhere === 0 ? '' : `, ${elsewhere} for another server (--to)`}`,
    )
    process.exitCode = exitCodes.failure
  }
}

function tell({ id, status, alreadyKnown, url, redacted, others }: Answer, server: Server): void {
  const where = url === '' ? '' : `: ${new URL(url, server.url).href}`
  const words = status === 'purged' ? 'was removed there before' : alreadyKnown ? 'had arrived already' : 'has arrived'
  process.stdout.write(`report ${harmless(id)} ${words}${harmless(where)}\n`)
  if (redacted.length > 0) {
    const places = redacted.map((one) => `${harmless(one.path)} (${harmless(one.rule)})`)
    process.stdout.write(`the server took out more: ${places.join(', ')}\n`)
  }
  if (others > 0) process.stdout.write(`${others} ${others === 1 ? 'other' : 'others'} hit this\n`)
}

function readKey(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    throw new UserError(`cannot read the key: ${(error as Error).message}`, {
      code: 'no_key',
      exitCode: exitCodes.usage,
      hint: 'have one made: "agnes keys create --scope feedback"',
      cause: error,
    })
  }
}

function loginName(): string {
  try {
    return userInfo().username
  } catch {
    return 'unknown'
  }
}

function inboxUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new InvalidArgumentError('Use http(s)://host:8080.')
  return url.origin
}
