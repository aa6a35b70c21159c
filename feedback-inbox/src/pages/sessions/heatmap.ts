/** `/admin/sessions/heatmap`: what goes wrong, and is it getting better: types of findings by week. */
import type { FindingWeek } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { queryOf, saying } from '../../http/filter.ts'
import { filterForm } from './list.ts'
import { tabs } from './tabs.ts'

const shownWeeks = 12
const weekMs = 7 * 86_400_000
const shades = 5

export function heatmapPage(weeks: readonly FindingWeek[], said: ReadonlyMap<string, string>): Html {
  return html`<h1 class="visually-hidden">Findings by week</h1>
${tabs('heatmap')}
${filterForm(said, '/admin/sessions/heatmap')}
${weeks.length === 0 ? html`<div class="empty"><p>Nothing was found${said.size > 0 ? ' in what matches' : ' yet'}.</p></div>` : grid(weeks, said)}`
}

function grid(found: readonly FindingWeek[], said: ReadonlyMap<string, string>): Html {
  const weeks = lastWeeks(found)
  const types = [...new Set(found.map(({ type }) => type))]
  const cells = new Map(found.map((cell) => [`${cell.type} ${cell.week}`, cell]))
  const most = Math.max(...found.filter(({ week }) => weeks.includes(week)).map(({ findings }) => findings), 1)
  return html`<div class="wide"><table class="heatmap">
<thead><tr><th>Finding</th>${weeks.map((week) => html`<th class="number" title="Week that began on Monday, ${week}">${week.slice(5)}</th>`)}</tr></thead>
<tbody>${types.map(
    (type) =>
      html`<tr><th scope="row">${shown(type.replaceAll('_', ' '), { atMost: 40 })}</th>${weeks.map((week) => cellOf(cells.get(`${type} ${week}`), most, said))}</tr>`,
  )}</tbody></table></div>
<p class="faint small">Findings a week, by when they happened. The stronger the colour the more; a cell leads to the sessions they were found in.</p>`
}

function cellOf(cell: FindingWeek | undefined, most: number, said: ReadonlyMap<string, string>): Html {
  if (cell === undefined) return html`<td class="heat-0 number"><span class="faint">·</span></td>`
  const { week, type, findings, sessions } = cell
  const until = new Date(Date.parse(week) + weekMs).toISOString().slice(0, 10)
  const filter = saying(said, { finding: type, found_since: week, found_until: until })
  const shade = Math.max(1, Math.ceil((findings / most) * shades))
  return html`<td class="heat-${shade} number"><a href="/admin/sessions${queryOf(filter)}" title="${findings} in ${sessions} sessions">${number(findings)}</a></td>`
}

/** Without gaps, oldest first: a week in which nothing was found is worth a column. */
function lastWeeks(found: readonly FindingWeek[]): string[] {
  const sorted = found.map(({ week }) => week).toSorted()
  const newest = sorted.at(-1) ?? ''
  const oldest = sorted[0] ?? ''
  const weeks: string[] = []
  for (let at = Date.parse(newest); weeks.length < shownWeeks; at -= weekMs) {
    const week = new Date(at).toISOString().slice(0, 10)
    weeks.unshift(week)
    if (week <= oldest) break
  }
  return weeks
}
