/** Storing transcripts. What is stored twice counts once, so after any failure the same may be stored again. */
import { Buffer } from 'node:buffer'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client'
import { hashBytes, noParent, type SessionFile, type SessionKey } from './types.ts'

export interface NewLine {
  /** 16 bytes: of this and all lines before it. */
  readonly hash: Uint8Array
  /** Without its line break, secrets taken out. */
  readonly line: Uint8Array
  /** `<path> <rule> <hmac>` */
  readonly redactions: readonly string[]
}

export interface LineBatch {
  readonly key: SessionKey
  /** Place of the first of the lines in the file, from 1. */
  readonly fromLine: number
  /** Hash of the line before the first of them, 16 bytes; undefined when there is none. */
  readonly parent: Uint8Array | undefined
  readonly lines: readonly NewLine[]
  /** Hash of the rules that held, hex, or `off`. */
  readonly redactionRules: string
  readonly firstReceivedAt: Date
  readonly receivedAt: Date
}

/** One block, hence one part: all of it is there afterwards, or nothing. */
const insertSettings: ClickHouseSettings = {
  async_insert: 0,
  wait_end_of_query: 1,
  max_insert_threads: '1',
  max_block_size: '1048576',
  max_insert_block_size: '1048576',
  min_insert_block_size_rows: '100000000',
  min_insert_block_size_bytes: '4294967296',
  input_format_parallel_parsing: 0,
}

/**
 * Stores lines that follow on each other. The line before them must be stored already, or a file would have a gap.
 * Resolves when they are on disk.
 */
export async function insertSessionLines(client: ClickHouseClient, batch: LineBatch): Promise<void> {
  const { key, lines, redactionRules, firstReceivedAt, receivedAt } = batch
  if (lines.length === 0) return
  const { stream } = await client.exec({
    query: `INSERT INTO session_lines (tenant, user_name, session_file, line_no, hash, parent, line, redactions,
  redaction_rules, first_received_at, received_at)
SELECT {tenant:String}, {user:String}, {file:String}, line_no, hash, parent, line, redactions, {rules:String},
  fromUnixTimestamp64Milli({first:Int64}), fromUnixTimestamp64Milli({received:Int64})
FROM input('line_no UInt32, hash FixedString(16), parent FixedString(16), line String, redactions Array(String)')
FORMAT RowBinary`,
    query_params: {
      ...parametersOf(key),
      rules: redactionRules,
      first: firstReceivedAt.getTime(),
      received: receivedAt.getTime(),
    },
    values: Readable.from([rowBinary(batch)], { objectMode: false }),
    clickhouse_settings: insertSettings,
  })
  // An INSERT answers with nothing; text is an error that came after the status was sent.
  const answer = await text(stream)
  if (answer !== '') throw new Error(`ClickHouse answered an insert with: ${answer.slice(0, 500)}`)
}

/** Says what versions a file has; each is told by its key, and the row with most lines counts. */
export async function insertSessionFiles(client: ClickHouseClient, files: readonly SessionFile[]): Promise<void> {
  if (files.length === 0) return
  await client.insert({
    table: 'session_files',
    values: files.map((file) => ({
      tenant: file.tenant,
      user_name: file.user,
      session_file: file.file,
      version: file.version,
      lines: file.lines,
      bytes: String(file.bytes),
      file_hash: file.fileHash,
      parent_lines: file.parentLines,
      parent_hash: file.parentHash,
      first_received_at: file.firstReceivedAt.toISOString(),
      received_at: file.receivedAt.toISOString(),
      redactions: file.redactions,
      source: file.source,
    })),
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}

export function parametersOf({ tenant, user, file }: SessionKey): Record<string, string> {
  return { tenant, user, file }
}

/** @see https://clickhouse.com/docs/interfaces/formats/RowBinary */
function rowBinary({ fromLine, parent, lines }: LineBatch): Buffer {
  const bytes = lines.reduce((sum, line) => sum + sizeOf(line), 0)
  const target = Buffer.allocUnsafe(bytes)
  let at = 0
  const varint = (value: number): void => {
    let rest = value
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) target[at++] = (rest & 0x7f) | 0x80
    target[at++] = rest
  }
  const raw = (content: Uint8Array): void => {
    target.set(content, at)
    at += content.length
  }
  let before = parent ?? Buffer.from(noParent, 'hex')
  let lineNo = fromLine
  for (const { hash, line, redactions } of lines) {
    at = target.writeUInt32LE(lineNo++, at)
    raw(hash)
    raw(before)
    before = hash
    varint(line.length)
    raw(line)
    varint(redactions.length)
    for (const redaction of redactions) {
      varint(Buffer.byteLength(redaction))
      at += target.write(redaction, at)
    }
  }
  return target.subarray(0, at)
}

const longestVarint = 5

/** At most. */
function sizeOf({ line, redactions }: NewLine): number {
  const texts = redactions.reduce((sum, redaction) => sum + longestVarint + Buffer.byteLength(redaction), 0)
  return 4 + 2 * hashBytes + longestVarint + line.length + longestVarint + texts
}
