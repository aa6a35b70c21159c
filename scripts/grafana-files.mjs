/** What Grafana reads: dashboards as JSON, data source, alert rules and the rest as YAML; from the room that defines them. */
import { defaultFiles } from '@agnes/grafana'

/** @returns text by path within the repository */
export function grafanaFiles() {
  return Object.fromEntries(defaultFiles().map(({ path, text }) => [`grafana/${path}`, text]))
}
