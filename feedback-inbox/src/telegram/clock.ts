/** Time as the bot sees it: an argument, so that a test makes an hour pass in no time. */
export interface Clock {
  now(): Date
  /** Calls once, after so many milliseconds. @returns gives it up */
  after(ms: number, run: () => void): () => void
}

/** Longer than Node's timers go; whoever waits looks again then. */
const longestMs = 3_600_000

export const systemClock: Clock = {
  now: () => new Date(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, ms), longestMs)).unref()
    return () => clearTimeout(timer)
  },
}

/** Resolves after so many milliseconds, or as soon as `signal` says so. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      giveUp()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const giveUp = clock.after(ms, done)
    signal.addEventListener('abort', done, { once: true })
  })
}
