/** Links from a value: to another dashboard with the same time and tenant, or to a page of the inbox. */
import type { Link } from './grafana.ts'

/**
 * To another dashboard of ours.
 * @param variables what it is to show: names of its variables, with a value such as `${__data.fields.table}`
 */
export function toDashboard(title: string, uid: string, variables: Readonly<Record<string, string>> = {}): Link {
  const own = Object.entries(variables).map(([name, value]) => `&var-${name}=${value}`)
  return { title, url: `/d/${uid}?\${__url_time_range}&\${datasource:queryparam}&\${tenant:queryparam}${own.join('')}` }
}

/** To a page of the inbox. @param path begins with a slash */
export function toInbox(title: string, path: string): Link {
  return { title, url: `\${inbox:raw}${path}`, targetBlank: true }
}

/** A column of the same row, as part of a URL. */
export function field(name: string): string {
  return `\${__data.fields["${name}"]:percentencode}`
}
