/** Queries of Grafana's ClickHouse data source, and the conditions they share. */
import type { Reference, Target } from './grafana.ts'

export const pluginType = 'grafana-clickhouse-datasource'
/** Dashboards name their data source by a variable: it is chosen in Grafana, not here. */
export const datasource: Reference = { type: pluginType, uid: '${datasource}' }
const pluginVersion = '4.20.0'

/** Rows become series: a time column, ascending; texts become labels, numbers lines. */
export function series(rawSql: string, refId = 'A'): Target {
  return target(refId, 'timeseries', 0, rawSql)
}

/** Rows stay rows. */
export function rows(rawSql: string, refId = 'A'): Target {
  return target(refId, 'table', 1, rawSql)
}

function target(refId: string, queryType: Target['queryType'], format: Target['format'], rawSql: string): Target {
  return { refId, datasource, pluginVersion, editorType: 'sql', queryType, format, rawSql: rawSql.trim() }
}

/**
 * Conditions on `otel_logs` that every question begins with: they are its sort key. The variable's values come from a
 * query that doubles backslashes, as `:singlequote` escapes quotes only.
 */
export const ofTenant = 'TenantId = ${tenant:singlequote}'
export const inRange = `${ofTenant} AND $__timeFilter_ms(Timestamp)`

/** The same on a view, whose columns have plain names. @param time its column of time */
export function inRangeOf(time: string): string {
  return `tenant = \${tenant:singlequote} AND $__timeFilter_ms(${time})`
}

/** Conditions of the variables with the same names; nothing is read for one that is set to all. */
export const byUser = '$__conditionalAll(UserId IN (${user:singlequote}), $user)'
export const byEnvironment =
  "$__conditionalAll(ResourceAttributes['deployment.environment.name'] IN (${environment:singlequote}), $environment)"
/** A text box: anything may stand in it, so its value travels encoded. */
export const byActionPrefix = "startsWith(Action, decodeURLComponent('${action:percentencode}'))"

/** Heartbeats of gateways. */
export const beats = `${inRange} AND EventName = 'agnes.system' AND Action = 'system.heartbeat'`
/** Tells gateways of one name apart: each counts for itself, from its start on. */
export const eachGateway = "ServiceName, ResourceAttributes['service.instance.id']"
/** A figure of a heartbeat. Columns of the message only: reading the attributes of every row costs ten times as much. */
export const figure = (name: string): string => `toFloat64OrZero(extract(Message, '\\\\b${name}=([\\\\d.]+)'))`

/**
 * The latest heartbeat of each gateway that is there at the end of the range, put together: one that was restarted or taken
 * away does not count by what it said last.
 * @param of the figures @param combine max for the worst of them, sum for all
 */
export function ofGateways(combine: 'max' | 'sum', of: string, name: string): string {
  return `
SELECT ${combine}(latest) AS ${name}
FROM (
  SELECT argMax(${of}, Timestamp) AS latest, max(Timestamp) AS heard, max(heard) OVER () AS newest
  FROM otel_logs
  WHERE ${beats}
  GROUP BY ${eachGateway}
)
WHERE heard >= newest - INTERVAL 2 MINUTE
HAVING count() > 0`
}

/** The start of each row's interval: what graphs are grouped by. */
export const interval = '$__timeInterval(Timestamp)'
/** Behind ORDER BY time: intervals in which nothing happened are zero, not left out. For one series only. */
export const fillGaps =
  'WITH FILL FROM toStartOfInterval($__fromTime, INTERVAL $__interval_s second) TO $__toTime STEP $__interval_s'
