/** `POST /api/feedback` for clients, and `/api/admin/feedback` for whoever looks after reports. */
import {
  type FeedbackCause,
  type FeedbackFilter,
  type FeedbackReport,
  type FeedbackStatus,
  feedbackStatuses,
  fetchCauses,
  fetchReport,
  fetchReports,
} from '@agnes/clickhouse'
import { exitCodes, UserError } from '@agnes/config'
import {
  answerHeader,
  type FeedbackTurn,
  feedbackBundle,
  feedbackLimits,
  feedbackTurn,
  previewAnswers,
  previewHeader,
} from '@agnes/events'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { changeActions, parseChange } from '../feedback/changes.ts'
import { badParameter } from '../http/filter.ts'
import { visitorOf } from '../http/form.ts'
import { problemOf, problemType } from '../http/problem.ts'
import type { Inbox } from '../inbox.ts'
import { originOf } from '../origin.ts'
import { addApiRoute } from './route.ts'

export function registerFeedbackApi(app: FastifyInstance, inbox: Inbox): void {
  registerReport(app, inbox)
  registerReading(app, inbox)
  registerChange(app, inbox)
}

function registerReport(app: FastifyInstance, inbox: Inbox): void {
  app.apiRoutes.push({
    method: 'POST',
    path: '/api/feedback',
    summary: 'Takes a report',
    description: `The header \`${previewHeader}\` has the SHA-256 of the body as its sender was shown it; another body is refused (422). 200 means that it is stored; sent again (by \`id\`, or the header \`Idempotency-Key\`) it is the same report.`,
    access: 'feedback',
    body: feedbackBundle,
    answer: reportAnswer,
  })
  // In a scope of its own: the body is kept as it came, its hash is what the sender agreed to.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    scope.post(
      '/api/feedback',
      {
        config: { access: 'feedback' },
        bodyLimit: feedbackLimits.bundleBytes,
        errorHandler: (error, request, reply) => {
          const explained = explainBody(error as Error & { code?: string }, request, reply)
          const { status = 500 } = explained as Error & { status?: number }
          inbox.metrics.report(status >= 500 ? 'not_stored' : status === 429 ? 'too_many' : 'refused')
          throw explained
        },
      },
      async (request, reply) => {
        const { tenant, keyId } = visitorOf(request)
        const answer = headerOf(request, answerHeader) ?? 'yes'
        const accepted = await inbox.feedback.accept(
          {
            body: request.body as Buffer,
            previewSha256: headerOf(request, previewHeader),
            answer: (previewAnswers as readonly string[]).includes(answer) ? answer : 'yes',
            idempotencyKey: headerOf(request, 'idempotency-key')?.slice(0, 200),
            tenant,
            keyId,
            now: inbox.now(),
          },
          originOf(request),
        )
        if (accepted.kind === 'too_many') {
          const minutes = Math.ceil(accepted.retryAfterSeconds / 60)
          void reply.header('retry-after', String(accepted.retryAfterSeconds))
          throw new UserError(
            `${feedbackLimits.reportsPerHour} reports in an hour are as many as one person may send`,
            {
              code: 'too_many_reports',
              status: 429,
              hint: `send it again in ${minutes} ${minutes === 1 ? 'minute' : 'minutes'}; nothing was stored`,
            },
          )
        }
        const { report, again, others } = accepted
        inbox.metrics.report(again ? 'known' : 'accepted')
        return {
          id: report.id,
          status: report.status,
          version: report.version,
          created_at: report.createdAt.toISOString(),
          already_known: again,
          redacted: report.redactions.map(redactionOf),
          others_hit_this: others,
          url: `/admin/feedback/${report.id}`,
        } satisfies z.infer<typeof reportAnswer>
      },
    )
  })
}

function headerOf({ headers }: FastifyRequest, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' ? value.trim() : undefined
}

/** What Fastify says of a body, as we say it. */
function explainBody(error: Error & { code?: string }, _request: FastifyRequest, _reply: FastifyReply): Error {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new UserError(`the report has more than ${feedbackLimits.bundleBytes} bytes`, {
        code: 'too_large',
        status: 413,
        hint: 'send fewer or shorter turns, or none (--no-session)',
        exitCode: exitCodes.refused,
      })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new UserError('the report is not sent as JSON', {
        code: 'bad_report',
        status: 415,
        hint: 'send it with Content-Type: application/json',
      })
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return new UserError('the report is empty', { code: 'bad_report', status: 400, hint: 'send one JSON object' })
    default:
      return error
  }
}

