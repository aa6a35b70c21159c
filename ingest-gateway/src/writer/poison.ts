/**
 * A segment that ClickHouse refuses for its content: the frames at fault are found by halving, so that all others are
 * stored and nothing behind them waits.
 */
import type { FoundFrame } from '../spool/segment-file.ts'
import type { RefusedFrame } from '../spool/spool.ts'
import type { InsertOutcome } from './insert.ts'

export interface Separation {
  readonly stored: readonly FoundFrame[]
  readonly refused: readonly RefusedFrame[]
  /** Not tried, or not decided: ClickHouse failed otherwise, or time was up. */
  readonly left: readonly FoundFrame[]
  /** How ClickHouse failed. */
  readonly failure: Error | undefined
}

/**
 * @param insert stores frames that follow on each other; rows that are there already stay out
 * @param goesOn asked before each insert
 */
export async function separate(
  frames: readonly FoundFrame[],
  insert: (part: readonly FoundFrame[]) => Promise<InsertOutcome>,
  goesOn: () => boolean,
): Promise<Separation> {
  const stored: FoundFrame[] = []
  const refused: RefusedFrame[] = []
  const left: FoundFrame[] = []
  let failure: Error | undefined
  const parts: (readonly FoundFrame[])[] = [frames]
  for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
    const outcome = failure === undefined && goesOn() ? await insert(part) : undefined
    const [frame] = part
    if (outcome?.kind === 'stored') stored.push(...part)
    else if (outcome?.kind !== 'content') {
      left.push(...part)
      failure ??= outcome?.cause
    } else if (frame !== undefined && part.length === 1) {
      const { code, type = '', message } = outcome.cause
      refused.push({ frame, code, type, message })
    } else {
      const middle = Math.ceil(part.length / 2)
      parts.push(part.slice(middle), part.slice(0, middle))
    }
  }
  return { stored, refused, left, failure }
}
