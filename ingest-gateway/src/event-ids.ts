/**
 * Events of the last minutes, by what they call themselves: an event that comes again, in whatever request, is one event.
 *
 * Its id is `log.record.uid`, else `event.id`, else for Claude Code session, sequence and time together. Ids are kept as
 * 64-bit hashes under a key of the tenant's, so that nobody can make one that looks like another's: of a million
 * remembered events a new one looks like one of them with a chance below 10^-13. Two generations
 * of at most half a million ids or five minutes: an event is recognised for five minutes and the half million after it
 * at least (whichever ends first), and for no more than ten minutes.
 *
 * An id counts only once its request is on disk. A repetition that overtakes it waits for it; a request that failed takes
 * its ids with it, so that its retry is stored.
 */
import { createHmac } from 'node:crypto'

export interface EventIds {
  begin(tenant: string): RequestIds
  /** Of events that were on disk at the start: 8 bytes each, as {@link RequestIds.added} gave them. */
  restore(ids: Uint8Array): void
}

/** What a transcoder asks, event by event. */
export interface IdFilter {
  /**
   * Whether the event came before. If not, it has now: bytes [start, end) are its id.
   * @param view of the same bytes
   */
  isKnown(kind: IdKind, bytes: Uint8Array, view: DataView, start: number, end: number): boolean
  /** Like {@link isKnown}, for ids that are put together or decoded. A text that is not well-formed is no id. */
  isKnownText(kind: IdKind, id: string): boolean
}

/** The ids of one request. Ends with one call of `settle`, or of `fail` if nothing was appended. */
export interface RequestIds extends IdFilter {
  /**
   * For a request that was read elsewhere: its ids have come now.
   * @param collected as {@link CollectedIds.added} gave them
   * @returns those that came before; undefined if none did
   */
  note(collected: Uint8Array): Uint8Array | undefined
  /** Of the events that are new. */
  added(): Uint8Array
  /**
   * Resolves when what this request repeats is on disk; undefined if all of it is, or it repeats nothing.
   * Rejects if it could not be written: then nothing of this request counts. Whoever calls it waits for it.
   */
  repeated(): Promise<unknown> | undefined
  /** The request is stored when `stored` resolves, and forgotten if it rejects. Said before anything else can ask. */
  settle(stored: Promise<unknown>): void
  fail(): void
}

/** The ids of a request that is read on another thread, which does not know what came before. */
export interface CollectedIds extends IdFilter {
  /** 8 bytes each, in order. */
  added(): Uint8Array
}

/** What the id is: equal texts of two kinds are two ids. */
export type IdKind = 'uid' | 'eventId' | 'claudeCode'

export interface EventIdsOptions {
  /** 16 bytes; the same after a restart, or nothing is recognised. */
  readonly key: Uint8Array
  /** Ids in a generation. */
  readonly maxIds?: number
  /** Length of a generation, milliseconds. */
  readonly windowMs?: number
  /** Monotonic, milliseconds. */
  readonly now?: () => number
}

export const idBytes = 8
/** Of ids that are known to be on disk. */
const durable = 0
const noBytes = new Uint8Array(0)
const maxTenants = 10_000
/** Of a table that has held nothing yet. */
const firstPlaces = 16_384
const kinds: Readonly<Record<IdKind, number>> = { uid: 1, eventId: 2, claudeCode: 3 }

type TenantKey = readonly [number, number]

/** A class, with those that extend it: one a request, and closures of each would cost more than its ids. */
abstract class Filter implements IdFilter {
  private readonly key: TenantKey

  constructor(key: TenantKey) {
    this.key = key
  }

  protected abstract isNew(a: number, b: number): boolean

  isKnown(kind: IdKind, bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    const a = halfSipHash(bytes, view, start, end, this.key[0] ^ kinds[kind], this.key[1])
    return !this.isNew(a, secondHalf)
  }

  isKnownText(kind: IdKind, id: string): boolean {
    if (!id.isWellFormed()) return false
    const bytes = Buffer.from(id)
    return this.isKnown(kind, bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length)
  }
}

class IdList {
  size = 0
  private memory = noBytes
  private view: DataView | undefined

  push(a: number, b: number): void {
    if (this.view === undefined || (this.size + 1) * idBytes > this.memory.length) {
      const larger = new Uint8Array(Math.max(8 * idBytes, this.memory.length * 2))
      larger.set(this.memory)
      this.memory = larger
      this.view = new DataView(larger.buffer)
    }
    this.view.setInt32(this.size * idBytes, a, true)
    this.view.setInt32(this.size * idBytes + 4, b, true)
    this.size++
  }

