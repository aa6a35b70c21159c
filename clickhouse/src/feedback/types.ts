/** Feedback reports as they are stored and handed out. */

export const feedbackStatuses = ['open', 'triaged', 'resolved', 'wontfix', 'purged'] as const
export type FeedbackStatus = (typeof feedbackStatuses)[number]

/** What happened to a report; `report` is its arrival. */
export type FeedbackAction = 'report' | 'assign' | 'tag' | 'triage' | 'resolve' | 'wontfix' | 'reopen' | 'purge'

export interface FeedbackStep {
  readonly version: number
  readonly at: Date
  readonly actor: string
  readonly action: string
  /** What it was changed to. */
  readonly detail: string
}

export interface FeedbackReport {
  readonly tenant: string
  readonly id: string
  /** From 1. */
  readonly version: number
  readonly createdAt: Date
  readonly changedAt: Date
  /** As the client says. */
  readonly writtenAt: Date | undefined
  readonly reporterUser: string
  readonly reporterKey: string
  readonly message: string
  /** JSON objects, one a line; empty in lists. */
  readonly sessionExcerpt: string
  readonly sessionFile: string
  readonly sessionId: string
  readonly environment: Readonly<Record<string, string>>
  readonly fingerprint: string
  readonly dupKey: string
  /** Empty when nothing failed. */
  readonly causeKey: string
  readonly causeTool: string
  readonly causeClass: string
  readonly causeText: string
  readonly findingIds: readonly string[]
  readonly previewSha256: string
  readonly previewBytes: number
  readonly previewAnswer: string
  readonly redactions: readonly string[]
  readonly bundleVersion: number
  readonly status: FeedbackStatus
  readonly assignee: string
  readonly tags: readonly string[]
  readonly resolution: string
  readonly resolvedAt: Date | undefined
  readonly resolvedBy: string
  /** Oldest first. */
  readonly history: readonly FeedbackStep[]
}

export interface FeedbackFilter {
  readonly tenant: string
  /** Any of them; none: all but purged ones. */
  readonly status?: readonly FeedbackStatus[]
  /** Who reported. */
  readonly user?: string
  readonly tag?: string
  readonly cause?: string
  /** Found in message, error, resolution or id, whatever the case. */
  readonly q?: string
  readonly cursor?: string
  readonly limit?: number
}

export interface FeedbackPage {
  readonly reports: readonly FeedbackReport[]
  readonly nextCursor: string | null
}

/** Reports with one cause; those without any are alone with their id as cause. */
export interface FeedbackCause {
  /** Empty for a report in which nothing failed. */
  readonly causeKey: string
  readonly tool: string
  readonly errorClass: string
  readonly text: string
  readonly reports: number
  /** Not yet resolved or declined. */
  readonly open: number
  readonly reporters: number
  readonly firstSeen: Date
  readonly lastSeen: Date
  /** The newest, at most {@link FeedbackCauseOptions.latest}. */
  readonly latest: readonly FeedbackReport[]
}
