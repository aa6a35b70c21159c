/** Rows of `feedback_reports`, in both directions. */
import type { FeedbackReport, FeedbackStatus, FeedbackStep } from './types.ts'

/** Of a list: what a report is recognised by, without the excerpt, which has a quarter of a megabyte. */
export const listColumns = columns("''")
export const allColumns = columns('session_excerpt')

function columns(excerpt: string): string {
  return `tenant, id, version, change_id, toUnixTimestamp64Milli(created_at) AS created_ms,
  toUnixTimestamp64Milli(changed_at) AS changed_ms, toUnixTimestamp64Milli(written_at) AS written_ms,
  reporter_user, reporter_key, message, ${excerpt} AS excerpt, session_file, session_id, environment, fingerprint, dup_key,
  cause_key, cause_tool, cause_class, cause_text, finding_ids, preview_sha256, preview_bytes, preview_answer, redactions,
  bundle_version, status, assignee, tags, resolution, toUnixTimestamp64Milli(resolved_at) AS resolved_ms, resolved_by,
  history.version, history.at, history.actor, history.action, history.detail`
}

export interface RawReport {
  readonly tenant: string
  readonly id: string
  readonly version: number
  readonly change_id: string
  /** Milliseconds since 1970, decimal. */
  readonly created_ms: string
  readonly changed_ms: string
  readonly written_ms: string | null
  readonly reporter_user: string
  readonly reporter_key: string
  readonly message: string
  readonly excerpt: string
  readonly session_file: string
  readonly session_id: string
  readonly environment: Readonly<Record<string, string>>
  readonly fingerprint: string
  readonly dup_key: string
  readonly cause_key: string
  readonly cause_tool: string
  readonly cause_class: string
  readonly cause_text: string
  readonly finding_ids: readonly string[]
  readonly preview_sha256: string
  readonly preview_bytes: number
  readonly preview_answer: string
  readonly redactions: readonly string[]
  readonly bundle_version: number
  readonly status: string
  readonly assignee: string
  readonly tags: readonly string[]
  readonly resolution: string
  readonly resolved_ms: string | null
  readonly resolved_by: string
  readonly 'history.version': readonly number[]
  /** ISO 8601. */
  readonly 'history.at': readonly string[]
  readonly 'history.actor': readonly string[]
  readonly 'history.action': readonly string[]
  readonly 'history.detail': readonly string[]
}

export function reportOf(row: RawReport): FeedbackReport {
  const date = (ms: string | null): Date | undefined => (ms === null ? undefined : new Date(Number(ms)))
  return {
    tenant: row.tenant,
    id: row.id,
    version: row.version,
    createdAt: new Date(Number(row.created_ms)),
    changedAt: new Date(Number(row.changed_ms)),
    writtenAt: date(row.written_ms),
    reporterUser: row.reporter_user,
    reporterKey: row.reporter_key,
    message: row.message,
    sessionExcerpt: row.excerpt,
    sessionFile: row.session_file,
    sessionId: row.session_id,
    environment: row.environment,
    fingerprint: row.fingerprint,
    dupKey: row.dup_key,
    causeKey: row.cause_key,
    causeTool: row.cause_tool,
    causeClass: row.cause_class,
    causeText: row.cause_text,
    findingIds: row.finding_ids,
    previewSha256: row.preview_sha256,
    previewBytes: row.preview_bytes,
    previewAnswer: row.preview_answer,
    redactions: row.redactions,
    bundleVersion: row.bundle_version,
    // Written by nobody but this room.
    status: row.status as FeedbackStatus,
    assignee: row.assignee,
    tags: row.tags,
    resolution: row.resolution,
    resolvedAt: date(row.resolved_ms),
    resolvedBy: row.resolved_by,
    history: row['history.version'].map(
      (version, i): FeedbackStep => ({
        version,
        at: new Date(row['history.at'][i] ?? 0),
        actor: row['history.actor'][i] ?? '',
        action: row['history.action'][i] ?? '',
        detail: row['history.detail'][i] ?? '',
      }),
    ),
  }
}

/** A row as JSONEachRow takes it. */
export function rowOf(report: FeedbackReport, changeId: string): Record<string, unknown> {
  const { history } = report
  return {
    tenant: report.tenant,
    id: report.id,
    version: report.version,
    change_id: changeId,
    created_at: report.createdAt.toISOString(),
    changed_at: report.changedAt.toISOString(),
    written_at: report.writtenAt?.toISOString() ?? null,
    reporter_user: report.reporterUser,
    reporter_key: report.reporterKey,
    message: report.message,
    session_excerpt: report.sessionExcerpt,
    session_file: report.sessionFile,
    session_id: report.sessionId,
    environment: report.environment,
    fingerprint: report.fingerprint,
    dup_key: report.dupKey,
    cause_key: report.causeKey,
    cause_tool: report.causeTool,
    cause_class: report.causeClass,
    cause_text: report.causeText,
    finding_ids: report.findingIds,
    preview_sha256: report.previewSha256,
    preview_bytes: report.previewBytes,
    preview_answer: report.previewAnswer,
    redactions: report.redactions,
    bundle_version: report.bundleVersion,
    status: report.status,
    assignee: report.assignee,
    tags: report.tags,
    resolution: report.resolution,
    resolved_at: report.resolvedAt?.toISOString() ?? null,
    resolved_by: report.resolvedBy,
    'history.version': history.map(({ version }) => version),
    'history.at': history.map(({ at }) => at.toISOString()),
    'history.actor': history.map(({ actor }) => actor),
    'history.action': history.map(({ action }) => action),
    'history.detail': history.map(({ detail }) => detail),
  }
}
