/**
 * Requests of the last minutes, by hash: a client that repeats the same bytes after a lost answer is stored once.
 * A request is remembered as soon as it is under way, so that a retry that overtakes its fdatasync waits for it; a
 * request that failed is forgotten, so that its retry is stored.
 */

export interface RecentRequests<T> {
  /** The answer the same request got or is about to get. */
  find(hash: Uint8Array): Promise<T> | undefined
  remember(hash: Uint8Array, answer: Promise<T>): Promise<T>
}

export interface RecentRequestsOptions {
  /** How long a request is remembered, milliseconds. SDKs give up after 10 to 60 s. */
  readonly windowMs?: number
  /** More requests than this, and the oldest are forgotten early. */
  readonly maxRequests?: number
  /** Monotonic, milliseconds. */
  readonly now?: () => number
}

interface Entry<T> {
  readonly answer: Promise<T>
  readonly at: number
}

export function createRecentRequests<T>(options: RecentRequestsOptions = {}): RecentRequests<T> {
  const windowMs = options.windowMs ?? 10 * 60_000
  const maxRequests = options.maxRequests ?? 200_000
  const now = options.now ?? (() => performance.now())
  // A Map keeps the order of insertion: the first entry is the oldest.
  const entries = new Map<string, Entry<T>>()

  function forgetOld(): void {
    const limit = now() - windowMs
    for (const [key, entry] of entries) {
      if (entry.at >= limit && entries.size <= maxRequests) return
      entries.delete(key)
    }
  }

  return {
    find: (hash) => {
      const entry = entries.get(keyOf(hash))
      return entry !== undefined && entry.at >= now() - windowMs ? entry.answer : undefined
    },
    remember: async (hash, answer) => {
      const key = keyOf(hash)
      entries.delete(key)
      entries.set(key, { answer, at: now() })
      forgetOld()
      try {
        return await answer
      } catch (error) {
        entries.delete(key)
        throw error
      }
    },
  }
}

function keyOf(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString('latin1')
}
