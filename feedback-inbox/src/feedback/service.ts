/**
 * Reports as they come in and change: whoever takes one (the API) or changes one (pages, API, the bot) does it here, so
 * each leaves the same events and meets the same rules.
 */
import {
  type ChangeOutcome,
  type ClickHouseClient,
  changeReport,
  erasePurged,
  type FeedbackReport,
  fetchFindingIds,
  fetchReport,
  fetchReporterFacts,
  fetchTimeline,
  storeReport,
} from '@agnes/clickhouse'
import { type Log, UserError } from '@agnes/config'
import { feedbackLimits } from '@agnes/events'
import type { EmitOptions, Recorder } from '@agnes/instrumentation'
import type { StartRedaction } from '@agnes/redaction'
import type { Origin } from '../origin.ts'
import { readBundle, type Sent } from './bundle.ts'
import { applyChange, type FeedbackChange } from './changes.ts'

type AuditFields = Parameters<Recorder['audit']>[0]

export interface FeedbackOptions {
  readonly client: ClickHouseClient
  readonly redaction: StartRedaction
  /** Leaves an audit event; it counts with or without it. */
  readonly record: (fields: AuditFields, options: EmitOptions) => void
  readonly log: Log
  readonly explain: (error: unknown) => unknown
}

export interface Actor {
  readonly tenant: string
  /** As it stands in audit events. */
  readonly userId: string
  readonly origin: Origin
}

export type Accepted =
  | {
      readonly kind: 'accepted'
      readonly report: FeedbackReport
      /** It was here before: this is the same one again. */
      readonly again: boolean
      /** Other people who reported the same cause. */
      readonly others: number
    }
  | { readonly kind: 'too_many'; readonly retryAfterSeconds: number }

export type ReportListener = (report: FeedbackReport, others: number) => void

export interface Feedback {
  /**
   * Takes a report. It is on disk when the promise resolves.
   * @throws UserError for a bad one (400, 409, 413, 422), and 503 if it could not be stored
   */
  accept(sent: Sent, origin: Origin): Promise<Accepted>
  /** @throws UserError (409) if its state does not allow it */
  change(actor: Actor, id: string, expectedVersion: number, change: FeedbackChange): Promise<ChangeOutcome>
  /** Calls `listener` for each new report, after it was stored. What it throws is logged. @returns ends it */
  onReport(listener: ReportListener): () => void
}

