/** The numbered SQL files of the package, read and checked before anything runs. */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

export interface MigrationFile {
  /** `0002` of `0002_audit_log.sql`. */
  readonly version: string
  /** `audit_log` of `0002_audit_log.sql`. */
  readonly name: string
  /** The server form; the cluster form is rendered from it. */
  readonly sql: string
  /** sha256 of the text with LF line ends, hex: a checkout that rewrites line ends is no change. */
  readonly checksum: string
}

/** `clickhouse/migrations`, at the same place seen from `src/migrate` and `dist/migrate`. */
export const migrationsDir = fileURLToPath(new URL('../../migrations/', import.meta.url))

/** All migrations in order. Throws when a name or a number is out of line: that is a mistake of the release. */
export async function loadMigrations(dir: string = migrationsDir): Promise<MigrationFile[]> {
  const names = (await readdir(dir)).filter((name) => name.endsWith('.sql')).sort()
  return Promise.all(
    names.map(async (name, index) => {
      const match = /^(\d{4})_([a-z0-9_]+)\.sql$/.exec(name)
      if (match === null || Number(match[1]) !== index + 1) {
        throw new Error(`migrations are numbered 0001_name.sql without gaps, found ${name} at place ${index + 1}`)
      }
      return parseMigration(match[1] ?? '', match[2] ?? '', await readFile(`${dir}/${name}`, 'utf8'))
    }),
  )
}

export function parseMigration(version: string, name: string, text: string): MigrationFile {
  const sql = text.replaceAll('\r\n', '\n')
  if (!sql.startsWith('-- ')) throw new Error(`${version}_${name}.sql begins with a comment that says what it costs`)
  return { version, name, sql, checksum: createHash('sha256').update(sql).digest('hex') }
}
