/** "What did people report?": one report, lists, and reports grouped by their cause. */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'
import { badFilter } from '../queries/where.ts'
import { allColumns, listColumns, type RawReport, reportOf } from './rows.ts'
import type { FeedbackCause, FeedbackFilter, FeedbackPage, FeedbackReport } from './types.ts'

export interface ReportKey {
  readonly tenant: string
  readonly id: string
}

/** @returns undefined if the tenant has none with that id */
export async function fetchReport(client: ClickHouseClient, key: ReportKey): Promise<FeedbackReport | undefined> {
  return (await readStored(client, key))?.report
}

/** With what tells whose change it is. */
export async function readStored(
  client: ClickHouseClient,
  { tenant, id }: ReportKey,
): Promise<{ readonly report: FeedbackReport; readonly changeId: string } | undefined> {
  const [row] = await selectRows<RawReport>(
    client,
    `SELECT ${allColumns} FROM current_feedback_reports WHERE tenant = {tenant:String} AND id = {id:String}`,
    { tenant, id },
  )
  return row && { report: reportOf(row), changeId: row.change_id }
}

/** Newest first. @throws UserError (status 400) for a bad cursor, limit or filter */
export async function fetchReports(client: ClickHouseClient, filter: FeedbackFilter): Promise<FeedbackPage> {
  const limit = limitOf(filter, 50, 500)
  const { conditions, params } = whereOf(filter)
  if (filter.cursor !== undefined) {
    const [ms, id] = decodeCursor(filter.cursor)
    conditions.push('(toUnixTimestamp64Milli(created_at), id) < ({cursorMs:Int64}, {cursorId:String})')
    params.cursorMs = ms
    params.cursorId = id
  }
  const keys = await selectRows<{ readonly id: string; readonly at_ms: string }>(
    client,
    `SELECT id, toUnixTimestamp64Milli(created_at) AS at_ms FROM current_feedback_reports WHERE ${conditions.join(' AND ')}
ORDER BY at_ms DESC, id DESC LIMIT {limit:UInt32}`,
    { ...params, limit: limit + 1 },
  )
  const page = keys.slice(0, limit)
  const last = page.at(-1)
  const reports = await selectListed(
    client,
    filter.tenant,
    page.map(({ id }) => id),
  )
  return {
    reports: page.flatMap(({ id }) => reports.get(id) ?? []),
    nextCursor: last === undefined || keys.length <= limit ? null : encodeCursor([last.at_ms, last.id]),
  }
}

/** They travel in the URL, of which the engine takes 16 KB. */
const idsAtOnce = 250

