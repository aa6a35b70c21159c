/** The data source, as Grafana's file provisioning takes it. */
import { UserError } from '@agnes/config'
import { pluginType } from '../model/query.ts'

/** Alert rules name it; dashboards leave it to their variable. */
export const datasourceUid = 'agnes-clickhouse'

/**
 * @param passwordFile where Grafana reads the password of the URL's user; else it is the URL's
 * @throws UserError (exit code 2) when the URL is not one of ClickHouse's HTTP interface
 */
export function datasource(url: string, passwordFile?: string) {
  const { hostname, port, protocol, pathname, username, password } = parsed(url)
  const secure = protocol === 'https:'
  return {
    apiVersion: 1,
    datasources: [
      {
        name: 'Agnes',
        uid: datasourceUid,
        type: pluginType,
        access: 'proxy',
        isDefault: false,
        editable: false,
        jsonData: {
          // HTTP: the embedded engine speaks nothing else, and a server speaks it too.
          protocol: 'http',
          host: hostname.replace(/^\[(.*)\]$/, '$1'),
          port: Number(port || (secure ? 8443 : 8123)),
          secure,
          username: decodeURIComponent(username) || 'grafana',
          defaultDatabase: decodeURIComponent(pathname.replaceAll('/', '')) || 'agnes',
          dialTimeout: '10',
          queryTimeout: '60',
          validateSql: true,
          // It would read the attributes of many rows, only to suggest keys.
          enableMapKeysDiscovery: false,
          logs: {
            defaultDatabase: decodeURIComponent(pathname.replaceAll('/', '')) || 'agnes',
            defaultTable: 'otel_logs',
            otelEnabled: true,
            otelVersion: 'latest',
            timeColumn: 'Timestamp',
            levelColumn: 'SeverityText',
            messageColumn: 'Body',
          },
        },
        ...secretsOf(passwordFile === undefined ? escaped(decodeURIComponent(password)) : `$__file{${passwordFile}}`),
      },
    ],
  }
}

function secretsOf(password: string): { secureJsonData?: { password: string } } {
  return password === '' ? {} : { secureJsonData: { password } }
}

function parsed(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  throw new UserError('the URL of the data source is not one of ClickHouse over HTTP', {
    code: 'bad_datasource_url',
    exitCode: 2,
    hint: 'it looks like http(s)://user:password@host:8123/agnes',
  })
}

/** Grafana takes `$NAME` in these files for an environment variable. */
export function escaped(text: string): string {
  return text.replaceAll('$', '$$$$')
}
