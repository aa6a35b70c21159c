/**
 * `failure_scan`: where a session got stuck. All findings of a session are one row, so a rescan replaces them at once.
 *
 * What Claude Code tells by telemetry of who decided on a call goes into the scan, and may come later than the session:
 * then the session is open again.
 */
import { randomUUID } from 'node:crypto'
import { type ClickHouseClient, selectRows } from '@agnes/clickhouse'
import type { Processor, Session } from '../processor.ts'
import { insertRows } from '../state.ts'
import { transcripts } from '../transcripts/processor.ts'
import { countOf, timeOf, wellFormed } from '../transcripts/rows.ts'
import type { Finding } from './finding.ts'
import { rules } from './rules.ts'
import { createFailureScan, type ToolDecision } from './scan.ts'

const decisionEvents = "('tool_decision', 'claude_code.tool_decision')"

export const failureScan: Processor = {
  name: 'failure_scan',
  // Goes up with each rule that is new or changed.
  version: rules.reduce((sum, rule) => sum + rule.version, 0),
  everySeconds: 900,
  description: 'Places where sessions got stuck: session_findings',
  after: transcripts,
  // Counts what the scan would be given now; more than it had is news.
  reopened: `SELECT tenant, user_name, session_file, version
FROM
(
  SELECT tenant, user_name, session_file, version, decisions, decisions_from, decisions_until, arrayJoin(session_ids) AS session_id
  FROM session_scans FINAL
) AS scan
INNER JOIN
(
  SELECT TenantId AS tenant, SessionId AS session_id, Timestamp AS at FROM otel_logs
  WHERE EventName IN ${decisionEvents} AND SessionId != ''
) AS decision USING (tenant, session_id)
WHERE at >= decisions_from AND at < decisions_until
GROUP BY tenant, user_name, session_file, version
HAVING count() > any(decisions)`,
  async process(session, { client, turns, rank, dryRun }) {
    const known = await decisionsOn(client, session)
    const scan = createFailureScan({ telemetry: known.byToolUseId })
    /** From which turn on which session id holds. */
    const ids: { readonly index: number; readonly id: string }[] = []
    for await (const turn of turns()) {
      scan.turn(turn)
      if (turn.sessionId !== '' && turn.sessionId !== ids.at(-1)?.id)
        ids.push({ index: turn.index, id: turn.sessionId })
    }
    const findings = scan.end()
    if (!dryRun) {
      await insertRows(client, 'session_scans', [
        {
          tenant: session.tenant,
          user_name: session.user,
          session_file: session.file,
          version: session.version,
          rank: String(rank(known.count)),
          processor_version: failureScan.version,
          file_hash: session.fileHash,
          lines: session.lines,
          decisions: known.count,
          decisions_from: known.from,
          decisions_until: known.until,
          session_ids: known.sessionIds,
          scan_id: randomUUID(),
          scanned_at: new Date().toISOString(),
          ...columnsOf(findings, (index) => ids.findLast((one) => one.index <= index)?.id ?? ids[0]?.id ?? ''),
        },
      ])
    }
    return { items: findings.length, evidence: known.count }
  },
}

interface Decisions {
  readonly byToolUseId: ReadonlyMap<string, ToolDecision>
  /** Events, one that came twice counted twice. */
  readonly count: number
  readonly sessionIds: readonly string[]
  /** Where they were looked for, ISO 8601. */
  readonly from: string
  readonly until: string
}

/** A clock that is off, or a call that waited over night for its answer. */
const slackMs = 86_400_000

/** What telemetry says of the calls of a session, from a day before its first turn to a day after its last. */
async function decisionsOn(client: ClickHouseClient, session: Session): Promise<Decisions> {
  const [summary] = await selectRows<{ session_ids: string[]; started_ms: string | null; ended_ms: string | null }>(
    client,
    `SELECT session_ids, toUnixTimestamp64Milli(started_at) AS started_ms, toUnixTimestamp64Milli(ended_at) AS ended_ms
FROM session_summaries FINAL
WHERE tenant = {tenant:String} AND user_name = {user:String} AND session_file = {file:String} AND version = {version:String}`,
    { tenant: session.tenant, user: session.user, file: session.file, version: session.version },
  )
  const fromMs = Math.max(0, Number(summary?.started_ms ?? 0) - slackMs)
  const untilMs = summary?.ended_ms == null ? fromMs : Number(summary.ended_ms) + slackMs
  const sessionIds = summary?.session_ids ?? []
  const rows = await selectRows<{ id: string; decision: string; source: string }>(
    client,
    `SELECT LogAttributes['tool_use_id'] AS id, LogAttributes['decision'] AS decision, LogAttributes['source'] AS source
FROM otel_logs
WHERE TenantId = {tenant:String} AND EventName IN ${decisionEvents} AND SessionId IN {sessions:Array(String)}
  AND Timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND Timestamp < fromUnixTimestamp64Milli({until:Int64})
ORDER BY Timestamp, Seq`,
    { tenant: session.tenant, sessions: sessionIds, from: String(fromMs), until: String(untilMs) },
  )
  return {
    byToolUseId: new Map(
      rows.flatMap(({ id, decision, source }) =>
        id !== '' && (decision === 'accept' || decision === 'reject') ? [[id, { decision, source }]] : [],
      ),
    ),
    count: rows.length,
    sessionIds,
    from: new Date(fromMs).toISOString(),
    until: new Date(untilMs).toISOString(),
  }
}

/** Nested columns: one array each. */
function columnsOf(findings: readonly Finding[], sessionIdAt: (turnIndex: number) => string): Record<string, unknown> {
  const column = (name: string, value: (finding: Finding) => unknown) => [`findings.${name}`, findings.map(value)]
  return wellFormed(
    Object.fromEntries([
      column('finding_id', ({ id }) => id),
      column('type', ({ type }) => type),
      column('class', (finding) => finding.class),
      column('severity', ({ severity }) => severity),
      column('session_id', ({ turnIndex }) => sessionIdAt(turnIndex)),
      column('turn_index', ({ turnIndex }) => countOf(turnIndex)),
      column('line', ({ line }) => countOf(line)),
      column('uuid', ({ uuid }) => uuid),
      column('tool_use_id', ({ toolUseId }) => toolUseId),
      column('tool_name', ({ toolName }) => toolName),
      column('occurred_at', ({ timeMs }) => timeOf(timeMs)),
      column('excerpt', ({ excerpt }) => excerpt),
      column('rule', ({ rule }) => rule),
      column('rule_version', ({ ruleVersion }) => ruleVersion),
      column('advice', ({ advice }) => advice),
    ]),
  )
}
