/** What costs a while to answer and many ask for: health, counts, the grid of syncs, gaps. */
import {
  type ClickHouseClient,
  fetchAlerts,
  fetchHealth,
  fetchSessionGaps,
  fetchSilences,
  fetchSummary,
  fetchSyncs,
  type HealthPulse,
  type SessionGap,
  type SyncTable,
  silenceOf,
  type TimelineFilter,
  type TimelineSummary,
} from '@agnes/clickhouse'
import { createCache } from './cached.ts'
import { queryOf } from './http/filter.ts'
import type { FiringAlert } from './pages/activity/firing.ts'

export interface Syncs {
  readonly tables: readonly SyncTable[]
  /** ISO 8601. */
  readonly generatedAt: string
}

export interface Counted extends TimelineSummary {
  /** ISO 8601. */
  readonly generatedAt: string
}

export interface Questions {
  pulse(tenant: string): Promise<HealthPulse>
  /** At most {@link mostFiring}, those of the whole installation among them. */
  firing(tenant: string): Promise<readonly FiringAlert[]>
  /** @param said what the URL says of the filter: the same words are the same question */
  summary(filter: TimelineFilter, said: ReadonlyMap<string, string>): Promise<Counted>
  syncs(tenant: string): Promise<Syncs>
  /** @param sessionId empty for all sessions */
  gaps(tenant: string, sessionId: string, limit: number): Promise<readonly SessionGap[]>
}

const freshMs = 30_000
const mostFiring = 100
/** Counts stand beside rows that are as they are now: they are kept as briefly as the work allows. */
const keptPerTook = 5
/** The grid takes half a second on 5 million events: who comes back within ten minutes need not wait for the next one. */
const staleMs = 600_000

export function createQuestions(client: ClickHouseClient): Questions {
  const pulses = createCache<HealthPulse>({ freshMs })
  const firing = createCache<readonly FiringAlert[]>({ freshMs: 10_000 })
  const summaries = createCache<Counted>({ freshMs: (tookMs) => Math.min(freshMs, tookMs * keptPerTook) })
  const grids = createCache<Syncs>({ freshMs, staleMs })
  // All telemetry of Claude Code is held against all transcripts: seconds, where there are thousands of sessions.
  const gaps = createCache<readonly SessionGap[]>({ freshMs, staleMs })
  return {
    pulse: (tenant) => pulses(tenant, () => fetchHealth(client, { tenant })),
    firing: (tenant) =>
      firing(tenant, async () => {
        const now = new Date()
        const [alerts, silences] = await Promise.all([
          fetchAlerts(client, { states: ['firing'], tenant, limit: mostFiring }),
          fetchSilences(client, now),
        ])
        return alerts.map((alert) => ({ ...alert, mutedUntil: silenceOf(alert, silences, now)?.endsAt }))
      }),
    summary: (filter, said) =>
      summaries(`${filter.tenant} ${queryOf(said)}`, async () => {
        const now = new Date()
        return { ...(await fetchSummary(client, filter, now)), generatedAt: now.toISOString() }
      }),
    syncs: (tenant) =>
      grids(tenant, async () => {
        const now = new Date()
        return { tables: await fetchSyncs(client, { tenant, now }), generatedAt: now.toISOString() }
      }),
    gaps: (tenant, sessionId, limit) =>
      gaps(JSON.stringify([tenant, sessionId, limit]), () => fetchSessionGaps(client, { tenant, sessionId, limit })),
  }
}
