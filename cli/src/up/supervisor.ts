/**
 * Keeps a service running: starts its process, starts it again when it crashes, with pauses that double from one second
 * to thirty and begin anew once it has run for a minute.
 */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import type { Log } from '@agnes/config'
import type { ReadyMessage } from '../service/messages.ts'
import { describeExit, watchChild } from './child.ts'

export interface SupervisorOptions {
  readonly name: string
  /** Starts the process with an IPC channel; `before` has the ports it had before, which others know it by. */
  readonly spawn: (before: ReadyMessage | undefined) => ChildProcess
  /** One line when something happens to the service. */
  readonly log: Log
  readonly onEvent?: (event: 'crash' | 'restart', message: string) => void
  /** Time, as a test holds it. */
  readonly clock?: Clock
}

export interface Clock {
  /** Milliseconds since some fixed instant. */
  now(): number
  /** Resolves after `ms`, or as soon as the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export interface Supervised {
  readonly name: string
  /**
   * Resolves when the service serves for the first time.
   * Rejects with a UserError if it cannot start: that is no crash, and is not tried again.
   */
  readonly ready: Promise<ReadyMessage>
  readonly pid: number | undefined
  /** SIGTERM, and SIGKILL after `withinMs`. No restart after that. */
  stop(withinMs: number): Promise<void>
  /** SIGKILL. No restart after that. */
  kill(): void
}

const firstPauseMs = 1_000
const longestPauseMs = 30_000
/** Having run this long, a crash counts as the first. */
const settledMs = 60_000

/** Starts the service. */
export function supervise(options: SupervisorOptions): Supervised {
  const { name, log, onEvent = () => {}, clock = realClock } = options
  const stopping = new AbortController()
  let child = watchChild(name, options.spawn(undefined))
  let startedAt = clock.now()
  const { ready } = child
  const ended = ready.then(keepRunning, () => {})

  async function keepRunning(first: ReadyMessage): Promise<void> {
    let crashes = 0
    let lastProblem = ''
    for (;;) {
      const exit = await child.exited
      if (stopping.signal.aborted) return
      crashes = clock.now() - startedAt >= settledMs ? 1 : crashes + 1
      const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** (crashes - 1))
      const message = `${name} crashed (${describeExit(exit)}): starting it again in ${pauseMs / 1000} s`
      log(message, 'error')
      onEvent('crash', message)
      await clock.sleep(pauseMs, stopping.signal)
      if (stopping.signal.aborted) return
      startedAt = clock.now()
      child = watchChild(name, options.spawn(first))
      try {
        await child.ready
        lastProblem = ''
        log(`${name} is back`)
        onEvent('restart', `${name} is back`)
      } catch (error) {
        const problem = (error as Error).message
        if (!stopping.signal.aborted && problem !== lastProblem) log(`${name}: ${problem}`, 'error')
        lastProblem = problem
      }
    }
  }

  return {
    name,
    ready,
    get pid() {
      return child.process.pid
    },
    async stop(withinMs) {
      stopping.abort()
      child.process.kill('SIGTERM')
      const timer = setTimeout(() => child.process.kill('SIGKILL'), withinMs)
      await child.exited
      clearTimeout(timer)
      await ended
    },
    kill() {
      stopping.abort()
      child.process.kill('SIGKILL')
    },
  }
}

const realClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => pause(ms, undefined, { signal }).catch(() => {}),
}
