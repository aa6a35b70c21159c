/**
 * Large requests are decoded on threads of their own, which start with the first of them: a request of 50,000 records
 * would hold the thread that answers for half a second, and everybody else with it.
 */
import type { Log } from '@agnes/config'
import { createThreadPool, wholeBuffer } from '../thread-pool.ts'
import { RequestError, type Rows } from './decode.ts'
import type { DecodeOutcome, DecodeSettings, DecodeTask } from './decode-thread.ts'

export interface Decoded {
  readonly rows: Rows
  /** What the events with an id are recognised by, 8 bytes each. */
  readonly ids: Uint8Array
  /** The request's own bytes, back from the thread. */
  readonly body: Buffer
}

export interface DecodeThreads {
  /**
   * Takes the body's memory away: only the one that comes back may be used.
   * @throws RequestError if the body can't be understood
   * @throws Error if the thread ended: the request may be sent again
   */
  decode(request: Omit<DecodeTask, 'body'> & { readonly body: Buffer }): Promise<Decoded>
  close(): Promise<void>
}

/**
 * Smaller requests hold the thread that answers for 10 ms in protobuf, 40 ms in JSON (bench/transcode). With all of 32 KiB
 * and more on a thread two cores took a quarter more records a second, for a third more CPU a record and 65 MB.
 */
export const worthAThreadBytes = 1024 * 1024

/** @param most how many threads there are at most, at least 1 */
export function createDecodeThreads(most: number, settings: DecodeSettings, log: Log): DecodeThreads {
  const file = 'otlp/decode-thread.js'
  const pool = createThreadPool<DecodeTask, DecodeOutcome>({ file, work: 'decoding', most, workerData: settings, log })
  return {
    async decode({ body, ...request }) {
      const own = wholeBuffer(body)
      const outcome = await pool.run({ ...request, body: own }, own.length, [own.buffer])
      if (outcome.kind === 'refused') throw new RequestError(outcome.status, outcome.message)
      if (outcome.kind === 'failed') throw new Error(outcome.message)
      return { rows: outcome.rows, ids: outcome.ids, body: Buffer.from(outcome.body.buffer) }
    },
    close: pool.close,
  }
}
