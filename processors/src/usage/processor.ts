/**
 * `usage`: what each user did on each day. A day is computed anew from all files of the user whenever one of them
 * changes, and is one row; the row that was computed from more lines holds. So late sessions open old days again, and
 * the order in which sessions are processed does not matter.
 */
import { type ClickHouseClient, selectRows } from '@agnes/clickhouse'
import type { Processor, Session } from '../processor.ts'
import { insertRows } from '../state.ts'
import { transcripts } from '../transcripts/processor.ts'
import { midnightSlackMs, slicesOf, type UsageTurn } from './slices.ts'

const dayMs = 86_400_000
/** Days that are computed at once: bounds what is in memory. */
const daysAtOnce = 7

export const usage: Processor = {
  name: 'usage',
  version: 1,
  everySeconds: 600,
  description: 'Usage per user and day: usage_daily, active_users',
  after: transcripts,
  async process(session, { client, fence, dryRun }) {
    const days = await daysOf(client, session)
    for (let at = 0; at < days.length; at += daysAtOnce) {
      const some = days.slice(at, at + daysAtOnce)
      const turns = await turnsOn(client, session, some)
      if (!dryRun) {
        await insertRows(
          client,
          'session_usage',
          some.map((day) => usageRow(session, day, turns, fence)),
        )
      }
    }
    return { items: days.length }
  },
}

interface StoredTurn extends UsageTurn {
  /** Of the file, at the time of the question. */
  readonly fileLines: number
  readonly parserVersion: number
}

function usageRow({ tenant, user }: Session, day: number, all: readonly StoredTurn[], fence: bigint) {
  const turns = all.filter(({ timeMs }) => timeMs >= day - midnightSlackMs && timeMs < day + dayMs + midnightSlackMs)
  const slices = slicesOf(turns, day)
  const column = (name: keyof (typeof slices)[number]) => [`slices.${name}`, slices.map((slice) => slice[name])]
  return {
    tenant,
    user_name: user,
    day: new Date(day).toISOString().slice(0, 10),
    rank: String(rankOfDay(turns, fence)),
    processor_version: usage.version,
    computed_at: new Date().toISOString(),
    ...Object.fromEntries([
      column('dimension'),
      column('name'),
      column('sessions'),
      column('turns'),
      column('prompts'),
      column('messages'),
      column('tool_calls'),
      column('input_tokens'),
      column('output_tokens'),
      column('cache_read_tokens'),
      column('cache_creation_tokens'),
      column('errors'),
      column('active_minutes'),
    ]),
  }
}

/**
 * Files only grow and none goes away while it is young, so of two rows of a day the one from more lines knows all the
 * other knew. 128 bits: lines of all files (48), version (16), versions of the turns (24), lease (40).
 */
function rankOfDay(turns: readonly StoredTurn[], fence: bigint): bigint {
  const files = new Map(turns.map(({ session, fileLines, parserVersion }) => [session, { fileLines, parserVersion }]))
  let lines = 0n
  let versions = 0n
  for (const file of files.values()) {
    lines += BigInt(file.fileLines)
    versions += BigInt(file.parserVersion)
  }
  return (lines << 80n) | (BigInt(usage.version) << 64n) | (versions << 40n) | fence
}

/** Turns that count, of files that are there: what the view session_turns shows, each perhaps more than once. */
const countedTurns = `FROM session_turn_rows AS t
INNER JOIN (
  SELECT session_file, version, parser_version, turn_rows, lines FROM session_summaries FINAL
  WHERE tenant = {tenant:String} AND user_name = {user:String}
    AND (session_file, version) IN (SELECT session_file, version FROM current_session_files WHERE tenant = {tenant:String} AND user_name = {user:String})
) AS s ON s.session_file = t.session_file AND s.version = t.version AND s.parser_version = t.parser_version
WHERE t.tenant = {tenant:String} AND t.user_name = {user:String} AND t.turn_index < s.turn_rows
  AND t.role IN ('user', 'assistant') AND t.occurred_at IS NOT NULL`

