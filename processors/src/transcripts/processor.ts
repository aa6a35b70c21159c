/**
 * `transcripts`: the lines of a session become turns in SQL and one summary.
 *
 * A turn never changes when its file grows, so only turns beyond those that count already are written: a growing session
 * costs what it grew, but for reading it. The summary says how many turns count, and is one row: until it stands, nobody
 * sees the new ones.
 */
import { selectRows } from '@agnes/clickhouse'
import type { Processor, Session } from '../processor.ts'
import { insertRows } from '../state.ts'
import { turnRow, wellFormed } from './rows.ts'
import { createSummary } from './summary.ts'

/** So many turns an insert: some megabytes. */
const rowsAnInsert = 10_000

export const transcripts: Processor = {
  name: 'transcripts',
  version: 1,
  everySeconds: 600,
  description: 'Turns and summaries of sessions: session_turns, sessions',
  async process(session, { client, turns, rank, fromScratch, dryRun }) {
    const stored = fromScratch || dryRun ? 0 : await storedTurns()
    const summary = createSummary(session.tenant)
    let rows: Record<string, unknown>[] = []
    const flush = async (): Promise<void> => {
      if (!dryRun) await insertRows(client, 'session_turn_rows', rows)
      rows = []
    }
    for await (const turn of turns()) {
      summary.add(turn)
      if (turn.index < stored) continue
      rows.push({ ...keyOf(session), ...turnRow(session, turn), parser_version: transcripts.version })
      if (rows.length >= rowsAnInsert) await flush()
    }
    await flush()
    const { turn_rows, ...figures } = summary.end()
    if (!dryRun) {
      await insertRows(client, 'session_summaries', [
        {
          ...keyOf(session),
          rank: String(rank()),
          parser_version: transcripts.version,
          file_hash: session.fileHash,
          lines: session.lines,
          turn_rows,
          ...wellFormed(figures),
          first_received_at: session.firstReceivedAt.toISOString(),
          processed_at: new Date().toISOString(),
        },
      ])
    }
    return { items: turn_rows }

    /** Turns of this version of the processor that a summary counts: each is stored. */
    async function storedTurns(): Promise<number> {
      const [found] = await selectRows<{ turn_rows: number }>(
        client,
        `SELECT turn_rows FROM session_summaries FINAL
WHERE tenant = {tenant:String} AND user_name = {user:String} AND session_file = {file:String} AND version = {version:String}
  AND parser_version = {parser:UInt16}`,
        {
          tenant: session.tenant,
          user: session.user,
          file: session.file,
          version: session.version,
          parser: transcripts.version,
        },
      )
      return found?.turn_rows ?? 0
    }
  },
}

function keyOf({ tenant, user, file, version }: Session) {
  return { tenant, user_name: user, session_file: file, version }
}
