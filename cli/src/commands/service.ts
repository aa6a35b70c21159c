/** What the services share when they run as a process: say that they serve, stop on a signal, tell the parent why not. */
import { UserError } from '@agnes/config'

/** What a service tells the process that started it. */
export type ServiceMessage =
  | { readonly type: 'ready'; readonly url: string; readonly port: number }
  | { readonly type: 'failed'; readonly message: string; readonly hint?: string; readonly exitCode: number }

export interface RunningService {
  readonly url: string
  readonly port: number
  stop(): Promise<void>
}

/** Longer than any service's own patience. */
const stopWithinMs = 10_000

/** Runs until SIGTERM or Ctrl-C; a second signal, or the end of the parent, ends it at once: all state is on disk. */
export async function runService(name: string, start: () => Promise<RunningService>): Promise<void> {
  let service: RunningService
  try {
    service = await start()
  } catch (error) {
    if (process.send === undefined || !(error instanceof UserError)) throw error
    const { message, hint, exitCode } = error
    process.send({
      type: 'failed',
      message,
      exitCode,
      ...(hint === undefined ? {} : { hint }),
    } satisfies ServiceMessage)
    process.exitCode = exitCode
    process.disconnect()
    return
  }
  const { url, port } = service
  process.send?.({ type: 'ready', url, port } satisfies ServiceMessage)
  log(`${name}: ${url}`)
  await stopRequested()
  setTimeout(() => process.exit(0), stopWithinMs).unref()
  await service.stop()
  process.exit(0)
}

/** A line on standard error. */
export function log(line: string): void {
  process.stderr.write(`${line}\n`)
}

function stopRequested(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false
    const stop = (): void => {
      if (asked) process.exit(1)
      asked = true
      resolve()
    }
    process.on('SIGTERM', stop)
    // Under `agnes up` Ctrl-C reaches every process of the terminal's group, but the supervisor stops us in order.
    if (process.send === undefined) process.on('SIGINT', stop)
    else process.on('SIGINT', () => {})
    process.on('disconnect', () => process.exit(1))
  })
}
