import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import path from 'node:path'
import type { BackupStorage, ClickHouseClient, TableRows } from '@agnes/clickhouse'
import { type Config, type DirectoryLock, exitCodes, loadConfig, lockDirectory, UserError } from '@agnes/config'
import { type Command, Option } from 'commander'
import { databaseDirectory, withDatabase, withEngine } from '../backup/database.ts'
import {
  type DatabasePart,
  damagesOf,
  databasePart,
  keysPart,
  type Manifest,
  readManifest,
  spoolPart,
  syncPath,
  syncTree,
} from '../backup/manifest.ts'
import { log } from '../output/streams.ts'
import { harmlessJson } from '../output/text.ts'

interface RestoreOptions {
  readonly only?: 'spool' | 'database'
  readonly storage?: string
  readonly replace?: boolean
  readonly check?: boolean
  readonly json?: boolean
}

interface Restored {
  readonly createdAt: string
  /** Rows by table. */
  readonly rows?: Readonly<Record<string, number>>
  /** Records that wait for ClickHouse. */
  readonly spoolRecords?: number
  /** What was there before, and where it is now. */
  readonly movedAside: readonly string[]
}

export function registerRestore(program: Command): void {
  program
    .command('restore')
    .argument('<directory>', 'a directory that "agnes backup" made')
    .description('Bring back what was saved, into an instance that is stopped and empty')
    .addOption(new Option('--only <part>', 'bring back one of the two').choices(['spool', 'database']))
    .option('--replace', 'move what is there aside first; nothing is deleted')
    .option('--check', 'only hold the backup against its checksums; exit code 3 when something is damaged')
    .option('--storage <storage>', 'ClickHouse server: where the database lies now: disk:<name>/<folder>')
    .option('--json', 'print what was restored as JSON')
    .addHelpText(
      'after',
      `
The backup is checked before, and every table after: its checksums, and its rows against those that were saved. A backup
of an older release is brought to the newest schema. Stop gateways, processors and inbox first.

Examples:
  agnes restore /var/backups/agnes/2026-11-21 --check
  agnes restore /var/backups/agnes/2026-11-21
  AGNES_DATA_DIR=/tmp/drill agnes restore /var/backups/agnes/2026-11-21
`,
    )
    .action(async (directory: string, options: RestoreOptions) => {
      const source = path.resolve(directory)
      const manifest = readManifest(source)
      await refuseDamaged(source, manifest)
      if (options.check) return tellChecked(source, manifest, options)
      const restored = await restore(source, manifest, loadConfig().config, options)
      if (options.json) process.stdout.write(`${harmlessJson(restored, 2)}\n`)
      else tell(source, restored)
    })
}

async function restore(source: string, manifest: Manifest, config: Config, options: RestoreOptions): Promise<Restored> {
  const parts = partsOf(source, manifest, options)
  await refuseNewer(parts.database)
  const stamp = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const aside = (name: string): string => `${name}.before-restore-${stamp}`
  const movedAside: string[] = []
  const spoolDirectory = path.join(config.dataDir, 'spool')
  createDirectory(spoolDirectory)
  const lock = await lockOf(spoolDirectory, 'spool')
  try {
    const { copySpool, holdsRecords, raiseSequence } = await import('@agnes/ingest-gateway')
    if (parts.spool !== undefined && (await holdsRecords(spoolDirectory)) && !options.replace) {
      throw notEmpty(`the spool ${spoolDirectory} holds records`)
    }
    const database = await restoreDatabase(source, parts.database, config, options, stamp)
    if (parts.spool === undefined) await raiseSequence(spoolDirectory, database.nextSeq)
    const staged = path.join(config.dataDir, 'spool.restoring')
    if (parts.spool !== undefined) {
      rmSync(staged, { recursive: true, force: true })
      await copySpool(path.join(source, spoolPart), staged)
      await raiseSequence(staged, database.nextSeq)
    }
    // All of it is whole and on disk.
    database.takePlace()
    movedAside.push(...database.movedAside)
    if (parts.spool !== undefined) {
      if (await holdsRecords(spoolDirectory)) {
        renameSync(spoolDirectory, aside(spoolDirectory))
        movedAside.push(aside(spoolDirectory))
      } else rmSync(spoolDirectory, { recursive: true })
      renameSync(staged, spoolDirectory)
    }
    movedAside.push(...(await restoreKeys(path.join(source, keysPart), config, aside)))
    await syncPath(config.dataDir)
    return {
      createdAt: manifest.createdAt,
      ...(database.rows && { rows: database.rows }),
      ...(parts.spool && { spoolRecords: parts.spool.records }),
      movedAside,
    }
  } finally {
    await lock.release()
  }
}

interface RestoredDatabase {
  readonly rows?: Readonly<Record<string, number>>
  /** No event has it, nor any above. */
  readonly nextSeq: bigint
  readonly movedAside: readonly string[]
  /** Puts what was restored where the instance looks for it. */
  takePlace(): void
}

