/** The only door of this room for light code; `@agnes/clickhouse/engine` is the heavy one. */
export {
  type Alert,
  type AlertFilter,
  type AlertState,
  fetchAlerts,
  saveAlerts,
  shownAlertStates,
} from './alerts/alerts.ts'
export { type AlertSilence, createSilence, endSilence, fetchSilences, silenceOf } from './alerts/silences.ts'
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
  type FeedbackCauses,
  fetchCauses,
  fetchFindingIds,
  fetchReport,
  fetchReporterFacts,
  fetchReportSession,
  fetchReports,
  type ReporterFacts,
  type ReportFinding,
  type ReportKey,
  type ReportSession,
} from './feedback/read.ts'
export { fetchCause, fetchReportedSessions, fetchSilentFindings, type KnownCause } from './feedback/silent.ts'
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
export { type EventDetail, type EventQuestion, fetchEvent } from './queries/event.ts'
export { type FollowOptions, followTimeline } from './queries/follow.ts'
export { fetchHealth, type HealthOptions } from './queries/health.ts'
export { selectRows } from './queries/rows.ts'
export { type FindingWeek, fetchFindingWeeks } from './queries/session-findings.ts'
export { fetchSessionGaps, type GapRequest, type SessionGap } from './queries/session-gaps.ts'
export {
  fetchReplay,
  fetchSessionNames,
  type Replay,
  type ReplayRequest,
  type ReplayTurn,
  type SessionFinding,
} from './queries/session-replay.ts'
export { fetchWholeTurn, type TurnKey } from './queries/session-turn.ts'
export {
  fetchSessions,
  type SessionAnchor,
  type SessionFilter,
  type SessionPage,
  type SessionRow,
  type SessionSort,
  type SilentCause,
  sessionAnchors,
  sessionSorts,
} from './queries/sessions.ts'
export { type Bar, type Facet, fetchSummary, type TimelineSummary } from './queries/summary.ts'
export { fetchSyncs, type SyncOutcome, type SyncRun, type SyncTable } from './queries/sync.ts'
export { allOfTimeline, fetchTimeline } from './queries/timeline.ts'
export type {
  HealthColor,
  HealthField,
  HealthFieldName,
  HealthPulse,
  TimelineFilter,
  TimelinePage,
  TimelineRow,
} from './queries/types.ts'
export { createKeyedHash, emptyPrefix, extendPrefix, prefixesAt, startLine } from './sessions/prefix-hash.ts'
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
export {
  type Delivery,
  type DeliveryState,
  fetchLastSent,
  fetchLatestDeliveries,
  fetchLatestOfIncidents,
  fetchOpenDeliveries,
  saveDeliveries,
} from './telegram/deliveries.ts'
export {
  fetchTelegramLinks,
  findLinkCode,
  keyMark,
  type LinkCode,
  type LinkEnd,
  type LinkOwner,
  saveLinkCode,
  saveTelegramLink,
  type TelegramLink,
} from './telegram/links.ts'
export { readerName, readerSql } from './tenants/reader-sql.ts'
