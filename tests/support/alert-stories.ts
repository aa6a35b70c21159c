/** For each alert rule what happens that it is about: events, when it fires of them, and when it does not yet. */
import type { ClickHouseClient } from '@agnes/clickhouse'
import { insertEvents, type TestEvent } from './events.ts'

const [second, minute, hour, day] = [1_000, 60_000, 3_600_000, 86_400_000]
/** The instant the stories lead to. */
export const T = Date.parse('2026-11-20T12:00:00Z')

export type Attributes = Readonly<Record<string, string>>

/** `count` events of a tenant, one every `step`, the last one `ago` before T. */
function events(
  tenant: string,
  name: string,
  attributes: Attributes,
  count: number,
  step: number,
  ago: number,
): TestEvent[] {
  return Array.from({ length: count }, (_, n) => ({ tenant, name, attributes, at: new Date(T - ago - n * step) }))
}

const audit = (action: string, result: string, more: Attributes = {}): Attributes => ({
  'agnes.action': action,
  'agnes.result': result,
  'user.id': 'anna',
  ...more,
})
const sync = (status: string): Attributes => ({ 'agnes.sync.table_id': 'orders', 'agnes.sync.status': status })
const run = (status: string, durationMs: number): Attributes => ({
  'agnes.run.id': 'r1',
  'gen_ai.agent.name': 'analyst',
  'agnes.run.status': status,
  'agnes.duration_ms': String(durationMs),
})
const beat = (figures: Attributes): Attributes => ({
  'agnes.system.component': 'ingest-gateway',
  'agnes.system.event': 'heartbeat',
  ...Object.fromEntries(Object.entries(figures).map(([name, value]) => [`agnes.pipeline.${name}`, value])),
})
const fine = { oldest_seconds: '0.5', rejected_last_hour: '0', lag_p99_ms: '600' }

export interface Story {
  readonly events: readonly TestEvent[]
  /** Before T, milliseconds: when it fires, and when it does not. */
  readonly fires: number
  readonly quiet: number
  /** Labels of the row that fires. */
  readonly labels: Attributes
}

const heartbeats = events('default', 'agnes.system', beat(fine), 60, 30 * second, 10 * minute)

