/**
 * Storing reports and changing them. ClickHouse has no compare-and-set, but it leaves out an insert whose deduplication
 * token it has seen: a version is its own token, so of all who write version 3 of a report one row stays, and who finds
 * their own change id there has changed it. Whoever loses is told what the other did.
 */
import { randomUUID } from 'node:crypto'
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'
import { fetchReport, type ReportKey, readStored } from './read.ts'
import { rowOf } from './rows.ts'
import type { FeedbackReport } from './types.ts'

/** What was stored: ours, or what somebody else had stored before. */
export interface StoredReport {
  readonly report: FeedbackReport
  readonly isOurs: boolean
}

/**
 * Stores a version of a report unless that version is there already. Resolves when it is on disk.
 * After an error it is not known whether it was stored; the same may be stored again.
 */
export async function storeReport(client: ClickHouseClient, report: FeedbackReport): Promise<StoredReport> {
  const changeId = randomUUID()
  await client.insert({
    table: 'feedback_reports',
    values: [rowOf(report, changeId)],
    format: 'JSONEachRow',
    clickhouse_settings: {
      date_time_input_format: 'best_effort',
      insert_deduplicate: 1,
      insert_deduplication_token: JSON.stringify(['feedback', report.tenant, report.id, report.version]),
    },
  })
  const { tenant, id, version } = report
  const [written] = await selectRows<{ change_id: string }>(
    client,
    `SELECT change_id FROM feedback_reports
WHERE tenant = {tenant:String} AND id = {id:String} AND version = {version:UInt32} LIMIT 1`,
    { tenant, id, version },
  )
  if (written?.change_id === changeId) return { report, isOurs: true }
  const stored = await readStored(client, report)
  if (stored === undefined) throw new Error(`report ${report.id} was stored and is not there`)
  return { report: stored.report, isOurs: stored.changeId === changeId }
}

/** A change of a report as it was read. @throws UserError if it cannot be changed like that */
export type ChangeReport = (before: FeedbackReport) => FeedbackReport

export type ChangeOutcome =
  | { readonly kind: 'changed'; readonly before: FeedbackReport; readonly after: FeedbackReport }
  /** Somebody else changed it since `expectedVersion`. */
  | { readonly kind: 'conflict'; readonly current: FeedbackReport }
  | { readonly kind: 'unknown' }

/**
 * Changes a report if it still has the version that was looked at.
 * @param change gives the report as it shall be; version, times and history are its own business
 */
export async function changeReport(
  client: ClickHouseClient,
  key: ReportKey & { readonly expectedVersion: number },
  change: ChangeReport,
): Promise<ChangeOutcome> {
  const before = await fetchReport(client, key)
  if (before === undefined) return { kind: 'unknown' }
  if (before.version !== key.expectedVersion) return { kind: 'conflict', current: before }
  const { report: after, isOurs } = await storeReport(client, change(before))
  return isOurs ? { kind: 'changed', before, after } : { kind: 'conflict', current: after }
}

/**
 * Removes from disk what reports were before they became tombstones; ClickHouse would keep it until it merges. Resolves
 * when nothing can read it any more; the files go some minutes later.
 */
export async function erasePurged(client: ClickHouseClient): Promise<void> {
  const left =
    "(tenant, id) IN (SELECT tenant, id FROM feedback_reports WHERE status = 'purged') AND status != 'purged'"
  const [row] = await selectRows<{ rows: string }>(
    client,
    `SELECT count() AS rows FROM feedback_reports WHERE ${left}`,
    {},
  )
  if (row === undefined || row.rows === '0') return
  await client.command({
    query: `ALTER TABLE feedback_reports DELETE WHERE ${left}`,
    clickhouse_settings: { mutations_sync: '2', allow_nondeterministic_mutations: 1 },
  })
}
