/**
 * Variables of dashboards. Lists bring their values with backslashes doubled, because `${…:singlequote}` escapes quotes
 * only: a user id that holds both could otherwise end the text it stands in. A second column is what people see.
 */
import type { Variable } from './grafana.ts'
import { datasource, ofTenant, pluginType } from './query.ts'

/** SQL of a variable's value, made of a column. */
export function asValue(column: string): string {
  return `replaceAll(toString(${column}), '\\\\', '\\\\\\\\')`
}

const datasourceVariable: Variable = {
  name: 'datasource',
  label: 'Data source',
  type: 'datasource',
  hide: 0,
  query: pluginType,
  refresh: 1,
}

/** One tenant at a time: the health pulse is a tenant's. */
const tenant: Variable = {
  ...list(
    'tenant',
    'Tenant',
    `SELECT DISTINCT ${asValue('TenantId')} AS value, toString(TenantId) AS text FROM otel_logs WHERE $__timeFilter_ms(Timestamp) ORDER BY text LIMIT 1000`,
  ),
  current: { text: 'default', value: 'default' },
}

const everything: Variable['current'] = { text: ['All'], value: ['$__all'] }

export const user: Variable = {
  ...list(
    'user',
    'User',
    `SELECT ${asValue('UserId')} AS value, toString(UserId) AS text FROM otel_logs WHERE ${ofTenant} AND $__timeFilter_ms(Timestamp) AND UserId != '' GROUP BY UserId ORDER BY count() DESC LIMIT 500`,
  ),
  multi: true,
  includeAll: true,
  current: everything,
}

/** Read from the newest events only: attributes of the resource are a column of their own size. */
export const environment: Variable = {
  ...list(
    'environment',
    'Environment',
    `SELECT DISTINCT ${asValue('name')} AS value, name AS text FROM (
  SELECT ResourceAttributes['deployment.environment.name'] AS name FROM otel_logs
  WHERE ${ofTenant} AND $__timeFilter_ms(Timestamp) ORDER BY Timestamp DESC LIMIT 20000
) WHERE name != '' ORDER BY text LIMIT 100`,
  ),
  multi: true,
  includeAll: true,
  current: everything,
}

export const action: Variable = {
  name: 'action',
  label: 'Action begins with',
  type: 'textbox',
  hide: 0,
  query: '',
  current: { text: '', value: '' },
  options: [{ text: '', value: '', selected: true }],
}

/** Where the pages of the inbox are: links to one event, session or report begin with it. */
export const inboxVariable: Variable = {
  name: 'inbox',
  label: 'URL of the inbox',
  type: 'textbox',
  hide: 2,
  query: 'http://127.0.0.1:8080',
  current: { text: 'http://127.0.0.1:8080', value: 'http://127.0.0.1:8080' },
  options: [{ text: 'http://127.0.0.1:8080', value: 'http://127.0.0.1:8080', selected: true }],
  skipUrlSync: true,
}

/** Those of every dashboard. */
export const common: readonly Variable[] = [datasourceVariable, tenant]

/** A list from a query, made anew when the time range changes. First column the value, second what people see. */
export function list(name: string, label: string, rawSql: string): Variable {
  return {
    name,
    label,
    type: 'query',
    hide: 0,
    datasource,
    query: { refId: 'variable', queryType: 'sql', rawSql },
    refresh: 2,
    sort: 0,
    multi: false,
    includeAll: false,
  }
}
