/** `/api/admin/activity…`: the timeline, what it adds up to, and the health pulse. */
import { Readable } from 'node:stream'
import { allOfTimeline, fetchTimeline, type HealthPulse, type TimelineRow } from '@agnes/clickhouse'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { badParameter, filterQuery, parseFilter, queryOf, sayFilter } from '../http/filter.ts'
import type { Inbox } from '../inbox.ts'
import type { Counted } from '../questions.ts'
import { addApiRoute } from './route.ts'
import { csvOf, csvTitles, eventRow, eventRowOf, longestText } from './rows.ts'

const formats = ['json', 'csv', 'ndjson'] as const
type Format = (typeof formats)[number]

const mediaTypes: Readonly<Record<Format, string>> = {
  json: 'application/json; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
  ndjson: 'application/x-ndjson; charset=utf-8',
}

const timelineQuery = filterQuery.extend({
  cursor: z.string().optional().describe('`next_cursor` of the page before.'),
  limit: z.coerce
    .number({ error: 'must be a whole number' })
    .int()
    .min(1, { error: 'must be at least 1' })
    .optional()
    .describe('Rows of a page, 1 to 1000, 100 unless told; of csv and ndjson any number, all unless told.'),
  format: z
    .enum(formats, { error: `must be one of ${formats.join(', ')}` })
    .optional()
    .describe('`json`: one page. `csv`, `ndjson`: every row of the filter, streamed.'),
})

const timelineAnswer = z.object({
  rows: z.array(eventRow).describe('Newest first.'),
  next_cursor: z.string().nullable().describe('For the next, older page; null at the end.'),
})

const color = z.enum(['green', 'yellow', 'red'])

const healthAnswer = z.object({
  status: color.describe('The worst colour of all fields.'),
  sentence: z.string(),
  generated_at: z.string().describe('The instant it was judged at; an answer is kept for thirty seconds.'),
  fields: z.array(
    z.object({
      name: z.string(),
      value: z.string(),
      color,
      explanation: z.string(),
      query: z.string().describe('Query string of the timeline behind the value.'),
    }),
  ),
})

const count = z.number().int()
const facet = z.array(z.object({ value: z.string(), count }))

const summaryAnswer = z.object({
  generated_at: z.string(),
  total: count,
  by_result: z.object({ success: count, error: count, denied: count, none: count, other: count }),
  users: count.describe('Different user ids.'),
  with_duration: count.describe('Events that carry a duration; the mean is over these alone.'),
  mean_duration_ms: z.number().nullable(),
  top_actions: facet,
  top_users: facet,
  client_kinds: facet,
  bars: z.array(z.object({ from: z.string(), to: z.string(), total: count, errors: count })),
})

/** Already in the question: a page of megabytes would not fit in memory. One less, for the ellipsis. */
const cut = { longestText: longestText - 1 }

export function registerActivityApi(app: FastifyInstance, inbox: Inbox): void {
  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/activity',
    summary: 'What happened, newest first',
    access: 'read',
    query: timelineQuery,
    answer: timelineAnswer,
    otherTypes: ['text/csv', 'application/x-ndjson'],
    async handle({ query: { cursor, limit, format = 'json' }, search, visitor, request, reply }) {
      const { filter, said } = parseFilter(search, visitor.tenant, inbox.now(), ['cursor', 'limit', 'format'])
      const asked = { ...filter, ...(cursor && { cursor }) }
      inbox.read(request, {
        action: 'activity.read',
        params: { filter: Object.fromEntries(said), ...(format === 'json' ? {} : { format }) },
      })
      if (format === 'json') {
        if ((limit ?? 1) > 1000) throw badParameter('limit: a page has at most 1000 rows', 'csv and ndjson take more')
        const { rows, nextCursor } = await fetchTimeline(inbox.client, { ...asked, ...(limit && { limit }) }, cut)
        return { rows: rows.map((row) => eventRowOf(row)), next_cursor: nextCursor } satisfies z.infer<
          typeof timelineAnswer
        >
      }
      const rows = allOfTimeline(inbox.client, asked, cut)
      // The first row comes before the status: what is wrong with the question is told as an error.
      const first = await rows.next()
      const name = `activity-${inbox.now().toISOString().slice(0, 19).replaceAll(':', '')}.${format}`
      return reply
        .type(mediaTypes[format])
        .header('content-disposition', `attachment; filename="${name}"`)
        .send(Readable.from(exported(first, rows, format, limit ?? Number.POSITIVE_INFINITY)))
    },
  })

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/activity/summary',
    summary: 'How much of what: counts over the same rows',
    access: 'read',
    query: filterQuery,
    answer: summaryAnswer,
    async handle({ search, visitor, request }) {
      const { filter, said } = parseFilter(search, visitor.tenant, inbox.now())
      inbox.read(request, { action: 'activity.read', params: { filter: Object.fromEntries(said) } })
      return summaryOf(await inbox.summary(filter, said))
    },
  })

  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/activity/health',
    summary: 'Is it well?',
    description: 'The health pulse. Asking leaves no event.',
    access: 'read',
    answer: healthAnswer,
    async handle({ visitor }) {
      return healthOf(await inbox.pulse(visitor.tenant))
    },
  })
}

/** Rows as text, some hundred at once: a chunk a row costs more than the row. */
async function* exported(
  first: IteratorResult<TimelineRow, void>,
  rows: AsyncGenerator<TimelineRow, void, undefined>,
  format: Exclude<Format, 'json'>,
  limit: number,
): AsyncGenerator<string, void, undefined> {
  const text = format === 'csv' ? csvOf : (row: Parameters<typeof csvOf>[0]) => `${JSON.stringify(row)}\n`
  let chunk = format === 'csv' ? csvTitles : ''
  let left = limit
  try {
    for (let next = first; !next.done && left > 0; next = await rows.next()) {
      chunk += text(eventRowOf(next.value))
      left--
      if (chunk.length < 64 * 1024) continue
      yield chunk
      chunk = ''
    }
    if (chunk !== '') yield chunk
  } finally {
    await rows.return()
  }
}

function healthOf({ status, sentence, generatedAt, fields }: HealthPulse): z.infer<typeof healthAnswer> {
  return {
    status,
    sentence,
    generated_at: generatedAt,
    fields: fields.map(({ filter, ...field }) => ({ ...field, query: queryOf(sayFilter(filter)) })),
  }
}

function summaryOf(summary: Counted): z.infer<typeof summaryAnswer> {
  return {
    generated_at: summary.generatedAt,
    total: summary.total,
    by_result: summary.byResult,
    users: summary.users,
    with_duration: summary.withDuration,
    mean_duration_ms: summary.meanDurationMs,
    top_actions: [...summary.topActions],
    top_users: [...summary.topUsers],
    client_kinds: [...summary.clientKinds],
    bars: summary.bars.map(({ from, to, ...bar }) => ({ from: from.toISOString(), to: to.toISOString(), ...bar })),
  }
}
