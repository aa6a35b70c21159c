/**
 * One segment, one INSERT, exactly once.
 *
 * The token makes ClickHouse refuse a second insert of the same batch within its window; but its log of tokens is not
 * durable, so after anything uncertain we look for the batch id before sending again. That look-up is the guarantee.
 */
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { addAbortSignal, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { type ClickHouseClient, ClickHouseError, type ClickHouseSettings } from '@clickhouse/client'
import { groupColumnNames, recordColumnNames } from '../otlp/layout.ts'
import { firstFrameStructure, frameStructure, isFirstFormat } from '../spool/frame.ts'
import type { FoundFrame } from '../spool/segment-file.ts'
import type { SealedSegment } from '../spool/spool.ts'

/** How ClickHouse gets at a segment: the embedded engine opens the file itself, a server is sent the bytes. */
export type SegmentTransport = 'file' | 'stream'

/** A ClickHouse that answers within a time, or counts as not having answered. */
export interface PromptClient {
  /** @returns the whole answer */
  exec(params: Parameters<ClickHouseClient['exec']>[0]): Promise<string>
  /** @returns the rows of an answer in `JSONEachRow` */
  rows<T>(params: Omit<Parameters<ClickHouseClient['query']>[0], 'format'>): Promise<T[]>
}

/**
 * The client's own timeout is about silence: one byte a second would keep an insert waiting for ever. And an abort signal
 * no longer reaches an answer whose headers are there.
 * @param withinMs milliseconds from a question to the end of its answer
 */
export function answeringWithin(client: ClickHouseClient, withinMs: number): PromptClient {
  return {
    async exec(params) {
      const abort_signal = AbortSignal.timeout(withinMs)
      const { stream } = await client.exec({ ...params, abort_signal })
      return text(addAbortSignal(abort_signal, stream))
    },
    async rows<T>(params: Omit<Parameters<ClickHouseClient['query']>[0], 'format'>) {
      const abort_signal = AbortSignal.timeout(withinMs)
      const answer = await client.query({ ...params, format: 'JSONEachRow', abort_signal })
      abort_signal.addEventListener('abort', () => answer.close(), { once: true })
      return answer.json<T>()
    },
  }
}

export type InsertOutcome =
  | { readonly kind: 'stored' }
  /** Nothing was written: try again. */
  | { readonly kind: 'refused'; readonly cause: Error }
  /** Nothing was written, and a value in it may be why: no other attempt will do better. */
  | { readonly kind: 'content'; readonly cause: ClickHouseError }
  /** It may or may not have been written: look before trying again. */
  | { readonly kind: 'uncertain'; readonly cause: Error }

/**
 * Everything that decides how blocks form or duplicates are told is pinned, never left to a server's defaults
 * (async_insert is on by default from ClickHouse 26.3). The sizes make one block, hence one part, of a segment.
 */
const insertSettings: ClickHouseSettings = {
  async_insert: 0,
  insert_deduplicate: 1,
  wait_end_of_query: 1,
  max_insert_threads: '1',
  max_block_size: '1048576',
  max_insert_block_size: '1048576',
  min_insert_block_size_rows: '100000000',
  min_insert_block_size_bytes: '4294967296',
  input_format_parallel_parsing: 0,
}

const columns = [
  ...['TenantId', 'ReceivedAt', 'BatchId', 'Seq', 'EventId', 'RedactionRules', 'RedactionCount', 'Redactions'],
  ...groupColumnNames,
  ...recordColumnNames,
]

/** Segments of the first format tell nothing of redaction; there was none. */
type Format = 'present' | 'first'

/** The SELECT over a source of frames; the resource and scope of a group are repeated for its records here, in columns. */
function selectFrom(source: string, format: Format, where = ''): string {
  const first = format === 'first'
  const groups = groupColumnNames.map((name) => `g.${name} AS ${name}`).join(', ')
  const records = recordColumnNames.map((name) => `r.${name} AS ${name}`).join(', ')
  return `SELECT TenantId, ReceivedAt, BatchId, FrameSeq + r.Index AS Seq,
    if(r.EventId = '', concat(toString(BatchId), '-', toString(Seq)), r.EventId) AS EventId, RedactionRules,
    toUInt16(least(length(Redactions), 65535)) AS RedactionCount,
    ${first ? '[]' : 'arrayConcat(GroupRedactions, r.Redactions)'} AS Redactions,
    ${groupColumnNames.join(', ')}, ${records}
  FROM (
    SELECT TenantId, ReceivedAt, BatchId, FrameSeq, ${first ? '' : 'g.GroupRedactions AS GroupRedactions,'}
      ${first ? "'off'" : "if(reinterpretAsUInt64(RuleSet) = 0, 'off', lower(hex(RuleSet)))"} AS RedactionRules,
      ${groups}, g.Records AS Records
    FROM ${source} ARRAY JOIN Groups AS g
  ) ARRAY JOIN Records AS r ${where}`
}

const structures: Readonly<Record<Format, string>> = { present: frameStructure, first: firstFrameStructure }

async function formatOf(file: string): Promise<Format> {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    return isFirstFormat(buffer.subarray(0, bytesRead)) ? 'first' : 'present'
  } finally {
    await handle.close()
  }
}

