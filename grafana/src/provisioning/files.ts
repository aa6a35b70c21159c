/** Everything a Grafana is provisioned with, as files. */
import { stringify } from 'yaml'
import { type AlertOptions, alertRules } from '../alerts/rules.ts'
import { dashboards } from '../dashboards/registry.ts'
import { homeUid } from '../model/dashboard.ts'
import type { Dashboard } from '../model/grafana.ts'
import { inboxVariable } from '../model/variables.ts'
import { contactPoints, policies, type Receivers, receiverName, ruleGroups, templates } from './alerting.ts'
import { datasource } from './datasource.ts'

export interface ProvisionedFile {
  /** Relative, with slashes. */
  readonly path: string
  readonly text: string
  /** Holds a password. */
  readonly secret?: boolean
}

export interface ProvisionOptions extends AlertOptions, Receivers {
  readonly datasourceUrl: string
  /** Where Grafana itself reads the password for it; else it stands in the URL, and in the file. */
  readonly datasourcePasswordFile?: string
  /** Where Grafana finds the dashboards. */
  readonly dashboardsPath: string
  /** What links to one event, session or report begin with. */
  readonly inboxUrl?: string
  readonly runbooksUrl?: string
  /** Also the policies: they replace all that an organisation has. */
  readonly policies?: boolean
}

/** For a Grafana beside the gateway; nothing in it is secret. */
const defaults: ProvisionOptions = {
  datasourceUrl: 'http://grafana@127.0.0.1:8123/agnes',
  dashboardsPath: '/var/lib/grafana/dashboards/agnes',
  telegram: true,
  webhook: true,
  policies: true,
}

/** For the Grafana of `deploy/compose.yaml`, by the names of its services, mounts and secrets. Alerts are told by the bot. */
const ofCompose: ProvisionOptions = {
  datasourceUrl: 'http://agnes_grafana@clickhouse:8123/agnes',
  datasourcePasswordFile: '/run/secrets/grafana_clickhouse_password',
  dashboardsPath: '/etc/grafana/agnes-dashboards',
}

/** What `deploy/compose.yaml` mounts as Grafana's directory `provisioning`. */
export function composeFiles(): ProvisionedFile[] {
  return yamlFiles(ofCompose).map((file) => ({ ...file, secret: false }))
}

/** The files of this room as they stand in the repository. */
export function defaultFiles(): ProvisionedFile[] {
  return [
    ...dashboardFiles('dashboards'),
    ...yamlFiles(defaults).map((file) => ({ ...file, path: `provisioning/${file.path}` })),
  ]
}

/** The files for Grafana's directory `provisioning`; dashboards lie in a folder of their own within it. */
export function provisioningFiles(options: ProvisionOptions): ProvisionedFile[] {
  return [...dashboardFiles(dashboardsFolder, options.inboxUrl), ...yamlFiles(options)]
}

/** Within Grafana's directory `provisioning`; all files in it are ours. */
export const dashboardsFolder = 'dashboards/agnes'

function dashboardFiles(folder: string, inboxUrl?: string): ProvisionedFile[] {
  return dashboards.map((dashboard) => ({
    // The home dashboard is named in Grafana's settings by its path.
    path: `${folder}/${dashboard.uid === homeUid ? 'home' : dashboard.uid.replace('agnes-', '')}.json`,
    text: `${JSON.stringify(inboxUrl === undefined ? dashboard : withInbox(dashboard, inboxUrl), null, 2)}\n`,
  }))
}

function withInbox(dashboard: Dashboard, url: string): Dashboard {
  const chosen = { text: url, value: url }
  const list = dashboard.templating.list.map((variable) =>
    variable.name === inboxVariable.name
      ? { ...variable, query: url, current: chosen, options: [{ ...chosen, selected: true }] }
      : variable,
  )
  return { ...dashboard, templating: { list } }
}

function yamlFiles(options: ProvisionOptions): ProvisionedFile[] {
  const { datasourceUrl, dashboardsPath, runbooksUrl, telegram = false, webhook = false } = options
  const source = datasource(datasourceUrl, options.datasourcePasswordFile)
  const hasReceiver = telegram || webhook
  const rules = ruleGroups({
    rules: alertRules(options),
    dashboards,
    ...(runbooksUrl !== undefined && { runbooksUrl }),
    // With policies they decide; without, each rule names its contact point and leaves the policies alone.
    ...(hasReceiver && options.policies !== true && { receiver: receiverName }),
  })
  return [
    {
      ...file('datasources/agnes.yaml', source),
      secret: source.datasources.some((one) => 'secureJsonData' in one),
    },
    file('dashboards/agnes.yaml', {
      apiVersion: 1,
      providers: [
        {
          name: 'Agnes',
          orgId: 1,
          folder: 'Agnes',
          type: 'file',
          disableDeletion: false,
          allowUiUpdates: false,
          updateIntervalSeconds: 30,
          options: { path: dashboardsPath, foldersFromFilesStructure: false },
        },
      ],
    }),
    file('alerting/agnes-rules.yaml', rules),
    ...(hasReceiver
      ? [
          file('alerting/agnes-contact-points.yaml', contactPoints(options)),
          file('alerting/agnes-templates.yaml', templates()),
        ]
      : []),
    ...(hasReceiver && options.policies === true ? [file('alerting/agnes-policies.yaml', policies())] : []),
  ]
}

function file(path: string, content: unknown): ProvisionedFile {
  return {
    path,
    text: `# Generated by Agnes Observability. Changes here are overwritten.\n${stringify(content, { lineWidth: 0 })}`,
  }
}
