/**
 * Removes turns that no summary counts any more: those an older version of `transcripts` wrote, once a newer one has read
 * the session. Nobody sees them, but a table that kept them would grow by its own size with every new version.
 *
 * A day at a time, so that a mutation rewrites the parts of that day only. What is removed is told by its key and by being
 * older than what counts, so doing it again, twice at once, or not to the end, removes nothing else.
 */
import { type ClickHouseClient, selectRows } from '@agnes/clickhouse'

export interface CleaningOptions {
  readonly client: ClickHouseClient
  /** Asked before each day. */
  readonly mayGoOn: () => boolean
  /** At most, so that it does not take the disk for long; the rest is left for the next time. */
  readonly days?: number
  readonly sessionsADay?: number
}

export interface Cleaned {
  readonly days: number
  /** Sessions whose old turns were removed. */
  readonly sessions: number
}

const daysAtOnce = 4
const sessionsAtOnce = 1_000

/** @throws the client's errors */
export async function cleanTurns(options: CleaningOptions): Promise<Cleaned> {
  const { client, mayGoOn, days = daysAtOnce, sessionsADay = sessionsAtOnce } = options
  const stale = await selectRows<StaleDay>(
    client,
    `SELECT day, counted, groupArray(${sessionsADay})(arrayMap(text -> hex(text), [toString(tenant), toString(user_name), session_file, version])) AS keys
FROM
(
  SELECT DISTINCT tenant, user_name, session_file, version, parser_version, toYYYYMMDD(first_received_at) AS day FROM session_turn_rows
) AS t
INNER JOIN
(
  SELECT tenant, user_name, session_file, version, parser_version AS counted FROM session_summaries FINAL
) AS s USING (tenant, user_name, session_file, version)
WHERE parser_version < counted
GROUP BY day, counted
ORDER BY day, counted
LIMIT {days:UInt32}`,
    { days },
  )
  let sessions = 0
  let done = 0
  for (const { day, counted, keys } of stale) {
    if (!mayGoOn()) break
    await client.command({
      query: `ALTER TABLE session_turn_rows DELETE IN PARTITION ${Number(day)}
WHERE parser_version < ${Number(counted)} AND (tenant, user_name, session_file, version) IN (${keys.map((key) => `(${key.map((hex) => `unhex('${hex}')`).join(', ')})`).join(', ')})`,
      clickhouse_settings: { mutations_sync: '1' },
    })
    sessions += keys.length
    done++
  }
  return { days: done, sessions }
}

interface StaleDay {
  /** 20261121, as the partition is called. */
  readonly day: number
  readonly counted: number
  /** Tenant, user, file and version in hexadecimal digits: a mutation takes no parameters, and this needs no quoting. */
  readonly keys: readonly (readonly string[])[]
}
