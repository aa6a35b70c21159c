/**
 * What happens to the services, as events of our own in the timeline. The supervisor outlives the gateway, so its
 * events wait (a bounded number of them) until there is one to send them to. Nothing here can fail the command.
 */
import type { Agent } from 'node:http'
import type { Recorder, Telemetry } from '@agnes/instrumentation'
import type { AuditFields } from '../audit.ts'
import { version } from '../version.ts'

export interface Lifecycle {
  emit(component: string, event: string, message: string): void
  /** A change that was made on the way. */
  audit(fields: AuditFields): void
  /** From now on events are sent to this gateway. */
  connect(otlpUrl: string, headers: Readonly<Record<string, string>>): void
  /** The gateway is away: the SDK would give events up after some seconds, so they wait here. */
  hold(): void
  /** It is back. */
  release(): void
  /** Sends what waits, within a few seconds. */
  close(): Promise<void>
}

interface Occurrence {
  readonly timestamp: Date
  readonly record: (recorder: Recorder) => void
}

const maxWaiting = 100

/** @param agent opens the connections to the gateway */
export function createLifecycle(agent: Agent | undefined): Lifecycle {
  let telemetry: Telemetry | undefined
  let connecting: Promise<void> | undefined
  let waiting: Occurrence[] = []
  let held = false

  function send({ timestamp, record }: Occurrence): void {
    if (telemetry !== undefined) record(telemetry.recorder.at(timestamp))
  }

  function occur(record: Occurrence['record']): void {
    const occurrence = { record, timestamp: new Date() }
    if (telemetry !== undefined && !held) send(occurrence)
    else if (waiting.length < maxWaiting) waiting.push(occurrence)
  }

  async function connect(otlpUrl: string, headers: Readonly<Record<string, string>>): Promise<void> {
    // The SDK takes longer to load than the services to start.
    const { startTelemetry } = await import('@agnes/instrumentation')
    telemetry = startTelemetry({
      serviceName: 'agnes',
      serviceVersion: version,
      endpoint: otlpUrl,
      headers,
      ...(agent && { agent }),
      warn: () => {},
    })
    if (!held) sendWaiting()
  }

  function sendWaiting(): void {
    for (const occurrence of waiting) send(occurrence)
    waiting = []
  }

  return {
    emit: (component, event, message) => occur((recorder) => recorder.system({ component, event, message })),
    audit: (fields) => occur((recorder) => recorder.audit(fields)),
    connect(otlpUrl, headers) {
      connecting = connect(otlpUrl, headers).catch(() => {})
    },
    hold() {
      held = true
    },
    release() {
      held = false
      if (telemetry !== undefined) sendWaiting()
    },
    async close() {
      await connecting
      await telemetry?.shutdown()
    },
  }
}
