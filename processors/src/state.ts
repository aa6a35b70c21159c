/** What is due, what was done and what failed: the account of all processors in ClickHouse. */
import { type ClickHouseClient, selectRows } from '@agnes/clickhouse'
import { effectiveVersion, type Processor, type Session } from './processor.ts'

export interface DueSession extends Session {
  /** How often this content was tried, by this version of the processor. */
  readonly attempts: number
  /** How often in vain since it last succeeded. */
  readonly failures: number
}

/** Which sessions; all of them unless told. */
export interface SessionChoice {
  readonly tenant?: string
  readonly user?: string
  readonly file?: string
}

interface DueRow {
  readonly tenant: string
  readonly user_name: string
  readonly session_file: string
  readonly version: string
  readonly file_hash: string
  readonly lines: number
  readonly bytes: string
  /** Milliseconds since 1970. */
  readonly first_ms: string
  readonly attempts: number
  readonly failures: number
}

const key = 'tenant, user_name, session_file, version'

const sessionColumns = `f.tenant AS tenant, f.user_name AS user_name, f.session_file AS session_file, f.version AS version,
  f.file_hash AS file_hash, f.lines AS lines, f.bytes AS bytes, toUnixTimestamp64Milli(f.first_received_at) AS first_ms`

/** Of a session that succeeded in this content and version, only attempts since then are in vain. */
const attemptColumns = (
  done: boolean,
): string => `if(x.file_hash = f.file_hash AND x.processor_version = {version:UInt16}, x.attempts, 0) AS attempts,
  ${done ? 'toUInt32(attempts - if(s.file_hash = f.file_hash AND s.processor_version = {version:UInt16}, least(s.attempts, attempts), 0))' : 'attempts'} AS failures`

const doneAccount = `LEFT JOIN (SELECT ${key}, file_hash, processor_version, attempts FROM session_processor_state FINAL WHERE processor = {processor:String}) AS s
  ON ${sameKey('s')}`

const attemptAccount = `LEFT JOIN (SELECT ${key}, file_hash, processor_version, attempts, attempted_at, next_attempt_at, parked FROM session_processor_failures FINAL WHERE processor = {processor:String}) AS x
  ON ${sameKey('x')}`

/** Whether a processor has seen a session in its content, in this version or a newer one; both name query parameters. */
function isDone(processor: string, version: string): string {
  const names = `${key}, file_hash`
  return `(${names
    .split(', ')
    .map((column) => `f.${column}`)
    .join(', ')}) IN (
    SELECT ${names} FROM session_processor_state FINAL
    WHERE processor = {${processor}:String} AND processor_version >= {${version}:UInt16})`
}

/**
 * The next sessions a processor has to look at: those it has not seen in this content and version, and those that are
 * open again. What failed waits for its time, and comes behind what was not tried yet.
 * A retry is due as well when the clock stands before the attempt: it was set back since.
 */
export async function fetchDue(
  client: ClickHouseClient,
  processor: Processor,
  { now, limit }: { readonly now: Date; readonly limit: number },
): Promise<DueSession[]> {
  const { after, reopened } = processor
  // Asked every interval for as long as the product runs, mostly in vain: joins are what it costs, so none is in vain.
  const rows = await selectRows<DueRow>(
    client,
    `SELECT ${sessionColumns},
  ${attemptColumns(reopened !== undefined)}
FROM current_session_files AS f
${reopened === undefined ? '' : doneAccount}
${attemptAccount}
WHERE (NOT ${isDone('processor', 'version')}${
      reopened === undefined ? '' : `\n    OR (f.tenant, f.user_name, f.session_file, f.version) IN (${reopened})`
    })
  ${after === undefined ? '' : `AND ${isDone('after', 'afterVersion')}`}
  AND NOT (failures > 0 AND (x.parked OR fromUnixTimestamp64Milli({now:Int64}) BETWEEN x.attempted_at AND x.next_attempt_at - INTERVAL 1 MILLISECOND))
ORDER BY failures > 0, f.received_at, tenant, user_name, session_file, version
LIMIT {limit:UInt32}`,
    {
      processor: processor.name,
      version: effectiveVersion(processor),
      ...(after === undefined ? {} : { after: after.name, afterVersion: effectiveVersion(after) }),
      now: String(now.getTime()),
      limit,
    },
  )
  return rows.map(sessionOf)
}

