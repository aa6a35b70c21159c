/** `/api/admin/sessions…`: sessions, their replay, what was found in them week by week, and what never arrived. */
import {
  fetchFindingWeeks,
  fetchReplay,
  fetchSessions,
  type Replay,
  type SessionFinding,
  type SessionRow,
} from '@agnes/clickhouse'
import { UserError } from '@agnes/config'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { parseSessionFilter, sessionQuery } from '../http/session-filter.ts'
import type { Inbox } from '../inbox.ts'
import { addApiRoute } from './route.ts'

const whole = (name: string, from: number, to: number) =>
  z.coerce
    .number({ error: 'must be a whole number' })
    .int({ error: 'must be a whole number' })
    .min(from, { error: `must be at least ${from}` })
    .max(to, { error: `must be at most ${to}` })
    .optional()
    .describe(name)
const cursor = z.string().optional().describe('`next_cursor` of the page before.')
const nextCursor = z.string().nullable().describe('For the next page; null at the end.')
const count = z.number().int()

const session = z.object({
  user: z.string(),
  file: z.string(),
  version: z.string().describe('`main`, or the name of a content that differs from it.'),
  session_id: z.string(),
  title: z.string(),
  received_at: z.string(),
  started_at: z.string().nullable(),
  ended_at: z.string().nullable(),
  active_minutes: count,
  turns: count,
  prompts: count,
  tool_calls: count,
  errors: count,
  compactions: count,
  input_tokens: count,
  output_tokens: count,
  git_branch: z.string(),
  client_version: z.string(),
  models: z.array(z.string()),
  findings: count,
  finding_types: z.record(z.string(), count),
  is_processed: z.boolean().describe('Turns and findings are those of all lines that arrived.'),
})

const finding = z.object({
  id: z.string(),
  type: z.string(),
  class: z.string(),
  severity: z.string(),
  turn: count,
  tool: z.string(),
  tool_use_id: z.string(),
  occurred_at: z.string().nullable(),
  excerpt: z.string(),
  rule: z.string(),
  rule_version: count,
  advice: z.string(),
})

const turn = z.object({
  index: count,
  line: count,
  occurred_at: z.string().nullable(),
  role: z.string(),
  kind: z.string(),
  tool: z.string(),
  tool_use_id: z.string(),
  target: z.string(),
  is_error: z.boolean(),
  error_class: z.string(),
  model: z.string(),
  text: z.string().describe('A preview; text_bytes says how much there is.'),
  text_bytes: count,
  is_sidechain: z.boolean(),
  findings: z.array(finding),
})

const usualGaps = 1_000

