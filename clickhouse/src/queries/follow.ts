/**
 * The timeline as it grows: `tail -f`.
 *
 * Following by the time of an event or of its receipt would skip rows: a gateway that drains a backlog, or a second one,
 * stores rows that are older than rows already shown. So we follow by INSERT: StoredAt finds what is new, BatchId tells
 * one INSERT from another, and what was stored lately is looked at again, because an INSERT stamped earlier may become
 * visible later.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import { type RawRow, rowColumns, selectRows, timelineRowOf } from './rows.ts'
import type { TimelineFilter, TimelineRow } from './types.ts'
import { defaultTenant, refuseBadFilter, type Where, whereOf } from './where.ts'

export interface FollowOptions {
  /** Ends the iteration. */
  readonly signal?: AbortSignal
  /** 500 unless told. */
  readonly pollMs?: number
}

/** Longest time between the start of an INSERT (its StoredAt) and its rows being visible. */
const overlapMs = 30_000
const pageRows = 1000
/** Batches asked for at once: their ids travel in the URL. */
const batchesAtOnce = 50

/**
 * Rows as they are stored, oldest first by receipt; ends only with the signal or `return()`.
 * Starts now, or with what was stored since `filter.since`: a late event is shown when it comes, whenever it happened.
 * `cursor` and `limit` have no meaning here.
 */
export async function* followTimeline(
  client: ClickHouseClient,
  filter: TimelineFilter,
  { signal, pollMs = 500 }: FollowOptions = {},
): AsyncGenerator<TimelineRow, void, undefined> {
  refuseBadFilter(filter)
  const { since, ...rest } = filter
  const where = whereOf(rest)
  const tenant = filter.tenant ?? defaultTenant
  /** By batch: the last row handed out. */
  const seen = new Map<string, Batch>()
  let newest = since?.getTime() ?? (await serverTimeMs(client))
  let earliest = newest
  if (since === undefined) {
    // An INSERT that is under way carries a stamp from before; what can be seen already was not stored from now on.
    earliest -= overlapMs
    for (const batch of await selectBatches(client, tenant, earliest)) seen.set(batch.id, batch)
  }

  while (!signal?.aborted) {
    const from = Math.max(earliest, newest - overlapMs)
    const batches = (await selectBatches(client, tenant, from)).filter(
      (batch) => batch.lastSeq > (seen.get(batch.id)?.lastSeq ?? -1n),
    )
    for (let i = 0; i < batches.length; i += batchesAtOnce) {
      const chunk = batches.slice(i, i + batchesAtOnce)
      for await (const row of selectBatchRows(client, where, chunk, seen)) {
        if (signal?.aborted) return
        yield timelineRowOf(row)
      }
      for (const batch of chunk) seen.set(batch.id, batch)
    }
    newest = Math.max(newest, ...batches.map((batch) => batch.storedAtMs))
    for (const [id, batch] of seen) if (batch.storedAtMs < newest - overlapMs) seen.delete(id)
    await sleep(pollMs, undefined, { signal }).catch(() => undefined)
  }
}

/** One INSERT. Other writers' INSERTs may become visible in several steps, so its last Seq tells whether it grew. */
interface Batch {
  readonly id: string
  readonly storedAtMs: number
  readonly lastSeq: bigint
}

async function serverTimeMs(client: ClickHouseClient): Promise<number> {
  const [row] = await selectRows<{ now: string }>(
    client,
    'SELECT toString(toUnixTimestamp64Milli(now64(3))) AS now',
    {},
  )
  return Number(row?.now)
}

async function selectBatches(client: ClickHouseClient, tenant: string, fromMs: number): Promise<Batch[]> {
  const rows = await selectRows<{ id: string; stored_at_ms: string; last_seq: string }>(
    client,
    `SELECT toString(BatchId) AS id, toString(toUnixTimestamp64Milli(min(StoredAt))) AS stored_at_ms, toString(max(Seq)) AS last_seq
FROM otel_logs
WHERE TenantId = {tenant:String} AND StoredAt >= fromUnixTimestamp64Milli({from:Int64})
GROUP BY BatchId
ORDER BY min(StoredAt), min(Seq)`,
    { tenant, from: String(fromMs) },
  )
  return rows.map((row) => ({ id: row.id, storedAtMs: Number(row.stored_at_ms), lastSeq: BigInt(row.last_seq) }))
}

async function* selectBatchRows(
  client: ClickHouseClient,
  where: Where,
  batches: readonly Batch[],
  seen: ReadonlyMap<string, Batch>,
): AsyncGenerator<RawRow, void, undefined> {
  const storedAt = batches.map((batch) => batch.storedAtMs)
  const params: Record<string, unknown> = {
    ...where.params,
    ids: batches.map((batch) => batch.id),
    // Up to where each batch was looked at: rows that come later are the next round's.
    lastSeqs: batches.map((batch) => String(batch.lastSeq)),
    seenSeqs: batches.map((batch) => String(seen.get(batch.id)?.lastSeq ?? '')),
    storedFrom: String(Math.min(...storedAt)),
    storedTo: String(Math.max(...storedAt)),
    limit: pageRows,
  }
  let place: RawRow | undefined
  do {
    const page: RawRow[] = await selectRows<RawRow>(
      client,
      `SELECT ${rowColumns()}
FROM otel_logs
WHERE ${where.sql}
  AND StoredAt >= fromUnixTimestamp64Milli({storedFrom:Int64}) AND StoredAt <= fromUnixTimestamp64Milli({storedTo:Int64})
  AND toString(BatchId) IN {ids:Array(String)}
  AND Seq <= toUInt64(transform(toString(BatchId), {ids:Array(String)}, {lastSeqs:Array(String)}, '0'))
  AND (transform(toString(BatchId), {ids:Array(String)}, {seenSeqs:Array(String)}, '') = ''
    OR Seq > toUInt64OrZero(transform(toString(BatchId), {ids:Array(String)}, {seenSeqs:Array(String)}, '')))
  ${place === undefined ? '' : "AND (ReceivedAt, Seq, BatchId) > (parseDateTime64BestEffort({placeReceived:String}, 9, 'UTC'), {placeSeq:UInt64}, {placeBatch:UUID})"}
ORDER BY ReceivedAt, Seq, BatchId
LIMIT {limit:UInt32}`,
      place === undefined
        ? params
        : { ...params, placeReceived: place.received_at, placeSeq: place.seq, placeBatch: place.batch_id },
    )
    yield* page
    place = page.length < pageRows ? undefined : page.at(-1)
  } while (place !== undefined)
}
