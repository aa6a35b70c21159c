/**
 * Requests of the last minutes, by hash: a client that repeats the same bytes after a lost answer is stored once.
 * A request is remembered as soon as it is under way, so that a retry that overtakes its fdatasync waits for it; a
 * request that failed is forgotten, so that its retry is stored.
 *
 * Answers that were given lie in flat arrays, 32 bytes each, in two generations: as objects two hundred thousand of them
 * took 80 MB, and V8 looked at each whenever it cleaned up.
 */

/** What a request got, as its retry gets it. */
export interface GivenAnswer {
  readonly records: number
  readonly rejected: number
  readonly notes: readonly string[]
}

export interface RecentRequests {
  /** The answer the same request got or is about to get. */
  find(hash: Uint8Array): Promise<GivenAnswer> | undefined
  remember(hash: Uint8Array, answer: Promise<GivenAnswer>): Promise<GivenAnswer>
}

export interface RecentRequestsOptions {
  /** How long a request is remembered, milliseconds. SDKs give up after 10 to 60 s. */
  readonly windowMs?: number
  /** So many are remembered at least; with more than twice as many the oldest are forgotten early. */
  readonly maxRequests?: number
  /** Monotonic, milliseconds. */
  readonly now?: () => number
}

export function createRecentRequests(options: RecentRequestsOptions = {}): RecentRequests {
  const windowMs = options.windowMs ?? 10 * 60_000
  const maxRequests = options.maxRequests ?? 200_000
  const now = options.now ?? (() => performance.now())
  const underWay = new Map<string, Promise<GivenAnswer>>()
  let current = createTable()
  let previous = createTable()
  let currentSince = now()

  function add(hash: Uint8Array, answer: GivenAnswer, at: number): void {
    const age = now() - currentSince
    if (current.size() >= maxRequests || age > windowMs) {
      // What is older than the window is not told anyway.
      previous = age > 2 * windowMs ? createTable() : current
      current = createTable()
      currentSince = now()
    }
    current.add(hash, answer, at)
  }

  return {
    find(hash) {
      const pending = underWay.get(keyOf(hash))
      if (pending !== undefined) return pending
      const since = now() - windowMs
      const answer = current.find(hash, since) ?? previous.find(hash, since)
      return answer && Promise.resolve(answer)
    },
    async remember(hash, promised) {
      const key = keyOf(hash)
      const at = now()
      underWay.set(key, promised)
      try {
        const answer = await promised
        add(hash, answer, at)
        return answer
      } finally {
        underWay.delete(key)
      }
    },
  }
}

function keyOf(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString('latin1')
}

interface Table {
  size(): number
  find(hash: Uint8Array, since: number): GivenAnswer | undefined
  add(hash: Uint8Array, answer: GivenAnswer, at: number): void
}

/** Words of a place: four of the hash, how many records and one more (0: nothing is there), how many were rejected. */
const placeWords = 6
const countWord = 4
const rejectedWord = 5
const firstPlaces = 1_024
const nothing: readonly string[] = []

/** Open addressing: the hashes are evenly spread, so four fifths of the places may be taken. */
function createTable(): Table {
  let capacity = firstPlaces
  let words = new Int32Array(capacity * placeWords)
  let times = new Float64Array(capacity)
  let size = 0
  /** Few requests have any. */
  const notes = new Map<string, readonly string[]>()
  const wanted = new Int32Array(4)

  /** Place of the hash in `wanted`, or of the free one where it would go. */
  function placeOf(): number {
    const mask = capacity - 1
    for (let place = (wanted[0] as number) & mask; ; place = (place + 1) & mask) {
      const at = place * placeWords
      if (words[at + countWord] === 0) return place
      if (
        words[at] === wanted[0] &&
        words[at + 1] === wanted[1] &&
        words[at + 2] === wanted[2] &&
        words[at + 3] === wanted[3]
      ) {
        return place
      }
    }
  }

  function want(hash: Uint8Array): number {
    const view = new DataView(hash.buffer, hash.byteOffset, hash.byteLength)
    for (let i = 0; i < 4; i++) wanted[i] = view.getInt32(4 * i, true)
    return placeOf()
  }

  function grow(): void {
    const before = { words, times }
    capacity *= 2
    words = new Int32Array(capacity * placeWords)
    times = new Float64Array(capacity)
    for (let from = 0; from < before.times.length; from++) {
      const at = from * placeWords
      if (before.words[at + countWord] === 0) continue
      for (let i = 0; i < 4; i++) wanted[i] = before.words[at + i] as number
      const place = placeOf()
      words.set(before.words.subarray(at, at + placeWords), place * placeWords)
      times[place] = before.times[from] as number
    }
  }

  return {
    size: () => size,
    find(hash, since) {
      if (size === 0) return undefined
      const place = want(hash)
      const count = words[place * placeWords + countWord] as number
      if (count === 0 || (times[place] as number) < since) return undefined
      const rejected = words[place * placeWords + rejectedWord] as number
      return { records: count - 1, rejected, notes: notes.get(keyOf(hash)) ?? nothing }
    },
    add(hash, answer, atMs) {
      const place = want(hash)
      const at = place * placeWords
      if (words[at + countWord] === 0) size++
      words.set(wanted, at)
      words[at + countWord] = answer.records + 1
      words[at + rejectedWord] = answer.rejected
      times[place] = atMs
      if (answer.notes.length > 0) notes.set(keyOf(hash), answer.notes)
      else if (notes.size > 0) notes.delete(keyOf(hash))
      if (size * 5 > capacity * 4) grow()
    },
  }
}