export function registerSessionApi(app: FastifyInstance, inbox: Inbox): void {
  const { client } = inbox

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/sessions',
    summary: 'Which sessions?',
    access: 'read',
    query: sessionQuery.extend({ cursor, limit: whole('Rows of a page, 50 unless told.', 1, 500) }),
    answer: z.object({ sessions: z.array(session), next_cursor: nextCursor }),
    async handle({ query, search, visitor, request }) {
      const { filter, said } = await parseSessionFilter(search, visitor.tenant, inbox, ['cursor', 'limit'])
      const page = await fetchSessions(client, {
        ...filter,
        ...(query.cursor && { cursor: query.cursor }),
        ...(query.limit && { limit: query.limit }),
      })
      inbox.read(request, { action: 'sessions.read', params: { filter: Object.fromEntries(said) } })
      return { sessions: page.rows.map(sessionOf), next_cursor: page.nextCursor }
    },
  })

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/sessions/findings',
    summary: 'Findings by type and week',
    access: 'read',
    query: sessionQuery.omit({ sort: true }),
    answer: z.object({
      weeks: z
        .array(
          z.object({
            week: z.string().describe('Its Monday.'),
            type: z.string(),
            findings: count,
            warnings: count.describe('Of severity warning or error.'),
            sessions: count,
          }),
        )
        .describe('Newest week first; weeks and types without findings are left out.'),
    }),
    async handle({ search, visitor, request }) {
      const { filter, said } = await parseSessionFilter(search, visitor.tenant, inbox)
      const weeks = await fetchFindingWeeks(client, filter)
      inbox.read(request, {
        action: 'sessions.read',
        resource: 'findings',
        params: { filter: Object.fromEntries(said) },
      })
      return { weeks }
    },
  })

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/sessions/gaps',
    summary: 'What never arrived, and where telemetry and transcript disagree',
    access: 'read',
    query: z.object({
      session_id: z.string().optional().describe('Of this session.'),
      limit: whole(`Rows, ${usualGaps} unless told.`, 1, 10_000),
    }),
    answer: z.object({
      gaps: z.array(
        z.object({
          session_id: z.string(),
          kind: z.string().describe('What each means stands with the view `session_gaps` (docs/schema.md).'),
          first_missing: count.nullable(),
          last_missing: count.nullable(),
          missing: count,
          key: z.string(),
          detail: z.string(),
          after: z.string(),
          until: z.string(),
        }),
      ),
    }),
    async handle({ query, visitor, request }) {
      const { session_id: sessionId, limit } = query
      const gaps = await inbox.gaps(visitor.tenant, sessionId ?? '', limit ?? usualGaps)
      inbox.read(request, { action: 'sessions.read', resource: 'gaps', params: { session_id: sessionId ?? '' } })
      return {
        gaps: gaps.map((gap) => ({
          session_id: gap.sessionId,
          kind: gap.kind,
          first_missing: gap.firstMissing,
          last_missing: gap.lastMissing,
          missing: gap.missing,
          key: gap.key,
          detail: gap.detail,
          after: gap.after,
          until: gap.until,
        })),
      }
    },
  })

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/sessions/{user}/{file}',
    summary: 'What happened in a session, turn by turn, and what was found at each',
    access: 'read',
    params: z.object({ user: z.string(), file: z.string().describe('Name of the file without .jsonl.') }),
    query: z.object({
      version: z.string().optional().describe('`main` unless told.'),
      from: whole('Begin at this turn.', 0, 4_294_967_295),
      cursor,
      limit: whole('Turns of a page, 100 unless told.', 1, 1000),
    }),
    answer: z.object({
      session,
      turns: z.array(turn),
      findings: z.array(finding).describe('All of the session.'),
      next_cursor: nextCursor,
    }),
    async handle({ params: { user, file }, query, visitor, request }) {
      const replay = await findReplay(inbox, {
        tenant: visitor.tenant,
        user,
        file,
        ...(query.version && { version: query.version }),
        ...(query.from !== undefined && { fromTurn: query.from }),
        ...(query.cursor && { cursor: query.cursor }),
        ...(query.limit && { limit: query.limit }),
      })
      inbox.read(request, { action: 'sessions.read', resource: `session:${file}`, params: { user } })
      return {
        session: sessionOf(replay.session),
        turns: replay.turns.map(turnOf),
        findings: replay.findings.map(findingOf),
        next_cursor: replay.nextCursor,
      }
    },
  })
}

/** @throws UserError (404) if this tenant has no such session */
export async function findReplay(
  { client }: Pick<Inbox, 'client'>,
  asked: Parameters<typeof fetchReplay>[1],
): Promise<Replay> {
  const isName = [asked.user, asked.file, asked.version ?? ''].every((name) => name.length <= 1000)
  const replay = isName ? await fetchReplay(client, asked) : undefined
  if (replay !== undefined) return replay
  throw noSession()
}

export function noSession(): UserError {
  return new UserError('there is no such session', {
    code: 'no_session',
    status: 404,
    hint: 'the list at /admin/sessions has all of this tenant; "agnes push" sends yours',
  })
}

function sessionOf(row: SessionRow): z.infer<typeof session> {
  return {
    user: row.user,
    file: row.file,
    version: row.version,
    session_id: row.sessionId,
    title: row.title,
    received_at: row.receivedAt,
    started_at: row.startedAt,
    ended_at: row.endedAt,
    active_minutes: row.activeMinutes,
    turns: row.turns,
    prompts: row.prompts,
    tool_calls: row.toolCalls,
    errors: row.errors,
    compactions: row.compactions,
    input_tokens: row.inputTokens,
    output_tokens: row.outputTokens,
    git_branch: row.gitBranch,
    client_version: row.clientVersion,
    models: [...row.models],
    findings: row.findings,
    finding_types: row.findingTypes,
    is_processed: row.isProcessed,
  }
}

function findingOf(one: SessionFinding): z.infer<typeof finding> {
  return {
    id: one.id,
    type: one.type,
    class: one.class,
    severity: one.severity,
    turn: one.turnIndex,
    tool: one.toolName,
    tool_use_id: one.toolUseId,
    occurred_at: one.occurredAt,
    excerpt: one.excerpt,
    rule: one.rule,
    rule_version: one.ruleVersion,
    advice: one.advice,
  }
}

function turnOf(one: Replay['turns'][number]): z.infer<typeof turn> {
  return {
    index: one.index,
    line: one.line,
    occurred_at: one.occurredAt,
    role: one.role,
    kind: one.kind,
    tool: one.toolName,
    tool_use_id: one.toolUseId,
    target: one.target,
    is_error: one.isError,
    error_class: one.errorClass,
    model: one.model,
    text: one.text,
    text_bytes: one.textBytes,
    is_sidechain: one.isSidechain,
    findings: one.findings.map(findingOf),
  }
}
