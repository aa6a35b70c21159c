/** Reading transcripts back: which versions a file has, and the lines of one of them. */
import { Buffer } from 'node:buffer'
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'
import { hashBytes, type LineNode, type SessionFile, type SessionKey, type SessionSource } from './types.ts'
import { parametersOf } from './write.ts'

const ofFile = 'tenant = {tenant:String} AND user_name = {user:String} AND session_file = {file:String}'
/**
 * Keeps a question about lines to the parts of the day the session was first seen; a day more on either side for gateways
 * that saw it at the same time with clocks that differ.
 */
const ofItsDay = `first_received_at >= fromUnixTimestamp64Milli({first:Int64}) - INTERVAL 1 DAY
  AND first_received_at <= fromUnixTimestamp64Milli({first:Int64}) + INTERVAL 1 DAY`

/** The versions of a file as they are now, those that others hold whole among them; longest first. */
export async function fetchSessionFiles(client: ClickHouseClient, key: SessionKey): Promise<SessionFile[]> {
  const rows = await selectRows<FileRow>(
    client,
    `SELECT version, lines, bytes, file_hash, parent_lines, parent_hash,
  toUnixTimestamp64Milli(first_received_at) AS first_ms, toUnixTimestamp64Milli(received_at) AS received_ms,
  redactions, source
FROM session_files FINAL WHERE ${ofFile} ORDER BY lines DESC, version`,
    parametersOf(key),
  )
  return rows.map((row) => fileOf(key, row))
}

interface FileRow {
  readonly version: string
  readonly lines: number
  readonly bytes: string
  readonly file_hash: string
  readonly parent_lines: number
  readonly parent_hash: string
  readonly first_ms: string
  readonly received_ms: string
  readonly redactions: number
  readonly source: SessionSource
}

function fileOf({ tenant, user, file }: SessionKey, row: FileRow): SessionFile {
  return {
    tenant,
    user,
    file,
    version: row.version,
    lines: row.lines,
    bytes: Number(row.bytes),
    fileHash: row.file_hash,
    parentLines: row.parent_lines,
    parentHash: row.parent_hash,
    firstReceivedAt: new Date(Number(row.first_ms)),
    receivedAt: new Date(Number(row.received_ms)),
    redactions: row.redactions,
    source: row.source,
  }
}

/** A stretch of a session. */
export interface LineRange {
  readonly firstReceivedAt: Date
  /** From 1, inclusive. */
  readonly fromLine: number
  /** Inclusive. */
  readonly toLine: number
}

export interface StoredLine extends LineNode {
  /** Places that were redacted in it. */
  readonly redactions: number
}

/** What is stored of a stretch of a file, of all its versions; without the lines themselves. */
export async function fetchStoredLines(
  client: ClickHouseClient,
  key: SessionKey,
  range: LineRange,
): Promise<StoredLine[]> {
  const rows = await selectRows<{ line_no: number; hash: string; redactions: number }>(
    client,
    `SELECT line_no, lower(hex(hash)) AS hash, toUInt32(length(redactions)) AS redactions
FROM session_lines WHERE ${ofFile} AND ${ofItsDay} AND line_no BETWEEN {from:UInt32} AND {to:UInt32}`,
    rangeParameters(key, range),
  )
  return rows.map(({ line_no, hash, redactions }) => ({ lineNo: line_no, hash, redactions }))
}

/** Where contents part: behind the line `hash`, `next` are the lines that follow it. */
export interface Fork extends LineNode {
  readonly next: readonly string[]
}

/** Where contents part whose next lines lie in the range, in the order of the file. */
export async function fetchForks(client: ClickHouseClient, key: SessionKey, range: LineRange): Promise<Fork[]> {
  const rows = await selectRows<{ line_no: number; parent: string; next: string[] }>(
    client,
    `SELECT line_no, lower(hex(parent)) AS parent, groupUniqArray(lower(hex(hash))) AS next
FROM session_lines WHERE ${ofFile} AND ${ofItsDay} AND line_no BETWEEN {from:UInt32} AND {to:UInt32}
GROUP BY line_no, session_lines.parent HAVING uniqExact(session_lines.hash) > 1 ORDER BY line_no`,
    rangeParameters(key, range),
  )
  return rows.map(({ line_no, parent, next }) => ({ lineNo: line_no - 1, hash: parent, next }))
}

/**
 * The lines of one version that come before one of its lines, by their hashes.
 * @returns hashes of the lines `fromLine` to `last.lineNo`, ascending; shorter if a line is missing
 */
export async function fetchPath(
  client: ClickHouseClient,
  key: SessionKey,
  firstReceivedAt: Date,
  last: LineNode,
  fromLine: number,
): Promise<string[]> {
  const path: string[] = []
  let wanted = last.hash
  for (let to = last.lineNo; to >= fromLine; to -= pathStep) {
    const range = { firstReceivedAt, fromLine: Math.max(fromLine, to - pathStep + 1), toLine: to }
    const rows = await selectRows<{ hash: string; parent: string }>(
      client,
      `SELECT DISTINCT line_no, lower(hex(hash)) AS hash, lower(hex(parent)) AS parent
FROM session_lines WHERE ${ofFile} AND ${ofItsDay} AND line_no BETWEEN {from:UInt32} AND {to:UInt32}
ORDER BY line_no DESC`,
      rangeParameters(key, range),
    )
    for (const { hash, parent } of rows) {
      if (hash !== wanted) continue
      path.push(hash)
      wanted = parent
    }
  }
  return path.reverse()
}

/** Lines a question asks for at once: some megabytes of hashes. */
const pathStep = 50_000

