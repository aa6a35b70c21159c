/**
 * Long lines of transcripts are redacted on a thread of its own, which starts with the first of them: one of 8 MiB takes
 * seconds, in which nobody else would be answered.
 */
import type { Log } from '@agnes/config'
import { createThreadPool, wholeBuffer } from '../thread-pool.ts'
import type { RedactedLine } from './redact-line.ts'
import type { RedactOutcome, RedactSettings, RedactTask } from './redact-thread.ts'

export interface RedactThreads {
  /** @throws Error if the thread ended: the upload may be sent again */
  redact(tenant: string, line: Buffer): Promise<RedactedLine>
  close(): Promise<void>
}

/** Shorter lines take 10 ms at most where each of their texts is looked at, and mostly none is. */
export const longLineBytes = 16 * 1024

/** One is enough: who sends lines of megabytes waits for others who do. */
const most = 1

export function createRedactThreads(settings: RedactSettings, log: Log): RedactThreads {
  const file = 'sessions/redact-thread.js'
  const pool = createThreadPool<RedactTask, RedactOutcome>({ file, work: 'redacting', most, workerData: settings, log })
  return {
    async redact(tenant, line) {
      const own = wholeBuffer(line)
      const outcome = await pool.run({ tenant, line: own }, own.length, [own.buffer])
      if ('failure' in outcome) throw new Error(outcome.failure)
      return { line: Buffer.from(outcome.line.buffer), redactions: outcome.redactions }
    },
    close: pool.close,
  }
}
