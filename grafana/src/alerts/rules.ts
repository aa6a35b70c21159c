/**
 * Alert rules: one list, of which Grafana's provisioning is made and which the built-in evaluator runs where there is no
 * Grafana. The SQL of a rule gives rows of texts, which become labels, and exactly one number, `value`: each row is an
 * alert of its own, and stands or falls with the condition on its value. It may use the backend's macros (`query/macros`)
 * but no variables, as there is nobody to choose them.
 */

export type Severity = 'critical' | 'warning'

export interface AlertRule {
  /** For good: silences and links hang on it. */
  readonly uid: string
  readonly title: string
  readonly severity: Severity
  /** One sentence for people: `{value}`, and `{label}` for each column of text. */
  readonly summary: string
  /** What to do first; the runbook begins with it. */
  readonly firstStep: string
  readonly sql: string
  /** The time range of the query: from this many seconds before now … */
  readonly fromSeconds: number
  /** … to this many. Events need a moment to arrive. */
  readonly toSeconds: number
  readonly condition: Condition
  /** How long the condition must hold before it fires, seconds. */
  readonly forSeconds: number
  /** How long it goes on firing after the condition no longer holds, against flapping. */
  readonly keepFiringSeconds: number
  /** Between two evaluations, seconds. */
  readonly everySeconds: 60 | 300
  /**
   * When the query has no rows: `OK` where rows stand for what is bad or may not be there at all, `Alerting` where a row
   * must come.
   */
  readonly noData: 'OK' | 'Alerting'
  /** The panel that shows it. */
  readonly panel: { readonly dashboard: string; readonly title: string }
  /** `docs/runbooks/<name>.md` */
  readonly runbook: string
}

export interface Condition {
  readonly op: 'gt' | 'lt'
  readonly threshold: number
  /** Once it fires it goes on until the value is back behind this. */
  readonly recovery?: number
}

export interface AlertOptions {
  /** Tenants whose health pulse is watched. */
  readonly tenants?: readonly string[]
  /** Cost of language models within 24 hours from which on somebody wants to know, US dollars a tenant. */
  readonly dailyBudgetUsd?: number
}

/** Whether a row is one to fire for. @param firing whether it fires already */
export function breaches({ op, threshold, recovery }: Condition, value: number, firing = false): boolean {
  const limit = firing ? (recovery ?? threshold) : threshold
  return op === 'gt' ? value > limit : value < limit
}

/** The sentence of a rule, for one of its rows. */
export function summaryOf(
  rule: Pick<AlertRule, 'summary'>,
  labels: Readonly<Record<string, string>>,
  value: number,
): string {
  const rounded = Number(value.toPrecision(4)).toString()
  return rule.summary.replaceAll(/\{(\w+)\}/g, (found, name: string) =>
    name === 'value' ? rounded : (labels[name] ?? found),
  )
}

