/** `/api/admin/sync`: each table's last synchronisation, and when the next one is due. */
import type { SyncTable } from '@agnes/clickhouse'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import type { Inbox } from '../inbox.ts'
import { addApiRoute } from './route.ts'

const seconds = z.number().int().nullable()

const syncAnswer = z.object({
  generated_at: z.string().describe('An answer is kept for thirty seconds.'),
  tables: z
    .array(
      z.object({
        table: z.string(),
        last_ok: z.string().nullable().describe('When a sync was ok last, within seven days.'),
        last_rows: z.number().nullable(),
        last_error: z.string(),
        age_seconds: seconds.describe('Since then.'),
        every_seconds: seconds.describe('Median time between two that were ok; null with fewer than three.'),
        due_seconds: seconds.describe('Until the next one by that rhythm; negative = overdue.'),
        failed_24h: z.number().int(),
        failed_7d: z.number().int(),
        runs_7d: z.number().int(),
        median_duration_ms: z.number().nullable(),
        p95_duration_ms: z.number().nullable(),
        runs: z
          .array(
            z.object({
              at: z.string(),
              outcome: z.enum(['ok', 'skipped', 'failed']),
              duration_ms: z.number().nullable(),
            }),
          )
          .describe('Newest first, at most twelve.'),
      }),
    )
    .describe('Failing and overdue ones first.'),
})

export function registerSyncApi(app: FastifyInstance, inbox: Inbox): void {
  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/sync',
    summary: 'Is each table synced?',
    access: 'read',
    answer: syncAnswer,
    async handle({ visitor, request }) {
      const { tables, generatedAt } = await inbox.syncs(visitor.tenant)
      inbox.read(request, { action: 'activity.read', resource: 'sync', params: {} })
      return { generated_at: generatedAt, tables: tables.map(tableOf) } satisfies z.infer<typeof syncAnswer>
    },
  })
}

function tableOf(one: SyncTable): z.infer<typeof syncAnswer>['tables'][number] {
  return {
    table: one.table,
    last_ok: one.lastOk,
    last_rows: one.lastRows,
    last_error: one.lastError,
    age_seconds: one.ageSeconds,
    every_seconds: one.everySeconds,
    due_seconds: one.dueSeconds,
    failed_24h: one.failed24h,
    failed_7d: one.failed7d,
    runs_7d: one.runs7d,
    median_duration_ms: one.medianDurationMs,
    p95_duration_ms: one.p95DurationMs,
    runs: one.runs.map(({ at, outcome, durationMs }) => ({ at, outcome, duration_ms: durationMs })),
  }
}