/** `<path> <rule> <hmac>`; the path says where, no more. */
function redactionOf(redaction: string): { path: string; rule: string } {
  const [path = '', rule = ''] = redaction.split(' ')
  return { path, rule }
}

const cause = z
  .object({ key: z.string(), tool: z.string(), class: z.string(), text: z.string().describe('Masked.') })
  .nullable()
  .describe('What failed last in the excerpt; null when nothing did.')
const report = z.object({
  id: z.string(),
  version: z.number().int().describe('Grows with each change.'),
  created_at: z.string(),
  changed_at: z.string(),
  reporter_user: z.string(),
  message: z.string(),
  status: z.enum(feedbackStatuses),
  assignee: z.string(),
  tags: z.array(z.string()),
  session_file: z.string(),
  cause,
  resolution: z.string(),
  resolved_at: z.string().nullable(),
  resolved_by: z.string(),
})
const redaction = z.object({ path: z.string(), rule: z.string() })
const step = z.object({
  version: z.number().int(),
  at: z.string(),
  actor: z.string(),
  action: z.string(),
  detail: z.string(),
})
const wholeReport = report.extend({
  written_at: z.string().nullable().describe('By the clock of the reporter.'),
  reporter_key: z.string(),
  session_id: z.string(),
  session_excerpt: z.array(feedbackTurn),
  environment: z.record(z.string(), z.string()),
  fingerprint: z.string(),
  dup_key: z.string(),
  finding_ids: z.array(z.string()),
  preview: z.object({ sha256: z.string(), bytes: z.number().int(), answer: z.string() }),
  redacted: z.array(redaction).describe('Here, on top of what the client had taken out.'),
  bundle_version: z.number().int(),
  history: z.array(step),
})
const listQuery = z.object({
  status: z
    .string()
    .optional()
    .describe(`${feedbackStatuses.join(', ')}; several with commas. All but purged unless told.`),
  user: z.string().optional().describe('Who reported.'),
  tag: z.string().optional(),
  cause: z.string().optional().describe('Key of a cause.'),
  q: z.string().optional().describe('Text in message, error, resolution or id, in any case.'),
  cursor: z.string().optional().describe('`next_cursor` of the page before.'),
  limit: z.string().optional().describe('Rows of a page.'),
})
const nextCursor = z.string().nullable().describe('For the next, older page; null at the end.')
const oneReport = z.object({ id: z.string() })

const reportAnswer = z.object({
  id: z.string(),
  status: z.enum(feedbackStatuses),
  version: z.number().int(),
  created_at: z.string(),
  already_known: z.boolean().describe('It had arrived before; this is the same report.'),
  redacted: z.array(redaction).describe('On top of what the client had taken out.'),
  others_hit_this: z.number().int().describe('Other people who reported the same cause.'),
  url: z.string().describe('Its page.'),
})

function registerReading(app: FastifyInstance, inbox: Inbox): void {
  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/feedback',
    summary: 'Reports, newest first',
    access: 'read',
    query: listQuery,
    answer: z.object({ reports: z.array(report), next_cursor: nextCursor }),
    async handle({ visitor, request }) {
      const { filter, said } = parseFeedbackFilter(request, visitor.tenant)
      const page = await fetchReports(inbox.client, filter)
      inbox.read(request, { action: 'feedback.read', params: { filter: Object.fromEntries(said) } })
      return { reports: page.reports.map(listed), next_cursor: page.nextCursor }
    },
  })

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/feedback/causes',
    summary: 'Reports grouped by what failed',
    access: 'read',
    query: listQuery,
    answer: z.object({
      causes: z.array(
        z.object({
          cause,
          reports: z.number().int(),
          open: z.number().int().describe('Neither resolved nor declined.'),
          reporters: z.number().int(),
          first_seen: z.string(),
          last_seen: z.string(),
          silent_sessions: z
            .number()
            .int()
            .describe(
              'Sessions that fail the same way and are in no report of it, at least; `silent` of /api/admin/sessions lists them.',
            ),
          latest: z.array(report).describe('The newest five.'),
        }),
      ),
      next_cursor: nextCursor,
    }),
    async handle({ visitor, request }) {
      const { filter, said } = parseFeedbackFilter(request, visitor.tenant)
      const page = await fetchCauses(inbox.client, filter)
      inbox.read(request, { action: 'feedback.read', params: { filter: Object.fromEntries(said), by: 'cause' } })
      const silent = await inbox.silent.of(visitor.tenant, page.causes)
      const causes = page.causes.map((one) => causeListed(one, silent.get(one.causeKey)?.sessions ?? 0))
      return { causes, next_cursor: page.nextCursor }
    },
  })

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/feedback/{id}',
    summary: 'One report with everything that came along',
    access: 'read',
    params: oneReport,
    answer: wholeReport,
    async handle({ request }) {
      const found = await findReport(inbox, request)
      inbox.read(request, { action: 'feedback.read', resource: `feedback:${found.id}`, params: {} })
      return detailed(found)
    },
  })
}

