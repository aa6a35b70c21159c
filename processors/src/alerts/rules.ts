/** Which rules the evaluator runs: the list Grafana is provisioned with, and one about rules that cannot be asked. */
import type { ClickHouseClient } from '@agnes/clickhouse'
import { selectRows } from '@agnes/clickhouse'
import { type AlertRule, alertRules } from '@agnes/grafana'

/** How alert rules are told of: without the SQL, as the one about failing rules has none. */
export type RuleFacts = Omit<AlertRule, 'sql' | 'fromSeconds' | 'toSeconds' | 'panel'>

/** An alert for each rule whose query fails; Grafana has states of its own for that. */
export const failingRule: RuleFacts = {
  uid: 'agnes-rule-failing',
  title: 'Alert rule cannot be evaluated',
  severity: 'warning',
  summary: 'The query of the alert rule {rule} fails, so nobody would be told',
  firstStep:
    'Look at the log of the processors: it says what ClickHouse answers. A query that takes too long means a busy or full ClickHouse.',
  condition: { op: 'gt', threshold: 0 },
  // Rules that are asked every five minutes have failed twice by then.
  forSeconds: 600,
  keepFiringSeconds: 0,
  everySeconds: 60,
  noData: 'OK',
  runbook: 'rule-failing',
}

/** Every rule the evaluator has alerts for. */
export function evaluatedRules(options: { readonly dailyBudgetUsd?: number } = {}): readonly RuleFacts[] {
  return [...alertRules(options), failingRule]
}

/** More are not watched: the query of the health rule holds each of them. */
const mostTenants = 100

/** `default`, and whoever sent something this week or has a valid key. @returns at most a hundred, and how many there are */
export async function fetchTenants(
  client: ClickHouseClient,
): Promise<{ readonly tenants: readonly string[]; readonly total: number }> {
  const rows = await selectRows<{ tenant: string }>(
    client,
    `SELECT DISTINCT tenant FROM
(
  SELECT toString(TenantId) AS tenant FROM otel_logs WHERE Timestamp > now() - INTERVAL 7 DAY GROUP BY TenantId
  UNION ALL
  SELECT toString(tenant) AS tenant FROM current_api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
)
WHERE tenant NOT IN ('', 'default')
ORDER BY tenant`,
    {},
  )
  const all = ['default', ...rows.map(({ tenant }) => tenant)]
  return { tenants: all.slice(0, mostTenants), total: all.length }
}
