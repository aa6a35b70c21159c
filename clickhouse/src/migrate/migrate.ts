/**
 * Brings a database to the newest schema: forward only, safe to run again and by two processes at once.
 * ClickHouse has no locks for that, so every statement is one that may run twice, and an applied file is recorded
 * by an insert that is deduplicated.
 */
import { exitCodes, UserError } from '@agnes/config'
import { type ClickHouseClient, ClickHouseError } from '@clickhouse/client'
import { defaultDatabase } from '../client.ts'
import { loadMigrations, type MigrationFile } from './files.ts'
import { renderMigration } from './render.ts'

export interface MigrateOptions {
  /** `agnes` unless told; must be the database of the client. */
  readonly database?: string
  /** Cluster for `ON CLUSTER`; a single server when missing. */
  readonly cluster?: string
  /** One line a file that was applied. */
  readonly log?: (line: string) => void
  /** For tests; the files of the package unless told. */
  readonly files?: readonly MigrationFile[]
}

export interface MigrateResult {
  /** `0001_base`, … as applied by this run. */
  readonly applied: readonly string[]
  readonly alreadyApplied: number
}

/** @throws UserError (exit code 3) when a file that was applied before has another text now. */
export async function migrate(client: ClickHouseClient, options: MigrateOptions = {}): Promise<MigrateResult> {
  const database = options.database ?? defaultDatabase
  const files = options.files ?? (await loadMigrations())
  const log = options.log ?? (() => undefined)
  const recorded = await readRecorded(client, database)
  refuseChanged(files, recorded)
  for (const version of recorded.keys()) {
    if (!files.some((file) => file.version === version)) log(`${version} was applied by a newer release`)
  }

  const pending = files.filter((file) => !recorded.has(file.version))
  const applied: string[] = []
  for (const file of pending) {
    const started = performance.now()
    for (const query of renderMigration(file, { database, cluster: options.cluster })) {
      await command(client, query)
    }
    await record(client, database, file)
    applied.push(`${file.version}_${file.name}`)
    log(`applied ${file.version}_${file.name} in ${Math.round(performance.now() - started)} ms`)
  }
  return { applied, alreadyApplied: files.length - pending.length }
}

// The client's own database may not exist yet: the header outranks the URL's `database` parameter.
const outsideDatabase = { http_headers: { 'X-ClickHouse-Database': 'default' } }

/** Applied versions with the checksums they were applied with (more than one when two releases raced). */
async function readRecorded(client: ClickHouseClient, database: string): Promise<Map<string, readonly string[]>> {
  try {
    const result = await client.query({
      query: `SELECT version, groupUniqArray(checksum) AS checksums FROM ${database}.schema_migrations GROUP BY version ORDER BY version`,
      format: 'JSONEachRow',
      ...outsideDatabase,
    })
    const rows = await result.json<{ version: string; checksums: string[] }>()
    return new Map(rows.map((row) => [row.version, row.checksums]))
  } catch (error) {
    if (error instanceof ClickHouseError && ['UNKNOWN_TABLE', 'UNKNOWN_DATABASE'].includes(error.type ?? '')) {
      return new Map()
    }
    throw error
  }
}

function refuseChanged(files: readonly MigrationFile[], recorded: ReadonlyMap<string, readonly string[]>): void {
  for (const file of files) {
    const checksums = recorded.get(file.version)
    if (checksums === undefined || checksums.every((checksum) => checksum === file.checksum)) continue
    throw new UserError(`migration ${file.version}_${file.name}.sql was applied before with another text`, {
      code: 'migration_changed',
      exitCode: exitCodes.refused,
      status: 409,
      hint: `restore the file as released (applied sha256 ${checksums.join(', ')}) and put the change into a new file`,
    })
  }
}

async function record(client: ClickHouseClient, database: string, file: MigrationFile): Promise<void> {
  await client.command({
    query: `INSERT INTO ${database}.schema_migrations (version, name, checksum) SELECT {version:String}, {name:String}, {checksum:String}`,
    query_params: { version: file.version, name: file.name, checksum: file.checksum },
    clickhouse_settings: {
      insert_deduplicate: 1,
      insert_deduplication_token: `${file.version}-${file.checksum}`,
    },
    ...outsideDatabase,
  })
}

/** Two runners may replace the same view at the same instant; the one that comes second finds it moved and tries again. */
async function command(client: ClickHouseClient, query: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await client.command({ query, ...outsideDatabase })
      return
    } catch (error) {
      const raced = error instanceof ClickHouseError && racedTypes.includes(error.type ?? '')
      if (!raced || attempt === 5) throw error
    }
  }
}

const racedTypes = ['TABLE_ALREADY_EXISTS', 'DATABASE_ALREADY_EXISTS', 'UNKNOWN_TABLE', 'TABLE_IS_BEING_DROPPED']
