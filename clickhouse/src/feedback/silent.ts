/** "Who has the same and said nothing?": findings that may be of the causes that reports tell of. */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'

export interface SilentQuestion {
  readonly tenant: string
  readonly causes: readonly {
    readonly tool: string
    /** Words that stand so in the text of the error; of several causes of a tool any may. */
    readonly words: string
  }[]
}

/** Findings of equal words. */
export interface SilentFinding {
  readonly type: string
  readonly tool: string
  /** At most the first 300 characters of what failed. */
  readonly excerpt: string
  /** `cityHash64` of it, decimal. */
  readonly hash: string
  /** Each as user, file and version. */
  readonly sessions: readonly (readonly [user: string, file: string, version: string])[]
}

/** Texts that differ; causes with more are counted too low. */
const mostTexts = 2_000
const sessionsOfText = 1_000

/** Whether it is the cause is decided by who asks: here are those that have its tool and some of its words. */
export async function fetchSilentFindings(
  client: ClickHouseClient,
  { tenant, causes }: SilentQuestion,
): Promise<readonly SilentFinding[]> {
  if (causes.length === 0) return []
  return selectRows<SilentFinding>(
    client,
    `SELECT toString(type) AS type, toString(tool_name) AS tool, excerpt, toString(cityHash64(excerpt)) AS hash,
  groupUniqArray(${sessionsOfText})((toString(user_name), session_file, version)) AS sessions
FROM session_findings
WHERE tenant = {tenant:String} AND type IN ('tool_error', 'permission_denied', 'api_error')
  AND tool_name IN {tools:Array(String)} AND multiSearchAny(excerpt, {words:Array(String)})
GROUP BY type, tool_name, excerpt
ORDER BY length(sessions) DESC, hash
LIMIT ${mostTexts}`,
    {
      tenant,
      tools: [...new Set(causes.map(({ tool }) => tool))],
      words: [...new Set(causes.map(({ words }) => words))],
    },
  )
}

/** Sessions that reports of these causes name: `cause key → files`. */
export async function fetchReportedSessions(
  client: ClickHouseClient,
  { tenant, causeKeys }: { readonly tenant: string; readonly causeKeys: readonly string[] },
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const rows = await selectRows<{ readonly cause_key: string; readonly files: readonly string[] }>(
    client,
    `SELECT cause_key, groupUniqArray(session_file) AS files FROM current_feedback_reports
WHERE tenant = {tenant:String} AND cause_key IN {causeKeys:Array(String)} GROUP BY cause_key`,
    { tenant, causeKeys },
  )
  return new Map(rows.map(({ cause_key, files }) => [cause_key, new Set(files)]))
}

export interface KnownCause {
  readonly causeKey: string
  readonly tool: string
  readonly text: string
}

/** What reports of a cause say of it; undefined if there are none. */
export async function fetchCause(
  client: ClickHouseClient,
  { tenant, causeKey }: { readonly tenant: string; readonly causeKey: string },
): Promise<KnownCause | undefined> {
  if (!/^[0-9a-f]{16}$/.test(causeKey)) return undefined
  const [row] = await selectRows<{ readonly tool: string; readonly text: string }>(
    client,
    `SELECT toString(cause_tool) AS tool, cause_text AS text FROM current_feedback_reports
WHERE tenant = {tenant:String} AND cause_key = {causeKey:String} LIMIT 1`,
    { tenant, causeKey },
  )
  return row && { causeKey, ...row }
}
