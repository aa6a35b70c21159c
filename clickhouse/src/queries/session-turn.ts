/** "What was said in full?": one turn of a session from its stored line; turns themselves hold a preview. */
import type { ClickHouseClient } from '@clickhouse/client'
import { readSessionLines } from '../sessions/read.ts'
import { selectRows } from './rows.ts'

export interface TurnKey {
  readonly tenant: string
  readonly user: string
  readonly file: string
  readonly version: string
  /** Index of the turn. */
  readonly turn: number
}

/** @returns undefined if there is no such turn */
export async function fetchWholeTurn(client: ClickHouseClient, { turn, ...key }: TurnKey): Promise<string | undefined> {
  const [place] = await selectRows<{ line: number; block: number }>(
    client,
    `SELECT line, block FROM session_turns
WHERE tenant = {tenant:String} AND user_name = {user:String} AND session_file = {file:String} AND version = {version:String}
  AND turn_index = {turn:UInt32}`,
    { ...key, turn },
  )
  if (place === undefined) return undefined
  const pieces: Buffer[] = []
  for await (const chunk of readSessionLines(client, key, { fromLine: place.line })) {
    const end = chunk.indexOf(10)
    pieces.push(end < 0 ? chunk : chunk.subarray(0, end))
    if (end >= 0) break
  }
  return pieces.length === 0 ? undefined : textOfBlock(Buffer.concat(pieces).toString(), place.block)
}

/** What a block of a line says; the line itself where it is put otherwise than expected. */
function textOfBlock(line: string, block: number): string {
  let record: unknown
  try {
    record = JSON.parse(line)
  } catch {
    return line
  }
  const content = (record as { message?: { content?: unknown } } | null)?.message?.content
  if (typeof content === 'string') return content
  const found: unknown = Array.isArray(content) ? content[block] : undefined
  if (typeof found !== 'object' || found === null) return JSON.stringify(record, null, 2)
  const { text, thinking, input, content: inner } = found as Readonly<Record<string, unknown>>
  if (Array.isArray(inner)) {
    return inner
      .map((part: { text?: unknown }) => (typeof part?.text === 'string' ? part.text : JSON.stringify(part)))
      .join('\n')
  }
  const said = [text, thinking, inner].find((one) => typeof one === 'string')
  return typeof said === 'string' ? said : JSON.stringify(input ?? found, null, 2)
}
