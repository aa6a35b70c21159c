/** `GET /api/admin/alerts`: the alerts of the built-in evaluator as they are now. */
import {
  type Alert,
  type AlertSilence,
  fetchAlerts,
  fetchSilences,
  shownAlertStates,
  silenceOf,
} from '@agnes/clickhouse'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { badParameter } from '../http/filter.ts'
import type { Inbox } from '../inbox.ts'
import { addApiRoute } from './route.ts'

const time = z.string().describe('ISO 8601')

const alertsAnswer = z.object({
  generated_at: time,
  alerts: z
    .array(
      z.object({
        fingerprint: z.string().describe('Hash of rule and labels: the same alert has the same.'),
        rule: z.string(),
        title: z.string(),
        severity: z.enum(['critical', 'warning']),
        state: z.enum(shownAlertStates),
        labels: z.record(z.string(), z.string()),
        value: z.number().nullable().describe('At the last change; null where there was no data.'),
        summary: z.string(),
        first_step: z.string(),
        runbook: z.string().describe('Path in the repository.'),
        active_since: time.describe('Since when the condition holds or held.'),
        fired_at: time.nullable(),
        resolved_at: time.nullable(),
        muted_until: time.nullable(),
      }),
    )
    .describe('Firing ones first, then pending, then resolved; the newest of each first.'),
  more: z.boolean().describe('Whether there are more than `limit`.'),
})

const query = z.object({
  state: z
    .string()
    .optional()
    .describe(`With commas between them: ${shownAlertStates.join(', ')}; \`firing,pending\` unless told.`),
  limit: z.coerce.number().int().min(1).max(1000).default(200).describe('Most alerts, 1 to 1000.'),
})

export function registerAlertsApi(app: FastifyInstance, inbox: Inbox): void {
  addApiRoute(app, {
    method: 'GET',
    path: '/api/admin/alerts',
    summary: 'What fires?',
    description:
      'Alerts of the tenant of the key and those of the whole installation. Empty where Grafana evaluates the rules.',
    access: 'read',
    query,
    answer: alertsAnswer,
    async handle({ visitor, query: { state, limit } }) {
      const now = inbox.now()
      const [alerts, silences] = await Promise.all([
        fetchAlerts(inbox.client, { states: statesOf(state), tenant: visitor.tenant, limit: limit + 1 }),
        fetchSilences(inbox.client, now),
      ])
      return {
        generated_at: now.toISOString(),
        alerts: alerts.slice(0, limit).map((alert) => described(alert, silences, now)),
        more: alerts.length > limit,
      } satisfies z.infer<typeof alertsAnswer>
    },
  })
}

/** @throws UserError (400) for one there is not */
function statesOf(text = 'firing,pending'): (typeof shownAlertStates)[number][] {
  return text.split(',').map((word) => {
    const state = shownAlertStates.find((one) => one === word.trim())
    if (state === undefined)
      throw badParameter(`state: one of ${shownAlertStates.join(', ')}`, '/openapi.json says what it takes')
    return state
  })
}

function described(
  alert: Alert,
  silences: readonly AlertSilence[],
  now: Date,
): z.infer<typeof alertsAnswer>['alerts'][number] {
  return {
    fingerprint: alert.fingerprint,
    rule: alert.rule,
    title: alert.title,
    severity: alert.severity,
    // Those that are ok are not read.
    state: alert.state === 'ok' ? 'resolved' : alert.state,
    labels: { ...alert.labels },
    value: alert.value ?? null,
    summary: alert.summary,
    first_step: alert.firstStep,
    runbook: `docs/runbooks/${alert.runbook}.md`,
    active_since: alert.activeSince.toISOString(),
    fired_at: alert.firedAt?.toISOString() ?? null,
    resolved_at: alert.resolvedAt?.toISOString() ?? null,
    muted_until: silenceOf(alert, silences, now)?.endsAt.toISOString() ?? null,
  }
}
