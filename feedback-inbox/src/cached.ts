/**
 * Answers that many ask for and that cost a while: one question at a time for each key. A fresh answer is handed out as it
 * is; an older one too, while a new one is fetched, so that only the first ever waits.
 */
export interface CacheOptions {
  /** Milliseconds from the question on that an answer is handed out without asking again; may depend on what it took. */
  readonly freshMs: number | ((tookMs: number) => number)
  /** Milliseconds an older one may be handed out while the next is on its way; none unless told. */
  readonly staleMs?: number
  /** Keys that are remembered, 500 unless told; the oldest goes first. */
  readonly maxKeys?: number
  /** Monotonic clock, milliseconds. */
  readonly nowMs?: () => number
}

interface Entry<T> {
  readonly atMs: number
  readonly answer: Promise<T>
  /** undefined while it is on its way. */
  tookMs?: number
  /** The next answer, while it is on its way. */
  next?: Entry<T>
}

export function createCache<T>({ freshMs, staleMs = 0, maxKeys = 500, nowMs = () => performance.now() }: CacheOptions) {
  const entries = new Map<string, Entry<T>>()
  const freshFor = (tookMs: number): number => (typeof freshMs === 'number' ? freshMs : freshMs(tookMs))

  /** @param onEnd called when the answer is there, or there is none */
  function ask(fetch: () => Promise<T>, onEnd: (entry: Entry<T>, failed: boolean) => void): Entry<T> {
    const entry: Entry<T> = { atMs: nowMs(), answer: fetch() }
    entry.answer.then(
      () => {
        entry.tookMs = nowMs() - entry.atMs
        onEnd(entry, false)
      },
      () => onEnd(entry, true),
    )
    return entry
  }

  function askFirst(key: string, fetch: () => Promise<T>): Promise<T> {
    // An answer that failed is not kept: whoever comes next asks again.
    const entry = ask(fetch, (ended, failed) => {
      if (failed && entries.get(key) === ended) entries.delete(key)
    })
    entries.delete(key)
    entries.set(key, entry)
    for (const oldest of entries.keys()) {
      if (entries.size <= maxKeys) break
      entries.delete(oldest)
    }
    return entry.answer
  }

  return (key: string, fetch: () => Promise<T>): Promise<T> => {
    const known = entries.get(key)
    if (known === undefined) return askFirst(key, fetch)
    if (known.tookMs === undefined) return known.answer
    const overMs = nowMs() - known.atMs - known.tookMs - freshFor(known.tookMs)
    if (overMs < 0) return known.answer
    if (overMs >= staleMs) return askFirst(key, fetch)
    known.next ??= ask(fetch, (ended, failed) => {
      if (failed) delete known.next
      else if (entries.get(key) === known) entries.set(key, ended)
    })
    return known.answer
  }
}
