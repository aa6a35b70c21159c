/**
 * "Which sessions?": Claude Code sessions of a tenant, page by page.
 *
 * There are some thousands of them and each is one row in three small tables, so they are joined, filtered and sorted as
 * a whole. The turns, which are a thousand times as many, are not asked.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from './rows.ts'
import { badFilter, defaultTenant } from './where.ts'

export const sessionSorts = ['recent', 'findings', 'user'] as const
export type SessionSort = (typeof sessionSorts)[number]
export const sessionAnchors = ['arrival', 'start'] as const
export type SessionAnchor = (typeof sessionAnchors)[number]

export interface SessionFilter {
  /** `default` unless told. */
  readonly tenant?: string
  readonly user?: string
  /** Inclusive. */
  readonly since?: Date
  /** Exclusive. */
  readonly until?: Date
  /** What `since`, `until` and the sort `recent` go by: when a session last arrived (unless told), or when it began. */
  readonly anchor?: SessionAnchor
  /** Has a finding of this type; `any` for one of any type. */
  readonly finding?: string
  /** That finding, or any, happened from then on; where the record has no time, the session arrived from then on. Inclusive. */
  readonly foundSince?: Date
  /** Exclusive. */
  readonly foundUntil?: Date
  /** Fails as reports of a cause say, and none of those reports is about it. */
  readonly silent?: SilentCause
  /** Case-insensitive substring of user, file, session id, branch, the beginning of a prompt, or the excerpt of a finding. */
  readonly q?: string
  /** `recent` unless told. */
  readonly sort?: SessionSort
  /** `nextCursor` of the page before, with the same filter and sort. */
  readonly cursor?: string
  /** 1 to 500, 50 unless told. */
  readonly limit?: number
}

/** What findings of a cause look like. */
export interface SilentCause {
  readonly causeKey: string
  readonly tool: string
  /** `cityHash64` of their excerpts, decimal. */
  readonly excerpts: readonly string[]
}

/** One row of the view `sessions`. Times are ISO 8601 in UTC. */
export interface SessionRow {
  readonly user: string
  readonly file: string
  readonly version: string
  readonly sessionId: string
  readonly sessionIds: readonly string[]
  readonly firstReceivedAt: string
  readonly receivedAt: string
  /** null where nothing in the file has a time, or nobody has processed it yet. */
  readonly startedAt: string | null
  readonly endedAt: string | null
  readonly durationSeconds: number | null
  readonly activeMinutes: number
  readonly turns: number
  readonly prompts: number
  readonly messages: number
  readonly toolCalls: number
  readonly errors: number
  readonly compactions: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  readonly cacheCreationTokens: number
  readonly costUsdMicros: number | null
  readonly models: readonly string[]
  readonly tools: readonly string[]
  readonly gitBranch: string
  readonly cwdHash: string
  readonly clientVersion: string
  readonly title: string
  readonly findings: number
  /** Of severity warning or error. */
  readonly warnings: number
  /** How many of each type. */
  readonly findingTypes: Readonly<Record<string, number>>
  readonly lines: number
  readonly bytes: number
  readonly badLines: number
  readonly unknownRecords: number
  readonly fileHash: string
  /** Turns and findings are those of all lines that arrived. */
  readonly isProcessed: boolean
}

export interface SessionPage {
  readonly rows: readonly SessionRow[]
  /** Pass as `cursor` to get the next page; null at the end. */
  readonly nextCursor: string | null
}