const minute = 60
const hour = 3_600
const day = 86_400
const inRange = '$__timeFilter_ms(Timestamp)'
const tenant = 'toString(TenantId) AS tenant'
const since = (time: string): string => `toFloat64(dateDiff('second', ${time}, toDateTime64($__toTime, 9)))`
const beats = `${inRange} AND EventName = 'agnes.system' AND Action = 'system.heartbeat'`
const figure = (name: string): string => `toFloat64OrZero(extract(Message, '\\\\b${name}=([\\\\d.]+)'))`
const runs = `${inRange} AND EventName = 'agnes.agent_run.finish'`
const literal = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`

const usual = { toSeconds: 0, forSeconds: 0, keepFiringSeconds: 0, everySeconds: 60, noData: 'OK' } as const

/** The list. Every threshold of health that is not the health pulse's own stands here. */
export function alertRules({ tenants = ['default'], dailyBudgetUsd = 100 }: AlertOptions = {}): AlertRule[] {
  return [
    {
      ...usual,
      uid: 'agnes-health-red',
      title: 'Health pulse is red',
      severity: 'critical',
      summary: 'The field {field} of the health pulse of {tenant} is red',
      firstStep: 'Open Health pulse and click the red tile: it shows the events behind it.',
      sql: tenants
        .map(
          (name) =>
            `SELECT ${literal(name)} AS tenant, name AS field, toFloat64(color = 'red') AS value FROM health_pulse(now = $__toTime, tenant = ${literal(name)})`,
        )
        .join('\nUNION ALL\n'),
      fromSeconds: day,
      condition: { op: 'gt', threshold: 0 },
      forSeconds: 5 * minute,
      panel: { dashboard: 'agnes-home', title: 'Is Agnes healthy?' },
      noData: 'Alerting',
      runbook: 'health-red',
    },
    {
      ...usual,
      uid: 'agnes-scheduler-silent',
      title: 'Scheduler is silent',
      severity: 'critical',
      summary: 'The scheduler of {tenant} has not ticked for {value} s',
      firstStep: "Look whether Agnes' scheduler runs on its host, and whether other events of that host still arrive.",
      // A tenant that never had a scheduler in this time has no row.
      sql: `SELECT ${tenant}, ${since('max(Timestamp)')} AS value FROM otel_logs WHERE ${inRange} AND EventName = 'agnes.audit' AND ClientKind = 'scheduler' GROUP BY TenantId`,
      fromSeconds: 7 * day,
      condition: { op: 'gt', threshold: 2 * hour },
      everySeconds: 300,
      panel: { dashboard: 'agnes-home', title: 'When was it not well?' },
      runbook: 'scheduler-silent',
    },
    {
      ...usual,
      uid: 'agnes-sync-failures',
      title: 'Syncs fail',
      severity: 'warning',
      summary: '{value} of the syncs of {tenant} in the last 24 hours failed (1 is all of them)',
      firstStep: 'Open Sync: "Why did syncs fail?" has the errors, most frequent first.',
      sql: `SELECT ${tenant}, countIf(Result NOT IN ('ok', 'success', 'skipped')) / countIf(Result != 'skipped') AS value FROM otel_logs WHERE ${inRange} AND EventName = 'agnes.sync' GROUP BY TenantId HAVING countIf(Result != 'skipped') > 0`,
      fromSeconds: day,
      condition: { op: 'gt', threshold: 0.05, recovery: 0.04 },
      forSeconds: 5 * minute,
      everySeconds: 300,
      panel: { dashboard: 'agnes-sync', title: 'Why did syncs fail?' },
      runbook: 'sync-failures',
    },
    {
      ...usual,
      uid: 'agnes-sync-stale',
      title: 'Table is stale',
      severity: 'warning',
      summary: 'The table {table} of {tenant} was synced well {value} times its usual interval ago',
      firstStep:
        'Open Sync and click the table: its last error says whether the source, the schema or the schedule is to mend.',
      // The usual interval is the mean of the last week, at least five minutes: each table has its own pace.
      sql: `SELECT ${tenant}, Resource AS table, ${since('max(Timestamp)')} / greatest(300, dateDiff('second', min(Timestamp), max(Timestamp)) / (count() - 1)) AS value
FROM otel_logs
WHERE ${inRange} AND EventName = 'agnes.sync' AND Result IN ('ok', 'success')
GROUP BY TenantId, Resource
HAVING count() >= 3`,
      fromSeconds: 7 * day,
      condition: { op: 'gt', threshold: 4, recovery: 2 },
      forSeconds: 10 * minute,
      everySeconds: 300,
      panel: { dashboard: 'agnes-sync', title: 'Which tables are late?' },
      runbook: 'sync-stale',
    },
    {
      ...usual,
      uid: 'agnes-ingest-stopped',
      title: 'Ingest stopped',
      severity: 'critical',
      summary: 'No ingest gateway was heard of for {value} s',
      firstStep:
        "Look whether the gateway runs (agnes doctor, /readyz), then whether ClickHouse answers: what waits lies safely in the gateway's spool.",
      sql: `SELECT if(count() = 0, 86400, ${since('max(Timestamp)')}) AS value FROM otel_logs WHERE ${beats}`,
      fromSeconds: hour,
      condition: { op: 'gt', threshold: 2 * minute },
      forSeconds: minute,
      noData: 'Alerting',
      panel: { dashboard: 'agnes-pipeline', title: 'When was a gateway last heard of?' },
      runbook: 'ingest-stopped',
    },
    {
      ...usual,
      uid: 'agnes-backlog-growing',
      title: 'Backlog grows',
      severity: 'warning',
      summary: 'The oldest record in the spool of {gateway} has waited {value} s',
      firstStep: 'Open Pipeline: does ClickHouse take inserts slowly, or is more coming in than usual, and from whom?',
      // The least of five minutes: a single slow insert is none. Each gateway for itself: one that is well does not hide another.
      sql: `SELECT gateway, max(least_waited) AS value
