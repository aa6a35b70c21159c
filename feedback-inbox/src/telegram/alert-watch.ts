/**
 * Tells of the alerts of the built-in evaluator: once when one fires, once when it is over. What is compared is how alerts
 * are with what was told of them, so nothing is told twice and nothing is missed, whichever process is away in between.
 * A muted alert is told of when the mute ends, if it fires then, also if it was told of before.
 */
import {
  type Alert,
  type AlertSilence,
  type ClickHouseClient,
  fetchAlerts,
  fetchSilences,
  silenceOf,
} from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import { type Clock, pause } from './clock.ts'
import type { Links } from './links.ts'
import type { Notification, Notifier } from './notification.ts'

export interface AlertWatchOptions {
  readonly client: ClickHouseClient
  readonly links: Pick<Links, 'all'>
  /** The newest notification of each alert, and when it was: left from before a restart. */
  readonly told: readonly { readonly notification: Notification; readonly since: Date }[]
  readonly notifier: Notifier
  readonly clock: Clock
  readonly log: Log
  /** Between two looks. */
  readonly everyMs: number
}

export interface AlertWatch {
  /** Looks until `signal` says to stop. */
  run(signal: AbortSignal): Promise<void>
  /** Resolves when no look is under way. */
  idle(): Promise<void>
}

/** The watch over health tells of the same fields, and of ClickHouse when it does not answer. */
const healthRule = 'agnes-health-red'
/** The end of an alert is told however late; one that came and went meanwhile only while it is news. */
const endsWithinMs = 7 * 86_400_000
const newsWithinMs = 86_400_000
const mostAlerts = 1_000

export function createAlertWatch(options: AlertWatchOptions): AlertWatch {
  const { client, links, notifier, clock, log, everyMs } = options
  const told = new Map<string, Told>()
  for (const { notification, since } of options.told) {
    const { firedAt, over = false } = notification
    if (firedAt !== undefined) told.set(keyOf(notification), { firedAt, over, at: since })
  }
  let looking: Promise<void> = Promise.resolve()
  let fails = false

  async function look(): Promise<void> {
    try {
      const chats = links.all()
      if (chats.length === 0) return
      const now = clock.now()
      const since = new Date(now.getTime() - endsWithinMs)
      const [alerts, silences] = await Promise.all([
        fetchAlerts(client, { states: ['firing', 'resolved'], resolvedSince: since, limit: mostAlerts }),
        fetchSilences(client, since),
      ])
      const news = alerts.flatMap((alert) => {
        if (alert.rule === healthRule) return []
        // What is about the whole installation is everybody's.
        const tenants = new Set(chats.map(({ tenant }) => tenant).filter((one) => ['', one].includes(alert.tenant)))
        return [...tenants].flatMap((tenant) => {
          const linkedAt = Math.min(
            ...chats.filter((one) => one.tenant === tenant).map((one) => one.linkedAt.getTime()),
          )
          return newsOf(alert, tenant, linkedAt, silences, now)
        })
      })
      // Together, so that what fires at the same time is one message.
      if (news.length > 0) notifier.notify(news)
      fails = false
    } catch (error) {
      if (!fails) log(`telegram: alerts are not known: ${(error as Error).message.split('\n', 1)[0]}`, 'warn')
      fails = true
    }
  }

  function newsOf(
    alert: Alert,
    tenant: string,
    linkedAtMs: number,
    silences: readonly AlertSilence[],
    now: Date,
  ): readonly Notification[] {
    const { firedAt, resolvedAt } = alert
    if (firedAt === undefined || silenceOf(alert, silences, now) !== undefined) return []
    const incident = `alert:${alert.fingerprint}`
    const key = keyOf({ tenant, incident })
    const last = told.get(key)
    const isTold = last?.firedAt === firedAt.toISOString()
    const isStill = isTold && resolvedAt === undefined && wasMutedSince(last.at)
    if (resolvedAt === undefined) {
      if (isTold && !isStill) return []
    } else if (isTold ? last.over : !isNews({ firedAt, resolvedAt })) return []
    told.set(key, { firedAt: firedAt.toISOString(), over: resolvedAt !== undefined, at: now })
    return [notificationOf(alert, { tenant, incident, firedAt, resolvedAt, isStill })]

    /** Whoever muted it wanted to hear of it again then. */
    function wasMutedSince(at: Date): boolean {
      return silences.some(
        (one) => one.endsAt > at && one.endsAt <= now && silenceOf(alert, [one], new Date(one.endsAt.getTime() - 1)),
      )
    }

    /** It came and went while nobody looked: between two looks, or while the inbox was not there. */
    function isNews(times: { readonly firedAt: Date; readonly resolvedAt: Date }): boolean {
      return (
        times.firedAt.getTime() >= linkedAtMs &&
        now.getTime() - times.resolvedAt.getTime() < newsWithinMs &&
        silenceOf(alert, silences, times.resolvedAt) === undefined
      )
    }
  }

  return {
    idle: () => looking,
    async run(signal) {
      while (!signal.aborted) {
        looking = look()
        await looking
        await pause(clock, everyMs, signal)
      }
    },
  }
}

interface Told {
  readonly firedAt: string
  readonly over: boolean
  readonly at: Date
}

interface Occasion {
  readonly tenant: string
  readonly incident: string
  readonly firedAt: Date
  readonly resolvedAt: Date | undefined
  /** It was told of before, and a mute has ended. */
  readonly isStill: boolean
}

function notificationOf(alert: Alert, { tenant, incident, firedAt, resolvedAt, isStill }: Occasion): Notification {
  const { title, summary, firstStep, severity, rule, labels, runbook } = alert
  const minutes = Math.max(0, Math.round(((resolvedAt ?? firedAt).getTime() - firedAt.getTime()) / 60_000))
  return {
    kind: 'alert',
    tenant,
    incident,
    title:
      resolvedAt !== undefined ? `Over after ${minutes} min: ${title}` : isStill ? `Still firing: ${title}` : title,
    ...(resolvedAt === undefined && { body: `${summary}\n${firstStep}` }),
    facts: [
      ['severity', severity],
      ...Object.entries(labels),
      ...(resolvedAt === undefined
        ? [
            ['since', `${alert.activeSince.toISOString().slice(0, 16).replace('T', ' ')} UTC`] as const,
            ['runbook', `docs/runbooks/${runbook}.md`] as const,
            ['mute it', `agnes alerts mute ${rule} --for 2h`] as const,
          ]
        : []),
    ],
    urgent: true,
    path: alertPage(rule),
    firedAt: firedAt.toISOString(),
    ...(resolvedAt !== undefined && { over: true }),
  }
}

/** What happened to the alerts of a rule, in the timeline. */
function alertPage(rule: string): string {
  return `/admin/activity?since=7d&action_prefix=alert.&resource=${encodeURIComponent(`alert:${rule}`)}`
}

function keyOf({ tenant, incident }: Pick<Notification, 'tenant' | 'incident'>): string {
  return `${tenant} ${incident}`
}
