/** Ctrl-C and SIGTERM: the first asks to stop, the second does not wait. */

export interface StopSignals {
  /** Aborted by the first signal. */
  readonly requested: AbortSignal
  /** Resolves with the first signal. */
  readonly stopped: Promise<void>
  /** Called on the second signal. */
  onSecond(act: () => void): void
}

export function watchStopSignals(): StopSignals {
  const first = new AbortController()
  let second = (): void => {}
  const onSignal = (): void => {
    if (first.signal.aborted) second()
    else first.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return {
    requested: first.signal,
    stopped: new Promise((resolve) => first.signal.addEventListener('abort', () => resolve(), { once: true })),
    onSecond: (act) => {
      second = act
    },
  }
}