export function createFeedback({ client, redaction, record, log, explain }: FeedbackOptions): Feedback {
  const listeners = new Set<ReportListener>()
  const inTurn = createTurns()

  async function accept(sent: Sent, origin: Origin): Promise<Accepted> {
    const report = readBundle(sent, redaction(sent.tenant))
    try {
      // One at a time of each reporter: neither the same report twice nor more than the limit slip through together.
      return await inTurn(JSON.stringify([report.tenant, report.reporterUser]), () => store(report, sent.now, origin))
    } catch (thrown) {
      const error = explain(thrown)
      if (error instanceof UserError) throw error
      log(`inbox: a report could not be stored: ${(error as Error).stack ?? String(error)}`, 'error')
      throw new UserError('the report could not be stored', {
        code: 'not_stored',
        status: 503,
        hint: 'keep it and send it again: it will not be there twice',
        cause: error,
      })
    }
  }

  async function store(report: FeedbackReport, now: Date, origin: Origin): Promise<Accepted> {
    const { tenant, reporterUser: reporter, causeKey } = report
    const [facts, findingIds] = await Promise.all([
      fetchReporterFacts(client, { tenant, id: report.id, reporter, causeKey, now }),
      // What is known of the session. None is better than no report.
      report.sessionFile === '' ? [] : fetchFindingIds(client, report).catch(() => []),
    ])
    const { others } = facts
    const known = facts.isKnown ? await fetchReport(client, report) : undefined
    if (known !== undefined) return acceptAgain(report, known, others, origin)
    if (facts.inLastHour >= feedbackLimits.reportsPerHour) {
      const waitMs = (facts.oldest ?? now).getTime() + 3_600_000 - now.getTime()
      return { kind: 'too_many', retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)) }
    }
    const stored = await storeReport(client, { ...report, findingIds })
    if (!stored.isOurs) return acceptAgain(report, stored.report, others, origin)
    tellReport(report, origin)
    for (const listener of listeners) {
      try {
        listener(stored.report, others)
      } catch (error) {
        log(`inbox: telling of report ${report.id} failed: ${(error as Error).message}`, 'warn')
      }
    }
    return { kind: 'accepted', report: stored.report, again: false, others }
  }

  async function acceptAgain(
    report: FeedbackReport,
    known: FeedbackReport,
    others: number,
    origin: Origin,
  ): Promise<Accepted> {
    // A tombstone has forgotten what was sent.
    if (known.status !== 'purged' && known.dupKey !== report.dupKey) {
      throw new UserError('another report was sent under this id before', {
        code: 'id_reused',
        status: 409,
        hint: 'give each report an id of its own',
      })
    }
    // Whoever stored it may have ended before its event was on its way.
    const { rows } = await fetchTimeline(client, {
      actionIn: ['feedback.report'],
      resource: resourceOf(known),
      limit: 1,
    })
    if (rows.length === 0 && known.status !== 'purged') tellReport(report, origin)
    return { kind: 'accepted', report: known, again: true, others }
  }

  function tellReport(report: FeedbackReport, origin: Origin): void {
    const { previewSha256, previewBytes, previewAnswer } = report
    const preview = { acknowledged: true, answer: previewAnswer, sha256: previewSha256, bytes: previewBytes }
    // Its words are in the report only, where purging finds them.
    record(
      {
        ...origin,
        action: 'feedback.report',
        resource: resourceOf(report),
        userId: report.reporterUser,
        result: 'success',
        ...(report.sessionId !== '' && { sessionId: report.sessionId }),
        params: {
          ...tenantOf(report),
          preview,
          key: report.reporterKey,
          ...(report.causeKey !== '' && { cause: report.causeKey }),
          ...(report.sessionFile !== '' && { session_file: report.sessionFile }),
          redactions: report.redactions.length,
        },
      },
      { uid: `feedback-${report.id}-1` },
    )
  }

  async function change(
    { tenant, userId, origin }: Actor,
    id: string,
    expectedVersion: number,
    wanted: FeedbackChange,
  ): Promise<ChangeOutcome> {
    const now = new Date()
    const outcome = await changeReport(client, { tenant, id, expectedVersion }, (before) =>
      applyChange(before, wanted, userId, now),
    )
    if (outcome.kind !== 'changed') return outcome
    const { before, after } = outcome
    record(
      {
        ...origin,
        action: `feedback.${wanted.action}`,
        resource: resourceOf(after),
        userId,
        result: 'success',
        params: { ...tenantOf(after), ...stateOf(after) },
        paramsBefore: { ...tenantOf(before), ...stateOf(before) },
      },
      { uid: `feedback-${id}-${after.version}` },
    )
    if (after.status === 'purged') await erase()
    return outcome
  }

  /** A tombstone counts whether or not the rest is gone from disk already; the next start looks again. */
  function erase(): Promise<void> {
    return erasePurged(client).catch((error: Error) => {
      log(`inbox: what a purged report was could not be erased yet: ${error.message}`, 'warn')
    })
  }

  void erase()
  return {
    accept,
    change,
    onReport(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function resourceOf({ id }: Pick<FeedbackReport, 'id'>): string {
  return `feedback:${id}`
}

function tenantOf({ tenant }: FeedbackReport): { tenant?: string } {
  return tenant === 'default' ? {} : { tenant }
}

/** What changes change. Neither message nor session: purging would not find them. */
function stateOf({ version, status, assignee, tags, resolution }: FeedbackReport) {
  return { version, status, assignee, tags, resolution }
}

/** Runs works of one name one after the other. */
function createTurns(): <T>(name: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>()
  return (name, work) => {
    const before = last.get(name) ?? Promise.resolve()
    const mine = before.then(work, work)
    const settled = mine.catch(() => {})
    last.set(name, settled)
    void settled.then(() => {
      if (last.get(name) === settled) last.delete(name)
    })
    return mine
  }
}