/** By uid. The disks need none: they are always there. */
export const stories: Readonly<Record<string, Story>> = {
  'agnes-health-red': {
    events: heartbeats,
    fires: 0,
    quiet: 11 * minute,
    labels: { tenant: 'default', field: 'pipeline' },
  },
  'agnes-scheduler-silent': {
    events: events('silent', 'agnes.audit', audit('run_data_refresh', 'success'), 20, 15 * minute, 3 * hour),
    fires: 0,
    quiet: 150 * minute,
    labels: { tenant: 'silent' },
  },
  'agnes-sync-failures': {
    events: [
      ...events('failing', 'agnes.sync', sync('ok'), 100, 30 * minute, hour),
      ...events('failing', 'agnes.sync', sync('error'), 4, 30 * minute, hour),
      // Skipped ones are not counted.
      ...events('failing', 'agnes.sync', sync('skipped'), 40, 30 * minute, hour),
    ],
    fires: 0,
    quiet: 4 * hour,
    labels: { tenant: 'failing' },
  },
  'agnes-sync-stale': {
    events: events('stale', 'agnes.sync', sync('ok'), 90, 15 * minute, 3 * hour),
    fires: 0,
    quiet: 170 * minute,
    labels: { tenant: 'stale', table: 'orders' },
  },
  'agnes-ingest-stopped': { events: [], fires: 0, quiet: 11 * minute, labels: {} },
  'agnes-backlog-growing': {
    events: [
      ...events('default', 'agnes.system', beat({ ...fine, oldest_seconds: '95.5' }), 15, 30 * second, day),
      ...events('default', 'agnes.system', beat(fine), 20, 30 * second, day + 8 * minute),
    ],
    fires: day,
    quiet: day + 6 * minute,
    labels: { gateway: '' },
  },
  'agnes-rejects': {
    events: [
      ...events('default', 'agnes.system', beat({ ...fine, rejected_last_hour: '3' }), 1, minute, 2 * day),
      ...events('default', 'agnes.system', beat(fine), 5, 30 * second, 2 * day + 10 * minute),
    ],
    fires: 2 * day,
    quiet: 2 * day + 9 * minute,
    labels: {},
  },
  'agnes-agent-failure-spike': {
    events: [
      ...events('spike', 'agnes.agent_run.finish', run('failed', 900), 11, minute, minute),
      ...events('spike', 'agnes.agent_run.finish', run('succeeded', 900), 40, minute, 2 * hour),
    ],
    fires: 0,
    quiet: 4 * minute,
    labels: { tenant: 'spike', agent: 'analyst' },
  },
  'agnes-agent-failure-rate': {
    events: [
      ...events('rate', 'agnes.agent_run.finish', run('succeeded', 900), 12, 20 * minute, hour),
      ...events('rate', 'agnes.agent_run.finish', run('failed', 900), 6, minute, minute),
    ],
    fires: 0,
    quiet: 30 * minute,
    labels: { tenant: 'rate', agent: 'analyst' },
  },
  'agnes-agent-slow': {
    events: [
      ...events('slow', 'agnes.agent_run.finish', run('succeeded', 2_000), 80, 10 * minute, 61 * minute),
      ...events('slow', 'agnes.agent_run.finish', run('succeeded', 9_000), 6, 9 * minute, minute),
    ],
    fires: 0,
    quiet: hour,
    labels: { tenant: 'slow', agent: 'analyst' },
  },
  'agnes-permission-denials': {
    events: [
      ...events('denied', 'agnes.audit', audit('data.download', 'denied'), 46, 30 * minute, hour),
      ...events('denied', 'agnes.audit', audit('data.download', 'denied'), 40, minute, minute),
    ],
    fires: 0,
    quiet: hour,
    labels: { tenant: 'denied' },
  },
  'agnes-auth-failures': {
    events: events(
      'guessing',
      'agnes.audit',
      audit('cli_auth.token_minted', 'invalid_password'),
      21,
      20 * second,
      minute,
    ),
    fires: 0,
    quiet: 3 * minute,
    labels: { tenant: 'guessing' },
  },
  'agnes-integrity-failure': {
    events: events('damaged', 'agnes.audit', audit('integrity.verify', 'error'), 1, minute, hour),
    fires: 0,
    quiet: 2 * hour,
    labels: { tenant: 'damaged' },
  },
  // The report of 30 hours ago is no event.
  'agnes-feedback-waiting': { events: [], fires: 0, quiet: 10 * hour, labels: { tenant: 'waiting' } },
  'agnes-cost-budget': {
    events: events(
      'spending',
      'agnes.llm.generation',
      { 'gen_ai.request.model': 'claude-opus-4-1', 'agnes.cost_usd_micros': '1010000' },
      100,
      minute,
      minute,
    ),
    fires: 0,
    quiet: 30 * minute,
    labels: { tenant: 'spending' },
  },
}

/** All of them, into one database: no two disturb each other. */
export async function insertStories(client: ClickHouseClient): Promise<void> {
  await insertEvents(
    client,
    Object.values(stories).flatMap((story) => story.events),
  )
  await client.insert({
    table: 'feedback_reports',
    values: [
      { tenant: 'waiting', id: 'fb', version: 1, status: 'open', created_at: new Date(T - 30 * hour).toISOString() },
    ],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}

/** A gateway that is well, for half an hour from an instant on. */
export async function insertHeartbeats(client: ClickHouseClient, from: number): Promise<void> {
  await insertEvents(client, events('default', 'agnes.system', beat(fine), 60, 30 * second, T - from - 30 * minute))
}
