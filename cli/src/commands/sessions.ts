import type { ReplayTurn, SessionAnchor, SessionFilter, SessionGap, SessionRow, SessionSort } from '@agnes/clickhouse'
import { UserError } from '@agnes/config'
import { type Command, Option } from 'commander'
import { tenant, time, wholeNumber } from '../arguments.ts'
import { withClickHouse } from '../connect.ts'
import { log } from '../output/streams.ts'
import { renderTable, type TableColumn } from '../output/table.ts'
import { harmlessJson } from '../output/text.ts'

export function registerSessions(program: Command): void {
  const sessions = program.command('sessions').description('Claude Code sessions: list, show, and what never arrived')
  registerList(sessions)
  registerShow(sessions)
  registerGaps(sessions)
}

interface ListOptions {
  readonly user?: string
  readonly since?: Date
  readonly until?: Date
  readonly anchor: SessionAnchor
  readonly finding?: string
  readonly q?: string
  readonly sort: SessionSort
  readonly limit: number
  readonly cursor?: string
  readonly tenant?: string
  readonly json?: boolean
}

function registerList(sessions: Command): void {
  sessions
    .command('list')
    .description('Which sessions are there?')
    .option('--user <name>', 'of this user')
    .option('--since <time>', 'from then on: 2026-11-21, 24h, 7d', time)
    .option('--until <time>', 'before then', time)
    .addOption(
      new Option('--anchor <anchor>', 'what the times mean: when a session arrived, or when it began')
        .choices(['arrival', 'start'])
        .default('arrival'),
    )
    .option('--finding <type>', 'with a finding of this type: tool_error, loop, …; any')
    .option('--q <text>', 'with this text in a prompt, a finding, a name or the branch')
    .addOption(new Option('--sort <order>', 'order').choices(['recent', 'findings', 'user']).default('recent'))
    .option('--limit <n>', 'rows, 1 to 500', wholeNumber(1, 500), 50)
    .option('--cursor <cursor>', 'the next page')
    .option('--tenant <tenant>', 'of this tenant', tenant)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  agnes sessions list --since 7d --finding loop
  agnes sessions list --user anna --sort findings
  agnes sessions list --anchor start --since 2026-11-01 --json | jq '.[].file'
`,
    )
    .action(async ({ json, ...options }: ListOptions) => {
      const filter: SessionFilter = options
      await withClickHouse(async (client) => {
        const { fetchSessions } = await import('@agnes/clickhouse')
        const { rows, nextCursor } = await fetchSessions(client, filter)
        if (json) process.stdout.write(`${harmlessJson(rows, 2)}\n`)
        else if (rows.length > 0) process.stdout.write(renderTable(rows, listColumns))
        else log('no session matches: leave out a filter, or widen --since; "agnes push" sends yours')
        if (nextCursor !== null) log(`next page: --cursor ${nextCursor}`)
      })
    })
}

const listColumns: readonly TableColumn<SessionRow>[] = [
  { title: 'began (UTC)', text: ({ startedAt }) => minuteOf(startedAt), color: () => 'dim' },
  { title: 'user', text: ({ user }) => user, flexible: true },
  {
    title: 'session',
    text: ({ file, version }) => (version === 'main' ? file : `${file} (${version})`),
    flexible: true,
  },
  { title: 'min', text: ({ activeMinutes }) => String(activeMinutes), right: true },
  { title: 'turns', text: ({ turns }) => String(turns), right: true },
  { title: 'tools', text: ({ toolCalls }) => String(toolCalls), right: true },
  {
    title: 'found',
    text: ({ findings, isProcessed }) => (isProcessed ? String(findings) : '…'),
    right: true,
    color: ({ warnings }) => (warnings > 0 ? 'yellow' : undefined),
  },
  { title: 'about', text: ({ title }) => title, flexible: true },
]

interface ShowOptions {
  readonly user?: string
  readonly version?: string
  readonly from?: number
  readonly limit: number
  readonly cursor?: string
  readonly tenant?: string
  readonly json?: boolean
}

function registerShow(sessions: Command): void {
  sessions
    .command('show')
    .argument('<session>', 'name of the file, with or without .jsonl')
    .description('What happened in a session, turn by turn, and what was found')
    .option('--user <name>', 'whose, where several have a file of this name')
    .option('--version <version>', 'which content, where several came under this name')
    .option('--from <turn>', 'begin at this turn', wholeNumber(0, 4_294_967_295))
    .option('--limit <n>', 'turns, 1 to 1000', wholeNumber(1, 1000), 100)
    .option('--cursor <cursor>', 'the next page')
    .option('--tenant <tenant>', 'of this tenant', tenant)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  agnes sessions show 0f8d2c1e-5b7a-4c55-9a57-3f1f7b0f1f11
  agnes sessions show 0f8d2c1e-5b7a-4c55-9a57-3f1f7b0f1f11 --from 120 --json
`,
    )
    .action(async (name: string, { json, user, version, from, ...options }: ShowOptions) => {
      const file = name.replace(/\.jsonl$/, '')
      await withClickHouse(async (client) => {
        const { fetchReplay, fetchSessionNames } = await import('@agnes/clickhouse')
        const named = await fetchSessionNames(client, file, options.tenant)
        const matching = named.filter(
          (one) => (user === undefined || one.user === user) && (version === undefined || one.version === version),
        )
        const [session] = matching.length === 1 ? matching : matching.filter((one) => one.version === 'main')
        const several = new Set(matching.map((one) => one.user)).size > 1
        if (session === undefined || several) throw notOne(file, several)
        const replay = await fetchReplay(client, {
          ...options,
          ...session,
          file,
          ...(from === undefined ? {} : { fromTurn: from }),
        })
        if (replay === undefined) throw notOne(file, false)
        if (json) process.stdout.write(`${harmlessJson(replay, 2)}\n`)
        else {
          const { user: whose, startedAt, turns, toolCalls, errors, findings, isProcessed, gitBranch } = replay.session
          log(
            `${whose}, ${minuteOf(startedAt)}${gitBranch === '' ? '' : `, branch ${gitBranch}`}: ${turns} turns, ${toolCalls} tool calls, ${errors} errors, ${findings} findings${isProcessed ? '' : ' (not all of it is processed yet)'}`,
          )
          if (replay.turns.length > 0) process.stdout.write(renderTable(replay.turns, turnColumns))
        }
        if (replay.nextCursor !== null) log(`next page: --cursor ${replay.nextCursor}`)
      })
    })
}

