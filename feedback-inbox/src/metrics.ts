/** `GET /metrics` of the inbox in Prometheus' text format. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

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
}

/** @param eventsLost events of ours that will not arrive */
export function createMetrics(eventsLost: () => number): Metrics {
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
  }
}
