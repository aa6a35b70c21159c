/**
 * "What never arrived?": of one session as of now, by the rules themselves; of all as the processors last computed it,
 * since comparing thousands of sessions takes seconds.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from './rows.ts'
import { badFilter, defaultTenant } from './where.ts'

export interface GapRequest {
  /** `default` unless told. */
  readonly tenant?: string
  /** One session; all of them unless told. */
  readonly sessionId?: string
  /** Gaps that end after this, inclusive. */
  readonly since?: Date
  /** 1 to 10000, 1000 unless told. */
  readonly limit?: number
  /** Cores it may take; as many as there are unless told. */
  readonly maxThreads?: number
}

export interface SessionGap {
  readonly sessionId: string
  /** What each means stands with the view. */
  readonly kind: 'sequence' | 'late_start' | 'tool_result' | 'tool_use' | 'request' | 'message' | 'outcome'
  /** Of `event.sequence`; null for what is not counted. */
  readonly firstMissing: number | null
  readonly lastMissing: number | null
  readonly missing: number
  /** tool_use_id, request_id or message.uuid. */
  readonly key: string
  readonly detail: string
  /** ISO 8601. */
  readonly after: string
  readonly until: string
}

/** By session, in the order of time. @throws UserError (status 400, exit code 2) for a bad request */
export async function fetchSessionGaps(client: ClickHouseClient, request: GapRequest): Promise<SessionGap[]> {
  const { limit = 1000, tenant = defaultTenant, sessionId = '', since, maxThreads } = request
  if (!Number.isInteger(limit) || limit < 1 || limit > 10_000) {
    throw badFilter(`a page cannot have ${limit} rows`, 'limit is a whole number from 1 to 10000')
  }
  if (sessionId.length > 1000) throw badFilter('the session id is too long', 'use at most 1000 characters')
  const rows = await selectRows<RawGap>(
    client,
    `SELECT session_id, kind, first_missing, last_missing, missing, key, detail, after, until
FROM ${sessionId === '' ? 'session_gaps' : 'session_gaps_of(sessions = [{sessionId:String}])'}
WHERE tenant = {tenant:String}${since === undefined ? '' : ' AND until >= fromUnixTimestamp64Milli({since:Int64})'}
ORDER BY session_id, after, kind, first_missing, key
LIMIT {limit:UInt32}`,
    {
      tenant,
      limit,
      ...(sessionId === '' ? {} : { sessionId }),
      ...(since === undefined ? {} : { since: String(since.getTime()) }),
    },
    maxThreads === undefined ? {} : { max_threads: maxThreads },
  )
  return rows.map((row) => ({
    sessionId: row.session_id,
    kind: row.kind,
    firstMissing: row.first_missing === null ? null : Number(row.first_missing),
    lastMissing: row.last_missing === null ? null : Number(row.last_missing),
    missing: Number(row.missing),
    key: row.key,
    detail: row.detail,
    after: row.after,
    until: row.until,
  }))
}

interface RawGap {
  readonly session_id: string
  readonly kind: SessionGap['kind']
  readonly first_missing: string | null
  readonly last_missing: string | null
  readonly missing: string
  readonly key: string
  readonly detail: string
  readonly after: string
  readonly until: string
}