/** @throws UserError (status 400, exit code 2) for a bad cursor, limit or filter. */
export async function fetchSessions(client: ClickHouseClient, filter: SessionFilter): Promise<SessionPage> {
  const { sort = 'recent', limit = 50 } = filter
  refuseBadSessionFilter(filter)
  const { sql, params } = sessionWhere(filter)
  const { key, direction } = sortKeys[sort](filter.anchor ?? 'arrival')
  const cursor = filter.cursor === undefined ? undefined : decodeSessionCursor(filter.cursor, sort)
  const beyond =
    cursor === undefined
      ? ''
      : `\n  AND (${key}, user_name, session_file, version) ${direction === 'ASC' ? '>' : '<'} ({cursorKey:${keyTypes[sort]}}, {cursorUser:String}, {cursorFile:String}, {cursorVersion:String})`
  // Where only the files decide, summaries and findings need not be joined: half of what the list took was planning that.
  const isOfFiles = sort !== 'findings' && filter.anchor !== 'start' && !filter.finding && !filter.q
  const source = isOfFiles ? 'current_session_files' : 'sessions'
  const keys = await selectRows<SessionKeyRow & { readonly sort_key: string }>(
    client,
    `SELECT user_name, session_file, version, ${key} AS sort_key
FROM ${source}
WHERE ${sql}${beyond}
ORDER BY sort_key ${direction}, user_name ${direction}, session_file ${direction}, version ${direction}
LIMIT {limit:UInt32}`,
    { ...params, ...cursor, limit: limit + 1 },
  )
  const page = keys.slice(0, limit)
  const last = page.at(-1)
  return {
    rows: await fetchRows(client, filter.tenant ?? defaultTenant, page),
    nextCursor:
      last === undefined || keys.length <= limit
        ? null
        : encodeSessionCursor(sort, {
            cursorKey: String(last.sort_key),
            cursorUser: last.user_name,
            cursorFile: last.session_file,
            cursorVersion: last.version,
          }),
  }
}

interface SessionKeyRow {
  readonly user_name: string
  readonly session_file: string
  readonly version: string
}

/** All columns of these sessions, in this order: reading them for every session only to sort took twice as long. */
async function fetchRows(
  client: ClickHouseClient,
  tenant: string,
  keys: readonly SessionKeyRow[],
): Promise<SessionRow[]> {
  const rows: RawSession[] = []
  for (let at = 0; at < keys.length; at += keysAtOnce) {
    const some = keys.slice(at, at + keysAtOnce)
    const found = await selectRows<RawSession>(
      client,
      `SELECT ${sessionColumns} FROM sessions
WHERE tenant = {tenant:String} AND user_name IN {users:Array(String)} AND session_file IN {files:Array(String)}`,
      {
        tenant,
        users: [...new Set(some.map((key) => key.user_name))],
        files: [...new Set(some.map((key) => key.session_file))],
      },
    )
    rows.push(...found)
  }
  const byKey = new Map(rows.map((row) => [keyText(row), row]))
  // One that was removed in between is left out.
  return keys.flatMap((key) => {
    const row = byKey.get(keyText(key))
    return row === undefined ? [] : [sessionRowOf(row)]
  })
}

/** They travel in the URL, of which the engine takes 16 KB. */
const keysAtOnce = 100

function keyText({ user_name, session_file, version }: SessionKeyRow): string {
  return JSON.stringify([user_name, session_file, version])
}

/** The one place where a filter of sessions becomes SQL, over the columns of the view `sessions`. */
export function sessionWhere(filter: SessionFilter): { sql: string; params: Record<string, unknown> } {
  const conditions = ['tenant = {tenant:String}']
  const params: Record<string, unknown> = { tenant: filter.tenant ?? defaultTenant }
  const add = (condition: string, name: string, value: unknown): void => {
    if (value === undefined || value === '') return
    conditions.push(condition)
    params[name] = value
  }
  const anchor = anchorColumns[filter.anchor ?? 'arrival']
  add('user_name = {user:String}', 'user', filter.user)
  add(`${anchor} >= fromUnixTimestamp64Milli({since:Int64})`, 'since', filter.since && String(filter.since.getTime()))
  add(`${anchor} < fromUnixTimestamp64Milli({until:Int64})`, 'until', filter.until && String(filter.until.getTime()))
  if (filter.finding === 'any') conditions.push('findings > 0')
  else add('has(finding_types, {finding:String})', 'finding', filter.finding)
  add(searchCondition, 'q', filter.q)
  const found = foundWhere(filter)
  if (found !== undefined) {
    conditions.push(`(user_name, session_file, version) IN (${found.sql})`)
    Object.assign(params, found.params)
  }
  return { sql: conditions.join('\n  AND '), params }
}