const change = z.object({
  expected_version: z.number().int().min(1).describe('The version that was looked at.'),
  action: z.enum(changeActions),
  assignee: z.string().optional().describe('Of `assign`; empty for nobody.'),
  tags: z.array(z.string()).optional().describe('Of `tag`: all the report shall have.'),
  resolution: z.string().optional().describe('Of `resolve` and `wontfix`.'),
  reason: z.string().optional().describe('Of `purge`.'),
})

function registerChange(app: FastifyInstance, inbox: Inbox): void {
  addApiRoute(app, {
    method: 'POST',
    path: '/api/admin/feedback/{id}',
    summary: 'Changes a report',
    description:
      'Was it changed since `expected_version`, the answer is 409 with `changes` and the `report` as it is now.',
    access: 'admin',
    params: oneReport,
    body: change,
    answer: wholeReport,
    async handle({ visitor: { tenant, userId }, request, reply }) {
      const said = request.body
      if (typeof said !== 'object' || said === null || said instanceof URLSearchParams) {
        throw new UserError('this is no change', {
          code: 'bad_change',
          status: 400,
          hint: 'send JSON: {"expected_version": 1, "action": "triage"}',
        })
      }
      const fields = said as Readonly<Record<string, unknown>>
      const version = fields.expected_version
      if (typeof version !== 'number' || !Number.isInteger(version) || version < 1) {
        throw new UserError('expected_version is missing', {
          code: 'bad_change',
          status: 400,
          hint: 'send the version you looked at, so that nobody is overwritten',
        })
      }
      const actor = { tenant, userId, origin: originOf(request) }
      const outcome = await inbox.feedback.change(actor, idOf(request), version, parseChange(fields))
      if (outcome.kind === 'unknown') throw noReport()
      if (outcome.kind === 'changed') return detailed(outcome.after)
      const { current } = outcome
      const problem = problemOf(
        new UserError(`the report was changed meanwhile: it has version ${current.version}, not ${version}`, {
          code: 'changed_meanwhile',
          status: 409,
          hint: 'look at "changes", and send yours again with the new version if it still holds',
        }),
      )
      const changes = current.history.filter((one) => one.version > version).map(stepOf)
      return reply
        .code(409)
        .type(problemType)
        .send({ ...problem, changes, report: detailed(current) })
    },
  })
}

/** @throws UserError (404) if the tenant has none with that id */
export async function findReport(inbox: Inbox, request: FastifyRequest): Promise<FeedbackReport> {
  const report = await fetchReport(inbox.client, { tenant: visitorOf(request).tenant, id: idOf(request) })
  if (report === undefined) throw noReport()
  return report
}

export function idOf({ params }: FastifyRequest): string {
  const { id } = params as { readonly id: string }
  if (!/^[a-z0-9]{1,40}$/.test(id)) throw noReport()
  return id
}

export function noReport(): UserError {
  return new UserError('there is no such report', {
    code: 'no_report',
    status: 404,
    hint: 'the list at /admin/feedback has all of this tenant',
  })
}

const filterNames = ['status', 'user', 'tag', 'cause', 'q'] as const
export type FeedbackFilterName = (typeof filterNames)[number]

export interface SaidFeedbackFilter {
  readonly filter: FeedbackFilter
  /** What the URL says of it, as typed. */
  readonly said: ReadonlyMap<FeedbackFilterName, string>
}

