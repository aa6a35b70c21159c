/** `/admin/activity`: is it well, and what happened. */
import type { HealthPulse, TimelinePage } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import type { FilterName } from '../../http/filter.ts'
import { tiles } from './tiles.ts'
import { timelineTable } from './timeline-table.ts'

export interface ActivityView {
  readonly pulse: HealthPulse
  readonly timeline: TimelinePage
  readonly said: ReadonlyMap<FilterName, string>
}

export function activityPage({ pulse, timeline }: ActivityView): Html {
  return html`<h1 class="visually-hidden">Activity</h1>
${tiles(pulse)}
${timelineTable(timeline.rows)}`
}
