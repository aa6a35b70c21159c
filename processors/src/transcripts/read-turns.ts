/** JSONL of Claude Code → turns, streaming. Never throws for content; memory does not grow with the file. */
import { decodeString, skipSpace } from './json-bytes.ts'
import { type Line, LineSplitter } from './lines.ts'
import { createSkimmer, type Skimmer } from './skim.ts'
import type { Turn } from './turn.ts'
import { badLine, TurnMaker } from './turns-of-record.ts'

export interface ReadOptions {
  /** UTF-16 units of a turn's text that are kept; 500 by default, at most 4000. */
  readonly previewCharacters?: number
  /** Longer lines lose the tails of their long strings; 4 MiB by default. */
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

/** Of each string of a line that is too long; more than any preview can need. */
const maxStringBytes = 32 * 1024
const maxUnknownTypes = 100
const maxPreview = 4000

/** Push form: `onTurn` is called for each turn, in order, while `write` runs. */
export class TurnReader {
  private readonly previewCharacters: number
  private readonly skimmer: Skimmer
  private readonly splitter: LineSplitter
  private readonly maker = new TurnMaker()
  private readonly unknown = new Map<string, number>()
  private readonly countUnknown = (type: string): void => {
    const key = this.unknown.has(type) || this.unknown.size < maxUnknownTypes ? type : 'other'
    this.unknown.set(key, (this.unknown.get(key) ?? 0) + 1)
  }
  private bytes = 0
  private lines = 0
  private turns = 0
  private badLines = 0
  private endsInPartialLine = false

  constructor(
    private readonly onTurn: (turn: Turn) => void,
    { previewCharacters = 500, maxLineBytes = 4 * 1024 * 1024 }: ReadOptions = {},
  ) {
    this.previewCharacters = Math.min(previewCharacters, maxPreview)
    this.skimmer = createSkimmer(this.previewCharacters)
    const limits = { maxLineBytes, maxStringBytes: Math.min(maxStringBytes, maxLineBytes >> 2) }
    this.splitter = new LineSplitter(limits, (line) => this.line(line))
  }

  write(chunk: Buffer): void {
    this.bytes += chunk.length
    this.splitter.write(chunk)
  }

  end(): ReadSummary {
    this.splitter.end()
    const { bytes, lines, turns, badLines, endsInPartialLine } = this
    return { bytes, lines, turns, badLines, unknownTypes: Object.fromEntries(this.unknown), endsInPartialLine }
  }

  /** To be called where `end` is not. */
  close(): void {
    this.splitter.close()
  }

  private line(line: Line): void {
    this.lines++
    const { bytes, start, end, missing, isCut, isPartial } = line
    // A byte order mark is no part of the text.
    const isMarked = this.lines === 1 && bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf
    const from = isMarked ? start + 3 : start
    if (skipSpace(bytes, from) === end) return
    const record = isCut ? undefined : this.skimmer.skim(line, from, missing)
    if (record !== undefined) {
      this.turns = this.maker.turns(record, this.turns, this.lines, this.onTurn, this.countUnknown)
    } else if (isPartial) this.endsInPartialLine = true
    else {
      this.badLines++
      const text = decodeString(bytes, from, end, this.previewCharacters)
      this.onTurn(badLine(this.turns++, this.lines, text, end - from))
    }
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
  const reader = new TurnReader((turn) => batch.push(turn), options)
  try {
    for await (const chunk of chunks) {
      // Chunks can be large, and the turns of all of one at once larger still.
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
  } finally {
    reader.close()
  }
}

const pieceBytes = 256 * 1024
