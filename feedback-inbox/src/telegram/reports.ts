/** What the bot asks of the reports, done by the part that keeps them: with its rules, its events, its versions. */
import { type ClickHouseClient, type FeedbackReport, fetchReport, fetchReports } from '@agnes/clickhouse'
import { UserError } from '@agnes/config'
import type { FeedbackChange } from '../feedback/changes.ts'
import type { Feedback } from '../feedback/service.ts'
import type { ChatActor, Notification, ReportAction, ReportActions, ReportInChat } from './notification.ts'

/** Of two admins who press at once the later one looks again; more often than this nobody presses. */
const mostTries = 5

export function reportActionsOf(client: ClickHouseClient, feedback: Pick<Feedback, 'change'>): ReportActions {
  async function existing(tenant: string, id: string): Promise<FeedbackReport> {
    const report = isId(id) ? await fetchReport(client, { tenant, id }) : undefined
    if (report !== undefined) return report
    throw new UserError('there is no such report', { code: 'no_report', status: 404 })
  }

  return {
    async act(action, reportId, actor) {
      for (let tries = 0; tries < mostTries; tries++) {
        const report = await existing(actor.tenant, reportId)
        const change = changeOf(action, report, actor)
        if (change === undefined) return inChat(report)
        const origin = { clientKind: 'external' } as const
        const outcome = await feedback.change({ ...actor, origin }, reportId, report.version, change)
        if (outcome.kind === 'changed') return inChat(outcome.after)
      }
      throw new UserError('others are changing this report', {
        code: 'changed_meanwhile',
        status: 409,
        hint: 'try again',
      })
    },
    async open(tenant, limit) {
      const { reports, nextCursor } = await fetchReports(client, { tenant, status: ['open', 'triaged'], limit })
      return { reports: reports.map(inChat), more: nextCursor !== null }
    },
    async find(tenant, reportId) {
      const report = isId(reportId) ? await fetchReport(client, { tenant, id: reportId }) : undefined
      return report && inChat(report)
    },
  }
}

/** Of a new report. Its words are not in it: they are read when it is sent, so that what was purged is gone. */
export function reportNotification(report: FeedbackReport, others: number): Notification {
  return {
    kind: 'feedback',
    tenant: report.tenant,
    incident: report.causeKey === '' ? `report:${report.id}` : `cause:${report.causeKey}`,
    title: 'Feedback',
    ...(others > 0 && { facts: [['others who hit this', String(others)]] }),
    reportId: report.id,
    path: `/admin/feedback/${report.id}`,
  }
}

/** undefined: it is so already. */
function changeOf(action: ReportAction, report: FeedbackReport, { userId }: ChatActor): FeedbackChange | undefined {
  switch (action) {
    case 'triage':
      return report.status === 'triaged' ? undefined : { action }
    case 'assign':
      return report.assignee === userId ? undefined : { action, assignee: userId }
    case 'resolve':
      return report.status === 'resolved' ? undefined : { action, resolution: 'Resolved from Telegram' }
  }
}

function inChat(report: FeedbackReport): ReportInChat {
  const { id, createdAt, reporterUser, message, status, assignee, causeTool, causeText } = report
  const cause = [causeTool, causeText].filter(Boolean).join(': ')
  return { id, createdAt, reporter: reporterUser, message, status, assignee, cause }
}

function isId(id: string): boolean {
  return /^[a-z0-9]{1,40}$/.test(id)
}
