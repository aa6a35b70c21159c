/**
 * Runs the alert rules, each at its own pace, while this process has the lease. What changes is written to ClickHouse and
 * only then told, so whoever is killed in between begins again with what is written. A rule whose query fails keeps its
 * alerts as they are and does not stop the others.
 */
import { type Alert, type ClickHouseClient, fetchAlerts, saveAlerts } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import { type AlertRule, alertRules, summaryOf } from '@agnes/grafana'
import type { Clock } from '../clock.ts'
import { firstLine, refuseOutage } from '../run.ts'
import { ask } from './ask.ts'
import { type Change, type OpenAlert, type OpenAlerts, step } from './machine.ts'
import { failingRule, fetchTenants, type RuleFacts } from './rules.ts'

/** An alert that fired or is over, told once; rarely again after a kill, with the same id. */
export interface Transition {
  readonly kind: 'fire' | 'resolve'
  readonly alert: Alert
}

export interface EvaluatorOptions {
  readonly client: ClickHouseClient
  /** Between two looks at a rule that has a pace of a minute; others in proportion. */
  readonly everyMs: number
  readonly clock: Clock
  readonly log: Log
  /** US dollars a tenant and day. */
  readonly dailyBudgetUsd?: number
  readonly onTransition?: (transition: Transition) => void
  /** Told after each round, with the rules that were asked. */
  readonly onRound?: (rules: readonly string[]) => void
  /** Seconds a rule's query may take. */
  readonly mostSeconds?: number
  /** Other rules than the list, for tests. */
  readonly rules?: readonly AlertRule[]
}

export interface EvaluatorLease {
  readonly fence: bigint
  /** Aborted when it is lost or the process stops. */
  readonly signal: AbortSignal
  /** Whether nobody else can have it yet. */
  held(): boolean
}

/** Of those who take over from one that was killed: it may have written a change and not told of it. */
const tellAgainMs = 600_000
const tenantsEveryMs = 300_000
const mostSeconds = 20
const firstPauseMs = 1_000
const longestPauseMs = 30_000
const loadMost = 100_000