function rangeParameters(
  key: SessionKey,
  { firstReceivedAt, fromLine, toLine }: LineRange,
): Record<string, string | number> {
  return { ...parametersOf(key), first: firstReceivedAt.getTime(), from: fromLine, to: toLine }
}

export interface ReadOptions {
  /** From 1; the lines before it are left out. */
  readonly fromLine?: number
}

/** A version of a file; the newest growth of it unless `lines` and `fileHash` say which. */
export interface SessionVersion extends SessionKey {
  readonly version: string
}

/**
 * The lines of a version as bytes of JSONL, each with a line break, in chunks that end anywhere; nothing if there is no
 * such version. What grows meanwhile is not among them.
 * @throws Error if a line is missing, as when the session is being removed
 */
export async function* readSessionLines(
  client: ClickHouseClient,
  { version, ...key }: SessionVersion,
  { fromLine = 1 }: ReadOptions = {},
): AsyncGenerator<Buffer> {
  const file = (await fetchSessionFiles(client, key)).find((found) => found.version === version)
  if (file === undefined || file.lines < fromLine) return
  yield* linesOf(client, file, fromLine)
}

async function* linesOf(client: ClickHouseClient, file: SessionFile, fromLine: number): AsyncGenerator<Buffer> {
  const range = { firstReceivedAt: file.firstReceivedAt, fromLine, toLine: file.lines }
  const { stream } = await client.exec({
    query: `SELECT line_no, hash, line FROM session_lines
WHERE ${ofFile} AND ${ofItsDay} AND line_no BETWEEN {from:UInt32} AND {to:UInt32}
ORDER BY tenant, user_name, session_file, line_no, hash FORMAT RowBinary`,
    query_params: rangeParameters(file, range),
  })
  /** Where versions part, which of the lines are of this one. */
  let path: Set<string> | undefined
  let expected = fromLine
  let collected: Buffer[] = []
  let collectedBytes = 0
  const take = async (rows: readonly LineRow[]): Promise<void> => {
    let row = rows[0] as LineRow
    if (rows.some(({ hash }) => hash !== row.hash)) {
      path ??= new Set(
        await fetchPath(client, file, file.firstReceivedAt, { lineNo: file.lines, hash: file.fileHash }, row.lineNo),
      )
      row = rows.find(({ hash }) => path?.has(hash)) ?? missing(file, row.lineNo)
    }
    if (row.lineNo !== expected++) missing(file, expected - 1)
    collected.push(row.line, lineBreak)
    collectedBytes += row.line.length + 1
  }
  let same: LineRow[] = []
  for await (const row of rowsOf(stream as AsyncIterable<Buffer>)) {
    if (same[0] !== undefined && same[0].lineNo !== row.lineNo) {
      await take(same)
      same = []
      if (collectedBytes >= chunkBytes) {
        yield Buffer.concat(collected, collectedBytes)
        collected = []
        collectedBytes = 0
      }
    }
    same.push(row)
  }
  if (same.length > 0) await take(same)
  if (expected !== file.lines + 1) missing(file, expected)
  if (collectedBytes > 0) yield Buffer.concat(collected, collectedBytes)
}

const chunkBytes = 64 * 1024
const lineBreak = Buffer.from('\n')

function missing({ user, file, version }: SessionFile, lineNo: number): never {
  throw new Error(`line ${lineNo} of ${user}/${file}.jsonl (version ${version}) is not stored`)
}

interface LineRow {
  readonly lineNo: number
  readonly hash: string
  readonly line: Buffer
}

/** Rows of `UInt32, FixedString(16), String` in RowBinary, from chunks that end anywhere. */
async function* rowsOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<LineRow> {
  let pending: Buffer[] = []
  let pendingBytes = 0
  /** Bytes that are needed for the next row, as far as is known: long lines come in many chunks. */
  let needed = 1
  for await (const chunk of chunks) {
    pending.push(chunk)
    pendingBytes += chunk.length
    if (pendingBytes < needed) continue
    const bytes = pending.length === 1 ? chunk : Buffer.concat(pending, pendingBytes)
    let at = 0
    for (;;) {
      const length = varintAt(bytes, at + headBytes)
      const end = length === undefined ? undefined : at + headBytes + length.size + length.value
      if (length === undefined || end === undefined || end > bytes.length) {
        needed = (end ?? bytes.length + 1) - at
        break
      }
      yield {
        lineNo: bytes.readUInt32LE(at),
        hash: bytes.toString('hex', at + 4, at + headBytes),
        line: bytes.subarray(end - length.value, end),
      }
      at = end
    }
    pending = at === bytes.length ? [] : [bytes.subarray(at)]
    pendingBytes = bytes.length - at
  }
  if (pendingBytes > 0) throw new Error(`ClickHouse ended its answer in the middle of a row: ${tail(pending)}`)
}

const headBytes = 4 + hashBytes

/** undefined if its end is not there yet. */
function varintAt(bytes: Buffer, start: number): { value: number; size: number } | undefined {
  let value = 0
  for (let size = 1; start + size <= bytes.length; size++) {
    const byte = bytes[start + size - 1] as number
    value += (byte & 0x7f) * 128 ** (size - 1)
    if (byte < 0x80) return { value, size }
  }
  return undefined
}

/** An exception in the middle of a stream is told in its last bytes. */
function tail(pending: readonly Buffer[]): string {
  return /Code: \d+\. DB::Exception: [^\n]{0,200}/.exec(Buffer.concat(pending).toString('latin1'))?.[0] ?? 'cut off'
}
