import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import path from 'node:path'
import type { BackupStorage, ClickHouseClient, TableRows } from '@agnes/clickhouse'
import { type Config, exitCodes, loadConfig, UserError } from '@agnes/config'
import type { CopiedSpool } from '@agnes/ingest-gateway'
import { type Command, Option } from 'commander'
import { audit, whoami } from '../audit.ts'
import { withDatabase } from '../backup/database.ts'
import {
  type DatabasePart,
  databasePart,
  finishBackup,
  keysPart,
  type Manifest,
  type RowBounds,
  spoolPart,
} from '../backup/manifest.ts'
import { log } from '../output/streams.ts'
import { harmlessJson } from '../output/text.ts'
import { version } from '../version.ts'

interface BackupOptions {
  readonly only?: 'spool' | 'database'
  readonly storage?: string
  readonly withKeys?: boolean
  readonly json?: boolean
}

/** Secrets beside the database; whoever has a backup need not have them. */
const keyFiles = ['admin.key', 'redaction.key', 'inbox-cookie.key'] as const

export function registerBackup(program: Command): void {
  program
    .command('backup')
    .argument('<directory>', 'a new directory for this backup')
    .description('Save database and spool, also while events come in')
    .addOption(new Option('--only <part>', 'save one of the two').choices(['spool', 'database']))
    .option(
      '--storage <storage>',
      'ClickHouse server: where it keeps the database, disk:<name> or s3:<named collection>',
    )
    .option('--with-keys', `save the plain keys of the data directory too: ${keyFiles.join(', ')}`)
    .option('--json', 'print what was saved as JSON')
    .addHelpText(
      'after',
      `
Every event that was acknowledged before the backup began is in it, and is there once after "agnes restore". It works
beside a running instance and while none runs. A ClickHouse server writes its part to a storage of its own
(disk:backups unless told), and the directory has the rest. With several gateways: --only spool on each of them, then
--only database once. More: docs/backup.md.

Examples:
  agnes backup /var/backups/agnes/$(date +%F)
  CLICKHOUSE_URL=https://agnes:secret@db.example:8443/agnes agnes backup /var/backups/agnes/today --storage s3:backups
`,
    )
    .action(async (directory: string, options: BackupOptions) => {
      const { config } = loadConfig()
      const target = path.resolve(directory)
      createTarget(target, config)
      const started = performance.now()
      const manifest = await backup(target, config, options).catch((error: unknown) => {
        for (const name of readdirSync(target)) rmSync(path.join(target, name), { recursive: true })
        throw error
      })
      const seconds = (performance.now() - started) / 1000
      if (options.json) process.stdout.write(`${harmlessJson({ directory: target, ...summary(manifest) }, 2)}\n`)
      else tell(target, manifest, options, seconds)
      const { files: _files, ...described } = summary(manifest)
      const recorded = await audit(
        {
          action: 'backup.create',
          resource: `backup:${target}`,
          result: 'success',
          clientKind: 'cli',
          durationMs: Math.round(seconds * 1000),
          params: { ...described, by: whoami() },
        },
        config,
      )
      if (!recorded) log('this backup is not in the audit trail: no gateway took the event')
    })
}

/** In this order: what leaves the spool meanwhile is in the database by the time that is saved. */
async function backup(target: string, config: Config, options: BackupOptions): Promise<Manifest> {
  const createdAt = new Date().toISOString()
  const spool = options.only === 'database' ? undefined : await saveSpool(target, config)
  const database = options.only === 'spool' ? undefined : await saveDatabase(target, config, options.storage)
  if (options.withKeys) await saveKeys(target, config)
  return finishBackup(target, {
    agnes: version,
    createdAt,
    ...(database && { database }),
    ...(spool && { spool }),
  })
}

async function saveSpool(target: string, { dataDir, clickhouseUrl }: Config): Promise<CopiedSpool> {
  const from = path.join(dataDir, 'spool')
  if (!existsSync(from)) {
    throw new UserError(`there is no spool in ${dataDir}`, {
      code: 'no_spool',
      hint:
        clickhouseUrl === undefined
          ? 'set AGNES_DATA_DIR to the data directory of the instance'
          : 'set AGNES_DATA_DIR to the data directory of the gateway, or save the server alone: --only database',
    })
  }
  const { copySpool } = await import('@agnes/ingest-gateway')
  return copySpool(from, path.join(target, spoolPart))
}

async function saveDatabase(target: string, config: Config, storageText: string | undefined): Promise<DatabasePart> {
  const room = await import('@agnes/clickhouse')
  const name = config.clickhouseUrl === undefined ? room.defaultDatabase : room.databaseOf(config.clickhouseUrl)
  const storage = storageOf(room, target, config, storageText)
  return withDatabase(config, async (client) => {
    if (!(await room.databaseExists(client, name))) {
      throw new UserError(`the database ${name} has no tables`, { code: 'no_database', hint: 'run "agnes migrate"' })
    }
    const migrations = await room.fetchMigrations(client, name)
    const before = await room.fetchTableRows(client, name)
    await room.backupDatabase(client, { database: name, cluster: config.clickhouseCluster, storage })
    const after = await room.fetchTableRows(client, name)
    return {
      name,
      clickhouse: await versionOf(client),
      storage: storage.kind === 'directory' ? 'here' : storage,
      migrations,
      rows: boundsOf(before, after),
    }
  })
}

