/**
 * Alerts of Grafana or Alertmanager as their webhooks send them, made notifications.
 * @see https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
 */
import { createHash } from 'node:crypto'
import { UserError } from '@agnes/config'
import type { Redactor } from '@agnes/redaction'
import { z } from 'zod'
import type { Notification } from './notification.ts'

const texts = z.record(z.string(), z.string()).default({})

const webhook = z.object({
  alerts: z
    .array(
      z.object({
        status: z.enum(['firing', 'resolved']),
        labels: texts,
        annotations: texts,
        fingerprint: z.string().optional(),
      }),
    )
    .max(1_000),
})

/** Labels that say where rather than what, shown in this order. */
const shownLabels = ['severity', 'grafana_folder', 'instance', 'job', 'user', 'table'] as const

/** @throws UserError (400) if it is no such webhook */
export function alertsOf(body: unknown, tenant: string, redactor: Redactor): readonly Notification[] {
  const parsed = webhook.safeParse(body)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new UserError(`${issue?.path.join('.') || 'the body'}: ${issue?.message ?? 'is no webhook of Grafana'}`, {
      code: 'bad_alerts',
      status: 400,
      hint: 'send what a webhook contact point of Grafana or Alertmanager sends: {"alerts": [{"status": "firing", "labels": …}]}',
    })
  }
  const clean = (text: string, place: string): string => redactor.text(text.toWellFormed(), place)
  return parsed.data.alerts.map(({ status, labels, annotations, fingerprint }): Notification => {
    const isOver = status === 'resolved'
    const name = annotations.summary || labels.alertname || 'An alert without a name'
    const body = annotations.description ?? annotations.message
    return {
      kind: 'alert',
      tenant,
      incident: `alert:${fingerprint ?? hashOf(labels)}`,
      title: clean(isOver ? `Over: ${name}` : name, 'alert.title'),
      ...(body !== undefined && !isOver && { body: clean(body, 'alert.body') }),
      facts: shownLabels.flatMap((label) => {
        const value = labels[label]
        return value ? [[label, clean(value, `alert.${label}`)] as const] : []
      }),
      urgent: true,
      over: isOver,
    }
  })
}

function hashOf(labels: Readonly<Record<string, string>>): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 16)
}
