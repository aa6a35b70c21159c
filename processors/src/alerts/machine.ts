/**
 * The states of a rule's alerts: what its rows say now, and what was, make what is. No clock, no database. The meaning is
 * Grafana's: a row that breaches is pending until it has done so for `forSeconds`, then it fires until its value is back
 * behind the threshold of recovery, and stays for `keepFiringSeconds` more; a row that is missing is well, if it is missing
 * twice. Each alert is one set of labels.
 */
import { createHash } from 'node:crypto'
import { type AlertRule, breaches } from '@agnes/grafana'

export type Labels = Readonly<Record<string, string>>

export interface Row {
  readonly labels: Labels
  readonly value: number
}

/** An alert that is pending or fires. Times are milliseconds since 1970. */
export interface OpenAlert {
  readonly labels: Labels
  readonly state: 'pending' | 'firing'
  /** At the last change; undefined: there was no row where one must come. */
  readonly value: number | undefined
  readonly activeSinceMs: number
  readonly firedAtMs: number | undefined
  /** Since when it is well while it goes on firing. */
  readonly wellSinceMs: number | undefined
}

/** By fingerprint. */
export type OpenAlerts = ReadonlyMap<string, OpenAlert>

export interface Change {
  readonly fingerprint: string
  /** As it is now; for one that ended, as it was last, with the value of now. */
  readonly alert: OpenAlert
  /** `update`: still firing, and about to be well or not any more; `clear`: it was pending and never fired. */
  readonly kind: 'pending' | 'fire' | 'update' | 'resolve' | 'clear'
}

export interface Step {
  readonly open: OpenAlerts
  readonly changes: readonly Change[]
  /** Rows that breach and were left out, because the rule has too many alerts. */
  readonly left: number
}

type Timing = Pick<AlertRule, 'uid' | 'condition' | 'forSeconds' | 'keepFiringSeconds' | 'noData'>

/** Alerts of one rule at once. Somebody who is told of more reads none of them. */
export const mostAlerts = 200

/** @param complete whether these are all rows there are: of others the ones that are missing may be among the rest */
export function step(
  rule: Timing,
  before: OpenAlerts,
  { rows, complete }: { readonly rows: readonly Row[]; readonly complete: boolean },
  nowMs: number,
): Step {
  const seen = byFingerprint(rule, rows)
  const open = new Map<string, OpenAlert>()
  const changes: Change[] = []
  const settle = (fingerprint: string, change: Change | OpenAlert): void => {
    const isChange = 'kind' in change
    const alert = isChange ? change.alert : change
    if (isChange) changes.push(change)
    if (!isChange || (change.kind !== 'resolve' && change.kind !== 'clear')) open.set(fingerprint, alert)
  }

  if (rows.length === 0 && rule.noData === 'Alerting') {
    const nothing = fingerprintOf(rule.uid, {})
    // Of those there were rows for nothing is known now.
    for (const [fingerprint, alert] of before) if (fingerprint !== nothing) open.set(fingerprint, alert)
    const known = before.get(nothing)
    settle(
      nothing,
      known === undefined
        ? begin(rule, nothing, {}, undefined, nowMs)
        : goOn(rule, nothing, known, { breaching: true, value: undefined, missing: false }, nowMs),
    )
    return { open, changes, left: 0 }
  }

  for (const [fingerprint, alert] of before) {
    const row = seen.get(fingerprint)
    if (row === undefined && !complete) {
      open.set(fingerprint, alert)
      continue
    }
    const breaching = row !== undefined && breaches(rule.condition, row.value, alert.state === 'firing')
    const value = row?.value ?? alert.value
    settle(fingerprint, goOn(rule, fingerprint, alert, { breaching, value, missing: row === undefined }, nowMs))
  }
  const sign = rule.condition.op === 'gt' ? -1 : 1
  const fresh = [...seen]
    .filter(([fingerprint, { value }]) => !before.has(fingerprint) && breaches(rule.condition, value))
    // The worst first, and the same ones whatever the order of the rows.
    .sort(([a, { value: x }], [b, { value: y }]) => (x === y ? (a < b ? -1 : 1) : sign * (x < y ? -1 : 1)))
  const room = Math.max(0, mostAlerts - open.size)
  for (const [fingerprint, { labels, value }] of fresh.slice(0, room)) {
    settle(fingerprint, begin(rule, fingerprint, labels, value, nowMs))
  }
  return { open, changes, left: Math.max(0, fresh.length - room) }
}

/** Equal for the same rule with the same labels, in whatever order they come. */
export function fingerprintOf(rule: string, labels: Labels): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(JSON.stringify([rule, sorted]))
    .digest('hex')
    .slice(0, 16)
}

/** Of rows with the same labels the worst counts. */
function byFingerprint({ uid, condition: { op } }: Timing, rows: readonly Row[]): Map<string, Row> {
  const found = new Map<string, Row>()
  for (const row of rows) {
    const fingerprint = fingerprintOf(uid, row.labels)
    const other = found.get(fingerprint)
    const isWorse =
      other === undefined ||
      Number.isNaN(other.value) ||
      (op === 'gt' ? row.value > other.value : row.value < other.value)
    if (isWorse) found.set(fingerprint, row)
  }
  return found
}

function begin(
  { forSeconds }: Timing,
  fingerprint: string,
  labels: Labels,
  value: number | undefined,
  nowMs: number,
): Change {
  const alert = { labels, value, activeSinceMs: nowMs, wellSinceMs: undefined }
  return forSeconds === 0
    ? { fingerprint, kind: 'fire', alert: { ...alert, state: 'firing', firedAtMs: nowMs } }
    : { fingerprint, kind: 'pending', alert: { ...alert, state: 'pending', firedAtMs: undefined } }
}

interface Seen {
  readonly breaching: boolean
  readonly value: number | undefined
  readonly missing: boolean
}

/** @returns the alert as it is, where nothing changes */
function goOn(
  rule: Timing,
  fingerprint: string,
  earlier: OpenAlert,
  { breaching, value, missing }: Seen,
  nowMs: number,
): Change | OpenAlert {
  const change = (kind: Change['kind'], now: Partial<OpenAlert>): Change => ({
    fingerprint,
    kind,
    alert: { ...earlier, value, ...now },
  })
  if (earlier.state === 'pending') {
    if (!breaching) return change('clear', {})
    // A clock that was set back does not make it wait for longer than it must.
    if (earlier.activeSinceMs > nowMs) return change('pending', { activeSinceMs: nowMs })
    const isTime = nowMs - earlier.activeSinceMs >= rule.forSeconds * 1000
    return isTime ? change('fire', { state: 'firing', firedAtMs: nowMs }) : earlier
  }
  if (breaching) return earlier.wellSinceMs === undefined ? earlier : change('update', { wellSinceMs: undefined })
  const wellSinceMs = Math.min(earlier.wellSinceMs ?? nowMs, nowMs)
  // One look without its row proves nothing.
  const waitMs = Math.max(rule.keepFiringSeconds * 1000, missing ? 1 : 0)
  if (nowMs - wellSinceMs >= waitMs) return change('resolve', { wellSinceMs })
  return earlier.wellSinceMs === wellSinceMs ? earlier : change('update', { wellSinceMs })
}
