/**
 * "What happened?": the timeline, newest first.
 *
 * The table is sorted by tenant and time, so a page is cheap if the query says how far back to look. How far that is
 * depends on how busy the instance is: we look a little way back first and widen until the page is full. One query over
 * all time took five times as long on 5 million rows, and with it the time of every page would grow with the table.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { type Cursor, decodeCursor, encodeCursor } from './cursor.ts'
import { cursorOf, type RawRow, rowColumns, selectRows, timelineRowOf } from './rows.ts'
import type { TimelineFilter, TimelinePage, TimelineRow } from './types.ts'
import { badFilter, type Where, whereOf } from './where.ts'

const defaultLimit = 100
const largestLimit = 1000

export interface TimelineOptions {
  /** Texts are cut to so many characters; whole unless told. */
  readonly longestText?: number
}

/** @throws UserError (status 400, exit code 2) for a bad cursor, limit or filter. */
export async function fetchTimeline(
  client: ClickHouseClient,
  filter: TimelineFilter,
  { longestText }: TimelineOptions = {},
): Promise<TimelinePage> {
  const limit = filter.limit ?? defaultLimit
  if (!Number.isInteger(limit) || limit < 1 || limit > largestLimit) {
    throw badFilter(`a page cannot have ${limit} rows`, `limit is a whole number from 1 to ${largestLimit}`)
  }
  const cursor = filter.cursor === undefined ? undefined : decodeCursor(filter.cursor)
  const where = whereOf(filter)

  const rows: RawRow[] = []
  // One row more than asked for tells whether there is another page.
  const wanted = limit + 1
  let window: Window | undefined = firstWindow(filter, cursor)
  while (window !== undefined) {
    const found: RawRow[] = await selectWindow(client, longestText, where, cursor, window, wanted - rows.length)
    rows.push(...found)
    window = rows.length >= wanted ? undefined : nextWindow(window, found.length, wanted - rows.length, filter.since)
  }

  const page = rows.slice(0, limit)
  const last = page.at(-1)
  return {
    rows: page.map((row) => timelineRowOf(row, longestText)),
    nextCursor: last === undefined || rows.length <= limit ? null : encodeCursor(cursorOf(last)),
  }
}

/**
 * Every row of a filter, newest first, page by page as they are taken; what is stored meanwhile with a later time is left
 * out. `limit` has no meaning here.
 * @throws UserError like {@link fetchTimeline}
 */
export async function* allOfTimeline(
  client: ClickHouseClient,
  filter: TimelineFilter,
  options: TimelineOptions = {},
): AsyncGenerator<TimelineRow, void, undefined> {
  const until = filter.until ?? new Date()
  let cursor: string | undefined
  do {
    const page: TimelinePage = await fetchTimeline(
      client,
      { ...filter, until, limit: largestLimit, ...(cursor && { cursor }) },
      options,
    )
    yield* page.rows
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
}

/** A stretch of time, nanoseconds since 1970; open where a bound is missing. Windows follow one another without gap. */
interface Window {
  /** Inclusive. */
  readonly from: bigint | undefined
  /** Exclusive. */
  readonly to: bigint | undefined
  /** Where the stretch was measured from. */
  readonly top: bigint
}

const second = 1_000_000_000n
const minute = 60n * second
const day = 1440n * minute

function firstWindow(filter: TimelineFilter, cursor: Cursor | undefined): Window {
  const newestMs = Math.min(Date.now(), filter.until?.getTime() ?? Number.POSITIVE_INFINITY)
  const newest = BigInt(newestMs) * 1_000_000n
  const top = cursor !== undefined && cursor.timeUnixNano < newest ? cursor.timeUnixNano : newest
  // An index finds a correlation id; what is rare is not looked for minute by minute.
  if (filter.correlationId) return { from: undefined, to: undefined, top }
  const narrow = filter.q || filter.userId || filter.resource || filter.result || filter.actionPrefix || filter.actionIn
  return { from: top - (narrow ? day : 15n * minute), to: undefined, top }
}

function nextWindow(
  { from, top }: Window,
  found: number,
  missing: number,
  since: Date | undefined,
): Window | undefined {
  if (from === undefined || (since !== undefined && from <= BigInt(since.getTime()) * 1_000_000n)) return undefined
  const span = top - from
  // As much as the rows found so far let expect and half as much again, at least four times as far as before.
  const expected = found === 0 ? span * 20n : (span * 3n * BigInt(missing)) / (2n * BigInt(found))
  const next = expected < span * 4n ? span * 4n : expected > span * 400n ? span * 400n : expected
  return { from: next > 5n * day ? undefined : top - next, to: from, top }
}

async function selectWindow(
  client: ClickHouseClient,
  longestText: number | undefined,
  where: Where,
  cursor: Cursor | undefined,
  { from, to }: Window,
  limit: number,
): Promise<RawRow[]> {
  const conditions = [where.sql]
  const params: Record<string, unknown> = { ...where.params, limit }
  if (cursor !== undefined) {
    // The first condition is what the primary key understands, the second is the exact place.
    conditions.push(
      'Timestamp <= fromUnixTimestamp64Nano({cursorTime:Int64})',
      '(toUnixTimestamp64Nano(Timestamp), Seq, BatchId) < ({cursorTime:Int64}, {cursorSeq:UInt64}, {cursorBatch:UUID})',
    )
    params.cursorTime = String(cursor.timeUnixNano)
    params.cursorSeq = cursor.seq
    params.cursorBatch = cursor.batchId
  }
  if (from !== undefined) {
    conditions.push('Timestamp >= fromUnixTimestamp64Nano({windowFrom:Int64})')
    params.windowFrom = String(from)
  }
  if (to !== undefined) {
    conditions.push('Timestamp < fromUnixTimestamp64Nano({windowTo:Int64})')
    params.windowTo = String(to)
  }
  // Sorting by the number instead of the time keeps ClickHouse from reading "in order", which opens every part and was
  // 20 times slower here, and from filtering by the current top rows before our own conditions (8 times slower).
  const query = `SELECT ${rowColumns(longestText)}
FROM otel_logs
WHERE ${conditions.join('\n  AND ')}
ORDER BY toUnixTimestamp64Nano(Timestamp) DESC, Seq DESC, BatchId DESC
LIMIT {limit:UInt32}`
  return selectRows<RawRow>(client, query, params)
}