/** Rows of this batch that are there already stay out: for a batch that was cut in the middle. */
const onlyMissing = 'WHERE Seq NOT IN (SELECT Seq FROM otel_logs WHERE BatchId = {batch:UUID})'

export async function insertSegment(
  client: PromptClient,
  segment: SealedSegment,
  transport: SegmentTransport,
  mode: 'all' | 'missing' = 'all',
): Promise<InsertOutcome> {
  const where = mode === 'missing' ? onlyMissing : ''
  const insert = `INSERT INTO otel_logs (${columns.join(', ')})`
  const clickhouse_settings: ClickHouseSettings = {
    ...insertSettings,
    insert_deduplication_token: tokenOf(segment, mode),
  }
  try {
    const format = await formatOf(segment.path)
    if (transport === 'file') {
      const source = `file({path:String}, 'RowBinary', '${structures[format]}')`
      await execute(client, {
        query: `${insert} ${selectFrom(source, format, where)}`,
        query_params: { path: segment.path, ...(mode === 'missing' ? { batch: segment.batchId } : {}) },
        clickhouse_settings,
      })
    } else {
      await execute(client, {
        query: `${insert} ${selectFrom(`input('${structures[format]}')`, format, where)} FORMAT RowBinary`,
        values: createReadStream(segment.path, { highWaterMark: 1 << 20 }),
        ...(mode === 'missing' ? { query_params: { batch: segment.batchId } } : {}),
        clickhouse_settings,
      })
    }
    return { kind: 'stored' }
  } catch (error) {
    return classify(error as Error)
  }
}

/**
 * Inserts frames of a segment that follow on each other, but for the rows that are there already. None at all tells
 * whether ClickHouse would take anything.
 */
export async function insertPart(
  client: PromptClient,
  segment: SealedSegment,
  frames: readonly FoundFrame[],
): Promise<InsertOutcome> {
  const [first] = frames
  const last = frames[frames.length - 1]
  const values =
    first === undefined || last === undefined
      ? Readable.from([], { objectMode: false })
      : createReadStream(segment.path, {
          start: first.offset,
          end: last.offset + last.headerBytes + last.payloadBytes - 1,
          highWaterMark: 1 << 20,
        })
  try {
    const format = await formatOf(segment.path)
    const source = `input('${structures[format]}')`
    await execute(client, {
      query: `INSERT INTO otel_logs (${columns.join(', ')}) ${selectFrom(source, format, onlyMissing)} FORMAT RowBinary`,
      values,
      query_params: { batch: segment.batchId },
      clickhouse_settings: {
        ...insertSettings,
        insert_deduplication_token: `${segment.batchId}-${first?.seq}-${last?.seq}-part`,
      },
    })
    return { kind: 'stored' }
  } catch (error) {
    if (first === undefined && error instanceof ClickHouseError && error.code === noDataToInsert)
      return { kind: 'stored' }
    return classify(error as Error)
  }
}

const noDataToInsert = '108'

/** An INSERT answers with nothing. Text is an error that came after the status was sent. */
async function execute(client: PromptClient, insert: Parameters<ClickHouseClient['exec']>[0]): Promise<void> {
  const answer = await client.exec(insert)
  if (answer !== '') throw new Error(`ClickHouse answered an insert with: ${answer.slice(0, 500)}`)
}