/** Runs until the lease ends. Never rejects. */
export async function evaluateAlerts(options: EvaluatorOptions, lease: EvaluatorLease): Promise<void> {
  const { client, everyMs, clock, log } = options
  const { signal } = lease
  const mayGoOn = (): boolean => lease.held() && !signal.aborted
  /** By rule. undefined: what is written has to be read, first of all or because a write did not say how it ended. */
  let open: Map<string, OpenAlerts> | undefined
  let written = 0n
  let tenants: { readonly names: readonly string[]; readonly untilMs: number } | undefined
  /** What ClickHouse says to a rule that fails, by rule. */
  const failing = new Map<string, string>()
  const overfull = new Set<string>()
  const dueAtMs = new Map<string, number>()

  async function load(): Promise<Map<string, OpenAlerts>> {
    const found = new Map<string, Map<string, OpenAlert>>()
    for (const alert of await fetchAlerts(client, { states: ['pending', 'firing'], limit: loadMost })) {
      const ofRule = found.get(alert.rule) ?? new Map<string, OpenAlert>()
      found.set(alert.rule, ofRule.set(alert.fingerprint, openAlertOf(alert)))
    }
    const resolvedSince = new Date(clock.wall() - tellAgainMs)
    for (const alert of await fetchAlerts(client, { states: ['firing', 'resolved'], resolvedSince, limit: loadMost })) {
      if (alert.state === 'resolved') options.onTransition?.({ kind: 'resolve', alert })
      else if (alert.firedAt !== undefined && alert.firedAt >= resolvedSince)
        options.onTransition?.({ kind: 'fire', alert })
    }
    return found
  }

  async function round(): Promise<void> {
    const rules = await rulesOfNow()
    if (open === undefined) {
      open = await load()
      await retire(open, new Set([...rules, failingRule].map(({ uid }) => uid)))
    }
    const asked: string[] = []
    for (const rule of rules) {
      if (!mayGoOn()) return
      const startedAtMs = clock.now()
      if (startedAtMs < (dueAtMs.get(rule.uid) ?? Number.NEGATIVE_INFINITY)) continue
      await evaluate(rule, open)
      asked.push(rule.uid)
      dueAtMs.set(rule.uid, startedAtMs + (everyMs * rule.everySeconds) / 60)
    }
    if (!mayGoOn()) return
    const rows = [...failing.keys()].map((rule) => ({ labels: { rule }, value: 1 }))
    await take(failingRule, open, { rows, complete: true }, clock.wall())
    options.onRound?.(asked)
  }

  /** Alerts of rules that there are no longer are over. */
  async function retire(now: Map<string, OpenAlerts>, known: ReadonlySet<string>): Promise<void> {
    for (const [uid, alerts] of now) {
      if (known.has(uid)) continue
      const rule: RuleFacts = { ...failingRule, uid, title: uid, summary: `There is no rule ${uid} any more` }
      const changes = [...alerts].map(([fingerprint, alert]): Change => {
        return { fingerprint, alert, kind: alert.state === 'firing' ? 'resolve' : 'clear' }
      })
      await write(rule, changes, clock.wall())
      now.delete(uid)
    }
  }

  async function rulesOfNow(): Promise<readonly AlertRule[]> {
    if (options.rules !== undefined) return options.rules
    if (tenants === undefined || clock.now() >= tenants.untilMs) {
      const found = await fetchTenants(client)
      if (found.total > found.tenants.length && tenants === undefined) {
        log(`alerts: the health of ${found.tenants.length} of ${found.total} tenants is watched`, 'warn')
      }
      tenants = { names: found.tenants, untilMs: clock.now() + tenantsEveryMs }
    }
    const { dailyBudgetUsd } = options
    return alertRules({ tenants: tenants.names, ...(dailyBudgetUsd === undefined ? {} : { dailyBudgetUsd }) })
  }

  async function evaluate(rule: AlertRule, now: Map<string, OpenAlerts>): Promise<void> {
    const atMs = clock.wall()
    let asked: Awaited<ReturnType<typeof ask>>
    try {
      asked = await ask(client, rule, new Date(atMs), { signal, mostSeconds: options.mostSeconds ?? mostSeconds })
    } catch (error) {
      if (!mayGoOn()) return
      await refuseOutage(client, error)
      const said = firstLine((error as Error).message)
      if (!failing.has(rule.uid))
        log(`alerts: the rule ${rule.uid} fails, its alerts stay as they are: ${said}`, 'warn')
      failing.set(rule.uid, said)
      return
    }
    if (failing.delete(rule.uid)) log(`alerts: the rule ${rule.uid} can be asked again`)
    await take(rule, now, asked, atMs)
  }

  async function take(
    rule: RuleFacts,
    now: Map<string, OpenAlerts>,
    asked: Parameters<typeof step>[2],
    atMs: number,
  ): Promise<void> {
    const next = step(rule, now.get(rule.uid) ?? new Map(), asked, atMs)
    if (next.left > 0 && !overfull.has(rule.uid)) {
      log(`alerts: ${rule.uid} has ${next.left} alerts more than are kept; the worst are`, 'warn')
    }
    overfull[next.left > 0 ? 'add' : 'delete'](rule.uid)
    if (next.changes.length > 0) await write(rule, next.changes, atMs)
    now.set(rule.uid, next.open)
  }

  /** @throws the client's errors, and when the lease is lost: somebody else's states hold then */
  async function write(rule: RuleFacts, changes: readonly Change[], atMs: number): Promise<void> {
    if (!mayGoOn()) throw new Error('the lease is lost')
    const alerts = changes.map((change) => alertOf(rule, change, atMs))
    const rank = (lease.fence << 64n) | written
    written += BigInt(alerts.length)
    await saveAlerts(client, alerts, rank)
    for (const [i, { kind }] of changes.entries()) {
      const alert = alerts[i]
      if (alert !== undefined && (kind === 'fire' || kind === 'resolve')) tell({ kind, alert })
    }
  }

  function tell(transition: Transition): void {
    const { kind, alert } = transition
    // Labels may hold anything: they stand in the table, not in the log.
    log(`alerts: ${alert.rule} ${kind === 'fire' ? 'fires' : 'is over'} (${alert.fingerprint})`)
    options.onTransition?.(transition)
  }

  let pauseMs = firstPauseMs
  while (mayGoOn()) {
    try {
      await round()
      if (pauseMs > firstPauseMs) log('alerts: the rules are evaluated again')
      pauseMs = firstPauseMs
      const nextAtMs = Math.min(clock.now() + everyMs, ...dueAtMs.values())
      await clock.sleep(Math.max(0, nextAtMs - clock.now()), signal)
    } catch (error) {
      // A write that was not answered may have been done.
      open = undefined
      if (pauseMs === firstPauseMs && mayGoOn()) {
        log(
          `alerts: ClickHouse cannot be used (${firstLine((error as Error).message)}); alerts stay as they are`,
          'warn',
        )
      }
      await clock.sleep(pauseMs, signal)
      pauseMs = Math.min(longestPauseMs, pauseMs * 2)
    }
  }
}

const states = { pending: 'pending', fire: 'firing', update: 'firing', resolve: 'resolved', clear: 'ok' } as const

function alertOf(rule: RuleFacts, { fingerprint, alert, kind }: Change, atMs: number): Alert {
  const { labels, value } = alert
  const date = (ms: number | undefined): Date | undefined => (ms === undefined ? undefined : new Date(ms))
  return {
    fingerprint,
    rule: rule.uid,
    labels,
    tenant: labels.tenant ?? '',
    title: rule.title,
    severity: rule.severity,
    summary:
      value === undefined || Number.isNaN(value)
        ? `${rule.title}: there is no data where there must be`
        : summaryOf(rule, labels, value),
    firstStep: rule.firstStep,
    runbook: rule.runbook,
    state: states[kind],
    value: value !== undefined && Number.isFinite(value) ? value : undefined,
    activeSince: new Date(alert.activeSinceMs),
    firedAt: date(alert.firedAtMs),
    wellSince: kind === 'resolve' ? undefined : date(alert.wellSinceMs),
    resolvedAt: kind === 'resolve' ? new Date(atMs) : undefined,
    changedAt: new Date(atMs),
  }
}

function openAlertOf(alert: Alert): OpenAlert {
  return {
    labels: alert.labels,
    state: alert.state === 'firing' ? 'firing' : 'pending',
    value: alert.value,
    activeSinceMs: alert.activeSince.getTime(),
    firedAtMs: alert.firedAt?.getTime(),
    wellSinceMs: alert.wellSince?.getTime(),
  }
}
