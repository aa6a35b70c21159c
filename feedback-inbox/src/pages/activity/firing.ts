/** One line below the tiles while an alert of the built-in evaluator fires. */
import type { Alert } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { queryOf } from '../../http/filter.ts'

export interface FiringAlert extends Alert {
  readonly mutedUntil: Date | undefined
}

/** Nobody reads more in a line. */
const mostShown = 5

export function firingLine(alerts: readonly FiringAlert[]): Html | false {
  if (alerts.length === 0) return false
  const left = alerts.length - mostShown
  return html`<p class="firing">${alerts.length === 1 ? 'One alert fires' : `${alerts.length} alerts fire`}:
${alerts.slice(0, mostShown).map((one, i) => html`${i > 0 && ' · '}${firing(one)}`)}${left > 0 && html` · and ${left} more`}</p>`
}

/** Leads to when it fired and was over; the runbook says what to do. */
function firing({ title, rule, summary, firstStep, runbook, severity, mutedUntil }: FiringAlert): Html {
  const about = new Map([
    ['since', '7d'],
    ['action_prefix', 'alert.'],
    ['resource', `alert:${rule}`],
  ])
  return html`<a class="${severity}" href="/admin/activity${queryOf(about)}" title="${firstStep} (docs/runbooks/${runbook}.md)">${shown(title)}</a>: ${shown(summary)}${mutedUntil !== undefined && html` <span class="faint">(muted until ${mutedUntil.toISOString().slice(0, 16).replace('T', ' ')} UTC)</span>`}`
}
