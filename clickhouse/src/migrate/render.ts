/**
 * One migration file, two variants. The file is plain SQL for one server; for a cluster the same statements get
 * `ON CLUSTER`, replicated engines, and for each table a local one with a Distributed one over it.
 *
 * What a cluster needs to know beyond that stands as a comment before the CREATE TABLE:
 *   `-- cluster: sharded by <expression>`  rows are spread over the shards by it
 *   `-- cluster: everywhere`               every node holds all rows; for small tables of ours
 */
import { defaultDatabase } from '../client.ts'
import type { MigrationFile } from './files.ts'
import { lexSql, splitStatements } from './split.ts'

export interface MigrationVariant {
  /** `agnes` unless told; the files say `agnes.` throughout. */
  readonly database?: string
  /** Name of the cluster in `remote_servers`; a single server when missing. */
  readonly cluster?: string
}

/** The statements to run, in order. Every one may run again without harm; anything else is refused here. */
export function renderMigration(file: MigrationFile, variant: MigrationVariant = {}): string[] {
  const database = checkedName(variant.database ?? defaultDatabase)
  const statements = splitStatements(file.sql).map((statement) => readStatement(statement, database))
  return joinColumns(statements).flatMap(({ directive, sql }) => {
    const known = kinds.find(({ pattern }) => pattern.test(sql))
    if (known === undefined) {
      throw new Error(`${file.version}_${file.name}.sql: not a statement that may run twice: ${sql.slice(0, 80)}`)
    }
    if (variant.cluster === undefined) return [sql]
    return known.cluster({ sql, directive, cluster: `'${checkedName(variant.cluster)}'`, pattern: known.pattern })
  })
}

interface ClusterInput {
  readonly sql: string
  readonly directive: string | undefined
  /** Quoted. */
  readonly cluster: string
  readonly pattern: RegExp
}

interface StatementKind {
  /** Group 1 is everything up to and including the object's name. */
  readonly pattern: RegExp
  readonly cluster: (input: ClusterInput) => string[]
}

const onCluster = ({ sql, cluster, pattern }: ClusterInput): string[] => [
  sql.replace(pattern, (_all, head: string) => `${head} ON CLUSTER ${cluster}`),
]

const kinds: readonly StatementKind[] = [
  { pattern: /^(CREATE DATABASE IF NOT EXISTS \w+)/, cluster: onCluster },
  { pattern: /^(CREATE OR REPLACE VIEW \w+\.\w+)/, cluster: onCluster },
  { pattern: /^(CREATE TABLE IF NOT EXISTS (\w+)\.(\w+))/, cluster: createClusterTable },
  // A new column must exist in the local tables before the Distributed one asks for it.
  { pattern: /^(ALTER TABLE (\w+)\.(\w+))(?= ADD COLUMN IF NOT EXISTS )/, cluster: alterClusterColumns },
  {
    pattern: /^(ALTER TABLE \w+\.\w+)(?= (?:ADD INDEX IF NOT EXISTS|DROP INDEX IF EXISTS|MODIFY SETTING|MODIFY TTL) )/,
    cluster: (input) => onCluster({ ...input, sql: input.sql.replace(input.pattern, '$1_local'), pattern: localAlter }),
  },
]

const localAlter = /^(ALTER TABLE \w+\.\w+)/

function createClusterTable({ sql, directive, cluster, pattern }: ClusterInput): string[] {
  const [, , database = '', table = ''] = pattern.exec(sql) ?? []
  const everywhere = directive === 'everywhere'
  const shardingKey = directive?.match(/^sharded by (.+)$/)?.[1]
  if (!everywhere && shardingKey === undefined) {
    throw new Error(`${database}.${table} says neither "-- cluster: sharded by …" nor "-- cluster: everywhere"`)
  }
  const local = everywhere ? table : `${table}_local`
  const create = sql
    .replace(pattern, `CREATE TABLE IF NOT EXISTS ${database}.${local} ON CLUSTER ${cluster}`)
    // Every node is a replica of the same table: the path has no shard in it, the replica's name has.
    .replace(/\bENGINE = (\w*)MergeTree(?:\(([^()]*)\))?/, (_all, family: string, args: string | undefined) => {
      const path = everywhere
        ? `'/clickhouse/tables/${database}/${table}', '{shard}-{replica}'`
        : shardedPath(database, local)
      return `ENGINE = Replicated${family}MergeTree(${[path, args].filter((part) => part !== undefined && part !== '').join(', ')})`
    })
    .replace(/\bnon_replicated_deduplication_window\b/, 'replicated_deduplication_window')
  if (everywhere) return [create]
  return [
    create,
    `CREATE TABLE IF NOT EXISTS ${database}.${table} ON CLUSTER ${cluster} AS ${database}.${local}\n` +
      `ENGINE = Distributed(${cluster}, '${database}', '${local}', ${shardingKey})\n` +
      'SETTINGS fsync_after_insert = 1, fsync_directories = 1',
  ]
}

function shardedPath(database: string, table: string): string {
  return `'/clickhouse/tables/{shard}/${database}/${table}', '{replica}'`
}

function alterClusterColumns({ sql, cluster, pattern }: ClusterInput): string[] {
  return ['$1_local', '$1'].map((name) => sql.replace(pattern, `${name} ON CLUSTER ${cluster}`))
}

interface Statement {
  /** What is said to a cluster about it. */
  readonly directive: string | undefined
  readonly sql: string
}

/** Columns added one after the other to a table become one statement: each time ClickHouse checks all columns anew. */
function joinColumns(statements: readonly Statement[]): Statement[] {
  const joined: Statement[] = []
  for (const statement of statements) {
    const before = joined.at(-1)
    const table = addsColumn.exec(statement.sql)?.[1]
    if (before !== undefined && table !== undefined && table === addsColumn.exec(before.sql)?.[1]) {
      joined.splice(-1, 1, { ...before, sql: `${before.sql},\n${statement.sql.slice(table.length)}` })
    } else joined.push(statement)
  }
  return joined
}

const addsColumn = /^(ALTER TABLE \w+\.\w+) ADD COLUMN IF NOT EXISTS /

/** Drops the comments before a statement, keeps what they say to a cluster, and puts the database's name in place. */
function readStatement(statement: string, database: string): Statement {
  const pieces = lexSql(statement)
  const start = pieces.findIndex(({ kind, text }) => kind !== 'comment' && text.trim() !== '')
  const directive = pieces
    .slice(0, start)
    .map(({ text }) => /^-- cluster: (.+)$/.exec(text)?.[1]?.trim())
    .find((found) => found !== undefined)
  const sql = pieces
    .slice(start)
    .map(({ kind, text }) =>
      kind === 'code'
        ? text.replace(/\bagnes\.(?=\w)|(?<=\bDATABASE IF NOT EXISTS )agnes\b/g, (found) =>
            found.endsWith('.') ? `${database}.` : database,
          )
        : text,
    )
    .join('')
    .trim()
  return { directive, sql }
}

/** Names end up in DDL text, where no parameter can be bound. */
function checkedName(name: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(name)) throw new Error(`not a plain name: ${name}`)
  return name
}
