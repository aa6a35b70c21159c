/** The only door of this room for light code; `@agnes/clickhouse/engine` is the heavy one. */
export {
  type AgnesClientOptions,
  type ClickHouseClient,
  createAgnesClient,
  databaseOf,
  defaultDatabase,
} from './client.ts'
export {
  type FeedbackCauses,
  fetchCauses,
  fetchFindingIds,
  fetchReport,
  fetchReporterFacts,
  fetchReports,
  type ReporterFacts,
  type ReportKey,
} from './feedback/read.ts'
export {
  type FeedbackAction,
  type FeedbackCause,
  type FeedbackFilter,
  type FeedbackPage,
  type FeedbackReport,
  type FeedbackStatus,
  type FeedbackStep,
  feedbackStatuses,
} from './feedback/types.ts'
export { type ChangeOutcome, changeReport, erasePurged, type StoredReport, storeReport } from './feedback/write.ts'
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
export { bearerOf, keyParameter } from './keys/credentials.ts'
export { createFailureLimit, type FailureLimit } from './keys/failure-limit.ts'
export { type Found, type KeyHolder, type KeyRing, type KeyRingOptions, openKeyRing } from './keys/key-ring.ts'
export { parseKeyText, secretHash } from './keys/key-text.ts'
export { loadMigrations, type MigrationFile } from './migrate/files.ts'
export { type MigrateOptions, type MigrateResult, migrate } from './migrate/migrate.ts'
export { type MigrationVariant, renderMigration } from './migrate/render.ts'
export { csvLine } from './queries/csv.ts'
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
export {
  type Fork,
  fetchForks,
  fetchPath,
  fetchSessionFiles,
  fetchStoredLines,
  type LineRange,
  type ReadOptions,
  readSessionLines,
  type SessionVersion,
  type StoredLine,
} from './sessions/read.ts'
export { type LineNode, mainVersion, type SessionFile, type SessionKey, type SessionSource } from './sessions/types.ts'
export { insertSessionFiles, insertSessionLines, type LineBatch, type NewLine } from './sessions/write.ts'
export { readerName, readerSql } from './tenants/reader-sql.ts'