function storageOf(
  { parseStorage }: typeof import('@agnes/clickhouse'),
  target: string,
  { clickhouseUrl }: Config,
  text: string | undefined,
): BackupStorage {
  if (clickhouseUrl !== undefined) return parseStorage(text ?? 'disk:backups', storageName(target))
  if (text === undefined) return { kind: 'directory', path: path.join(target, databasePart) }
  throw new UserError('the embedded engine saves its database into the directory itself', {
    code: 'bad_storage',
    exitCode: exitCodes.usage,
    hint: 'leave out --storage',
  })
}

/** Within the server's storage: readable, and never one that is there. */
function storageName(target: string): string {
  const plain = path.basename(target).replaceAll(/[^\w.-]+/g, '-')
  return `${plain}-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
}

/** Partitions only grow or go meanwhile, so what was saved lies between the two counts. */
function boundsOf(before: readonly TableRows[], after: readonly TableRows[]): readonly RowBounds[] {
  const bounds = new Map<string, { first: number; last: number }>()
  const key = ({ table, partition }: TableRows): string => `${table} ${partition}`
  for (const counted of before) bounds.set(key(counted), { first: counted.rows, last: 0 })
  for (const counted of after) {
    bounds.set(key(counted), { first: bounds.get(key(counted))?.first ?? 0, last: counted.rows })
  }
  return [...bounds].map(([named, { first, last }]) => {
    const [table = '', partition = ''] = named.split(' ')
    return { table, partition, atLeast: Math.min(first, last), atMost: Math.max(first, last) }
  })
}

async function saveKeys(target: string, { dataDir }: Config): Promise<void> {
  const to = path.join(target, keysPart)
  mkdirSync(to, { mode: 0o700 })
  for (const name of keyFiles) {
    const file = path.join(dataDir, name)
    if (existsSync(file)) await copyFile(file, path.join(to, name))
  }
}

async function versionOf(client: ClickHouseClient): Promise<string> {
  const result = await client.query({ query: 'SELECT version() AS version', format: 'JSONEachRow' })
  return (await result.json<{ version: string }>())[0]?.version ?? ''
}

function createTarget(target: string, { dataDir }: Config): void {
  const inside = path.relative(dataDir, target)
  if (!inside.startsWith('..') && !path.isAbsolute(inside)) {
    throw new UserError(`${target} lies in the data directory: it would be lost with what it saves`, {
      code: 'bad_directory',
      exitCode: exitCodes.usage,
      hint: 'name a directory elsewhere, best on another disk',
    })
  }
  try {
    mkdirSync(target, { recursive: true, mode: 0o700 })
    if (readdirSync(target).length === 0) return
  } catch (error) {
    throw new UserError(`cannot create ${target}: ${(error as Error).message}`, {
      code: 'bad_directory',
      hint: 'name a directory this user may write to',
      cause: error,
    })
  }
  throw new UserError(`${target} is not empty`, {
    code: 'bad_directory',
    exitCode: exitCodes.usage,
    hint: `name a new directory for each backup: ${path.join(target, new Date().toISOString().slice(0, 10))}`,
  })
}

function summary(manifest: Manifest) {
  const { createdAt, database, spool, files } = manifest
  return {
    createdAt,
    ...(database && {
      database: { name: database.name, storage: database.storage, rows: rowsOf(database), tables: tablesOf(database) },
    }),
    ...(spool && { spool }),
    files: files.length,
    bytes: files.reduce((total, { bytes }) => total + bytes, 0),
  }
}

function tell(target: string, manifest: Manifest, { withKeys }: BackupOptions, seconds: number): void {
  const { database, spool, files } = manifest
  const bytes = files.reduce((total, file) => total + file.bytes, 0)
  const lines = [`${target}: ${bytes} bytes in ${files.length} files, ${seconds.toFixed(1)} s`]
  if (database !== undefined) {
    const { storage } = database
    const where = storage === 'here' ? '' : `, kept by the server: ${storage.kind}:${storage.name}/${storage.path}`
    lines.push(`  database  ${rowsOf(database)} rows in ${tablesOf(database)} tables${where}`)
  }
  if (spool !== undefined) lines.push(`  spool     ${spool.records} records in ${spool.files} files`)
  if (!withKeys) lines.push(`  left out  ${keyFiles.join(', ')}: plain secrets, saved by --with-keys`)
  process.stdout.write(`${lines.join('\n')}\n`)
}

function rowsOf({ rows }: DatabasePart): number {
  return rows.reduce((total, { atLeast }) => total + atLeast, 0)
}

function tablesOf({ rows }: DatabasePart): number {
  return new Set(rows.map(({ table }) => table)).size
}