  bytes(): Uint8Array {
    return this.memory.subarray(0, this.size * idBytes)
  }
}

export function createEventIds(options: EventIdsOptions): EventIds {
  const maxIds = options.maxIds ?? 500_000
  const windowMs = options.windowMs ?? 5 * 60_000
  const now = options.now ?? (() => performance.now())
  let current = new Table(firstPlaces)
  let previous = new Table(firstPlaces)
  let currentSince = now()
  let lastRequest = durable
  /** Requests that are not on disk yet. */
  const underWay = new Map<number, Promise<unknown>>()
  /** Requests that failed while one of the two tables may hold ids of theirs. */
  let failed = new Set<number>()
  let failedBefore = new Set<number>()
  const keyOf = tenantKeys(options.key)

  function rotateIfDue(): void {
    const age = now() - currentSince
    if (current.size < maxIds && age < windowMs) return
    // After a pause of two generations the one before is as old.
    const kept = age < 2 * windowMs ? current : new Table(firstPlaces)
    current = current.another(previous)
    previous = kept
    currentSince = now()
    failedBefore = failed
    failed = new Set()
  }

  const counts = (request: number): boolean => request !== nobody && !failed.has(request) && !failedBefore.has(request)

  class OneRequest extends Filter implements RequestIds {
    private readonly number: number
    private readonly list = new IdList()
    private waits: Set<Promise<unknown>> | undefined

    constructor(number: number, key: TenantKey) {
      super(key)
      this.number = number
    }

    protected isNew(a: number, b: number): boolean {
      const at = current.placeOf(a, b)
      const known = current.requestAt(at)
      const before = known === nobody ? previous.find(a, b) : known
      if (!counts(before)) {
        current.put(at, a, b, this.number)
        this.list.push(a, b)
        return true
      }
      const pending = underWay.get(before)
      if (pending !== undefined) {
        this.waits ??= new Set()
        this.waits.add(pending)
      }
      return false
    }

    note(collected: Uint8Array): Uint8Array | undefined {
      const known = new IdList()
      forEachId(collected, (a, b) => {
        if (!this.isNew(a, b)) known.push(a, b)
      })
      return known.size === 0 ? undefined : known.bytes()
    }

    added(): Uint8Array {
      return this.list.bytes()
    }

    repeated(): Promise<unknown> | undefined {
      return this.waits && Promise.all(this.waits)
    }

    settle(stored: Promise<unknown>): void {
      underWay.set(this.number, stored)
      stored.then(
        () => underWay.delete(this.number),
        () => this.fail(),
      )
    }

    fail(): void {
      underWay.delete(this.number)
      if (this.list.size > 0) failed.add(this.number)
    }
  }

  function begin(tenant: string): RequestIds {
    rotateIfDue()
    lastRequest = lastRequest === 0x7fffffff ? 1 : lastRequest + 1
    return new OneRequest(lastRequest, keyOf(tenant))
  }

  return {
    begin,
    restore(ids) {
      forEachId(ids, (a, b) => {
        rotateIfDue()
        current.add(a, b, durable)
      })
    },
  }
}

/**
 * Collects the ids of requests that are read on another thread than the one that remembers.
 * @param key as {@link EventIdsOptions.key}
 * @returns starts a request; `known`: ids of it that came before
 */
export function createIdCollector(key: Uint8Array): (tenant: string, known?: Uint8Array) => CollectedIds {
  const keyOf = tenantKeys(key)
  return (tenant, known) => new Collector(keyOf(tenant), known)
}

class Collector extends Filter implements CollectedIds {
  // Small, as most requests are.
  private readonly seen = new Table(1_024)
  private readonly list = new IdList()

  constructor(key: TenantKey, known: Uint8Array | undefined) {
    super(key)
    if (known !== undefined) forEachId(known, (a, b) => this.seen.add(a, b, durable))
  }

  protected isNew(a: number, b: number): boolean {
    const at = this.seen.placeOf(a, b)
    if (this.seen.requestAt(at) !== nobody) return false
    this.seen.put(at, a, b, durable)
    this.list.push(a, b)
    return true
  }

  added(): Uint8Array {
    return this.list.bytes()
  }
}

function tenantKeys(key: Uint8Array): (tenant: string) => TenantKey {
  const keys = new Map<string, TenantKey>()
  return (tenant) => {
    let own = keys.get(tenant)
    if (own === undefined) {
      const digest = createHmac('sha256', key).update(`event ids\0${tenant}`).digest()
      own = [digest.readInt32LE(0), digest.readInt32LE(4)]
      if (keys.size >= maxTenants) keys.clear()
      keys.set(tenant, own)
    }
    return own
  }
}

