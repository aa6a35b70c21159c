/**
 * What a backup says of itself: `manifest.json`, written last. A directory without it is a backup that was never
 * finished. Its checksums tell whether the files are still what they were.
 */
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { open, readdir, rename, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { BackupStorage } from '@agnes/clickhouse'
import { exitCodes, UserError } from '@agnes/config'

/** In the directory of a backup. */
export const databasePart = 'database'
export const spoolPart = 'spool'
export const keysPart = 'keys'
const manifestName = 'manifest.json'
const format = 1

export interface Manifest {
  readonly format: typeof format
  /** Release that made it. */
  readonly agnes: string
  readonly createdAt: string
  /** Missing where only the spool was saved. */
  readonly database?: DatabasePart
  /** Missing where only the database was saved. */
  readonly spool?: { readonly files: number; readonly bytes: number; readonly records: number }
  /** Every file beside this one. */
  readonly files: readonly FileSum[]
}

export interface DatabasePart {
  readonly name: string
  readonly clickhouse: string
  /** `here`: in the directory `database` beside this file; else where the server keeps it. */
  readonly storage: 'here' | Exclude<BackupStorage, { kind: 'directory' }>
  readonly migrations: readonly string[]
  /** Counted before and after: events come in meanwhile. */
  readonly rows: readonly RowBounds[]
}

export interface RowBounds {
  readonly table: string
  readonly partition: string
  readonly atLeast: number
  readonly atMost: number
}

interface FileSum {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

/** Sums up every file and has the disk keep it; then the manifest, whole or not at all. */
export async function finishBackup(directory: string, contents: Omit<Manifest, 'format' | 'files'>): Promise<Manifest> {
  const { files, directories } = await walk(directory)
  const sums: FileSum[] = []
  for (const file of files) {
    const bytes = await syncPath(path.join(directory, file))
    sums.push({ path: file, bytes, sha256: await sha256(path.join(directory, file)) })
  }
  const manifest: Manifest = { format, ...contents, files: sums }
  const temporary = path.join(directory, `${manifestName}.tmp`)
  await writeFile(temporary, `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600, flush: true })
  await rename(temporary, path.join(directory, manifestName))
  for (const inside of [...directories.map((name) => path.join(directory, name)), directory, path.dirname(directory)]) {
    await syncPath(inside)
  }
  return manifest
}

/** @throws UserError if there is none, or one that this release cannot read */
export function readManifest(directory: string): Manifest {
  const file = path.join(directory, manifestName)
  let manifest: Partial<Manifest>
  try {
    manifest = JSON.parse(readFileSync(file, 'utf8')) as Partial<Manifest>
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new UserError(
      missing
        ? `${directory} is no finished backup: it has no ${manifestName}`
        : `${file} cannot be read: ${(error as Error).message}`,
      {
        code: 'no_backup',
        exitCode: exitCodes.refused,
        hint: 'name the directory that "agnes backup" was given',
        cause: error,
      },
    )
  }
  if (manifest.format === format && Array.isArray(manifest.files)) return manifest as Manifest
  throw new UserError(`${file} is of a form that this release does not know`, {
    code: 'no_backup',
    exitCode: exitCodes.refused,
    hint: `use the release that made it${manifest.agnes === undefined ? '' : ` (${manifest.agnes})`}, or a newer one`,
  })
}

/** Holds every file against the manifest. @returns what is wrong, a line each */
export async function damagesOf(directory: string, { files }: Manifest): Promise<readonly string[]> {
  const damages: string[] = []
  for (const { path: name, bytes, sha256: expected } of files) {
    const file = path.join(directory, name)
    const found = await stat(file).catch(() => undefined)
    if (found === undefined) damages.push(`${name} is missing`)
    else if (found.size !== bytes) damages.push(`${name} has ${found.size} bytes instead of ${bytes}`)
    else if ((await sha256(file)) !== expected) damages.push(`${name} has changed`)
  }
  return damages
}

/** Has the disk keep everything under a directory. */
export async function syncTree(directory: string): Promise<void> {
  const { files, directories } = await walk(directory)
  for (const name of [...files, ...directories, '.']) await syncPath(path.join(directory, name))
}

interface Tree {
  readonly files: readonly string[]
  readonly directories: readonly string[]
}

/** Paths within the directory, sorted. Links are neither. */
async function walk(directory: string): Promise<Tree> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const named = (wanted: (typeof entries)[number][]): string[] =>
    wanted.map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name))).sort()
  return {
    files: named(entries.filter((entry) => entry.isFile())),
    directories: named(entries.filter((entry) => entry.isDirectory())),
  }
}

/** Has the disk keep a file, or the names in a directory. @returns its size */
export async function syncPath(file: string): Promise<number> {
  const handle = await open(file, 'r')
  try {
    await handle.sync()
    return (await handle.stat()).size
  } finally {
    await handle.close()
  }
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}