async function restoreDatabase(
  source: string,
  part: DatabasePart | undefined,
  config: Config,
  options: RestoreOptions,
  stamp: string,
): Promise<RestoredDatabase> {
  const room = await import('@agnes/clickhouse')
  const nextSeq = async (client: ClickHouseClient, name: string): Promise<bigint> =>
    (await room.databaseExists(client, name)) ? (await room.fetchHighestSeq(client, name)) + 1n : 1n
  const name = config.clickhouseUrl === undefined ? room.defaultDatabase : room.databaseOf(config.clickhouseUrl)
  if (part === undefined) {
    const embedded = databaseDirectory(config)
    if (config.clickhouseUrl === undefined && !existsSync(embedded)) {
      return { nextSeq: 1n, movedAside: [], takePlace: () => {} }
    }
    return {
      nextSeq: await withDatabase(config, (client) => nextSeq(client, name)),
      movedAside: [],
      takePlace: () => {},
    }
  }
  const storage = storageOf(room, source, part, config, options)
  const fill = async (client: ClickHouseClient) => {
    await room.restoreDatabase(client, { database: name, cluster: config.clickhouseCluster, storage })
    const found = await room.fetchTableRows(client, name)
    refuseOthers(part, found, await room.checkTables(client, name))
    await room.migrate(client, {
      database: name,
      log,
      ...(config.clickhouseCluster && { cluster: config.clickhouseCluster }),
    })
    return { rows: rowsByTable(found), nextSeq: await nextSeq(client, name) }
  }
  if (part.name !== name) {
    throw new UserError(`the backup is of the database ${part.name}, and this instance has ${name}`, {
      code: 'other_database',
      exitCode: exitCodes.refused,
      hint: `end CLICKHOUSE_URL in /${part.name}`,
    })
  }
  if (config.clickhouseUrl !== undefined) {
    return withDatabase(config, async (client) => {
      const movedAside: string[] = []
      if (await room.databaseExists(client, name)) {
        if (!options.replace) throw notEmpty(`the database ${name} of the server has tables`)
        const to = `${name}_before_restore_${stamp}`
        await room.moveDatabaseAside(client, { database: name, cluster: config.clickhouseCluster, to })
        movedAside.push(`database ${to}`)
      }
      return { ...(await fill(client)), movedAside, takePlace: () => {} }
    })
  }
  return restoreEmbedded(databaseDirectory(config), fill, options, stamp)
}

/** Beside what is there; it takes its place when all of it is whole and on disk. */
async function restoreEmbedded(
  directory: string,
  fill: (
    client: ClickHouseClient,
  ) => Promise<Pick<RestoredDatabase, 'nextSeq'> & Required<Pick<RestoredDatabase, 'rows'>>>,
  { replace }: RestoreOptions,
  stamp: string,
): Promise<RestoredDatabase> {
  const there = existsSync(directory) && readdirSync(directory).length > 0
  if (there) {
    await (await lockOf(directory, 'database')).release()
    if (!replace) throw notEmpty(`there is a database in ${directory}`)
  }
  const staged = `${directory}.restoring`
  rmSync(staged, { recursive: true, force: true })
  createDirectory(staged)
  try {
    const filled = await withEngine(staged, fill)
    await syncTree(staged)
    const aside = `${directory}.before-restore-${stamp}`
    return {
      ...filled,
      movedAside: there ? [aside] : [],
      takePlace() {
        if (there) renameSync(directory, aside)
        else rmSync(directory, { recursive: true, force: true })
        renameSync(staged, directory)
      },
    }
  } catch (error) {
    rmSync(staged, { recursive: true, force: true })
    throw error
  }
}

function partsOf(
  source: string,
  { database, spool }: Manifest,
  { only }: RestoreOptions,
): Pick<Manifest, 'database' | 'spool'> {
  const parts = {
    ...(only !== 'spool' && database && { database }),
    ...(only !== 'database' && spool && { spool }),
  }
  if (parts.database !== undefined || parts.spool !== undefined) return parts
  throw new UserError(`${source} holds no ${only}`, {
    code: 'no_backup',
    exitCode: exitCodes.usage,
    hint: `it was made with --only ${spool === undefined ? 'database' : 'spool'}`,
  })
}

function storageOf(
  { parseStorage }: typeof import('@agnes/clickhouse'),
  source: string,
  { storage }: DatabasePart,
  { clickhouseUrl }: Config,
  options: RestoreOptions,
): BackupStorage {
  if (options.storage !== undefined && clickhouseUrl !== undefined) {
    const [, where = options.storage, name = ''] = /^(.*)\/([^/]+)$/.exec(options.storage) ?? []
    return parseStorage(where, name)
  }
  if (clickhouseUrl === undefined && storage === 'here' && options.storage === undefined) {
    return { kind: 'directory', path: path.join(source, databasePart) }
  }
  if (clickhouseUrl !== undefined && storage !== 'here') return storage
  throw new UserError(
    clickhouseUrl === undefined
      ? 'the database of this backup is kept by a ClickHouse server'
      : 'the database of this backup lies in its directory, where the server cannot read it',
    {
      code: 'other_storage',
      exitCode: exitCodes.usage,
      hint:
        clickhouseUrl === undefined
          ? 'set CLICKHOUSE_URL to that server'
          : `copy ${path.join(source, databasePart)} to the server's disk for backups, and name it: --storage disk:backups/<its name there>`,
    },
  )
}