/** Sessions in which it was found then, or that nobody reported; undefined where that is not asked. */
function foundWhere(filter: SessionFilter): { sql: string; params: Record<string, unknown> } | undefined {
  const { foundSince, foundUntil, silent, finding } = filter
  if (foundSince === undefined && foundUntil === undefined && silent === undefined) return undefined
  const conditions = ['f.tenant = {tenant:String}']
  const params: Record<string, unknown> = {}
  const happened = 'ifNull(f.occurred_at, s.received_at)'
  if (finding && finding !== 'any') conditions.push('f.type = {finding:String}')
  if (foundSince !== undefined) {
    conditions.push(`${happened} >= fromUnixTimestamp64Milli({foundSince:Int64})`)
    params.foundSince = String(foundSince.getTime())
  }
  if (foundUntil !== undefined) {
    conditions.push(`${happened} < fromUnixTimestamp64Milli({foundUntil:Int64})`)
    params.foundUntil = String(foundUntil.getTime())
  }
  if (silent !== undefined) {
    conditions.push(
      'f.tool_name = {silentTool:String}',
      'toString(cityHash64(f.excerpt)) IN {silentExcerpts:Array(String)}',
      unreported,
    )
    params.silentTool = silent.tool
    params.silentExcerpts = silent.excerpts
    params.causeKey = silent.causeKey
  }
  return {
    sql: `SELECT f.user_name, f.session_file, f.version FROM session_findings AS f
INNER JOIN current_session_files AS s
  ON s.tenant = f.tenant AND s.user_name = f.user_name AND s.session_file = f.session_file AND s.version = f.version
WHERE ${conditions.join(' AND ')}`,
    params,
  }
}

/** Of findings `f`: no report of the cause names the session. */
const unreported = `f.session_file NOT IN (
  SELECT session_file FROM current_feedback_reports WHERE tenant = {tenant:String} AND cause_key = {causeKey:String})`

const anchorColumns = { arrival: 'received_at', start: 'started_at' } as const

const searchCondition = `(${['user_name', 'session_file', 'session_id', 'git_branch', 'prompts_text']
  .map((column) => `positionCaseInsensitiveUTF8(${column}, {q:String}) > 0`)
  .join(' OR ')} OR arrayExists(excerpt -> positionCaseInsensitiveUTF8(excerpt, {q:String}) > 0, finding_excerpts))`

/** Unsigned milliseconds and counts, so that all of a cursor is compared in one direction. */
const sortKeys: Readonly<Record<SessionSort, (anchor: SessionAnchor) => { key: string; direction: 'ASC' | 'DESC' }>> = {
  recent: (anchor) => ({
    key: `ifNull(toUnixTimestamp64Milli(${anchorColumns[anchor]}), toInt64(0))`,
    direction: 'DESC',
  }),
  findings: () => ({
    key: 'toInt64(findings) * 100000000000000 + toUnixTimestamp64Milli(received_at)',
    direction: 'DESC',
  }),
  user: () => ({ key: 'user_name', direction: 'ASC' }),
}
const keyTypes: Readonly<Record<SessionSort, string>> = { recent: 'Int64', findings: 'Int64', user: 'String' }

interface SessionCursor {
  readonly cursorKey: string
  readonly cursorUser: string
  readonly cursorFile: string
  readonly cursorVersion: string
}

function encodeSessionCursor(sort: SessionSort, cursor: SessionCursor): string {
  const { cursorKey, cursorUser, cursorFile, cursorVersion } = cursor
  return Buffer.from(JSON.stringify([sort, cursorKey, cursorUser, cursorFile, cursorVersion])).toString('base64url')
}

/** @throws UserError (status 400, exit code 2) for anything that is not a cursor of this sort. */
function decodeSessionCursor(text: string, sort: SessionSort): SessionCursor & Record<string, string> {
  const parts = parseCursor(text)
  const [of, cursorKey = '', cursorUser = '', cursorFile = '', cursorVersion = ''] = parts
  const isKey = keyTypes[sort] === 'String' || /^-?\d{1,19}$/.test(cursorKey)
  if (parts.length !== 5 || of !== sort || !isKey) {
    throw badFilter('the cursor is not one of ours', 'use the cursor of the page before, with the same sort')
  }
  return { cursorKey, cursorUser, cursorFile, cursorVersion }
}

/** The texts a cursor holds; none if it is not one. */
export function parseCursor(text: string): readonly string[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    return Array.isArray(parts) && parts.every((part) => typeof part === 'string') ? (parts as string[]) : []
  } catch {
    return []
  }
}

const longestText = 1000

