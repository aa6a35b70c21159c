/** "What goes wrong, and is it getting better?": findings by type and week. */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from './rows.ts'
import { refuseBadSessionFilter, type SessionFilter, sessionWhere } from './sessions.ts'

export interface FindingWeek {
  /** Monday of the week, `2026-11-16`. */
  readonly week: string
  readonly type: string
  readonly findings: number
  /** Of severity warning or error. */
  readonly warnings: number
  /** Session files with such a finding. */
  readonly sessions: number
}

/**
 * Of the sessions a filter lets through, by when each finding happened; where the record has no time, by when the
 * session arrived. Weeks and types without findings have no row; newest week first.
 * @throws UserError (status 400, exit code 2) for a bad filter
 */
export async function fetchFindingWeeks(
  client: ClickHouseClient,
  filter: Omit<SessionFilter, 'sort' | 'cursor' | 'limit'>,
): Promise<FindingWeek[]> {
  refuseBadSessionFilter(filter)
  const { sql, params } = sessionWhere(filter)
  const rows = await selectRows<{ week: string; type: string; findings: string; warnings: string; sessions: string }>(
    client,
    `SELECT toStartOfWeek(toDate(ifNull(f.occurred_at, s.received_at)), 1) AS week, f.type AS type, count() AS findings,
  countIf(f.severity != 'info') AS warnings, uniqExact(s.user_name, s.session_file, s.version) AS sessions
FROM session_findings AS f
INNER JOIN (
  SELECT user_name, session_file, version, received_at FROM sessions WHERE ${sql}
) AS s ON s.user_name = f.user_name AND s.session_file = f.session_file AND s.version = f.version
WHERE f.tenant = {tenant:String}
GROUP BY week, type
ORDER BY week DESC, findings DESC, type`,
    params,
  )
  return rows.map((row) => ({
    week: row.week,
    type: row.type,
    findings: Number(row.findings),
    warnings: Number(row.warnings),
    sessions: Number(row.sessions),
  }))
}