function forEachId(ids: Uint8Array, visit: (a: number, b: number) => void): void {
  const view = new DataView(ids.buffer, ids.byteOffset, ids.length)
  for (let at = 0; at + idBytes <= ids.length; at += idBytes)
    visit(view.getInt32(at, true), view.getInt32(at + 4, true))
}

/** The other 32 bits of the last hash: two numbers come back without an object for each record. */
let secondHalf = 0

/** HalfSipHash-1-3 with 64 bits of output: a keyed hash for short texts, made of 32-bit words. @see https://github.com/veorq/SipHash */
function halfSipHash(bytes: Uint8Array, view: DataView, start: number, end: number, k0: number, k1: number): number {
  let v0 = k0
  let v1 = k1 ^ 0xee
  let v2 = 0x6c796765 ^ k0
  let v3 = 0x74656462 ^ k1
  const last = end - ((end - start) & 3)
  let word = 0
  // The rounds: one a word, one for the rest, three, and three for the other half.
  for (let at = start, round = 0; round < 7; ) {
    if (at < last) {
      word = view.getInt32(at, true)
      at += 4
      v3 ^= word
    } else {
      if (round === 0) {
        word = (end - start) << 24
        for (let i = last; i < end; i++) word |= (bytes[i] as number) << (8 * (i - last))
        v3 ^= word
      } else if (round === 1) v2 ^= 0xee
      else if (round === 4) {
        secondHalf = v1 ^ v3
        v1 ^= 0xdd
      }
      round++
    }
    v0 = (v0 + v1) | 0
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
    v0 = (v0 << 16) | (v0 >>> 16)
    v2 = (v2 + v3) | 0
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
    v0 = (v0 + v3) | 0
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
    v2 = (v2 + v1) | 0
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
    v2 = (v2 << 16) | (v2 >>> 16)
    if (round <= 1) v0 ^= word
  }
  return v1 ^ v3
}

const placeWords = 3
/** In place of the request's number: nothing is there. */
const nobody = -1

/** Open addressing in one flat array: twelve bytes a place, at most half of them taken. */
class Table {
  size = 0
  private capacity: number
  private slots: Int32Array

  /** @param places a power of two */
  constructor(places: number) {
    this.capacity = places
    this.slots = new Int32Array(places * placeWords)
  }

  /** Place of the id, or of the free one where it would go. A free place has two zeros; that id is stored as another. */
  placeOf(a: number, b: number): number {
    const { slots } = this
    const low = a === 0 && b === 0 ? 1 : b
    const mask = this.capacity - 1
    let place = (a >>> 0) & mask
    for (;;) {
      const at = place * placeWords
      if ((slots[at] === a && slots[at + 1] === low) || (slots[at] === 0 && slots[at + 1] === 0)) return at
      place = (place + 1) & mask
    }
  }

  /** @returns the request of a place, {@link nobody} where it is free */
  requestAt(at: number): number {
    const { slots } = this
    return slots[at] === 0 && slots[at + 1] === 0 ? nobody : (slots[at + 2] as number)
  }

  find(a: number, b: number): number {
    return this.size === 0 ? nobody : this.requestAt(this.placeOf(a, b))
  }

  /** @param at what `placeOf` says; holds no longer afterwards */
  put(at: number, a: number, b: number, request: number): void {
    const { slots } = this
    if (slots[at] === 0 && slots[at + 1] === 0) this.size++
    slots[at] = a
    slots[at + 1] = a === 0 && b === 0 ? 1 : b
    slots[at + 2] = request
    if (this.size * 2 > this.capacity) this.grow()
  }

  add(a: number, b: number, request: number): void {
    this.put(this.placeOf(a, b), a, b, request)
  }

  /**
   * An empty table for about as many ids as there are here, in the memory of `old` where it fits: one that has to grow
   * under load stops everybody while it moves its ids.
   */
  another(old: Table): Table {
    const places = Math.max(firstPlaces, 2 ** (33 - Math.clz32(this.size)))
    if (old.capacity !== places) return new Table(places)
    old.slots.fill(0)
    old.size = 0
    return old
  }

  private grow(): void {
    const { slots } = this
    this.capacity *= 2
    this.slots = new Int32Array(slots.length * 2)
    for (let at = 0; at < slots.length; at += placeWords) {
      const a = slots[at] as number
      const b = slots[at + 1] as number
      if (a === 0 && b === 0) continue
      const to = this.placeOf(a, b)
      this.slots[to] = a
      this.slots[to + 1] = b
      this.slots[to + 2] = slots[at + 2] as number
    }
  }
}
