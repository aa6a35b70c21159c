/**
 * Backup and restore of the database by ClickHouse's own BACKUP and RESTORE, and what tells whether the two agree.
 * A backup holds whole parts, and a batch of events is one part: it is there or not, never a piece of it.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { UserError } from '@agnes/config'
import type { ClickHouseClient } from '@clickhouse/client'
import { type BackupStorage, storageSql } from './storage.ts'

export interface BackupOptions {
  readonly database: string
  readonly cluster: string | undefined
  readonly storage: BackupStorage
}

export interface BackupResult {
  readonly files: number
  readonly bytes: number
}

/** Rows of a table that can be told apart by partition; of tables that replace rows, those that count. */
export interface TableRows {
  readonly table: string
  readonly partition: string
  readonly rows: number
}

/** @throws UserError if ClickHouse cannot */
export function backupDatabase(client: ClickHouseClient, options: BackupOptions): Promise<BackupResult> {
  const { database, storage } = options
  return run(client, `BACKUP DATABASE ${quoted(database)}${onCluster(options)} TO ${storageSql(storage)} ASYNC`)
}

/** Into a database that does not exist, or is empty. @throws UserError if ClickHouse cannot */
export function restoreDatabase(client: ClickHouseClient, options: BackupOptions): Promise<BackupResult> {
  const { database, storage } = options
  return run(client, `RESTORE DATABASE ${quoted(database)}${onCluster(options)} FROM ${storageSql(storage)} ASYNC`)
}

/** The rows of every table that holds data, in order. */
export async function fetchTableRows(client: ClickHouseClient, database: string): Promise<readonly TableRows[]> {
  const tables = await rowsOf<{ name: string; engine: string }>(
    client,
    `SELECT name, engine FROM system.tables
      WHERE database = {database:String} AND engine LIKE '%MergeTree' ORDER BY name`,
    { database },
  )
  const found: TableRows[] = []
  for (const { name, engine } of tables) {
    // Merges take rows out of the others; what counts of them stays.
    const final = /^(Replicated)?MergeTree$/.test(engine) ? '' : 'FINAL'
    const partitions = await rowsOf<{ partition: string; rows: string }>(
      client,
      `SELECT _partition_id AS partition, count() AS rows FROM {database:Identifier}.{name:Identifier} ${final}
        GROUP BY partition ORDER BY partition`,
      { database, name },
    )
    found.push(...partitions.map(({ partition, rows }) => ({ table: name, partition, rows: Number(rows) })))
  }
  return found
}

/** Reads every part of every table and holds its checksums against its bytes. @returns what is wrong, a line each */
export async function checkTables(client: ClickHouseClient, database: string): Promise<readonly string[]> {
  const tables = await rowsOf<{ name: string }>(
    client,
    "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree' ORDER BY name",
    { database },
  )
  const problems: string[] = []
  for (const { name } of tables) {
    const parts = await rowsOf<{ part_path: string; is_passed: number | boolean; message: string }>(
      client,
      `CHECK TABLE ${quoted(database)}.${quoted(name)} SETTINGS check_query_single_value_result = 0`,
    )
    for (const { part_path, is_passed, message } of parts) {
      if (!is_passed) problems.push(`${name}, part ${part_path}: ${message}`)
    }
  }
  return problems
}

/** Numbers of the migrations that made the database what it is, in order. */
export async function fetchMigrations(client: ClickHouseClient, database: string): Promise<readonly string[]> {
  const found = await rowsOf<{ version: string }>(
    client,
    'SELECT DISTINCT version FROM {database:Identifier}.schema_migrations ORDER BY version',
    { database },
  )
  return found.map(({ version }) => version)
}

/** The highest sequence number of any event; 0 where there is none. */
export async function fetchHighestSeq(client: ClickHouseClient, database: string): Promise<bigint> {
  const [row] = await rowsOf<{ seq: string }>(
    client,
    'SELECT toString(max(Seq)) AS seq FROM {database:Identifier}.otel_logs',
    { database },
  )
  return BigInt(row?.seq ?? 0)
}

/** Whether the database has any table or view. */
export async function databaseExists(client: ClickHouseClient, database: string): Promise<boolean> {
  const found = await rowsOf(client, 'SELECT name FROM system.tables WHERE database = {database:String} LIMIT 1', {
    database,
  })
  return found.length > 0
}

/** Keeps everything under another name; nothing is dropped. */
export async function moveDatabaseAside(
  client: ClickHouseClient,
  { database, cluster, to }: { readonly database: string; readonly cluster: string | undefined; readonly to: string },
): Promise<void> {
  await client.command({
    query: `RENAME DATABASE ${quoted(database)} TO ${quoted(to)}${onCluster({ cluster })}`,
    ...outsideDatabase,
  })
}

// The database of the client need not exist.
const outsideDatabase = { http_headers: { 'X-ClickHouse-Database': 'default' } }
const firstPauseMs = 50
const longestPauseMs = 2_000

/**
 * Runs a BACKUP or RESTORE that ends with ASYNC and waits for it: a connection that is silent for an hour would not live
 * to its end behind every proxy.
 */
async function run(client: ClickHouseClient, statement: string): Promise<BackupResult> {
  const [started] = await rowsOf<{ id: string }>(client, statement)
  const id = started?.id ?? ''
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 1.5)) {
    const [now] = await rowsOf<{ status: string; error: string; num_files: string; total_size: string }>(
      client,
      'SELECT status, error, num_files, total_size FROM system.backups WHERE id = {id:String}',
      { id },
    )
    if (now === undefined) throw failed(statement, 'the server knows nothing of it any more; it was started anew')
    if (/^(BACKUP_CREATED|RESTORED)$/.test(now.status)) {
      return { files: Number(now.num_files), bytes: Number(now.total_size) }
    }
    if (!/^(CREATING_BACKUP|RESTORING)$/.test(now.status)) throw failed(statement, now.error || now.status)
    await pause(pauseMs)
  }
}

function failed(statement: string, cause: string): UserError {
  const [, code = '', reason = cause] = /^Code: (\d+)\. DB::Exception: ([\s\S]*)$/.exec(cause) ?? []
  const [verb = ''] = statement.split(' ', 1)
  const [line = ''] = reason.split('\n', 1)
  const hint = hints[code]
  return new UserError(`ClickHouse's ${verb} failed: ${line.slice(0, 400)}`, {
    code: 'backup_failed',
    ...(hint === undefined ? {} : { hint }),
  })
}

const hints: Readonly<Record<string, string>> = {
  318: 'give the server a disk for backups (docs/backup.md), or name one: --storage disk:backups',
  598: 'name another directory: a backup is never written over',
  599: 'name the storage and the name the backup has there: --storage disk:backups',
}

async function rowsOf<Row>(
  client: ClickHouseClient,
  query: string,
  query_params: Readonly<Record<string, unknown>> = {},
): Promise<Row[]> {
  const result = await client.query({ query, query_params, format: 'JSONEachRow', ...outsideDatabase })
  return result.json<Row>()
}

function onCluster({ cluster }: { readonly cluster: string | undefined }): string {
  return cluster === undefined ? '' : ` ON CLUSTER ${quoted(cluster)}`
}

/** A name in a statement that takes no parameters. */
function quoted(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``
}
