/** A dashboard: variables, links and annotations that all share, and panels laid out from top to bottom. */
import type { Annotation, Dashboard, DashboardLink, Panel, Row, Variable } from './grafana.ts'
import type { PanelDraft } from './panels.ts'
import { datasource, ofTenant, rows } from './query.ts'
import { common, inboxVariable } from './variables.ts'

export const homeUid = 'agnes-home'
/** Dashboards with it are listed in the menu of each. */
const tag = 'agnes'
const columns = 24

/** Panels side by side, of one height; they begin a new line where they would be wider than the page. */
export interface Section {
  /** Of a heading above; none without it. */
  readonly title?: string
  /** Folded until it is clicked: nothing is asked for before. */
  readonly collapsed?: boolean
  /** In units of 30 pixels. */
  readonly height: number
  readonly panels: readonly PanelDraft[]
}

export interface DashboardOptions {
  readonly uid: string
  readonly title: string
  /** The one question it answers. */
  readonly description: string
  readonly variables?: readonly Variable[]
  readonly sections: readonly Section[]
  /** The last day unless told. */
  readonly from?: string
  readonly refresh?: '' | '1m' | '5m'
}

export function dashboard(options: DashboardOptions): Dashboard {
  return {
    uid: options.uid,
    title: options.title,
    description: options.description,
    tags: [tag],
    schemaVersion: 42,
    version: 1,
    editable: false,
    graphTooltip: 1,
    timezone: 'browser',
    refresh: options.refresh ?? '5m',
    fiscalYearStartMonth: 0,
    time: { from: options.from ?? 'now-24h', to: 'now' },
    timepicker: { refresh_intervals: ['30s', '1m', '5m', '15m', '1h'] },
    links: options.uid === homeUid ? [menu] : [home, menu],
    annotations: { list: annotations },
    templating: { list: [...common, ...(options.variables ?? []), inboxVariable] },
    panels: layOut(options.sections),
  }
}

const home: DashboardLink = {
  title: 'Health pulse',
  type: 'link',
  icon: 'heart-rate',
  tooltip: 'Is Agnes healthy?',
  url: `/d/${homeUid}`,
  tags: [],
  asDropdown: false,
  targetBlank: false,
  includeVars: true,
  keepTime: true,
}

const menu: DashboardLink = {
  title: 'Agnes',
  type: 'dashboards',
  icon: 'external link',
  tooltip: 'Other questions, same time and variables',
  tags: [tag],
  asDropdown: true,
  targetBlank: false,
  includeVars: true,
  keepTime: true,
}

/** Marks on every graph: what may explain a change in it. */
const annotations: readonly Annotation[] = [
  {
    name: 'Services start, stop, crash',
    enable: true,
    hide: false,
    iconColor: 'blue',
    datasource,
    target: rows(
      `SELECT Timestamp AS time, concat(Resource, ' ', replaceOne(Action, 'system.', '')) AS title, Message AS text, [toString(Resource), toString(Action)] AS tags
FROM otel_logs
WHERE ${ofTenant} AND $__timeFilter_ms(Timestamp) AND EventName = 'agnes.system' AND Action IN ('system.start', 'system.ready', 'system.stop', 'system.crash', 'system.restart')
ORDER BY time DESC LIMIT 200`,
      'annotation',
    ),
  },
  {
    name: 'Deployments',
    enable: true,
    hide: false,
    iconColor: 'purple',
    datasource,
    // The first event of each version of a service within the range, where another version was seen before it.
    target: rows(
      `SELECT first_seen AS time, concat(service, ' ', service_version) AS title, concat('first event of version ', service_version) AS text, ['deployment', service] AS tags
FROM (
  SELECT toString(ServiceName) AS service, ResourceAttributes['service.version'] AS service_version, min(Timestamp) AS first_seen,
    row_number() OVER (PARTITION BY service ORDER BY first_seen) AS place
  FROM otel_logs
  WHERE ${ofTenant} AND $__timeFilter_ms(Timestamp) AND EventName = 'agnes.system' AND Action = 'system.start'
  GROUP BY service, service_version
  HAVING service_version != ''
)
WHERE place > 1
ORDER BY time LIMIT 100`,
      'annotation',
    ),
  },
  {
    name: 'Configuration changes',
    enable: false,
    hide: false,
    iconColor: 'yellow',
    datasource,
    target: rows(
      `SELECT Timestamp AS time, concat(toString(Action), ' ', Resource) AS title, concat('by ', toString(UserId)) AS text, ['change'] AS tags
FROM otel_logs
WHERE ${ofTenant} AND $__timeFilter_ms(Timestamp) AND EventName = 'agnes.audit' AND ParamsBefore != ''
ORDER BY time DESC LIMIT 200`,
      'annotation',
    ),
  },
]

function layOut(sections: readonly Section[]): (Panel | Row)[] {
  const placed: (Panel | Row)[] = []
  let id = 0
  let y = 0
  for (const { title, collapsed = false, height, panels } of sections) {
    const inside: Panel[] = []
    const rowId = title === undefined ? undefined : ++id
    const rowY = y
    if (rowId !== undefined) y++
    let x = 0
    for (const { width, ...panel } of panels) {
      if (x + width > columns) {
        x = 0
        y += height
      }
      inside.push({ ...panel, id: ++id, gridPos: { x, y, w: width, h: height } })
      x += width
    }
    y += height
    if (rowId !== undefined && title !== undefined) {
      const gridPos = { x: 0, y: rowY, w: columns, h: 1 }
      placed.push({ id: rowId, type: 'row', title, collapsed, gridPos, panels: collapsed ? inside : [] })
    }
    if (!collapsed || title === undefined) placed.push(...inside)
  }
  return placed
}
