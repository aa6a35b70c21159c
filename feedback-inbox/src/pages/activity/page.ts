/** `/admin/activity`: is it well, and what happened. */
import type { HealthPulse, TimelinePage } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { queryOf, saying } from '../../http/filter.ts'
import type { Counted } from '../../questions.ts'
import { filterForm } from './filter-form.ts'
import type { FiringAlert } from './firing.ts'
import { cards, facets } from './summary.ts'
import { tabs } from './tabs.ts'
import { tiles } from './tiles.ts'
import { timelineTable } from './timeline-table.ts'

export interface ActivityView {
  readonly pulse: HealthPulse
  readonly firing: readonly FiringAlert[]
  readonly timeline: TimelinePage
  /** undefined while it is being counted. */
  readonly summary: Counted | undefined
  /** What the URL says; `since` always. */
  readonly said: ReadonlyMap<string, string>
  /** The `since` of a URL that says none. */
  readonly usualStretch: string
  /** Later pages stand still: they do not refresh themselves. */
  readonly isFirstPage: boolean
}

export function activityPage(view: ActivityView): Html {
  const { pulse, firing, timeline, summary, said, isFirstPage } = view
  const { rows, nextCursor } = timeline
  return html`<div${isFirstPage && html` data-refresh="30"`}>
<h1 class="visually-hidden">Activity</h1>
${tiles(pulse, firing)}
${tabs('timeline')}
${filterForm(view)}
${cards(summary, said)}
<div class="beside">
<section aria-label="Timeline">
${rows.length === 0 ? empty(said) : timelineTable(rows)}
<nav class="pager" aria-label="Pages">
${!isFirstPage && html`<a class="button quiet" href="/admin/activity${queryOf(said)}">Newest</a>`}
${nextCursor !== null && html`<a class="button quiet" rel="next" href="/admin/activity${queryOf(saying(said, { cursor: nextCursor }))}">Older</a>`}
<span class="exports">Export these: <a href="${exportOf(said, 'csv')}" download>CSV</a> · <a href="${exportOf(said, 'ndjson')}" download>JSON lines</a></span>
</nav>
</section>
${facets(summary, said)}
</div>
</div>`
}

function exportOf(said: ReadonlyMap<string, string>, format: string): string {
  return `/api/admin/activity${queryOf(saying(said, { format }))}`
}

function empty(said: ReadonlyMap<string, string>): Html {
  return html`<div class="empty" data-live="timeline"><p>Nothing matches.</p>
<p>${said.get('since') !== 'all' && html`<a href="/admin/activity${queryOf(saying(said, { since: 'all', until: undefined }))}">Look through all time</a> or `}<a href="/admin/activity">clear every filter</a>.</p></div>`
}