function notOne(file: string, several: boolean): UserError {
  return several
    ? new UserError(`several users have a session ${file}`, { code: 'ambiguous', hint: 'say whose: --user' })
    : new UserError(`there is no session ${file}`, {
        code: 'no_session',
        hint: '"agnes sessions list" shows those that arrived',
      })
}

const turnColumns: readonly TableColumn<ReplayTurn>[] = [
  { title: 'turn', text: ({ index }) => String(index), right: true, color: () => 'dim' },
  { title: 'time', text: ({ occurredAt }) => occurredAt?.slice(11, 19) ?? '', color: () => 'dim' },
  { title: 'what', text: ({ kind, toolName }) => (toolName === '' ? kind : `${kind} ${toolName}`), flexible: true },
  {
    title: 'found',
    text: ({ findings }) => findings.map(({ type }) => type).join(' '),
    color: ({ findings }) => (findings.some(({ severity }) => severity !== 'info') ? 'yellow' : 'dim'),
    flexible: true,
  },
  { title: 'text', text: ({ text, target }) => target || text.replace(/\s+/g, ' '), flexible: true },
]

interface GapsOptions {
  readonly since?: Date
  readonly limit: number
  readonly tenant?: string
  readonly json?: boolean
}

function registerGaps(sessions: Command): void {
  sessions
    .command('gaps')
    .argument('[session-id]', 'one session.id; all of them unless given')
    .description('Which telemetry never arrived, and where it disagrees with the transcript?')
    .option('--since <time>', 'gaps that end after: 2026-11-21, 24h, 7d', time)
    .option('--limit <n>', 'rows, 1 to 10000', wholeNumber(1, 10_000), 1000)
    .option('--tenant <tenant>', 'of this tenant', tenant)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  agnes sessions gaps --since 24h
  agnes sessions gaps 0f8d2c1e-5b7a-4c55-9a57-3f1f7b0f1f11 --json
`,
    )
    .action(async (sessionId: string | undefined, { json, ...options }: GapsOptions) => {
      await withClickHouse(
        async (client) => {
          const { fetchSessionGaps } = await import('@agnes/clickhouse')
          const gaps = await fetchSessionGaps(client, { ...options, ...(sessionId === undefined ? {} : { sessionId }) })
          if (json) process.stdout.write(`${harmlessJson(gaps, 2)}\n`)
          else if (gaps.length > 0) process.stdout.write(renderTable(gaps, gapColumns))
          else log('nothing is missing')
          if (gaps.length === options.limit)
            log(`these are the first ${options.limit}: narrow them with --since, or raise --limit`)
        },
        { requestTimeoutMs: 120_000 },
      )
    })
}

const gapColumns: readonly TableColumn<SessionGap>[] = [
  { title: 'session', text: ({ sessionId }) => sessionId, flexible: true },
  { title: 'after (UTC)', text: ({ after }) => `${after.slice(0, 10)} ${after.slice(11, 19)}`, color: () => 'dim' },
  { title: 'until', text: ({ until }) => until.slice(11, 19), color: () => 'dim' },
  { title: 'missing', text: ({ kind }) => kind },
  {
    title: 'which',
    text: ({ firstMissing, lastMissing, key }) =>
      firstMissing === null
        ? key
        : firstMissing === lastMissing
          ? `${firstMissing}`
          : `${firstMissing} to ${lastMissing}`,
    flexible: true,
  },
  { title: 'about', text: ({ detail }) => detail, flexible: true },
]

function minuteOf(iso: string | null): string {
  return iso === null ? '–' : `${iso.slice(0, 10)} ${iso.slice(11, 16)}`
}
