/** What the rows add up to: cards and bars above them, counts beside them. All of it is the same filter's. */
import type { Facet } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { plain, shown } from '../../html/shown.ts'
import { duration, number, percent } from '../../html/words.ts'
import { queryOf, saying } from '../../http/filter.ts'
import type { Counted } from '../../questions.ts'

type Said = ReadonlyMap<string, string>

export function cards(summary: Counted | undefined, said: Said): Html {
  if (summary === undefined) {
    return html`<section class="cards" data-live="cards" data-pending><p class="faint">Counting this stretch; <a href="/admin/activity${queryOf(said)}">look again</a> in a moment.</p></section>`
  }
  const { total, byResult, users, withDuration, meanDurationMs, generatedAt } = summary
  const rated = byResult.success + byResult.error + byResult.denied
  return html`<section class="cards" aria-label="Counts" data-live="cards">
<dl class="figures">
${figure('Events', number(total), `counted ${generatedAt.slice(11, 19)}`)}
${figure('Errors', linked(said, { result: 'error' }, number(byResult.error)), `${percent(byResult.error, rated)} of those with an outcome`)}
${figure('Denied', linked(said, { result: 'denied' }, number(byResult.denied)), '')}
${figure('Users', number(users), 'different user ids')}
${figure('Mean duration', meanDurationMs === null ? '–' : duration(meanDurationMs), `${number(withDuration)} of ${number(total)} rows carry one`)}
</dl>
${bars(summary, said)}
</section>`
}

function figure(label: string, value: Html | string, note: string): Html {
  return html`<div class="figure"><dt>${label}</dt><dd><span class="figure-value">${value}</span>${note !== '' && html`<small>${note}</small>`}</dd></div>`
}

function linked(said: Said, changes: Record<string, string>, text: string): Html {
  return html`<a href="/admin/activity${queryOf(saying(said, changes))}">${text}</a>`
}

const barWidth = 10
const barsHeight = 44

function bars({ bars }: Counted, said: Said): Html | false {
  const [first] = bars
  const last = bars.at(-1)
  if (first === undefined || last === undefined) return false
  const most = Math.max(1, ...bars.map(({ total }) => total))
  const height = (count: number): number => (count === 0 ? 0 : Math.max(1, Math.round((count / most) * barsHeight)))
  const minutes = (date: Date): string => date.toISOString().slice(0, 16).replace('T', ' ')
  return html`<figure class="bars">
<svg viewBox="0 0 ${bars.length * barWidth} ${barsHeight}" preserveAspectRatio="none" role="img" aria-label="Events over time, at most ${most} in one bar">
${bars.map(({ from, to, total, errors }, i) => {
  const [all, bad] = [height(total), height(errors)]
  const href = `/admin/activity${queryOf(saying(said, { since: from.toISOString(), until: to.toISOString() }))}`
  return (
    total > 0 &&
    html`<a href="${href}" tabindex="-1"><title>${minutes(from)}: ${number(total)} events, ${number(errors)} errors</title><rect class="bar-room" x="${i * barWidth}" y="0" width="${barWidth}" height="${barsHeight}"/><rect class="bar-all" x="${i * barWidth + 1}" y="${barsHeight - all}" width="${barWidth - 2}" height="${all}"/><rect class="bar-bad" x="${i * barWidth + 1}" y="${barsHeight - bad}" width="${barWidth - 2}" height="${bad}"/></a>`
  )
})}
</svg>
<figcaption><span>${minutes(first.from)}</span><span>${minutes(last.to)} UTC</span></figcaption>
</figure>`
}

export function facets(summary: Counted | undefined, said: Said): Html {
  if (summary === undefined) return html`<aside class="facets" data-live="facets"></aside>`
  const { byResult, topActions, topUsers, clientKinds } = summary
  const results = Object.entries(byResult)
    .filter(([, count]) => count > 0)
    .map(([value, count]) => ({ value, count }))
  return html`<aside class="facets" aria-label="What it is made of" data-live="facets">
${facet('Result', 'result', results, said)}
${facet('Actions', 'action_in', topActions, said)}
${facet('Users', 'user_id', topUsers, said)}
${facet('Clients', 'client_kind', clientKinds, said)}
</aside>`
}

function facet(title: string, name: string, entries: readonly Facet[], said: Said): Html | false {
  if (entries.length === 0) return false
  return html`<section><h2>${title}</h2><ul>${entries.map(({ value, count }) => {
    const isSet = said.get(name) === value
    const href = `/admin/activity${queryOf(saying(said, { [name]: isSet ? undefined : value }))}`
    return html`<li><a class="facet" href="${href}" title="${plain(value)}"${isSet && html` aria-current="true"`}><span class="facet-name">${shown(value, { atMost: 40 })}</span><span class="number">${number(count)}</span></a></li>`
  })}</ul></section>`
}
