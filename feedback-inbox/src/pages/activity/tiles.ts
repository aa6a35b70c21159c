/** The health pulse: one tile a field, each leading to the rows behind its value. */
import type { HealthColor, HealthField, HealthFieldName, HealthPulse } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { queryOf, sayFilter } from '../../http/filter.ts'
import { type FiringAlert, firingLine } from './firing.ts'

const labels: Readonly<Record<HealthFieldName, string>> = {
  scheduler: 'Scheduler',
  sync_24h: 'Syncs, 24 h',
  active_users_today: 'Active users today',
  memory_pipeline: 'Memory pipeline',
  diagnose_warnings: 'Diagnose',
  pipeline: 'Ingest pipeline',
}

/** Colour alone tells nothing to some readers. */
const words: Readonly<Record<HealthColor, string>> = { green: 'well', yellow: 'look', red: 'bad' }

export function tiles({ status, sentence, generatedAt, fields }: HealthPulse, firing: readonly FiringAlert[]): Html {
  return html`<section class="pulse" aria-label="Health" data-live="pulse">
<p class="sentence"><span class="dot ${status}" role="img" aria-label="${words[status]}"></span>${shown(sentence)}
<time class="faint sentence-time" datetime="${generatedAt}">${generatedAt.slice(11, 19)} UTC</time></p>
<ul class="tiles">${fields.map(tile)}</ul>
${firingLine(firing)}
</section>`
}

function tile({ name, value, color, explanation, filter }: HealthField): Html {
  return html`<li><a class="tile ${color}" href="/admin/activity${queryOf(sayFilter(filter))}" title="${explanation}">
<span class="tile-label"><span class="dot ${color}" role="img" aria-label="${words[color]}"></span>${labels[name]}</span>
<span class="tile-value">${shown(value)}</span>
</a></li>`
}
