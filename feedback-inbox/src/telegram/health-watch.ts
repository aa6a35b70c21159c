/**
 * Tells when health turns red, once, and once when it is well again. An incident is one field of the pulse that is red;
 * that ClickHouse does not answer is one too. The pulse is asked every minute for each tenant that has a linked chat.
 */
import type { HealthPulse } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import { type Clock, pause } from './clock.ts'
import type { Notification, Notifier } from './notification.ts'

export interface HealthWatchOptions {
  pulse(tenant: string): Promise<HealthPulse>
  /** Tenants somebody wants to know about. */
  tenants(): readonly string[]
  /** Incidents that were told of and not yet told to be over: left from before a restart. */
  readonly open: readonly { readonly notification: Notification; readonly since: Date }[]
  readonly notifier: Notifier
  readonly clock: Clock
  readonly log: Log
}

export interface HealthWatch {
  /** Looks every minute until `signal` says to stop. */
  run(signal: AbortSignal): Promise<void>
  /** Resolves when no look is under way. */
  idle(): Promise<void>
}

const everyMs = 60_000
/** Looks in a row: a value on the brink does not tell every minute that all is well. */
const wellAfter = 2
/** One question may fail while ClickHouse restarts. */
const unreachableAfter = 2

interface Incident {
  readonly notification: Notification
  readonly sinceMs: number
  well: number
}

export function createHealthWatch({
  pulse,
  tenants,
  open: left,
  notifier,
  clock,
  log,
}: HealthWatchOptions): HealthWatch {
  const open = new Map<string, Incident>()
  for (const { notification, since } of left) {
    open.set(notification.incident, { notification, sinceMs: since.getTime(), well: 0 })
  }
  const silent = new Map<string, number>()
  let looking: Promise<void> = Promise.resolve()

  async function look(): Promise<void> {
    const told = await Promise.all([...new Set(tenants())].map(lookAt))
    const news = told.flat()
    // Together, so that what turns red at the same time is one message.
    if (news.length > 0) notifier.notify(news)
  }

  async function lookAt(tenant: string): Promise<readonly Notification[]> {
    const unreachable = `health:${tenant}:clickhouse`
    let found: HealthPulse
    try {
      found = await pulse(tenant)
      silent.delete(tenant)
    } catch (error) {
      const failures = (silent.get(tenant) ?? 0) + 1
      silent.set(tenant, failures)
      if (failures < unreachableAfter) return []
      if (failures === unreachableAfter) log(`telegram: health is not known: ${firstLine(error)}`, 'warn')
      return redden({
        kind: 'health',
        tenant,
        incident: unreachable,
        title: 'ClickHouse does not answer',
        body: 'What is sent waits in the spool of the gateway and is stored later; pages and alerts are blind until then.',
        urgent: true,
        path: '/admin/activity',
      })
    }
    const news: Notification[] = [...recover(unreachable)]
    for (const { name, color, value, explanation } of found.fields) {
      const incident = `health:${tenant}:${name}`
      if (color !== 'red') {
        news.push(...recover(incident))
        continue
      }
      news.push(
        ...redden({
          kind: 'health',
          tenant,
          incident,
          title: `Health is red: ${name.replaceAll('_', ' ')}, ${value}`,
          body: explanation,
          urgent: true,
          path: '/admin/activity',
        }),
      )
    }
    return news
  }

  function redden(notification: Notification): readonly Notification[] {
    const before = open.get(notification.incident)
    if (before !== undefined) {
      before.well = 0
      return []
    }
    open.set(notification.incident, { notification, sinceMs: clock.now().getTime(), well: 0 })
    return [notification]
  }

  function recover(key: string): readonly Notification[] {
    const incident = open.get(key)
    if (incident === undefined || ++incident.well < wellAfter) return []
    open.delete(key)
    const { body: _, ...was } = incident.notification
    const minutes = Math.round((clock.now().getTime() - incident.sinceMs) / 60_000)
    return [
      { ...was, title: `Well again after ${minutes} min: ${was.title.replace(/^Health is red: /, '')}`, over: true },
    ]
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

function firstLine(error: unknown): string {
  return (error as Error).message.split('\n', 1)[0] ?? ''
}
