/** Time, as a test holds it. */
import { setTimeout as pause } from 'node:timers/promises'

export interface Clock {
  /** Milliseconds of a clock that nobody can set. */
  now(): number
  /** Milliseconds since 1970, of a clock that may jump. */
  wall(): number
  /** Resolves after `ms`, or as soon as the signal is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>
}

export const realClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  sleep: (ms, signal) => pause(ms, undefined, { signal }).catch(() => {}),
}