async function refuseDamaged(source: string, manifest: Manifest): Promise<void> {
  const damages = await damagesOf(source, manifest)
  if (damages.length === 0) return
  throw new UserError(`${source} is damaged: ${some(damages)}`, {
    code: 'backup_damaged',
    exitCode: exitCodes.refused,
    hint: 'use another backup; nothing was changed',
  })
}

async function refuseNewer(part: DatabasePart | undefined): Promise<void> {
  const { loadMigrations } = await import('@agnes/clickhouse')
  const known = new Set((await loadMigrations()).map(({ version }) => version))
  const unknown = part?.migrations.filter((version) => !known.has(version)) ?? []
  if (unknown.length === 0) return
  throw new UserError(`the backup was made by a newer release: this one has no migration ${unknown.join(', ')}`, {
    code: 'backup_newer',
    exitCode: exitCodes.refused,
    hint: 'install the release that made it, or a newer one',
  })
}

/** What was restored must be what was saved. */
function refuseOthers(part: DatabasePart, found: readonly TableRows[], damages: readonly string[]): void {
  const rows = new Map(found.map(({ table, partition, rows }) => [`${table} ${partition}`, rows]))
  const problems = [...damages]
  for (const { table, partition, atLeast, atMost } of part.rows) {
    const there = rows.get(`${table} ${partition}`) ?? 0
    rows.delete(`${table} ${partition}`)
    if (there >= atLeast && there <= atMost) continue
    const expected = atLeast === atMost ? `${atLeast}` : `${atLeast} to ${atMost}`
    problems.push(`${table} has ${there} rows in partition ${partition} instead of ${expected}`)
  }
  for (const named of rows.keys())
    problems.push(`${named.replace(' ', ' has rows in partition ')}, and the backup has none`)
  if (problems.length === 0) return
  throw new UserError(`what was restored is not what was saved: ${some(problems)}`, {
    code: 'restore_differs',
    exitCode: exitCodes.refused,
    hint: 'use another backup, and report this',
  })
}

async function restoreKeys(from: string, { dataDir }: Config, aside: (name: string) => string): Promise<string[]> {
  const moved: string[] = []
  for (const name of existsSync(from) ? readdirSync(from) : []) {
    const file = path.join(dataDir, name)
    if (existsSync(file)) {
      renameSync(file, aside(file))
      moved.push(aside(file))
    }
    await copyFile(path.join(from, name), file)
  }
  return moved
}

async function lockOf(directory: string, purpose: string): Promise<DirectoryLock> {
  try {
    return await lockDirectory(directory, purpose)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    throw new UserError(error.message, {
      code: error.code,
      hint: 'stop the instance first (Ctrl-C in "agnes up", or systemctl stop)',
      cause: error,
    })
  }
}

function createDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new UserError(`cannot create ${directory}: ${(error as Error).message}`, {
      code: 'data_directory',
      hint: 'make its parent writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
}

function notEmpty(what: string): UserError {
  return new UserError(`${what}: nothing was changed`, {
    code: 'not_empty',
    exitCode: exitCodes.refused,
    hint: 'restore into an empty AGNES_DATA_DIR, or have what is there moved aside: --replace',
  })
}

function rowsByTable(found: readonly TableRows[]): Readonly<Record<string, number>> {
  const rows: Record<string, number> = {}
  for (const { table, rows: count } of found) rows[table] = (rows[table] ?? 0) + count
  return rows
}

function some(lines: readonly string[]): string {
  const more = lines.length > 3 ? `; and ${lines.length - 3} more` : ''
  return `${lines.slice(0, 3).join('; ')}${more}`
}

function tellChecked(source: string, { createdAt, files, database }: Manifest, { json }: RestoreOptions): void {
  const bytes = files.reduce((total, file) => total + file.bytes, 0)
  if (json) process.stdout.write(`${harmlessJson({ createdAt, files: files.length, bytes, damaged: 0 }, 2)}\n`)
  else {
    process.stdout.write(`${source}, of ${createdAt}: ${files.length} files are what they were, ${bytes} bytes\n`)
    if (database !== undefined && database.storage !== 'here') {
      log('the database is kept by the server, which checks its files when it restores them')
    }
  }
}

function tell(source: string, { createdAt, rows, spoolRecords, movedAside }: Restored): void {
  const lines = [`restored ${source}, of ${createdAt}`]
  if (rows !== undefined) {
    const total = Object.values(rows).reduce((sum, count) => sum + count, 0)
    lines.push(`  database  ${total} rows in ${Object.keys(rows).length} tables, checked`)
  }
  if (spoolRecords !== undefined) {
    lines.push(`  spool     ${spoolRecords} records; the gateway stores those that are not stored yet`)
  }
  for (const name of movedAside) lines.push(`  kept      ${name}`)
  process.stdout.write(`${lines.join('\n')}\n`)
}
