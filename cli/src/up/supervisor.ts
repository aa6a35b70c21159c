/**
 * Keeps a service running: starts its process, waits until it serves, starts it again when it crashes, with pauses that
 * double from one second to thirty and begin anew once it has run for a minute.
 */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { exitCodes, UserError } from '@agnes/config'
import type { ServiceMessage } from '../commands/service.ts'

export interface SupervisorOptions {
  readonly name: string
  /** Starts the process, with an IPC channel. */
  readonly spawn: () => ChildProcess
  /** One line when something happens to the service. */
  readonly log: (line: string) => void
  readonly onEvent?: (event: 'crash' | 'restart', message: string) => void
  readonly firstPauseMs?: number
  readonly longestPauseMs?: number
  /** Having run this long, a crash counts as the first. */
  readonly settledMs?: number
}

export interface Supervised {
  readonly url: string
  readonly port: number
  readonly pid: number | undefined
  /** SIGTERM, and SIGKILL after `withinMs`. No restart after that. */
  stop(withinMs: number): Promise<void>
  kill(): void
}

interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * Starts the service and resolves when it serves for the first time.
 * @throws UserError if it can't start for a reason the user can mend: that is no crash, and is not tried again
 */
export async function supervise(options: SupervisorOptions): Promise<Supervised> {
  const { name, log, onEvent = () => {} } = options
  const firstPauseMs = options.firstPauseMs ?? 1_000
  const longestPauseMs = options.longestPauseMs ?? 30_000
  const settledMs = options.settledMs ?? 60_000
  const stopping = new AbortController()

  let child = options.spawn()
  let exited = exitOf(child)
  let startedAt = performance.now()
  const { url, port } = await ready(child, exited, name)
  const ended = keepRunning()

  async function keepRunning(): Promise<void> {
    let crashes = 0
    for (;;) {
      const exit = await exited
      if (stopping.signal.aborted) return
      crashes = performance.now() - startedAt >= settledMs ? 1 : crashes + 1
      const waitMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (crashes - 1))
      const message = `${name} ended (${exit.signal ?? `exit code ${exit.code}`}): starting it again in ${waitMs / 1000} s`
      log(message)
      onEvent('crash', message)
      if (!(await sleep(waitMs, stopping.signal))) return
      child = options.spawn()
      exited = exitOf(child)
      startedAt = performance.now()
      try {
        await ready(child, exited, name)
        log(`${name} is back`)
        onEvent('restart', `${name} is back`)
      } catch (error) {
        if (stopping.signal.aborted) return
        log(`${name}: ${(error as Error).message}`)
      }
    }
  }

  return {
    url,
    port,
    get pid() {
      return child.pid
    },
    async stop(withinMs) {
      stopping.abort()
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), withinMs)
      await exited
      clearTimeout(timer)
      await ended
    },
    kill: () => {
      stopping.abort()
      child.kill('SIGKILL')
    },
  }
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
    child.once('error', () => resolve({ code: null, signal: null }))
  })
}

function ready(child: ChildProcess, exited: Promise<Exit>, name: string): Promise<{ url: string; port: number }> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: ServiceMessage) => {
      if (message.type === 'ready') resolve(message)
      else if (message.type === 'failed') {
        const exitCode = message.exitCode === exitCodes.usage ? exitCodes.usage : exitCodes.failure
        reject(
          new UserError(message.message, {
            code: 'service_failed',
            exitCode,
            ...(message.hint === undefined ? {} : { hint: message.hint }),
          }),
        )
      }
    })
    void exited.then(({ code, signal }) => {
      reject(
        new UserError(`${name} ended before it served (${signal ?? `exit code ${code}`})`, { code: 'service_failed' }),
      )
    })
  })
}

/** @returns false if it was cut short */
async function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await pause(ms, undefined, { signal })
    return true
  } catch {
    return false
  }
}
