/**
 * What happens to the services, as events of our own in the timeline. The supervisor outlives the gateway, so its
 * events wait (a bounded number of them) until there is one to send them to.
 */
import type { Telemetry } from '@agnes/instrumentation'

export interface Lifecycle {
  emit(component: string, event: string, message: string): void
  /** From now on events are sent to this gateway. */
  connect(otlpUrl: string): void
  /** Sends what waits, within a few seconds. */
  close(): Promise<void>
}

const maxWaiting = 100

export function createLifecycle(): Lifecycle {
  let telemetry: Promise<Telemetry> | undefined
  let waiting: { component: string; event: string; message: string; timestamp: Date }[] = []

  return {
    emit(component, event, message) {
      const timestamp = new Date()
      if (telemetry === undefined) {
        if (waiting.length < maxWaiting) waiting.push({ component, event, message, timestamp })
      } else void telemetry.then(({ recorder }) => recorder.at(timestamp).system({ component, event, message }))
    },
    connect(otlpUrl) {
      telemetry = import('@agnes/instrumentation').then(({ startTelemetry }) => {
        const started = startTelemetry({ serviceName: 'agnes', endpoint: otlpUrl, warn: () => {} })
        for (const { timestamp, ...fields } of waiting) started.recorder.at(timestamp).system(fields)
        waiting = []
        return started
      })
    },
    async close() {
      await (await telemetry)?.shutdown()
    },
  }
}