/**
 * The same rows, the same token; other rows, another: ClickHouse drops what has a token it knows without looking at it.
 * A batch may stand in several segments, when frames of it were set aside and driven again.
 */
function tokenOf({ batchId, ranges }: SealedSegment, mode: 'all' | 'missing'): string {
  const [first] = ranges
  const token = first === undefined ? batchId : `${batchId}-${first[0]}`
  return mode === 'missing' ? `${token}-${ranges[ranges.length - 1]?.[1]}-missing` : token
}

/**
 * Rows of the segment that are in ClickHouse.
 * The bounds on ReceivedAt (the partition key) keep the look-up to the parts of that day.
 */
export async function storedRecords(client: PromptClient, segment: SealedSegment): Promise<number> {
  const [row] = await client.rows<{ stored: string | number }>({
    query: `SELECT count() AS stored FROM otel_logs
      WHERE BatchId = {batch:UUID}
        AND ReceivedAt >= fromUnixTimestamp64Nano({first:Int64}) AND ReceivedAt <= fromUnixTimestamp64Nano({last:Int64})
        AND arrayExists(range -> Seq >= range.1 AND Seq < range.2, {ranges:Array(Tuple(UInt64, UInt64))})`,
    query_params: {
      batch: segment.batchId,
      first: segment.firstReceivedAtNs.toString(),
      last: segment.lastReceivedAtNs.toString(),
      ranges: `[${segment.ranges.map(([from, to]) => `(${from},${to})`).join(',')}]`,
    },
    clickhouse_settings: { max_execution_time: 60 },
  })
  return Number(row?.stored ?? 0)
}

/** Errors of the query itself, before any block was written. */
const refusedCodes = new Set([
  '60', // UNKNOWN_TABLE
  '81', // UNKNOWN_DATABASE
  '62', // SYNTAX_ERROR
  '164', // READONLY
  '252', // TOO_MANY_PARTS
  '516', // AUTHENTICATION_FAILED
  '497', // ACCESS_DENIED
])

/**
 * Errors a value can cause: reading it, converting it to the column's type, a constraint, an expression of the table.
 * Some of them a changed table causes for everything; the writer tells these by an insert without rows. What says nothing
 * about a value is not here: too many parts, memory, time, disk, rights, network.
 */
const contentCodes = new Set([
  '6', // CANNOT_PARSE_TEXT
  '25', // CANNOT_PARSE_ESCAPE_SEQUENCE
  '26', // CANNOT_PARSE_QUOTED_STRING
  '27', // CANNOT_PARSE_INPUT_ASSERTION_FAILED
  '32', // ATTEMPT_TO_READ_AFTER_EOF
  '33', // CANNOT_READ_ALL_DATA
  '36', // BAD_ARGUMENTS
  '38', // CANNOT_PARSE_DATE
  '41', // CANNOT_PARSE_DATETIME
  '53', // TYPE_MISMATCH
  '69', // ARGUMENT_OUT_OF_BOUND
  '70', // CANNOT_CONVERT_TYPE
  '72', // CANNOT_PARSE_NUMBER
  '117', // INCORRECT_DATA
  '128', // TOO_LARGE_ARRAY_SIZE
  '131', // TOO_LARGE_STRING_SIZE
  '153', // ILLEGAL_DIVISION
  '321', // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
  '349', // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
  '376', // CANNOT_PARSE_UUID
  '395', // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
  '407', // DECIMAL_OVERFLOW
  '469', // VIOLATED_CONSTRAINT
  '691', // UNKNOWN_ELEMENT_OF_ENUM
])
/** Of code 252, which otherwise says that merges are behind. */
const tooManyPartitions = 'Too many partitions for single INSERT block'

function classify(error: Error): InsertOutcome {
  if (error instanceof ClickHouseError) {
    const content = contentCodes.has(error.code) || error.message.includes(tooManyPartitions)
    if (content) return { kind: 'content', cause: error }
    if (refusedCodes.has(error.code)) return { kind: 'refused', cause: error }
  }
  if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return { kind: 'refused', cause: error }
  return { kind: 'uncertain', cause: error }
}
