/** The processors as a process: a connection, the scheduler, the alerts, and an event for each session and each alert. */
import { hostname } from 'node:os'
import { type ClickHouseClient, createAgnesClient } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import { startTelemetry, type TelemetryOptions } from '@agnes/instrumentation'
import { tellTransition } from './alerts/event.ts'
import { cleanTurns } from './cleaning.ts'
import { realClock } from './clock.ts'
import { findGaps } from './gaps.ts'
import { companions, scheduled } from './registry.ts'
import type { SessionRun } from './run.ts'
import { type Companion, type ScheduledJob, startScheduler } from './scheduler.ts'

export interface ProcessorsOptions {
  readonly clickhouseUrl: string
  /** Seconds by name of the processor; what is not named runs at its own cadence, 0 switches off. */
  readonly intervals: Readonly<Record<string, number>>
  /** Cost of language models a tenant and day from which on an alert fires, US dollars; 100 unless told. */
  readonly dailyBudgetUsd?: number
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
const gapsEveryMs = 120_000

/** @throws UserError (exit code 2) for an interval of a processor there is not */
export function startProcessors(options: ProcessorsOptions): RunningProcessors {
  const { clickhouseUrl, intervals, telemetry, log } = options
  const processors = scheduled(intervals)
  const alertsEveryMs = (intervals.alerts ?? companions.alerts) * 1000
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-processors', requestTimeoutMs })
  const events = startTelemetry({
    serviceName: 'agnes-processors',
    ...telemetry,
    // A first run over many sessions has many events.
    maxQueueSize: 20_000,
    warn: () => {},
  })
  const companion: Companion | undefined =
    alertsEveryMs === 0
      ? undefined
      : async (lease) => {
          const { evaluateAlerts } = await import('./alerts/evaluator.ts')
          await evaluateAlerts(
            {
              client,
              everyMs: alertsEveryMs,
              clock: realClock,
              log,
              ...(options.dailyBudgetUsd === undefined ? {} : { dailyBudgetUsd: options.dailyBudgetUsd }),
              onTransition: (transition) => tellTransition(events.recorder, transition),
            },
            lease,
          )
        }
  const scheduler =
    processors.length === 0 && companion === undefined
      ? undefined
      : startScheduler({
          client,
          processors,
          companion,
          jobs: jobsOf(client),
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

function jobsOf(client: ClickHouseClient): ScheduledJob[] {
  let round = 0
  return [
    {
      name: 'session_gaps',
      everyMs: gapsEveryMs,
      run: async (mayGoOn, fence) => void (await findGaps({ client, fence, round: round++, mayGoOn })),
    },
    {
      name: 'cleaning',
      everyMs: cleaningEveryMs,
      run: async (mayGoOn) => void (await cleanTurns({ client, mayGoOn })),
    },
  ]
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
