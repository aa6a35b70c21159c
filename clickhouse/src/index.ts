/** The only door of this room for light code; `@agnes/clickhouse/engine` is the heavy one. */
export {
  type BackupResult,
  backupDatabase,
  checkTables,
  databaseExists,
  fetchHighestSeq,
  fetchMigrations,
  fetchTableRows,
  moveDatabaseAside,
  restoreDatabase,
  type TableRows,
} from './backup/backup.ts'
export { type BackupStorage, parseStorage, storageSql } from './backup/storage.ts'
export {
  type AgnesClientOptions,
  type ClickHouseClient,
  createAgnesClient,
  databaseOf,
  defaultDatabase,
} from './client.ts'
export {
  type ApiKey,
  createKey,
  fetchKeys,
  fetchLiveKeys,
  type IssuedKey,
  type KeyChange,
  type NewKey,
  revokeKey,
  rotateKey,
} from './keys/api-keys.ts'
export { parseKeyText, secretHash } from './keys/key-text.ts'
export { loadMigrations, type MigrationFile } from './migrate/files.ts'
export { type MigrateOptions, type MigrateResult, migrate } from './migrate/migrate.ts'
export { type MigrationVariant, renderMigration } from './migrate/render.ts'
export { type FollowOptions, followTimeline } from './queries/follow.ts'
export { fetchHealth, type HealthOptions } from './queries/health.ts'
export { fetchTimeline } from './queries/timeline.ts'
export type {
  HealthColor,
  HealthField,
  HealthFieldName,
  HealthPulse,
  TimelineFilter,
  TimelinePage,
  TimelineRow,
} from './queries/types.ts'
export { readerName, readerSql } from './tenants/reader-sql.ts'
