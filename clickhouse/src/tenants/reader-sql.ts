/**
 * The statements that give a tenant a user of its own on a ClickHouse server: it reads its rows and no others, whatever
 * SQL it sends. Views run with the rights of who asks (ClickHouse's default), so policies on the tables below them are
 * enough. The embedded engine has no users: there is nothing to run these on.
 */
import { tenantPattern } from '@agnes/config'
import { defaultDatabase } from '../client.ts'

export interface ReaderSqlOptions {
  readonly tenant: string
  /** SHA-256 of the user's password, hex. */
  readonly passwordHash: string
  /** Users that go on seeing every row: the gateway's, the administrator's. */
  readonly fullAccess: readonly string[]
  /** `agnes` unless told. */
  readonly database?: string
  readonly cluster?: string
}

interface TenantTable {
  readonly name: string
  readonly column: string
  /** On a cluster its rows lie in a table `<name>_local` of each shard. */
  readonly sharded: boolean
  /** Whether a tenant's user may read it at all. */
  readonly readable: boolean
}

/** Every table with rows of tenants. */
export const tenantTables: readonly TenantTable[] = [
  { name: 'otel_logs', column: 'TenantId', sharded: true, readable: true },
  { name: 'api_keys', column: 'tenant', sharded: false, readable: false },
  // What is about the whole installation has no tenant, and is nothing of a tenant's.
  { name: 'alert_states', column: 'tenant', sharded: false, readable: true },
  { name: 'telegram_links', column: 'tenant', sharded: false, readable: false },
  { name: 'telegram_link_codes', column: 'tenant', sharded: false, readable: false },
  { name: 'telegram_deliveries', column: 'tenant', sharded: false, readable: false },
  { name: 'session_lines', column: 'tenant', sharded: true, readable: true },
  { name: 'session_files', column: 'tenant', sharded: true, readable: true },
  { name: 'session_turn_rows', column: 'tenant', sharded: true, readable: true },
  { name: 'session_summaries', column: 'tenant', sharded: false, readable: true },
  { name: 'session_scans', column: 'tenant', sharded: false, readable: true },
  { name: 'session_gap_rows', column: 'tenant', sharded: false, readable: true },
  { name: 'session_usage', column: 'tenant', sharded: false, readable: true },
  { name: 'session_processor_state', column: 'tenant', sharded: false, readable: true },
  { name: 'session_processor_failures', column: 'tenant', sharded: false, readable: true },
  { name: 'feedback_reports', column: 'tenant', sharded: false, readable: true },
]

/** What a tenant's user may read beside the tables. Whatever is not here is closed to it. */
export const readableViews: readonly string[] = [
  'active_users',
  'audit_log',
  'current_alerts',
  'current_feedback_reports',
  'current_session_files',
  'current_session_findings',
  'event_violations',
  'events',
  'exceptions',
  'health_pulse',
  'llm_generations',
  'redactions',
  'session_findings',
  'session_gaps',
  'session_gaps_of',
  'session_processor_runs',
  'session_turns',
  'sessions',
  'sync_history',
  'timeline',
  'usage_daily',
]

const profile = 'agnes_reader'

/** Settings that clients send with every question; readonly = 1 would refuse the question for them. */
const clientSettings: readonly (readonly [name: string, value: string])[] = [
  ['session_timezone', "'UTC'"],
  ['async_insert', '0'],
  ['distributed_foreground_insert', '1'],
  ['cancel_http_readonly_queries_on_client_close', '1'],
  ['output_format_json_quote_64bit_integers', '0'],
  ['date_time_output_format', "'simple'"],
]

/**
 * The statements, in the order to run them in. Each may run again; the last but one gives the user its new password.
 * @throws Error if a name can't be one
 */
export function readerSql(options: ReaderSqlOptions): string[] {
  const { tenant, passwordHash, cluster, fullAccess } = options
  if (!tenantPattern.test(tenant)) throw new Error(`not a tenant: ${tenant}`)
  if (!/^[0-9a-f]{64}$/.test(passwordHash)) throw new Error('not a SHA-256')
  const database = name(options.database ?? defaultDatabase)
  const everywhere = cluster === undefined ? '' : ` ON CLUSTER ${text(cluster)}`
  const role = name(`agnes_tenant_${tenant}`)
  const user = name(readerName(tenant))
  const full = fullAccess.map(name).join(', ')
  const tables = tenantTables.flatMap((table) =>
    cluster !== undefined && table.sharded ? [table, { ...table, name: `${table.name}_local` }] : [table],
  )
  const limits = [
    'readonly = 1',
    // Grafana sets it with every query.
    'max_execution_time = 60 MIN 1 MAX 300 CHANGEABLE_IN_READONLY',
    'max_memory_usage = 4000000000',
    ...clientSettings.map(([setting, value]) => `${setting} = ${value} CHANGEABLE_IN_READONLY`),
  ]
  return [
    `CREATE SETTINGS PROFILE OR REPLACE ${profile}${everywhere} SETTINGS ${limits.join(', ')}`,
    `CREATE ROLE IF NOT EXISTS ${role}${everywhere}`,
    ...tables.flatMap((table) => {
      const on = `ON ${database}.${name(table.name)} FOR SELECT`
      return [
        // First: as soon as a table has a policy, who has none sees nothing.
        `CREATE ROW POLICY OR REPLACE agnes_all${everywhere} ${on} USING 1 TO ${full}`,
        `CREATE ROW POLICY OR REPLACE agnes_nobody${everywhere} ${on} USING 0 TO ALL EXCEPT ${full}`,
        `CREATE ROW POLICY OR REPLACE ${role}${everywhere} ${on} USING ${table.column} = ${text(tenant)} TO ${role}`,
      ]
    }),
    ...[...tables.filter(({ readable }) => readable).map((table) => table.name), ...readableViews].map(
      (readable) => `GRANT${everywhere} SELECT ON ${database}.${name(readable)} TO ${role}`,
    ),
    `CREATE USER OR REPLACE ${user}${everywhere} IDENTIFIED WITH sha256_hash BY ${text(passwordHash)} DEFAULT DATABASE ${database} SETTINGS PROFILE ${text(profile)}`,
    `GRANT${everywhere} ${role} TO ${user}`,
  ]
}

/** Name of a tenant's user. */
export function readerName(tenant: string): string {
  return `agnes_reader_${tenant}`
}

/** @throws Error if it holds what no name of ours does: names are no parameters, so they stand in the text */
function name(identifier: string): string {
  if (!/^[A-Za-z0-9_.@-]+$/.test(identifier)) throw new Error(`not a plain name: ${identifier}`)
  return `\`${identifier}\``
}

function text(value: string): string {
  if (!/^[A-Za-z0-9_.-]+$/.test(value)) throw new Error(`not a plain text: ${value}`)
  return `'${value}'`
}
