/** Alerts of the built-in evaluator as ClickHouse keeps them: one row a change, so they outlive a restart. */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'

/** `ok`: it was pending and never fired. Those are kept nowhere but in the table. */
export type AlertState = 'pending' | 'firing' | 'resolved' | 'ok'

export const shownAlertStates = ['firing', 'pending', 'resolved'] as const satisfies readonly AlertState[]

export interface Alert {
  /** Hash of the rule and the labels. */
  readonly fingerprint: string
  /** Uid of the rule. */
  readonly rule: string
  readonly labels: Readonly<Record<string, string>>
  /** Empty: it is about the whole installation. */
  readonly tenant: string
  readonly title: string
  readonly severity: 'critical' | 'warning'
  /** One sentence, with the value of the last change. */
  readonly summary: string
  readonly firstStep: string
  /** `docs/runbooks/<runbook>.md` */
  readonly runbook: string
  readonly state: AlertState
  /** At the last change; undefined: the query had no row where one must come. */
  readonly value: number | undefined
  readonly activeSince: Date
  readonly firedAt: Date | undefined
  /** Since when the condition no longer holds while it goes on firing. */
  readonly wellSince: Date | undefined
  readonly resolvedAt: Date | undefined
  readonly changedAt: Date
}

export interface AlertFilter {
  readonly states: readonly AlertState[]
  /** Alerts of this tenant and those of the whole installation; every one unless told. */
  readonly tenant?: string
  /** Resolved ones of this instant and later; all unless told. */
  readonly resolvedSince?: Date
  readonly limit: number
}

/** Firing ones first, then the newest. */
export async function fetchAlerts(client: ClickHouseClient, filter: AlertFilter): Promise<Alert[]> {
  const { states, tenant, resolvedSince, limit } = filter
  const rows = await selectRows<AlertRow>(
    client,
    `SELECT fingerprint, rule, labels, tenant, title, severity, summary, first_step, runbook, state, value,
  toUnixTimestamp64Milli(active_since) AS active_ms, toUnixTimestamp64Milli(fired_at) AS fired_ms,
  toUnixTimestamp64Milli(well_since) AS well_ms, toUnixTimestamp64Milli(resolved_at) AS resolved_ms,
  toUnixTimestamp64Milli(changed_at) AS changed_ms
FROM current_alerts
WHERE state IN {states:Array(String)}${tenant === undefined ? '' : " AND tenant IN ({tenant:String}, '')"}
  AND (state != 'resolved' OR resolved_at >= fromUnixTimestamp64Milli({since:Int64}))
ORDER BY indexOf(['firing', 'pending', 'resolved'], state), active_since DESC, rule, fingerprint
LIMIT {limit:UInt32}`,
    { states, limit, since: String(resolvedSince?.getTime() ?? 0), ...(tenant === undefined ? {} : { tenant }) },
  )
  return rows.map(alertOf)
}

/** @param rank of the first of them; each further one has the next */
export async function saveAlerts(client: ClickHouseClient, alerts: readonly Alert[], rank: bigint): Promise<void> {
  if (alerts.length === 0) return
  await client.insert({
    table: 'alert_states',
    values: alerts.map((alert, i) => ({
      fingerprint: alert.fingerprint,
      rank: String(rank + BigInt(i)),
      rule: alert.rule,
      labels: alert.labels,
      tenant: alert.tenant,
      title: alert.title,
      severity: alert.severity,
      summary: alert.summary,
      first_step: alert.firstStep,
      runbook: alert.runbook,
      state: alert.state,
      value: alert.value ?? null,
      active_since: alert.activeSince.toISOString(),
      fired_at: alert.firedAt?.toISOString() ?? null,
      well_since: alert.wellSince?.toISOString() ?? null,
      resolved_at: alert.resolvedAt?.toISOString() ?? null,
      changed_at: alert.changedAt.toISOString(),
    })),
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort', insert_deduplicate: 0 },
  })
}

interface AlertRow {
  readonly fingerprint: string
  readonly rule: string
  readonly labels: Readonly<Record<string, string>>
  readonly tenant: string
  readonly title: string
  readonly severity: Alert['severity']
  readonly summary: string
  readonly first_step: string
  readonly runbook: string
  readonly state: AlertState
  readonly value: number | null
  readonly active_ms: string
  readonly fired_ms: string | null
  readonly well_ms: string | null
  readonly resolved_ms: string | null
  readonly changed_ms: string
}

function alertOf(row: AlertRow): Alert {
  const date = (ms: string | null): Date | undefined => (ms === null ? undefined : new Date(Number(ms)))
  return {
    fingerprint: row.fingerprint,
    rule: row.rule,
    labels: row.labels,
    tenant: row.tenant,
    title: row.title,
    severity: row.severity,
    summary: row.summary,
    firstStep: row.first_step,
    runbook: row.runbook,
    state: row.state,
    value: row.value ?? undefined,
    activeSince: new Date(Number(row.active_ms)),
    firedAt: date(row.fired_ms),
    wellSince: date(row.well_ms),
    resolvedAt: date(row.resolved_ms),
    changedAt: new Date(Number(row.changed_ms)),
  }
}
