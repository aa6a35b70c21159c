/** Where ClickHouse itself writes a backup of the database to, and reads it from. */
import { exitCodes, UserError } from '@agnes/config'

/**
 * `directory`: a path on the engine's machine. `disk`: a disk of the server's configuration that `backups.allowed_disk`
 * names. `s3`: a named collection of the server, which holds address and credentials, so that none stands here.
 */
export type BackupStorage =
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'disk' | 's3'; readonly name: string; readonly path: string }

/**
 * From `disk:backups` or `s3:backups/2026`, as it is typed.
 * @param backup its name within the storage
 * @throws UserError
 */
export function parseStorage(text: string, backup: string): BackupStorage {
  const [, kind, name, folder = ''] = /^(disk|s3):(\w+)((?:\/[\w.-]+)*)\/?$/.exec(text) ?? []
  if ((kind !== 'disk' && kind !== 's3') || name === undefined || folder.split('/').includes('..')) {
    throw new UserError(`"${text}" is not a storage of a ClickHouse server`, {
      code: 'bad_storage',
      exitCode: exitCodes.usage,
      hint: 'use disk:<name of a disk> or s3:<name of a named collection>, either with a folder: disk:backups/agnes',
    })
  }
  return { kind, name, path: `${folder.slice(1)}${folder === '' ? '' : '/'}${backup}` }
}

/** As BACKUP and RESTORE name it. */
export function storageSql(storage: BackupStorage): string {
  if (storage.kind === 'directory') return `File(${text(storage.path)})`
  if (storage.kind === 'disk') return `Disk(${text(storage.name)}, ${text(storage.path)})`
  return `S3(${storage.name}, ${text(storage.path)})`
}

function text(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