/** @throws UserError (400) for a parameter there is not, one given twice, or a value that is none */
export function parseFeedbackFilter(request: FastifyRequest, tenant: string): SaidFeedbackFilter {
  const params = new URL(request.url, 'http://inbox').searchParams
  const known: readonly string[] = [...filterNames, 'cursor', 'limit']
  for (const name of new Set(params.keys())) {
    if (!known.includes(name)) {
      throw badParameter(`${name.slice(0, 60)} is not a parameter of this page`, `there are ${known.join(', ')}`)
    }
  }
  const said = new Map<FeedbackFilterName, string>()
  const one = (name: string): string | undefined => {
    const values = params.getAll(name).filter((value) => value !== '')
    if (values.length > 1) throw badParameter(`${name} is given ${values.length} times`, 'give it once')
    return values[0]
  }
  for (const name of filterNames) {
    const value = name === 'status' ? params.getAll(name).filter(Boolean).join(',') : one(name)
    if (value) said.set(name, value)
  }
  const statuses = said.get('status')?.split(',') ?? []
  const wrong = statuses.find((status) => !(feedbackStatuses as readonly string[]).includes(status))
  if (wrong !== undefined) {
    throw badParameter(`status cannot be "${wrong.slice(0, 60)}"`, `use ${feedbackStatuses.join(', ')}`)
  }
  const limit = one('limit')
  if (limit !== undefined && !/^\d{1,4}$/.test(limit)) {
    throw badParameter(`limit cannot be "${limit.slice(0, 60)}"`, 'use a whole number')
  }
  const cursor = one('cursor')
  return {
    said,
    filter: {
      tenant,
      ...(statuses.length > 0 && { status: statuses as FeedbackStatus[] }),
      user: said.get('user') ?? '',
      tag: said.get('tag') ?? '',
      cause: said.get('cause') ?? '',
      q: said.get('q') ?? '',
      ...(cursor !== undefined && { cursor }),
      ...(limit !== undefined && { limit: Number(limit) }),
    },
  }
}

function listed(report: FeedbackReport) {
  return {
    id: report.id,
    version: report.version,
    created_at: report.createdAt.toISOString(),
    changed_at: report.changedAt.toISOString(),
    reporter_user: report.reporterUser,
    message: report.message,
    status: report.status,
    assignee: report.assignee,
    tags: report.tags,
    session_file: report.sessionFile,
    cause: causeOf(report),
    resolution: report.resolution,
    resolved_at: report.resolvedAt?.toISOString() ?? null,
    resolved_by: report.resolvedBy,
  }
}

function causeOf({ causeKey, causeTool, causeClass, causeText }: FeedbackReport) {
  return causeKey === '' ? null : { key: causeKey, tool: causeTool, class: causeClass, text: causeText }
}

function detailed(report: FeedbackReport) {
  return {
    ...listed(report),
    written_at: report.writtenAt?.toISOString() ?? null,
    reporter_key: report.reporterKey,
    session_id: report.sessionId,
    session_excerpt: excerptOf(report),
    environment: report.environment,
    fingerprint: report.fingerprint,
    dup_key: report.dupKey,
    finding_ids: report.findingIds,
    preview: { sha256: report.previewSha256, bytes: report.previewBytes, answer: report.previewAnswer },
    redacted: report.redactions.map(redactionOf),
    bundle_version: report.bundleVersion,
    history: report.history.map(stepOf),
  }
}

/** Turns of the session as they came along. */
export function excerptOf({ sessionExcerpt }: FeedbackReport): readonly (FeedbackTurn & { readonly text: string })[] {
  if (sessionExcerpt === '') return []
  // Written by readBundle.
  return sessionExcerpt.split('\n').map((line) => JSON.parse(line) as FeedbackTurn & { readonly text: string })
}

function stepOf({ version, at, actor, action, detail }: FeedbackReport['history'][number]) {
  return { version, at: at.toISOString(), actor, action, detail }
}

function causeListed(cause: FeedbackCause, silentSessions: number) {
  return {
    cause:
      cause.causeKey === ''
        ? null
        : { key: cause.causeKey, tool: cause.tool, class: cause.errorClass, text: cause.text },
    reports: cause.reports,
    open: cause.open,
    reporters: cause.reporters,
    first_seen: cause.firstSeen.toISOString(),
    last_seen: cause.lastSeen.toISOString(),
    silent_sessions: silentSessions,
    latest: cause.latest.map(listed),
  }
}
