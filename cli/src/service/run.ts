/** What the services share when they run as a process: say that they serve, stop on a signal, tell the parent why not. */
import { type Config, exitCodes, type Log, loadConfig, UserError } from '@agnes/config'
import { goOnWithoutReader } from '../output/streams.ts'
import { serviceLog } from './log.ts'
import { failedMessage, type ReadyMessage } from './messages.ts'

export interface RunningService {
  /** Where it listens, if it does. */
  readonly url?: string
  readonly port?: number
  readonly grpcPort?: number
  stop(): Promise<void>
}

/** Longer than any service's own patience, and within the ten seconds a SIGTERM gives. */
const stopWithinMs = 9_800

/** Runs until SIGTERM or Ctrl-C; a second signal, or the end of the parent, ends it at once: all state is on disk. */
export async function runService(
  name: string,
  start: (config: Config, log: Log) => Promise<RunningService>,
): Promise<void> {
  goOnWithoutReader()
  const stop = stopRequested()
  const started = await orTellParent(async () => {
    const { config } = loadConfig()
    const log = await serviceLog(name, config)
    logCrash(log)
    return { log, service: await start(config, log) }
  })
  if (started === undefined) return
  const { log, service } = started
  const { url = '', port = 0, grpcPort } = service
  if (process.send === undefined) {
    if (service.url === undefined) log(`${name}: running; Ctrl-C stops it`)
    else log(`${name} serves ${url}; Ctrl-C stops it`, 'info', { port })
  } else
    process.send({ type: 'ready', url, port, ...(grpcPort === undefined ? {} : { grpcPort }) } satisfies ReadyMessage)
  await stop
  setTimeout(() => {
    log(`${name}: not done within ${stopWithinMs / 1000} s, ending all the same`, 'warn')
    process.exit(exitCodes.done)
  }, stopWithinMs).unref()
  await service.stop()
  process.exit(exitCodes.done)
}

/** A bug of ours ends the service, and leaves what is needed to find it; the supervisor starts it again. */
function logCrash(log: Log): void {
  process.prependListener('uncaughtException', (error: unknown) => {
    if (error instanceof UserError) return // said by whoever ran the command
    log(`crashed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`, 'error')
    process.exit(exitCodes.failure)
  })
}

/**
 * Runs `work`; where a parent waits for it, an error the user can mend goes to the parent, which says it once.
 * @returns undefined if it did
 */
export async function orTellParent<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (process.send === undefined || !process.connected || !(error instanceof UserError)) throw error
    process.send(failedMessage(error))
    process.exitCode = error.exitCode
    process.disconnect()
    return undefined
  }
}

function stopRequested(): Promise<void> {
  const supervised = process.send !== undefined
  return new Promise((resolve) => {
    let asked = false
    const stop = (): void => {
      if (asked) process.exit(exitCodes.failure)
      asked = true
      resolve()
    }
    process.on('SIGTERM', stop)
    // Ctrl-C reaches every process of the terminal's group, but the supervisor stops us in order.
    process.on('SIGINT', supervised ? () => {} : stop)
    if (supervised) process.on('disconnect', () => process.exit(process.exitCode ?? exitCodes.failure))
  })
}
