/** The parts of a dashboard, one by one. */
import type { Dashboard, Panel } from '@agnes/grafana'

/** Also those in folded rows. */
export function panelsOf(dashboard: Dashboard): Panel[] {
  return dashboard.panels.flatMap((panel) => ('panels' in panel ? [...panel.panels] : [panel]))
}

export interface Query {
  /** For messages. */
  readonly where: string
  readonly sql: string
  readonly uses: (variable: string) => boolean
}

/** Of panels, variables and annotations. */
export function queriesOf(dashboard: Dashboard): Query[] {
  const found = [
    ...panelsOf(dashboard).flatMap(({ title, targets = [] }) =>
      targets.map(({ rawSql }) => [`panel "${title}"`, rawSql]),
    ),
    ...dashboard.templating.list.flatMap(({ name, query }) =>
      typeof query === 'object' ? [[`variable ${name}`, query.rawSql]] : [],
    ),
    ...dashboard.annotations.list.flatMap(({ name, target }) =>
      target ? [[`annotation "${name}"`, target.rawSql]] : [],
    ),
  ]
  return found.map(([where = '', sql = '']) => ({
    where: `${dashboard.title}: ${where}`,
    sql,
    uses: (variable) => new RegExp(`\\$\\{?${variable}\\b`).test(sql),
  }))
}
