/**
 * The last turns of a transcript, read from its end: a session of fifty megabytes is not read to send what happened in its
 * last minute. It takes what a person or the model said and what tools did; the client's bookkeeping is left out. Lines
 * that are no JSON or of a kind nobody knows are stepped over.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import type { FeedbackTurn } from '@agnes/events'

/** A turn with all of its text. */
export type FoundTurn = Omit<FeedbackTurn, 'text'> & {
  readonly text: string
  /** The input of a call, as JSON; `text` is empty then. */
  readonly input?: string
}

export interface LastTurns {
  /** Oldest first. */
  readonly turns: readonly FoundTurn[]
  readonly sessionId: string
  /** Of Claude Code. */
  readonly clientVersion: string
}

const usualChunkBytes = 256 * 1024
/** Lines beyond it hold a picture or a file, and are not read. */
const longestLine = 8 * 1024 * 1024
/** What lies further back is not looked at. */
const mostBytes = 32 * 1024 * 1024

/**
 * @param chunkBytes how much is read at once
 * @throws the file system's errors
 */
export function readLastTurns(file: string, count: number, chunkBytes: number = usualChunkBytes): LastTurns {
  const newestFirst: FoundTurn[] = []
  let sessionId = ''
  let clientVersion = ''
  for (const line of linesFromEnd(file, chunkBytes)) {
    const record = parseRecord(line)
    if (record === undefined) continue
    sessionId ||= textOf(record.sessionId)
    clientVersion ||= textOf(record.version)
    newestFirst.push(...turnsOf(record).reverse())
    if (newestFirst.length >= count) break
  }
  const turns = newestFirst.slice(0, count).reverse()
  return { turns: withToolNames(turns), sessionId, clientVersion }
}

/** Lines of a file, last first. One that is still being written is stepped over by whoever parses it. */
function* linesFromEnd(file: string, chunkBytes: number): Generator<Buffer> {
  const source = openSync(file, 'r')
  try {
    let at = fstatSync(source).size
    const stopAt = Math.max(0, at - mostBytes)
    /** Pieces of the line whose beginning was not seen yet, last first. */
    let pieces: Buffer[] = []
    let length = 0
    const line = (): Buffer | undefined => {
      const whole = length > longestLine ? undefined : Buffer.concat(pieces.reverse())
      pieces = []
      length = 0
      return whole
    }
    while (at > stopAt) {
      const size = Math.min(chunkBytes, at - stopAt)
      at -= size
      const chunk = Buffer.allocUnsafe(size)
      const read = readSync(source, chunk, 0, size, at)
      let end = read
      while (end > 0) {
        const newline = chunk.lastIndexOf(10, end - 1)
        if (newline < 0) break
        pieces.push(chunk.subarray(newline + 1, end))
        length += end - newline - 1
        const whole = line()
        if (whole !== undefined && whole.length > 0) yield whole
        end = newline
      }
      // Pieces of a line that is too long are not kept.
      if (length <= longestLine) pieces.push(chunk.subarray(0, end))
      length += end
    }
    const first = at === 0 ? line() : undefined
    if (first !== undefined && first.length > 0) yield first
  } finally {
    closeSync(source)
  }
}

type Json = Readonly<Record<string, unknown>>

function parseRecord(line: Buffer): Json | undefined {
  try {
    const value: unknown = JSON.parse(line.toString())
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function turnsOf(record: Json): FoundTurn[] {
  const { type, isMeta, isSidechain, isCompactSummary } = record
  if (isMeta === true || isSidechain === true) return []
  const common = {
    ...(typeof record.timestamp === 'string' && { time: record.timestamp }),
    ...(typeof record.uuid === 'string' && { uuid: record.uuid }),
  }
  if (type === 'system') {
    if (record.subtype === 'compact_boundary') {
      return [{ ...common, role: 'system', kind: 'compaction', text: textOf(record.content) }]
    }
    if (record.subtype !== 'api_error') return []
    const error = isObject(record.error) ? JSON.stringify(record.error) : textOf(record.error)
    return [{ ...common, role: 'system', kind: 'api_error', is_error: true, text: textOf(record.content) || error }]
  }
  if (type !== 'user' && type !== 'assistant') return []
  const content = isObject(record.message) ? record.message.content : undefined
  const blocks = typeof content === 'string' ? [{ type: 'text', text: content }] : Array.isArray(content) ? content : []
  return blocks.filter(isObject).flatMap((block): FoundTurn[] => {
    const turn = type === 'user' ? userTurn(block, isCompactSummary === true) : assistantTurn(block, record)
    return turn === undefined ? [] : [{ ...common, role: type, ...turn }]
  })
}

type Block = Omit<FoundTurn, 'role'>

function userTurn(block: Json, isSummary: boolean): Block | undefined {
  if (block.type === 'tool_result') {
    return {
      kind: 'tool_result',
      ...(typeof block.tool_use_id === 'string' && { tool_use_id: block.tool_use_id }),
      ...(block.is_error === true && { is_error: true }),
      text: contentText(block.content),
    }
  }
  if (block.type === 'image' || block.type === 'document') return { kind: 'attachment', text: `[${block.type}]` }
  if (block.type !== 'text') return undefined
  const text = textOf(block.text)
  if (isSummary) return { kind: 'compaction_summary', text }
  if (/^\s*\[Request interrupted by user[^\]]*\]\s*$/.test(text)) return { kind: 'interrupt', text }
  const tag = /^\s*<([a-z-]+)>/.exec(text)?.[1] ?? ''
  if (['command-name', 'command-message', 'bash-input'].includes(tag)) return { kind: 'command', text }
  if (['local-command-stdout', 'local-command-stderr', 'bash-stdout', 'bash-stderr'].includes(tag)) {
    return { kind: 'command_output', text }
  }
  return ['system-reminder', 'local-command-caveat'].includes(tag) ? undefined : { kind: 'prompt', text }
}

function assistantTurn(block: Json, record: Json): Block | undefined {
  if (record.isApiErrorMessage === true) return { kind: 'api_error', is_error: true, text: textOf(block.text) }
  if (block.type === 'text') return { kind: 'text', text: textOf(block.text) }
  if (block.type !== 'tool_use' && block.type !== 'server_tool_use') return undefined
  return {
    kind: 'tool_use',
    tool: textOf(block.name),
    ...(typeof block.id === 'string' && { tool_use_id: block.id }),
    text: '',
    input: JSON.stringify(block.input ?? {}),
  }
}

/** A result names its call only. */
function withToolNames(turns: readonly FoundTurn[]): FoundTurn[] {
  const names = new Map<string, string>()
  return turns.map((turn) => {
    if (turn.tool_use_id === undefined) return turn
    if (turn.tool !== undefined) names.set(turn.tool_use_id, turn.tool)
    const tool = turn.tool ?? names.get(turn.tool_use_id)
    return tool === undefined ? turn : { ...turn, tool }
  })
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .filter(isObject)
    .map((part) => (part.type === 'text' ? textOf(part.text) : `[${textOf(part.type)}]`))
    .join('\n')
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
