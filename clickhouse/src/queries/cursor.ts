/**
 * A place in the timeline: after which row the next, older page begins. It holds the whole sort key, so rows that share
 * an instant are neither repeated nor skipped. Opaque to clients.
 */
import { badFilter } from './where.ts'

export interface Cursor {
  /** Nanoseconds since 1970. */
  readonly timeUnixNano: bigint
  /** Order within an instant; decimal UInt64 and UUID, unique together. */
  readonly seq: string
  readonly batchId: string
}

export function encodeCursor({ timeUnixNano, seq, batchId }: Cursor): string {
  return Buffer.from(`1.${timeUnixNano}.${seq}.${batchId}`).toString('base64url')
}

/** @throws UserError (status 400, exit code 2) for anything `encodeCursor` did not make. */
export function decodeCursor(text: string): Cursor {
  const [, time = '', seq = '', batchId = ''] =
    /^1\.(-?\d{1,19})\.(\d{1,20})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(
      Buffer.from(text, 'base64url').toString('latin1'),
    ) ?? []
  const cursor = { timeUnixNano: BigInt(time || 0), seq, batchId }
  // DateTime64(9) ends in 1677 and 2262; windows reach some days beyond a cursor.
  const inRange = cursor.timeUnixNano ** 2n < 9_200_000_000_000_000_000n ** 2n && BigInt(seq || 0) < 2n ** 64n
  if (batchId === '' || !inRange || encodeCursor(cursor) !== text) {
    throw badFilter('the cursor is not one of ours', 'use next_cursor of the page before, unchanged')
  }
  return cursor
}