/** Of these reports what a list shows: sorting by it read all columns of all reports, ten times as much as needed. */
async function selectListed(
  client: ClickHouseClient,
  tenant: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, FeedbackReport>> {
  const reports = new Map<string, FeedbackReport>()
  for (let at = 0; at < ids.length; at += idsAtOnce) {
    const rows = await selectRows<RawReport>(
      client,
      `SELECT ${listColumns} FROM current_feedback_reports WHERE tenant = {tenant:String} AND id IN {ids:Array(String)}`,
      { tenant, ids: ids.slice(at, at + idsAtOnce) },
    )
    for (const row of rows) reports.set(row.id, reportOf(row))
  }
  return reports
}

interface RawCause {
  readonly cause: string
  /** Another name than the column's, by which is grouped. */
  readonly any_key: string
  readonly tool: string
  readonly error_class: string
  readonly error_text: string
  readonly reports: string
  readonly open: string
  readonly reporters: string
  readonly first_ms: string
  readonly last_ms: string
  /** Ids. */
  readonly newest: readonly string[]
}

export interface FeedbackCauses {
  readonly causes: readonly FeedbackCause[]
  readonly nextCursor: string | null
}

/** A report in which nothing failed is a cause of its own. */
const causeOf = "if(cause_key = '', concat('report:', id), cause_key)"

/**
 * Reports that match, grouped by their cause; the group with the newest report first.
 * @throws UserError (status 400) for a bad cursor, limit or filter
 */
export async function fetchCauses(
  client: ClickHouseClient,
  filter: FeedbackFilter,
  { latest = 5 }: { readonly latest?: number } = {},
): Promise<FeedbackCauses> {
  const limit = limitOf(filter, 25, 200)
  const { conditions, params } = whereOf(filter)
  const where = conditions.join(' AND ')
  let after = 'true'
  if (filter.cursor !== undefined) {
    const [ms, cause] = decodeCursor(filter.cursor)
    after = '(last_ms, cause) < ({cursorMs:Int64}, {cursorId:String})'
    params.cursorMs = ms
    params.cursorId = cause
  }
  const groups = await selectRows<RawCause>(
    client,
    `SELECT ${causeOf} AS cause, any(cause_key) AS any_key, any(cause_tool) AS tool, any(cause_class) AS error_class,
  any(cause_text) AS error_text, count() AS reports, countIf(status IN ('open', 'triaged')) AS open,
  uniqExact(reporter_user) AS reporters, toUnixTimestamp64Milli(min(created_at)) AS first_ms,
  toUnixTimestamp64Milli(max(created_at)) AS last_ms,
  arraySlice(arrayReverseSort(groupArray((created_at, id))), 1, {latest:UInt32}).2 AS newest
FROM current_feedback_reports AS r WHERE ${where}
GROUP BY cause HAVING ${after} ORDER BY last_ms DESC, cause DESC LIMIT {limit:UInt32}`,
    { ...params, limit: limit + 1, latest },
  )
  const page = groups.slice(0, limit)
  if (page.length === 0) return { causes: [], nextCursor: null }
  const reports = await selectListed(
    client,
    filter.tenant,
    page.flatMap(({ newest }) => newest),
  )
  const last = page.at(-1)
  return {
    causes: page.map((group) => ({
      causeKey: group.any_key,
      tool: group.tool,
      errorClass: group.error_class,
      text: group.error_text,
      reports: Number(group.reports),
      open: Number(group.open),
      reporters: Number(group.reporters),
      firstSeen: new Date(Number(group.first_ms)),
      lastSeen: new Date(Number(group.last_ms)),
      latest: group.newest.flatMap((id) => reports.get(id) ?? []),
    })),
    nextCursor: last === undefined || groups.length <= limit ? null : encodeCursor([last.last_ms, last.cause]),
  }
}

export interface ReporterFacts {
  /** Reports of this reporter in the hour before `now`. */
  readonly inLastHour: number
  /** The oldest of them. */
  readonly oldest: Date | undefined
  /** Others who reported the same cause. */
  readonly others: number
  /** There is a report with that id. */
  readonly isKnown: boolean
}

/** What a new report is judged by. */
export async function fetchReporterFacts(
  client: ClickHouseClient,
  {
    tenant,
    id,
    reporter,
    causeKey,
    now,
  }: { tenant: string; id: string; reporter: string; causeKey: string; now: Date },
): Promise<ReporterFacts> {
  const [row] = await selectRows<{ recent: string; oldest_ms: string; others: string; known: string }>(
    client,
    `SELECT countIf(reporter_user = {reporter:String} AND created_at > fromUnixTimestamp64Milli({hourAgo:Int64})) AS recent,
  toUnixTimestamp64Milli(minIf(created_at, reporter_user = {reporter:String} AND created_at > fromUnixTimestamp64Milli({hourAgo:Int64}))) AS oldest_ms,
  uniqExactIf(reporter_user, cause_key = {cause:String} AND cause_key != '' AND reporter_user != {reporter:String}) AS others,
  countIf(id = {id:String}) AS known
FROM current_feedback_reports WHERE tenant = {tenant:String}`,
    { tenant, id, reporter, cause: causeKey, hourAgo: now.getTime() - 3_600_000 },
  )
  const inLastHour = Number(row?.recent ?? 0)
  return {
    inLastHour,
    oldest: inLastHour === 0 ? undefined : new Date(Number(row?.oldest_ms)),
    others: Number(row?.others ?? 0),
    isKnown: Number(row?.known ?? 0) > 0,
  }
}

/** Ids of what is found in a session by now, in its order. */
export async function fetchFindingIds(
  client: ClickHouseClient,
  { tenant, sessionFile }: { readonly tenant: string; readonly sessionFile: string },
): Promise<readonly string[]> {
  const rows = await selectRows<{ finding_id: string }>(
    client,
    `SELECT f.finding_id AS finding_id FROM session_scans FINAL ARRAY JOIN findings AS f
WHERE tenant = {tenant:String} AND session_file = {file:String} ORDER BY f.turn_index LIMIT 1 BY finding_id LIMIT 200`,
    { tenant, file: sessionFile },
  )
  return rows.map(({ finding_id }) => finding_id)
}

export interface ReportFinding {
  readonly id: string
  readonly type: string
  readonly class: string
  readonly severity: string
  readonly toolUseId: string
  readonly uuid: string
  readonly turnIndex: number
  readonly excerpt: string
  readonly advice: string
}

/** The session a report names, where it has arrived, and what was found in it since. */
export interface ReportSession {
  readonly session: { readonly user: string; readonly file: string; readonly version: string } | undefined
  readonly findings: readonly ReportFinding[]
}

/** Of several of that name the reporter's own goes first. */
export async function fetchReportSession(
  client: ClickHouseClient,
  { tenant, sessionFile: file, reporterUser: reporter }: FeedbackReport,
): Promise<ReportSession> {
  const [session] = await selectRows<{ user: string; version: string }>(
    client,
    `SELECT user_name AS user, version FROM current_session_files
WHERE tenant = {tenant:String} AND session_file = {file:String}
ORDER BY user_name = {reporter:String} DESC, version = 'main' DESC, received_at DESC LIMIT 1`,
    { tenant, file, reporter },
  )
  if (session === undefined) return { session: undefined, findings: [] }
  const { user, version } = session
  const rows = await selectRows<RawReportFinding>(
    client,
    `SELECT finding_id, type, class, severity, tool_use_id, uuid, turn_index, excerpt, advice FROM session_findings
WHERE tenant = {tenant:String} AND user_name = {user:String} AND session_file = {file:String} AND version = {version:String}
ORDER BY turn_index LIMIT 2000`,
    { tenant, user, file, version },
  )
  return {
    session: { user, file, version },
    findings: rows.map((row) => ({
      id: row.finding_id,
      type: row.type,
      class: row.class,
      severity: row.severity,
      toolUseId: row.tool_use_id,
      uuid: row.uuid,
      turnIndex: row.turn_index,
      excerpt: row.excerpt,
      advice: row.advice,
    })),
  }
}

interface RawReportFinding {
  readonly finding_id: string
  readonly type: string
  readonly class: string
  readonly severity: string
  readonly tool_use_id: string
  readonly uuid: string
  readonly turn_index: number
  readonly excerpt: string
  readonly advice: string
}

/** The one place where a filter becomes SQL: lists and groups cannot disagree. */
function whereOf(filter: FeedbackFilter): { conditions: string[]; params: Record<string, unknown> } {
  const conditions = ['tenant = {tenant:String}']
  const params: Record<string, unknown> = { tenant: filter.tenant }
  const add = (condition: string, name: string, value: unknown): void => {
    if (value === undefined || value === '') return
    if (typeof value === 'string' && value.length > longestText) {
      throw badFilter(`${name} has ${value.length} characters`, `use at most ${longestText}`)
    }
    conditions.push(condition)
    params[name] = value
  }
  if (filter.status === undefined || filter.status.length === 0) conditions.push("status != 'purged'")
  else add('status IN {status:Array(String)}', 'status', filter.status)
  add('reporter_user = {user:String}', 'user', filter.user)
  add('has(tags, {tag:String})', 'tag', filter.tag)
  add('cause_key = {cause:String}', 'cause', filter.cause)
  add(
    `(${['message', 'cause_text', 'resolution', 'id'].map((column) => `positionCaseInsensitiveUTF8(${column}, {q:String}) > 0`).join(' OR ')})`,
    'q',
    filter.q,
  )
  return { conditions, params }
}

// Parameters travel in the URL, which servers cap.
const longestText = 1000

function limitOf({ limit }: FeedbackFilter, usual: number, largest: number): number {
  const wanted = limit ?? usual
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= largest) return wanted
  throw badFilter(`a page cannot have ${wanted} rows`, `limit is a whole number from 1 to ${largest}`)
}

function encodeCursor(place: readonly [ms: string, id: string]): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url')
}

/** @throws UserError (status 400) for anything `encodeCursor` did not make */
function decodeCursor(text: string): [ms: string, id: string] {
  const refused = badFilter('the cursor is not one of ours', 'use next_cursor of the page before, unchanged')
  if (text.length > 1000) throw refused
  let place: unknown
  try {
    place = JSON.parse(Buffer.from(text, 'base64url').toString())
  } catch {
    throw refused
  }
  if (!Array.isArray(place) || place.length !== 2) throw refused
  const [ms, id] = place as unknown[]
  if (typeof ms !== 'string' || typeof id !== 'string' || !/^\d{1,15}$/.test(ms)) throw refused
  return [ms, id]
}
