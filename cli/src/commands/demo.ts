import { setTimeout as pause } from 'node:timers/promises'
import { type Config, loadConfig, UserError } from '@agnes/config'
import type { Telemetry } from '@agnes/instrumentation'
import type { Command } from 'commander'
import { wholeNumber } from '../arguments.ts'
import { daysBefore, type Happening, simulate } from '../demo/simulation.ts'
import { askGateway, toGateway } from '../gateway-client.ts'
import { findInstance } from '../instance.ts'
import { startProgress } from '../output/progress.ts'
import { log } from '../output/streams.ts'
import { typed } from '../output/typed.ts'

interface DemoOptions {
  readonly days: number
  readonly seed: number
  readonly live?: boolean
  readonly telegram?: boolean | number
}

export function registerDemo(program: Command): void {
  program
    .command('demo')
    .description('Simulate an Agnes instance: its last week, and with --live what happens now')
    .option('--days <days>', 'how far back, 0 to 90', wholeNumber(0, 90), 7)
    .option('--seed <number>', 'another seed tells another story', wholeNumber(0, 2 ** 31), 1)
    .option('--live', 'go on at real pace; Ctrl-C ends')
    .option(
      '--telegram [port]',
      'be Telegram instead: a Bot API server on this machine, to try the bot without an account (port 8081)',
      wholeNumber(0, 65_535),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  agnes demo\n  agnes demo --days 30\n  agnes demo --days 0 --live\n  agnes demo --telegram\n',
    )
    .action(async (options: DemoOptions) => {
      if (options.telegram !== undefined) {
        const { runTelegramDemo } = await import('../demo/telegram.ts')
        return runTelegramDemo(options.telegram === true ? 8_081 : Number(options.telegram))
      }
      const { config } = loadConfig()
      const { otlpUrl } = findInstance(config)
      const before = (await counters(otlpUrl, config)).received
      const { startTelemetry } = await import('@agnes/instrumentation')
      let failure: string | undefined
      const telemetry = startTelemetry({
        serviceName: 'agnes-demo',
        serviceVersion: '1.42.0',
        environment: 'demo',
        endpoint: otlpUrl,
        ...toGateway(config),
        maxQueueSize: queueSize,
        warn: (line) => {
          failure = line
        },
      })
      const now = new Date()
      const happenings = simulate({ seed: options.seed, since: daysBefore(now, options.days), until: now })
      await send(happenings, telemetry, () => failure)
      await stored(otlpUrl, config, before + happenings.length)
      log(`sent ${happenings.length} events of ${options.days} days, all acknowledged and stored`)
      if (options.live) await live(options.seed, now, telemetry)
      await telemetry.shutdown()
      if (!options.live)
        log(
          `look at them: ${typed} health · ${typed} activity · ${typed} sql "SELECT action, count() FROM audit_log GROUP BY action"`,
        )
    })
}

/** The SDK drops the newest records when its queue is full, so it never gets more than this between two flushes. */
const queueSize = 4_096

async function send(
  happenings: readonly Happening[],
  telemetry: Telemetry,
  failure: () => string | undefined,
): Promise<void> {
  const progress = startProgress('sending', happenings.length)
  for (let from = 0; from < happenings.length; from += queueSize) {
    for (const { at, emit } of happenings.slice(from, from + queueSize)) emit(telemetry.recorder.at(at))
    await telemetry.flush(30_000)
    const reason = failure()
    if (reason !== undefined) throw new UserError(reason, { code: 'not_sent', hint: 'is "agnes up" running?' })
    progress.update(from + queueSize)
  }
  progress.end()
}

/** Minute after minute, each event when its time has come. */
async function live(seed: number, since: Date, telemetry: Telemetry): Promise<void> {
  log('live: events follow as they happen; Ctrl-C ends')
  const stopped = new AbortController()
  process.once('SIGINT', () => stopped.abort())
  process.once('SIGTERM', () => stopped.abort())
  let from = since
  while (!stopped.signal.aborted) {
    const until = new Date(from.getTime() + 60_000)
    for (const { at, emit } of simulate({ seed, since: from, until })) {
      await pause(Math.max(0, at.getTime() - Date.now()), undefined, { signal: stopped.signal }).catch(() => {})
      if (stopped.signal.aborted) return
      emit(telemetry.recorder)
    }
    await pause(Math.max(0, until.getTime() - Date.now()), undefined, { signal: stopped.signal }).catch(() => {})
    from = until
  }
}

interface GatewayCounters {
  readonly received: number
  readonly stored: number
  readonly backlogRecords: number
}

async function counters(otlpUrl: string, config: Config): Promise<GatewayCounters> {
  try {
    return await askGateway<GatewayCounters>(`${otlpUrl}/healthz`, config)
  } catch (error) {
    throw new UserError(`no gateway answers at ${otlpUrl}`, {
      code: 'unreachable',
      hint: 'start one with "agnes up" in another terminal',
      cause: error,
    })
  }
}

/** Waits until the gateway has received that many records and has none left to store. */
async function stored(otlpUrl: string, config: Config, received: number): Promise<void> {
  for (;;) {
    const now = await counters(otlpUrl, config)
    if (now.received >= received && now.backlogRecords === 0) return
    await pause(100)
  }
}