FROM (SELECT toString(ServiceName) AS gateway, min(${figure('oldest_seconds')}) AS least_waited FROM otel_logs WHERE ${beats} GROUP BY ServiceName, ResourceAttributes['service.instance.id'])
GROUP BY gateway`,
      fromSeconds: 5 * minute,
      condition: { op: 'gt', threshold: 30, recovery: 10 },
      forSeconds: 5 * minute,
      panel: { dashboard: 'agnes-pipeline', title: 'What waits on disk?' },
      runbook: 'backlog-growing',
    },
    {
      ...usual,
      uid: 'agnes-rejects',
      title: 'Records are rejected',
      severity: 'warning',
      summary: 'A gateway rejected {value} records within an hour',
      firstStep: "Read the gateway's log for the reason, then find the sender: a new release of it, mostly.",
      sql: `SELECT max(${figure('rejected_last_hour')}) AS value FROM otel_logs WHERE ${beats} HAVING count() > 0`,
      fromSeconds: 5 * minute,
      condition: { op: 'gt', threshold: 0 },
      keepFiringSeconds: 15 * minute,
      panel: { dashboard: 'agnes-pipeline', title: 'How much was rejected?' },
      runbook: 'rejects',
    },
    {
      ...usual,
      uid: 'agnes-disk',
      title: 'Disk is nearly full',
      severity: 'critical',
      summary: 'The disk {disk} of ClickHouse is {value} full (1 is all of it)',
      firstStep:
        'Give the disk more room, or drop the oldest days (nothing does that by itself); a full disk stops inserts, and the spools fill up.',
      sql: `SELECT name AS disk, 1 - free_space / total_space AS value FROM system.disks WHERE total_space > 0`,
      fromSeconds: 5 * minute,
      condition: { op: 'gt', threshold: 0.9, recovery: 0.85 },
      forSeconds: 5 * minute,
      everySeconds: 300,
      panel: { dashboard: 'agnes-pipeline', title: 'How full are the disks?' },
      runbook: 'disk',
    },
    {
      ...usual,
      uid: 'agnes-agent-failure-spike',
      title: 'Agent fails often',
      severity: 'critical',
      summary: '{value} runs of the agent {agent} of {tenant} failed within an hour',
      firstStep:
        'Open Agent runs and click the agent: its failed runs mostly share one error. Stop its schedule if it costs money.',
      sql: `SELECT ${tenant}, if(Resource = '', 'not said', Resource) AS agent, toFloat64(countIf(ResultClass = 'error')) AS value FROM otel_logs WHERE ${runs} GROUP BY TenantId, Resource`,
      fromSeconds: hour,
      condition: { op: 'gt', threshold: 10 },
      keepFiringSeconds: 15 * minute,
      panel: { dashboard: 'agnes-agents', title: 'When did runs fail?' },
      runbook: 'agent-failure-spike',
    },
    {
      ...usual,
      uid: 'agnes-agent-failure-rate',
      title: 'Agent fails too large a share',
      severity: 'warning',
      summary: '{value} of the runs of the agent {agent} of {tenant} in the last 6 hours failed (1 is all of them)',
      firstStep:
        'Open Agent runs and compare the agent with the others: all of them fail for a provider or the data, one for itself.',
      sql: `SELECT ${tenant}, if(Resource = '', 'not said', Resource) AS agent, countIf(ResultClass = 'error') / count() AS value FROM otel_logs WHERE ${runs} GROUP BY TenantId, Resource HAVING count() >= 10`,
      fromSeconds: 6 * hour,
      condition: { op: 'gt', threshold: 0.3, recovery: 0.2 },
      forSeconds: 10 * minute,
      everySeconds: 300,
      panel: { dashboard: 'agnes-agents', title: 'Which agent is slow or fails?' },
      runbook: 'agent-failure-rate',
    },
    {
      ...usual,
      uid: 'agnes-agent-slow',
      title: 'Agent is slow',
      severity: 'warning',
      summary: 'One run in twenty of the agent {agent} of {tenant} takes {value} times as long as a day ago',
      firstStep: 'Open Agent runs, then LLM usage & cost: slower calls of models, or more of them a run?',
      sql: `SELECT ${tenant}, if(Resource = '', 'not said', Resource) AS agent,
  quantileIf(0.95)(assumeNotNull(DurationMs), Timestamp > toDateTime64($__toTime, 9) - INTERVAL 1 HOUR) / greatest(1000, quantileIf(0.95)(assumeNotNull(DurationMs), Timestamp <= toDateTime64($__toTime, 9) - INTERVAL 1 HOUR)) AS value