/** @throws UserError (status 400, exit code 2) */
export function refuseBadSessionFilter(filter: SessionFilter): void {
  const { limit = 50 } = filter
  if (!Number.isInteger(limit) || limit < 1 || limit > 500) {
    throw badFilter(`a page cannot have ${limit} rows`, 'limit is a whole number from 1 to 500')
  }
  for (const name of ['since', 'until', 'foundSince', 'foundUntil'] as const) {
    const time = filter[name]?.getTime()
    if (time !== undefined && !(Math.abs(time) <= 9_223_372_036_854)) {
      throw badFilter(`${name} is not a time we can store`, 'use a time like 2026-11-21T06:00:00Z')
    }
  }
  for (const name of ['tenant', 'user', 'finding', 'q', 'cursor'] as const) {
    const length = filter[name]?.length ?? 0
    if (length > longestText) throw badFilter(`${name} has ${length} characters`, `use at most ${longestText}`)
  }
  refuseUnknown('sort', filter.sort, sessionSorts)
  refuseUnknown('anchor', filter.anchor, sessionAnchors)
}

function refuseUnknown(name: string, value: string | undefined, known: readonly string[]): void {
  if (value === undefined || known.includes(value)) return
  throw badFilter(`${name} cannot be ${value.slice(0, 50)}`, `use ${known.join(', ')}`)
}

export const sessionColumns = `user_name, session_file, version, session_id, session_ids, first_received_at, received_at, started_at,
  ended_at, duration_seconds, active_minutes, turns, prompts, messages, tool_calls, errors, compactions, input_tokens,
  output_tokens, cache_read_tokens, cache_creation_tokens, cost_usd_micros, models, tools, git_branch, cwd_hash,
  client_version, title, findings, warnings, finding_types, lines, bytes, bad_lines, unknown_records, file_hash, is_processed`

export interface RawSession {
  readonly user_name: string
  readonly session_file: string
  readonly version: string
  readonly session_id: string
  readonly session_ids: readonly string[]
  readonly first_received_at: string
  readonly received_at: string
  readonly started_at: string | null
  readonly ended_at: string | null
  readonly duration_seconds: number | null
  readonly active_minutes: number
  readonly turns: number
  readonly prompts: number
  readonly messages: number
  readonly tool_calls: number
  readonly errors: number
  readonly compactions: number
  /** Decimal UInt64, as the others of that type. */
  readonly input_tokens: string
  readonly output_tokens: string
  readonly cache_read_tokens: string
  readonly cache_creation_tokens: string
  readonly cost_usd_micros: string | null
  readonly models: readonly string[]
  readonly tools: readonly string[]
  readonly git_branch: string
  readonly cwd_hash: string
  readonly client_version: string
  readonly title: string
  readonly findings: number
  readonly warnings: number
  readonly finding_types: readonly string[]
  readonly lines: number
  readonly bytes: string
  readonly bad_lines: number
  readonly unknown_records: number
  readonly file_hash: string
  readonly is_processed: boolean
}

export function sessionRowOf(row: RawSession): SessionRow {
  const findingTypes: Record<string, number> = {}
  for (const type of row.finding_types) findingTypes[type] = (findingTypes[type] ?? 0) + 1
  return {
    user: row.user_name,
    file: row.session_file,
    version: row.version,
    sessionId: row.session_id,
    sessionIds: row.session_ids,
    firstReceivedAt: row.first_received_at,
    receivedAt: row.received_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    durationSeconds: row.duration_seconds,
    activeMinutes: row.active_minutes,
    turns: row.turns,
    prompts: row.prompts,
    messages: row.messages,
    toolCalls: row.tool_calls,
    errors: row.errors,
    compactions: row.compactions,
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    cacheReadTokens: Number(row.cache_read_tokens),
    cacheCreationTokens: Number(row.cache_creation_tokens),
    costUsdMicros: row.cost_usd_micros === null ? null : Number(row.cost_usd_micros),
    models: row.models,
    tools: row.tools,
    gitBranch: row.git_branch,
    cwdHash: row.cwd_hash,
    clientVersion: row.client_version,
    title: row.title,
    findings: row.findings,
    warnings: row.warnings,
    findingTypes,
    lines: row.lines,
    bytes: Number(row.bytes),
    badLines: row.bad_lines,
    unknownRecords: row.unknown_records,
    fileHash: row.file_hash,
    isProcessed: row.is_processed,
  }
}
