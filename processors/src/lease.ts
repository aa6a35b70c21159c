/**
 * A lease in ClickHouse, so that one process runs the processors however many are started.
 *
 * ClickHouse has no compare-and-set, but it refuses a second insert with the same deduplication token. So a lease is
 * taken by inserting the next number with the number as its token: of all who try one row stays, and who reads its own
 * name there has the lease. A higher number always ends a lower one.
 *
 * Nobody's wall clock is asked. The holder renews by writing a higher beat; who waits takes over once it has watched the
 * same beat for `ttlMs` of its own monotonic clock, and the holder counts its time from before its last renewal, so it
 * stops first. A holder that is paused between a check and a write may still write: that is why results carry a rank.
 */
import { type ClickHouseClient, selectRows } from '@agnes/clickhouse'
import type { Clock } from './clock.ts'

export interface LeaseOptions {
  readonly client: ClickHouseClient
  readonly name: string
  /** Tells this process from all others. */
  readonly holder: string
  readonly ttlMs: number
  readonly clock: Clock
  /** Ends the wait. */
  readonly signal: AbortSignal
  /** Called once if somebody else has it. */
  readonly onWait?: (holder: string) => void
}

export interface Lease {
  /** Grows with each holder. */
  readonly fence: bigint
  /** Whether nobody else can have it yet. */
  held(): boolean
  /** Aborted when it is lost. */
  readonly lost: AbortSignal
  /** Gives it back: the next one need not wait. Never throws. */
  release(): Promise<void>
}

interface LeaseRow {
  readonly fence: bigint
  readonly beat: bigint
  readonly holder: string
  readonly released: boolean
}

/**
 * Waits until the lease is ours.
 * @returns undefined if `signal` came first
 * @throws the client's errors
 */
export async function acquireLease(options: LeaseOptions): Promise<Lease | undefined> {
  const { client, name, ttlMs, clock, signal } = options
  let watched: { row: LeaseRow; sinceMs: number } | undefined
  while (!signal.aborted) {
    const askedAtMs = clock.now()
    const row = await readLease(client, name)
    if (row === undefined || row.released) {
      const lease = await claim(options, (row?.fence ?? 0n) + 1n)
      if (lease !== undefined) return lease
      continue
    }
    if (watched === undefined || watched.row.fence !== row.fence || watched.row.beat !== row.beat) {
      if (watched === undefined) options.onWait?.(row.holder)
      watched = { row, sinceMs: askedAtMs }
    } else if (askedAtMs - watched.sinceMs >= ttlMs) {
      const lease = await claim(options, row.fence + 1n)
      if (lease !== undefined) return lease
      continue
    }
    await clock.sleep(ttlMs / 4, signal)
  }
  return undefined
}

/** The number of the last lease, whoever holds it. */
export async function lastFence(client: ClickHouseClient, name: string): Promise<bigint> {
  return (await readLease(client, name))?.fence ?? 0n
}

async function claim(options: LeaseOptions, fence: bigint): Promise<Lease | undefined> {
  const { client, name, holder, clock } = options
  const startedAtMs = clock.now()
  await writeBeat(client, { name, fence, beat: 0n, holder, released: false }, `${name}/${fence}`)
  const row = await readLease(client, name, fence)
  if (row !== undefined) return row.holder === holder ? hold(options, fence, startedAtMs) : undefined
  // After a power cut the token may be known and its row not: the number is burnt.
  await writeBeat(client, { name, fence, beat: 0n, holder: 'nobody', released: true })
  return undefined
}

function hold(options: LeaseOptions, fence: bigint, sinceMs: number): Lease {
  const { client, name, holder, ttlMs, clock } = options
  const ended = new AbortController()
  let renewedAtMs = sinceMs
  let beat = 0n
  let released = false

  async function renew(): Promise<void> {
    const startedAtMs = clock.now()
    beat++
    await writeBeat(client, { name, fence, beat, holder, released: false })
    const row = await readLease(client, name)
    if (row === undefined || row.fence !== fence || row.holder !== holder) ended.abort()
    else renewedAtMs = startedAtMs
  }

  const held = (): boolean => !released && !ended.signal.aborted && clock.now() - renewedAtMs < ttlMs

  async function keep(): Promise<void> {
    while (!released && !ended.signal.aborted) {
      await clock.sleep(ttlMs / 4, ended.signal)
      if (released || ended.signal.aborted) return
      // A lease that has run out is not renewed: somebody may have waited for just that.
      if (!held()) return ended.abort()
      // ClickHouse is away; it may be back before the lease runs out.
      await renew().catch(() => {})
    }
  }
  const keeping = keep()

  return {
    fence,
    held,
    lost: ended.signal,
    async release() {
      const wasHeld = held()
      released = true
      ended.abort()
      await keeping
      if (wasHeld) await writeBeat(client, { name, fence, beat: beat + 1n, holder, released: true }).catch(() => {})
    },
  }
}

async function readLease(client: ClickHouseClient, name: string, fence?: bigint): Promise<LeaseRow | undefined> {
  const [row] = await selectRows<{ fence: string; beat: string; holder: string; released: boolean }>(
    client,
    `SELECT fence, beat, holder, released FROM processor_leases FINAL
WHERE name = {name:String}${fence === undefined ? '' : ' AND fence = {fence:UInt64}'}
ORDER BY fence DESC LIMIT 1`,
    { name, ...(fence === undefined ? {} : { fence: String(fence) }) },
  )
  return row && { ...row, fence: BigInt(row.fence), beat: BigInt(row.beat) }
}

async function writeBeat(
  client: ClickHouseClient,
  row: LeaseRow & { readonly name: string },
  token?: string,
): Promise<void> {
  await client.insert({
    table: 'processor_leases',
    columns: ['name', 'fence', 'beat', 'holder', 'released'],
    values: [{ ...row, fence: String(row.fence), beat: String(row.beat) }],
    format: 'JSONEachRow',
    // Without a token equal rows are equal inserts to ClickHouse; a beat is never equal to another one.
    clickhouse_settings:
      token === undefined ? { insert_deduplicate: 0 } : { insert_deduplicate: 1, insert_deduplication_token: token },
  })
}
