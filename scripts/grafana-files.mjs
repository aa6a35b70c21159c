/** What Grafana reads: dashboards as JSON, data source, alert rules and the rest as YAML; from the room that defines them. */
import { composeFiles, defaultFiles } from '@agnes/grafana'

/** @returns text by path within the repository */
export function grafanaFiles() {
  const below = (folder, files) => files.map(({ path, text }) => [`${folder}/${path}`, text])
  return Object.fromEntries([
    ...below('grafana', defaultFiles()),
    ...below('deploy/grafana/provisioning', composeFiles()),
  ])
}