/** Days on which the session has a turn, as milliseconds since 1970. */
async function daysOf(client: ClickHouseClient, session: Session): Promise<number[]> {
  const rows = await selectRows<{ day: number }>(
    client,
    `SELECT DISTINCT toUInt32(intDiv(toUnixTimestamp64Milli(assumeNotNull(t.occurred_at)), ${dayMs})) AS day
${countedTurns} AND t.session_file = {file:String} AND t.version = {version:String}
ORDER BY day`,
    { tenant: session.tenant, user: session.user, file: session.file, version: session.version },
  )
  return rows.map(({ day }) => day * dayMs)
}

interface TurnTuple {
  readonly session_file: string
  readonly version: string
  readonly file_lines: number
  readonly parser_version: number
  readonly turn_index: number
  readonly block: number
  readonly line: number
  readonly ms: string
  readonly uuid: string
  readonly message_id: string
  readonly kind: string
  readonly model: string
  readonly tool_name: string
  readonly skill: string
  readonly mcp_server: string
  readonly is_error: boolean
  readonly input_tokens: string
  readonly output_tokens: string
  readonly cache_read_tokens: string
  readonly cache_creation_tokens: string
}

/** Turns of all files of the user around these days. Files that lie elsewhere in time are not opened. */
async function turnsOn(
  client: ClickHouseClient,
  { tenant, user }: Session,
  days: readonly number[],
): Promise<StoredTurn[]> {
  const rows = await selectRows<TurnTuple>(
    client,
    `SELECT t.session_file AS session_file, t.version AS version, s.lines AS file_lines, t.parser_version AS parser_version,
  t.turn_index AS turn_index, t.block AS block, t.line AS line,
  toUnixTimestamp64Milli(assumeNotNull(t.occurred_at)) AS ms, t.uuid AS uuid, t.message_id AS message_id, t.kind AS kind,
  t.model AS model, t.tool_name AS tool_name, t.skill AS skill, t.mcp_server AS mcp_server, t.is_error AS is_error,
  t.input_tokens AS input_tokens, t.output_tokens AS output_tokens, t.cache_read_tokens AS cache_read_tokens,
  t.cache_creation_tokens AS cache_creation_tokens
${countedTurns}
  AND (t.session_file, t.version) IN (
    SELECT session_file, version FROM session_summaries FINAL
    WHERE tenant = {tenant:String} AND user_name = {user:String}
      AND started_at < fromUnixTimestamp64Milli({until:Int64}) AND ended_at >= fromUnixTimestamp64Milli({from:Int64}))
  AND t.occurred_at >= fromUnixTimestamp64Milli({from:Int64}) AND t.occurred_at < fromUnixTimestamp64Milli({until:Int64})
  AND arrayExists(day -> toUnixTimestamp64Milli(assumeNotNull(t.occurred_at)) BETWEEN day - ${midnightSlackMs} AND day + ${dayMs + midnightSlackMs}, {days:Array(Int64)})`,
    {
      tenant,
      user,
      from: String((days[0] ?? 0) - midnightSlackMs),
      until: String((days.at(-1) ?? 0) + dayMs + midnightSlackMs),
      days,
    },
  )
  return rows.map((row) => ({
    session: `${row.session_file} ${row.version}`,
    fileLines: row.file_lines,
    parserVersion: row.parser_version,
    turnIndex: row.turn_index,
    block: row.block,
    line: row.line,
    timeMs: Number(row.ms),
    uuid: row.uuid,
    messageId: row.message_id,
    kind: row.kind,
    model: row.model,
    toolName: row.tool_name,
    skill: row.skill,
    mcpServer: row.mcp_server,
    isError: row.is_error,
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    cacheReadTokens: Number(row.cache_read_tokens),
    cacheCreationTokens: Number(row.cache_creation_tokens),
  }))
}
