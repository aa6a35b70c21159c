/** `GET /metrics` of the inbox in Prometheus' text format. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { OutboxStats } from './telegram/outbox.ts'

/** What became of a report: stored, known from before, refused for what it is, for now (429), or not stored (503). */
export type ReportOutcome = 'accepted' | 'known' | 'refused' | 'too_many' | 'not_stored'

export interface Metrics {
  readonly contentType: string
  text(): Promise<string>
  /** @param route the route's pattern, never the path that was asked for */
  request(route: string, status: number, seconds: number): void
  wrongKey(): void
  /** Somebody looked at something. */
  read(): void
  /** An event told of it, or of many. */
  readTold(): void
  report(outcome: ReportOutcome): void
  /** @param status of the Bot API's answer; undefined where none came */
  telegramCall(method: string, status: number | undefined): void
}

export interface MetricsSources {
  /** Events of ours that will not arrive. */
  eventsLost(): number
  /** undefined: there is no bot. */
  telegram(): OutboxStats | undefined
}

export function createMetrics({ eventsLost, telegram }: MetricsSources): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const requests = new Counter({
    name: 'agnes_inbox_requests_total',
    help: 'Requests answered, by route and status.',
    labelNames: ['route', 'status'],
    registers: [registry],
  })
  const seconds = new Histogram({
    name: 'agnes_inbox_request_seconds',
    help: 'Time from request to answer, by route.',
    labelNames: ['route'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5],
    registers: [registry],
  })
  const wrongKeys = new Counter({
    name: 'agnes_inbox_wrong_keys_total',
    help: 'Requests and logins with a key that is not valid.',
    registers: [registry],
  })
  const reads = new Counter({
    name: 'agnes_inbox_reads_total',
    help: 'Reads by people and scripts.',
    registers: [registry],
  })
  const readEvents = new Counter({
    name: 'agnes_inbox_read_events_total',
    help: 'Audit events about reads: one stands for the same reads of a minute.',
    registers: [registry],
  })
  new Gauge({
    name: 'agnes_inbox_events_lost',
    help: 'Audit events of the inbox that could not be sent.',
    registers: [registry],
    collect() {
      this.set(eventsLost())
    },
  })
  const reports = new Counter({
    name: 'agnes_inbox_reports_total',
    help: 'Feedback reports that came in: accepted, known (sent again), refused, too_many (429), not_stored (503).',
    labelNames: ['outcome'],
    registers: [registry],
  })
  const calls = new Counter({
    name: 'agnes_inbox_telegram_calls_total',
    help: 'Calls to the Bot API, by method and status; 429 is Telegram asking for a pause, none is no answer.',
    labelNames: ['method', 'status'],
    registers: [registry],
  })
  new Gauge({
    name: 'agnes_inbox_telegram_waiting',
    help: 'Deliveries to chats that were not made yet; those for the daily digest too.',
    registers: [registry],
    collect() {
      this.set(telegram()?.open ?? 0)
    },
  })
  new Counter({
    name: 'agnes_inbox_telegram_deliveries_total',
    help: 'Deliveries to chats since the start: sent, failed for good, lost before ClickHouse could be read.',
    labelNames: ['outcome'],
    registers: [registry],
    collect() {
      const { sent = 0, failed = 0, lost = 0 } = telegram() ?? {}
      this.reset()
      for (const [outcome, count] of Object.entries({ sent, failed, lost })) this.inc({ outcome }, count)
    },
  })
  for (const outcome of ['accepted', 'known', 'refused', 'too_many', 'not_stored']) reports.inc({ outcome }, 0)
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    request(route, status, took) {
      requests.inc({ route, status })
      seconds.observe({ route }, took)
    },
    wrongKey: () => wrongKeys.inc(),
    read: () => reads.inc(),
    readTold: () => readEvents.inc(),
    report: (outcome) => reports.inc({ outcome }),
    telegramCall: (method, status) => calls.inc({ method, status: status ?? 'none' }),
  }
}
