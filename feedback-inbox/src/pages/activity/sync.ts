/** `/admin/activity/sync`: one line a table, those that need somebody first. */
import type { SyncRun, SyncTable } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { duration, number, span } from '../../html/words.ts'
import { queryOf } from '../../http/filter.ts'
import type { Syncs } from '../../questions.ts'
import { tabs } from './tabs.ts'

/** Tables of one page; beyond it the API has them all. */
const maxTables = 300

export function syncPage({ tables, generatedAt }: Syncs): Html {
  const failing = tables.filter((table) => stateOf(table) === 'red').length
  const late = tables.filter((table) => stateOf(table) === 'yellow').length
  return html`<div data-refresh="30">
<h1 class="visually-hidden">Syncs</h1>
${tabs('sync')}
<section data-live="sync">
<p class="sentence">${tables.length === 0 ? 'No table was synced in seven days.' : html`${number(tables.length)} tables in seven days: ${number(failing)} failing, ${number(late)} late.`}
<time class="faint sentence-time" datetime="${generatedAt}">${generatedAt.slice(11, 19)} UTC</time></p>
${
  tables.length > 0 &&
  html`<div class="wide"><table class="grid"><thead><tr><th>Table</th><th>Last runs</th><th>Last ok</th><th>Every</th><th>Next</th><th class="number">Rows</th><th class="number">Failed 24 h</th><th class="number">Failed / runs 7 d</th><th class="number">Median</th><th class="number">p95</th></tr></thead>
<tbody>${tables.slice(0, maxTables).map(line)}</tbody></table></div>`
}
${tables.length > maxTables && html`<p class="faint">${number(tables.length - maxTables)} more, which are well; <a href="/api/admin/sync">the API</a> has them all.</p>`}
</section>
</div>`
}

function line(table: SyncTable): Html {
  const href = `/admin/activity${queryOf(
    new Map([
      ['action_in', 'sync.run'],
      ['resource', table.table],
      ['since', '7d'],
    ]),
  )}`
  return html`<tr data-key="${table.table.slice(0, 200)}">
<td><span class="dot ${stateOf(table)}" role="img" aria-label="${words[stateOf(table)]}"></span><a href="${href}">${shown(table.table, { atMost: 80 })}</a>${table.lastError !== '' && html`<div class="problem small">${shown(table.lastError, { atMost: 160 })}</div>`}</td>
<td class="runs">${[...table.runs].reverse().map(run)}</td>
<td>${table.lastOk === null ? html`<span class="faint">not in 7 d</span>` : html`<time datetime="${table.lastOk}" title="${table.lastOk}">${span(table.ageSeconds ?? 0)} ago</time>`}</td>
<td>${table.everySeconds === null ? html`<span class="faint">–</span>` : span(table.everySeconds)}</td>
<td>${dueOf(table)}</td>
<td class="number">${table.lastRows === null ? '' : number(table.lastRows)}</td>
<td class="number">${table.failed24h > 0 && html`<b class="bad">${number(table.failed24h)}</b>`}</td>
<td class="number">${number(table.failed7d)} / ${number(table.runs7d)}</td>
<td class="number">${table.medianDurationMs !== null && duration(table.medianDurationMs)}</td>
<td class="number">${table.p95DurationMs !== null && duration(table.p95DurationMs)}</td>
</tr>`
}

const words = { red: 'failing', yellow: 'late', green: 'well' } as const

/** Failing: the last run failed. Late: none was ok, or the next one is overdue by as long as it should take. */
function stateOf({ runs, lastOk, dueSeconds, everySeconds }: SyncTable): 'red' | 'yellow' | 'green' {
  if (runs[0]?.outcome === 'failed') return 'red'
  if (lastOk === null) return 'yellow'
  return dueSeconds !== null && everySeconds !== null && dueSeconds < -everySeconds ? 'yellow' : 'green'
}

function dueOf({ dueSeconds, everySeconds }: SyncTable): Html | string {
  if (dueSeconds === null || everySeconds === null) return html`<span class="faint">–</span>`
  if (dueSeconds >= 0) return `in ${span(dueSeconds)}`
  return dueSeconds < -everySeconds ? html`<b class="late">${span(-dueSeconds)} late</b>` : 'now'
}

function run({ at, outcome, durationMs }: SyncRun): Html {
  const took = durationMs === null ? '' : `, ${duration(durationMs)}`
  return html`<span class="run ${outcome}" title="${at.slice(0, 19).replace('T', ' ')}: ${outcome}${took}"></span>`
}
