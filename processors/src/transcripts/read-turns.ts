/** JSONL of Claude Code → turns, streaming. Never throws for content; memory does not grow with the file. */
import { decodeString, skipSpace } from './json-bytes.ts'
import { createLineSplitter, type Line } from './lines.ts'
import { createSkimmer } from './skim.ts'
import type { Turn } from './turn.ts'
import { createTurnMaker } from './turns-of-record.ts'

export interface ReadOptions {
  /** UTF-16 units of a turn's text that are kept; 500 by default, at most 4000. */
  readonly previewCharacters?: number
  /** Longer lines lose the tails of their long strings; 8 MiB by default. */
  readonly maxLineBytes?: number
}

export interface ReadSummary {
  readonly bytes: number
  /** Lines, blank ones among them. */
  readonly lines: number
  readonly turns: number
  /** Lines that are no JSON object; each has a turn of kind `bad_line`. */
  readonly badLines: number
  /** Types of records and blocks this reader does not know, with their number; `other` from the hundredth type on. */
  readonly unknownTypes: Readonly<Record<string, number>>
  /** The file ends in a line that is not finished: it has no turn yet. */
  readonly endsInPartialLine: boolean
}

export interface TurnReader {
  write(chunk: Buffer): void
  end(): ReadSummary
}

/** Of each string of a line that is too long; more than any preview can need. */
const maxStringBytes = 32 * 1024
const maxUnknownTypes = 100

/** Push form: `onTurn` is called for each turn, in order, while `write` runs. */
export function createTurnReader(onTurn: (turn: Turn) => void, options: ReadOptions = {}): TurnReader {
  const previewCharacters = Math.min(options.previewCharacters ?? 500, 4000)
  const skimmer = createSkimmer(previewCharacters)
  const maker = createTurnMaker()
  const unknown = new Map<string, number>()
  let bytes = 0
  let lines = 0
  let turns = 0
  let badLines = 0
  let endsInPartialLine = false

  function countUnknown(type: string): void {
    const key = unknown.has(type) || unknown.size < maxUnknownTypes ? type : 'other'
    unknown.set(key, (unknown.get(key) ?? 0) + 1)
  }

  function onLine({ bytes: of, start, end, missing, isCut, isPartial }: Line): void {
    lines++
    // A byte order mark is no part of the text.
    const from =
      lines === 1 && of[start] === 0xef && of[start + 1] === 0xbb && of[start + 2] === 0xbf ? start + 3 : start
    if (skipSpace(of, from) === end) return
    const record = isCut ? undefined : skimmer.skim(of, from, end, missing)
    if (record === undefined) {
      if (isPartial) {
        endsInPartialLine = true
        return
      }
      badLines++
      onTurn(maker.badLine(turns++, lines, decodeString(of, from, end, previewCharacters), end - from))
      return
    }
    turns = maker.turns(record, turns, lines, onTurn, countUnknown)
  }

  const splitter = createLineSplitter({ maxLineBytes: options.maxLineBytes ?? 8 * 1024 * 1024, maxStringBytes }, onLine)
  return {
    write(chunk) {
      bytes += chunk.length
      splitter.write(chunk)
    },
    end() {
      splitter.end()
      return { bytes, lines, turns, badLines, unknownTypes: Object.fromEntries(unknown), endsInPartialLine }
    },
  }
}

/**
 * Pull form: the turns of chunks of any size, for example `readSessionLines` of the clickhouse room or `createReadStream`.
 * Its return value is the summary.
 */
export async function* readTurns(
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  options: ReadOptions = {},
): AsyncGenerator<Turn, ReadSummary, undefined> {
  let batch: Turn[] = []
  const reader = createTurnReader((turn) => batch.push(turn), options)
  for await (const chunk of chunks) {
    // Chunks can be large, and turns of all of them at once larger still.
    for (let from = 0; from < chunk.length; from += pieceBytes) {
      reader.write(chunk.subarray(from, from + pieceBytes))
      const turns = batch
      batch = []
      yield* turns
    }
  }
  const summary = reader.end()
  yield* batch
  return summary
}

const pieceBytes = 256 * 1024
