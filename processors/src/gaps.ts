/**
 * What never arrived (`session_gaps`): sessions that something came in for since the last time, telemetry or transcript,
 * are compared anew as a whole. So a round that was cut short, or done twice, ends where one from scratch does.
 */
import { type ClickHouseClient, selectRows } from '@agnes/clickhouse'
import { insertRows } from './state.ts'

export interface GapsOptions {
  readonly client: ClickHouseClient
  /** The number of the lease: rows of who had it before do not hold against those of who has it now. */
  readonly fence: bigint
  /** Grows with each call under the same lease. */
  readonly round: number
  /** Asked before each batch of sessions. */
  readonly mayGoOn: () => boolean
}

/** One comparison costs half a second whatever it is about, and a millisecond for each session. */
const sessionsAtOnce = 200
/** An insert is visible some time after the time that its rows were given. */
const slackMs = 120_000

/** @returns how many sessions were compared. @throws the client's errors */
export async function findGaps({ client, fence, round, mayGoOn }: GapsOptions): Promise<number> {
  const rank = String((fence << 64n) | BigInt(round))
  const { from, now } = await readProgress(client)
  // In the order of time: those of one batch lie near each other.
  const changed = await selectRows<{ tenant: string; id: string }>(
    client,
    `SELECT tenant, id
FROM
(
  SELECT TenantId AS tenant, SessionId AS id, min(Timestamp) AS at FROM otel_logs
  WHERE startsWith(ScopeName, 'com.anthropic.claude_code') AND SessionId != '' AND StoredAt >= fromUnixTimestamp64Milli({from:Int64})
  GROUP BY tenant, id
  UNION ALL
  SELECT tenant, arrayJoin(session_ids) AS id, toDateTime64(ifNull(started_at, first_received_at), 9) AS at FROM session_summaries
  WHERE processed_at >= fromUnixTimestamp64Milli({from:Int64})
)
GROUP BY tenant, id ORDER BY tenant, min(at), id`,
    { from: String(from) },
  )
  const byTenant = new Map<string, string[]>()
  for (const { tenant, id } of changed) {
    const ids = byTenant.get(tenant)
    if (ids === undefined) byTenant.set(tenant, [id])
    else ids.push(id)
  }
  let compared = 0
  for (const [tenant, ids] of byTenant) {
    for (let at = 0; at < ids.length; at += sessionsAtOnce) {
      if (!mayGoOn()) return compared
      const sessions = ids.slice(at, at + sessionsAtOnce)
      await insertRows(client, 'session_gap_rows', await compare(client, tenant, sessions, { rank, now }))
      compared += sessions.length
    }
  }
  await insertRows(client, 'session_gap_rows', [{ tenant: '', session_id: '', rank, checked_until: now }])
  return compared
}

/** From when on something may be new; by ClickHouse's clock, as the times of rows are. It may have been set back. */
async function readProgress(client: ClickHouseClient): Promise<{ from: number; now: string }> {
  const [row] = await selectRows<{ until: string; now_ms: string }>(
    client,
    `SELECT toUnixTimestamp64Milli(max(checked_until)) AS until, toUnixTimestamp64Milli(now64(3)) AS now_ms
FROM session_gap_rows FINAL WHERE tenant = '' AND session_id = ''`,
    {},
  )
  const now = Number(row?.now_ms ?? 0)
  return { from: Math.max(0, Math.min(Number(row?.until ?? 0), now) - slackMs), now: new Date(now).toISOString() }
}

const columns = ['kind', 'first_missing', 'last_missing', 'missing', 'key', 'detail', 'after', 'until'] as const

/** One row a session, also where nothing is missing any more. */
async function compare(
  client: ClickHouseClient,
  tenant: string,
  sessions: readonly string[],
  { rank, now }: { readonly rank: string; readonly now: string },
): Promise<Record<string, unknown>[]> {
  const gaps = await selectRows<Record<(typeof columns)[number] | 'session_id', unknown>>(
    client,
    `SELECT session_id, ${columns.join(', ')} FROM session_gaps_of(sessions = {sessions:Array(String)})
WHERE tenant = {tenant:String} ORDER BY session_id, after, kind, first_missing, key`,
    { tenant, sessions },
  )
  const bySession = new Map<string, typeof gaps>(sessions.map((id) => [id, []]))
  for (const gap of gaps) bySession.get(String(gap.session_id))?.push(gap)
  return [...bySession].map(([id, found]) => ({
    tenant,
    session_id: id,
    rank,
    checked_until: now,
    ...Object.fromEntries(columns.map((column) => [`gaps.${column}`, found.map((gap) => gap[column])])),
  }))
}
