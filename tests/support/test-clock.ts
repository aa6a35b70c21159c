/** A clock that stands still until a test lets time pass. */
import { once } from 'node:events'

export interface TestClock {
  now(): number
  wall(): number
  sleep(ms: number, signal: AbortSignal): Promise<void>
  /** Lets time pass; who sleeps no longer than that wakes up. */
  pass(ms: number): void
  /** Somebody sets the wall clock; the monotonic one knows nothing of it. */
  setWall(ms: number): void
  /** Resolves when somebody sleeps. */
  sleeping(): Promise<void>
}

export function createTestClock(wallMs = Date.parse('2026-11-20T12:00:00Z')): TestClock {
  let nowMs = 1_000
  let offsetMs = wallMs - nowMs
  const sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>()
  const fellAsleep = new EventTarget()

  return {
    now: () => nowMs,
    wall: () => nowMs + offsetMs,
    async sleep(ms, signal) {
      if (signal.aborted || ms <= 0) return
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          signal.removeEventListener('abort', wake)
          sleepers.delete(sleeper)
          resolve()
        }
        const sleeper = { untilMs: nowMs + ms, wake }
        sleepers.add(sleeper)
        signal.addEventListener('abort', wake)
        fellAsleep.dispatchEvent(new Event('sleep'))
      })
    },
    pass(ms) {
      nowMs += ms
      for (const sleeper of [...sleepers]) if (sleeper.untilMs <= nowMs) sleeper.wake()
    },
    setWall(ms) {
      offsetMs = ms - nowMs
    },
    async sleeping() {
      if (sleepers.size === 0) await once(fellAsleep, 'sleep')
    },
  }
}
