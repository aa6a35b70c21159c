/** What lies in a spool that no process has open. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { type FoundFrame, scanSegment } from '../../ingest-gateway/src/spool/segment-file.ts'

export interface SpooledFrame extends FoundFrame {
  readonly payload: Buffer
}

/** All valid frames of a data directory, in order of arrival. */
export function framesInSpool(dataDir: string): readonly SpooledFrame[] {
  const directory = path.join(dataDir, 'spool')
  const names = readdirSync(directory)
    .filter((name) => name.startsWith('seg-') && name.endsWith('.rowbinary'))
    .sort()
  return names.flatMap((name) => {
    const bytes = readFileSync(path.join(directory, name))
    return scanSegment(bytes).frames.map((frame) => {
      const payloadAt = frame.offset + frame.headerBytes
      return { ...frame, payload: bytes.subarray(payloadAt, payloadAt + frame.payloadBytes) }
    })
  })
}

/** Requests that hold a text: the gateway's own heartbeats lie there too. */
export function requestsInSpool(dataDir: string, text: string): number {
  return framesInSpool(dataDir).filter(({ payload }) => payload.includes(text)).length
}
