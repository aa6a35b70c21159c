/** Everything an existing Grafana is provisioned with, as files. */
import { dashboards } from '../dashboards/registry.ts'
import { homeUid } from '../model/dashboard.ts'

export interface ProvisionedFile {
  /** Relative, with slashes. */
  readonly path: string
  readonly text: string
}

/** The files of this room as they stand in the repository. */
export function defaultFiles(): ProvisionedFile[] {
  return dashboards.map((dashboard) => ({
    // The home dashboard is named in Grafana's settings by its path.
    path: `dashboards/${dashboard.uid === homeUid ? 'home' : dashboard.uid.replace('agnes-', '')}.json`,
    text: `${JSON.stringify(dashboard, null, 2)}\n`,
  }))
}
