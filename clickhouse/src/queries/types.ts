/** What the questions about health and activity are asked with and answered by; shared by CLI, pages and API. */
import type { ResultClass } from '@agnes/events'

/** Every surface passes this same filter to the same where-builder, so that counts, cards and rows agree. */
export interface TimelineFilter {
  /** `default` unless told. */
  readonly tenant?: string
  /** Inclusive. */
  readonly since?: Date
  /** Exclusive. */
  readonly until?: Date
  readonly userId?: string
  readonly actionPrefix?: string
  readonly actionIn?: readonly string[]
  readonly resource?: string
  /** A class (`success`, `error`, `denied`, `none`, `other`) or a raw value (`error.404`). */
  readonly result?: string
  readonly correlationId?: string
  /** `cli`, `web`, `scheduler`, …; derived where the event does not say. */
  readonly clientKind?: string
  /** Case-insensitive substring of action, resource, result, message (what the summary is made of), params or body. */
  readonly q?: string
  /**
   * Also the events that people's own reading leaves behind (`activity.read`, `sessions.read`, `feedback.read`).
   * One that `actionIn` names is shown anyway; the same goes for heartbeats (`system.heartbeat`).
   */
  readonly includeOwnReads?: boolean
  readonly includeHeartbeats?: boolean
  /** `nextCursor` of the page before. */
  readonly cursor?: string
  /** 1 to 1000, 100 unless told. */
  readonly limit?: number
}

export interface TimelineRow {
  /** Unique id of the event (`log.record.uid`). */
  readonly id: string
  /** When it happened: ISO 8601 in UTC with nanoseconds. */
  readonly timestamp: string
  /** When the gateway took it in, in the same form. */
  readonly receivedAt: string
  readonly eventName: string
  readonly serviceName: string
  readonly userId: string
  readonly action: string
  readonly resource: string
  /** As the application wrote it; empty when it wrote none. */
  readonly result: string
  readonly resultClass: ResultClass
  readonly durationMs: number | null
  /** As recorded, or derived where it is missing. */
  readonly clientKind: string
  readonly clientAddress: string
  readonly correlationId: string
  readonly sessionId: string
  readonly runId: string
  /** One line for people. */
  readonly summary: string
  /** What went wrong or was said; empty when nothing was. */
  readonly message: string
  /** JSON text, empty when there is none. */
  readonly params: string
  readonly paramsBefore: string
}

export interface TimelinePage {
  /** Newest first. */
  readonly rows: readonly TimelineRow[]
  /** Pass as `cursor` to get the next, older page; null at the end. */
  readonly nextCursor: string | null
}

export type HealthColor = 'green' | 'yellow' | 'red'

export type HealthFieldName =
  | 'scheduler'
  | 'sync_24h'
  | 'active_users_today'
  | 'memory_pipeline'
  | 'diagnose_warnings'
  | 'pipeline'

export interface HealthField {
  readonly name: HealthFieldName
  readonly value: string
  readonly color: HealthColor
  readonly explanation: string
  /** The timeline filter that shows the rows behind the value. */
  readonly filter: Partial<TimelineFilter>
}

export interface HealthPulse {
  /** The worst colour of all fields. */
  readonly status: HealthColor
  /** For example "All nominal: 12 active users, last sync 3 min ago". */
  readonly sentence: string
  /** The instant the pulse was judged at, ISO 8601. */
  readonly generatedAt: string
  readonly fields: readonly HealthField[]
}