FROM otel_logs
WHERE ${runs} AND DurationMs IS NOT NULL
GROUP BY TenantId, Resource
HAVING countIf(Timestamp > toDateTime64($__toTime, 9) - INTERVAL 1 HOUR) >= 5 AND countIf(Timestamp <= toDateTime64($__toTime, 9) - INTERVAL 1 HOUR) >= 5`,
      fromSeconds: day,
      condition: { op: 'gt', threshold: 2, recovery: 1.5 },
      forSeconds: 10 * minute,
      everySeconds: 300,
      panel: { dashboard: 'agnes-agents', title: 'How long do runs take?' },
      runbook: 'agent-slow',
    },
    {
      ...usual,
      uid: 'agnes-permission-denials',
      title: 'Permission denials rise',
      severity: 'warning',
      summary: '{tenant} has {value} times as many denials in this hour as in the hours of the day before',
      firstStep:
        'Open Audit integrity & privacy, "Who was turned away": one user is a missing grant or somebody curious, many are a changed policy.',
      // Fewer than twenty in the hour are no spike, whatever the day before was like. Sign-ins have a rule of their own.
      sql: `SELECT ${tenant}, if(countIf(Timestamp > toDateTime64($__toTime, 9) - INTERVAL 1 HOUR) < 20, 0,
  countIf(Timestamp > toDateTime64($__toTime, 9) - INTERVAL 1 HOUR) / greatest(1, countIf(Timestamp <= toDateTime64($__toTime, 9) - INTERVAL 1 HOUR) / 23)) AS value
FROM otel_logs
WHERE ${inRange} AND ResultClass = 'denied' AND Result NOT IN ('invalid_password', 'deactivated')
GROUP BY TenantId`,
      fromSeconds: day,
      condition: { op: 'gt', threshold: 3 },
      keepFiringSeconds: 15 * minute,
      panel: { dashboard: 'agnes-integrity', title: 'When were people turned away?' },
      runbook: 'permission-denials',
    },
    {
      ...usual,
      uid: 'agnes-auth-failures',
      title: 'Sign-ins fail',
      severity: 'critical',
      summary: '{value} sign-ins of {tenant} failed within 15 minutes',
      firstStep:
        'Open Audit integrity & privacy, "Who was turned away, from where": few addresses with many users is somebody guessing; block them.',
      sql: `SELECT ${tenant}, toFloat64(count()) AS value FROM otel_logs WHERE ${inRange} AND Result IN ('invalid_password', 'deactivated') GROUP BY TenantId`,
      fromSeconds: 15 * minute,
      condition: { op: 'gt', threshold: 20 },
      keepFiringSeconds: 15 * minute,
      panel: { dashboard: 'agnes-integrity', title: 'Who was turned away, from where?' },
      runbook: 'auth-failures',
    },
    {
      ...usual,
      uid: 'agnes-integrity-failure',
      title: 'Integrity check failed',
      severity: 'critical',
      summary: '{value} checks of the integrity of {tenant} failed within a day',
      firstStep:
        'Touch nothing: keep the data directory or a snapshot as it is, then read what the check says is missing or changed.',
      sql: `SELECT ${tenant}, toFloat64(count()) AS value FROM otel_logs WHERE ${inRange} AND match(Action, '^(system\\\\.)?(integrity|digest|verify)') AND ResultClass = 'error' GROUP BY TenantId`,
      fromSeconds: day,
      condition: { op: 'gt', threshold: 0 },
      everySeconds: 300,
      panel: { dashboard: 'agnes-integrity', title: 'What was verified, erased or let go?' },
      runbook: 'integrity-failure',
    },
    {
      ...usual,
      uid: 'agnes-feedback-waiting',
      title: 'Feedback waits',
      severity: 'warning',
      summary: "{value} reports of {tenant} have been open and nobody's for more than a day",
      firstStep:
        'Open Feedback, take the oldest report or give it to somebody: an answer within a day keeps people reporting.',
      sql: `SELECT toString(tenant) AS tenant, toFloat64(countIf(status = 'open' AND assignee = '' AND created_at < $__toTime - INTERVAL 1 DAY)) AS value FROM current_feedback_reports GROUP BY tenant`,
      fromSeconds: day,
      condition: { op: 'gt', threshold: 0 },
      everySeconds: 300,
      panel: { dashboard: 'agnes-feedback', title: 'Which reports wait?' },
      runbook: 'feedback-waiting',
    },
    {
      ...usual,
      uid: 'agnes-cost-budget',
      title: 'Cost is above the budget',
      severity: 'warning',
      summary: 'Language models cost {tenant} {value} US dollars within 24 hours',
      firstStep:
        'Open LLM usage & cost: who and which model spends it, and is it an agent that runs in circles (Agent runs)?',
      sql: `SELECT toString(tenant) AS tenant, sum(cost_usd_micros) / 1000000 AS value FROM llm_generations WHERE $__timeFilter_ms(timestamp) GROUP BY tenant HAVING value > 0`,
      fromSeconds: day,
      condition: { op: 'gt', threshold: dailyBudgetUsd },
      everySeconds: 300,
      panel: { dashboard: 'agnes-llm', title: 'What did it cost, and what will a month?' },
      runbook: 'cost-budget',
    },
  ]
}