/** Sessions by name, due or not; oldest first. */
export async function fetchChosen(
  client: ClickHouseClient,
  processor: Processor,
  choice: SessionChoice,
): Promise<DueSession[]> {
  const rows = await selectRows<DueRow>(
    client,
    `SELECT ${sessionColumns},
  ${attemptColumns(true)}
FROM current_session_files AS f
${doneAccount}
${attemptAccount}
WHERE ({tenant:String} = '' OR f.tenant = {tenant:String}) AND ({user:String} = '' OR f.user_name = {user:String})
  AND ({file:String} = '' OR f.session_file = {file:String})
ORDER BY f.received_at, tenant, user_name, session_file, version`,
    {
      processor: processor.name,
      version: effectiveVersion(processor),
      tenant: choice.tenant ?? '',
      user: choice.user ?? '',
      file: choice.file ?? '',
    },
  )
  return rows.map(sessionOf)
}

export interface DoneRow {
  readonly session: DueSession
  readonly rank: bigint
  readonly items: number
  readonly durationMs: number
}

/** Writes down what is done. What was done but not written down is done again, to the same end. */
export async function saveDone(
  client: ClickHouseClient,
  processor: Processor,
  fence: bigint,
  now: Date,
  rows: readonly DoneRow[],
): Promise<void> {
  await insertRows(
    client,
    'session_processor_state',
    rows.map(({ session, rank, items, durationMs }) => ({
      ...keyOf(processor, session),
      rank: String(rank),
      file_hash: session.fileHash,
      lines: session.lines,
      processor_version: effectiveVersion(processor),
      items,
      attempts: session.attempts,
      duration_ms: Math.round(durationMs),
      fence: String(fence),
      processed_at: now.toISOString(),
    })),
  )
}

export interface AttemptRow {
  /** With this attempt among its `attempts` and `failures`. */
  readonly session: DueSession
  /** undefined: it begins now. */
  readonly error?: string
}

/** After so many attempts in vain a session is parked. */
export const maxAttempts = 8
const firstPauseMs = 60_000
const longestPauseMs = 6 * 3_600_000
const longestError = 1_000

/** Milliseconds until the attempt after so many in vain. */
function pauseAfter(failures: number): number {
  return Math.min(longestPauseMs, firstPauseMs * 2 ** (failures - 1))
}

/**
 * Writes down attempts: before they begin, because one may take the process with it, and when they fail. One that
 * began and neither failed nor succeeded may be tried again at once, the first time: the process was only stopped.
 */
export async function saveAttempts(
  client: ClickHouseClient,
  processor: Processor,
  now: Date,
  rows: readonly AttemptRow[],
): Promise<void> {
  const version = effectiveVersion(processor)
  await insertRows(
    client,
    'session_processor_failures',
    rows.map(({ session, error }) => ({
      ...keyOf(processor, session),
      rank: String(
        (BigInt(session.lines) << 96n) |
          (BigInt(version) << 80n) |
          (BigInt(session.attempts) << 1n) |
          (error === undefined ? 0n : 1n),
      ),
      file_hash: session.fileHash,
      processor_version: version,
      attempts: session.attempts,
      error: (error ?? '').slice(0, longestError),
      attempted_at: now.toISOString(),
      next_attempt_at: new Date(
        now.getTime() + (error === undefined && session.failures === 1 ? 0 : pauseAfter(session.failures)),
      ).toISOString(),
      parked: session.failures >= maxAttempts,
    })),
  )
}

function sameKey(alias: string): string {
  return key
    .split(', ')
    .map((column) => `${alias}.${column} = f.${column}`)
    .join(' AND ')
}

function sessionOf(row: DueRow): DueSession {
  return {
    tenant: row.tenant,
    user: row.user_name,
    file: row.session_file,
    version: row.version,
    fileHash: row.file_hash,
    lines: row.lines,
    bytes: Number(row.bytes),
    firstReceivedAt: new Date(Number(row.first_ms)),
    attempts: row.attempts,
    failures: row.failures,
  }
}

function keyOf(processor: Processor, { tenant, user, file, version }: Session) {
  return { processor: processor.name, tenant, user_name: user, session_file: file, version }
}

/** One block, hence all or nothing; on disk when it resolves. */
export async function insertRows(
  client: ClickHouseClient,
  table: string,
  rows: readonly Readonly<Record<string, unknown>>[],
): Promise<void> {
  if (rows.length === 0) return
  await client.insert({
    table,
    values: [...rows],
    format: 'JSONEachRow',
    // The same rows may be written twice for a reason: by hand, after something else was written in between.
    clickhouse_settings: { date_time_input_format: 'best_effort', insert_deduplicate: 0 },
  })
}
