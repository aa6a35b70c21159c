/** The processors as a process: a connection, the scheduler, and an event for each session that was processed. */
import { hostname } from 'node:os'
import { createAgnesClient } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import { startTelemetry, type TelemetryOptions } from '@agnes/instrumentation'
import { cleanTurns } from './cleaning.ts'
import { scheduled } from './registry.ts'
import type { SessionRun } from './run.ts'
import { startScheduler } from './scheduler.ts'

export interface ProcessorsOptions {
  readonly clickhouseUrl: string
  /** Seconds by name of the processor; what is not named runs at its own cadence, 0 switches off. */
  readonly intervals: Readonly<Record<string, number>>
  /** Where events of the runs go. */
  readonly telemetry: Pick<TelemetryOptions, 'endpoint' | 'headers' | 'agent' | 'serviceVersion'>
  readonly log: Log
}

export interface RunningProcessors {
  /** Ends after the session under way, at most some seconds later; what it did not end is done again. */
  stop(): Promise<void>
}

const requestTimeoutMs = 120_000
const stopWithinMs = 3_000
const cleaningEveryMs = 3_600_000

/** @throws UserError (exit code 2) for an interval of a processor there is not */
export function startProcessors({ clickhouseUrl, intervals, telemetry, log }: ProcessorsOptions): RunningProcessors {
  const processors = scheduled(intervals)
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-processors', requestTimeoutMs })
  const events = startTelemetry({
    serviceName: 'agnes-processors',
    ...telemetry,
    // A first run over many sessions has many events.
    maxQueueSize: 20_000,
    warn: () => {},
  })
  const scheduler =
    processors.length === 0
      ? undefined
      : startScheduler({
          client,
          processors,
          jobs: [
            {
              name: 'cleaning',
              everyMs: cleaningEveryMs,
              run: async (mayGoOn) => void (await cleanTurns({ client, mayGoOn })),
            },
          ],
          holder: `${hostname()} pid ${process.pid}`,
          log,
          onRun: (run) => events.recorder.sessionProcessor(eventOf(run)),
        })
  if (scheduler === undefined) log('processors: all are switched off')
  return {
    async stop() {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, stopWithinMs)
      })
      await Promise.race([scheduler?.stop(), late])
      clearTimeout(timer)
      await events.shutdown()
      await client.close()
    },
  }
}

/** The fields of `agnes.session_processor`. */
export function eventOf({ processor, session, items, durationMs, error }: SessionRun) {
  return {
    processor,
    userId: session.user,
    sessionFile: session.file,
    fileHash: session.fileHash,
    items,
    durationMs,
    result: error === undefined ? 'success' : 'error',
    ...(error === undefined ? {} : { error }),
  }
}
