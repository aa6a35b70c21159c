/**
 * Answers that many ask for and that cost a while: one question at a time for each key. A fresh answer is handed out as it
 * is; an older one too, while a new one is fetched, so that only the first ever waits.
 */
export interface CacheOptions {
  /** Milliseconds an answer is handed out without asking again. */
  readonly freshMs: number
  /** Milliseconds an older one may be handed out while the next is on its way; none unless told. */
  readonly staleMs?: number
  /** Monotonic clock, milliseconds. */
  readonly nowMs?: () => number
}

interface Entry<T> {
  readonly atMs: number
  readonly answer: Promise<T>
  /** The next answer, while it is on its way. */
  next?: Promise<T>
}

/** Keys that are remembered; the oldest goes first. */
const maxKeys = 500

export function createCache<T>({ freshMs, staleMs = 0, nowMs = () => performance.now() }: CacheOptions) {
  const entries = new Map<string, Entry<T>>()

  function ask(key: string, fetch: () => Promise<T>): Promise<T> {
    const answer = fetch()
    const entry: Entry<T> = { atMs: nowMs(), answer }
    entries.delete(key)
    entries.set(key, entry)
    for (const oldest of entries.keys()) {
      if (entries.size <= maxKeys) break
      entries.delete(oldest)
    }
    // An answer that failed is not kept: whoever comes next asks again.
    answer.catch(() => {
      if (entries.get(key) === entry) entries.delete(key)
    })
    return answer
  }

  return (key: string, fetch: () => Promise<T>): Promise<T> => {
    const known = entries.get(key)
    if (known === undefined) return ask(key, fetch)
    const ageMs = nowMs() - known.atMs
    if (ageMs < freshMs) return known.answer
    if (ageMs >= freshMs + staleMs) return ask(key, fetch)
    if (known.next === undefined) {
      const next = fetch()
      known.next = next
      const taken: Entry<T> = { atMs: nowMs(), answer: next }
      next.then(
        () => {
          if (entries.get(key) === known) entries.set(key, taken)
        },
        () => {
          delete known.next
        },
      )
    }
    return known.answer
  }
}
