/**
 * Taking over a segment that an earlier process left: keep every valid frame, set the rest aside.
 * Nothing is ever thrown away here: bytes that are no valid frame are copied to `quarantine/` first.
 */
import path from 'node:path'
import { makeDurableDirectory, readWhole, replaceFile, type SpoolFs, writeDurably } from './file-system.ts'
import { type FoundFrame, type Scan, scanSegment } from './segment-file.ts'
import type { SealedSegment } from './spool.ts'

export interface RecoveredSegment extends SealedSegment {
  readonly requestHashes: readonly Uint8Array[]
  /** The sequence number after the last record; undefined for a segment without frames. */
  readonly nextSeq: bigint | undefined
  /** Damaged frames that were set aside; a torn tail does not count, it was never acknowledged. */
  readonly quarantinedFrames: number
}

/** Reads a segment back. If it holds damage, the file is replaced by one with its valid frames only. */
export async function recoverSegment(
  fs: SpoolFs,
  file: string,
  quarantine: string,
  log: (line: string) => void,
): Promise<RecoveredSegment> {
  const bytes = await readWhole(fs, file)
  const scan = scanSegment(bytes)
  const { frames, damages } = scan
  if (damages.length > 0) {
    await setAside(fs, file, quarantine, bytes, scan, log)
    await replaceByValidFrames(fs, file, bytes, frames)
  }
  const first = frames[0]
  const last = frames[frames.length - 1]
  // The wall clock may have stepped back within the segment.
  let firstReceivedAtNs = first?.receivedAtNs ?? 0n
  let lastReceivedAtNs = firstReceivedAtNs
  for (const { receivedAtNs } of frames) {
    if (receivedAtNs < firstReceivedAtNs) firstReceivedAtNs = receivedAtNs
    if (receivedAtNs > lastReceivedAtNs) lastReceivedAtNs = receivedAtNs
  }
  return {
    path: file,
    batchId: first?.batchId ?? '',
    bytes: frames.reduce((total, frame) => total + frameBytes(frame), 0),
    records: frames.reduce((total, frame) => total + frame.records, 0),
    firstReceivedAtNs,
    lastReceivedAtNs,
    recovered: true,
    requestHashes: frames.map((frame) => frame.requestHash),
    nextSeq: last === undefined ? undefined : last.seq + BigInt(last.records),
    quarantinedFrames: damages.filter((damage) => damage.reason !== 'torn tail').length,
  }
}

async function setAside(
  fs: SpoolFs,
  file: string,
  quarantine: string,
  bytes: Buffer,
  { damages }: Scan,
  log: (line: string) => void,
): Promise<void> {
  await makeDurableDirectory(fs, quarantine)
  for (const { offset, length, reason } of damages) {
    const name = `${path.basename(file)}.${offset}.${reason.replaceAll(' ', '-')}`
    await writeDurably(fs, path.join(quarantine, name), [bytes.subarray(offset, offset + length)])
    log(`spool: ${reason} in ${path.basename(file)} at byte ${offset}: ${length} bytes set aside as quarantine/${name}`)
  }
  await fs.syncDirectory(quarantine)
}

function replaceByValidFrames(fs: SpoolFs, file: string, bytes: Buffer, frames: readonly FoundFrame[]): Promise<void> {
  return replaceFile(
    fs,
    file,
    frames.map((frame) => bytes.subarray(frame.offset, frame.offset + frameBytes(frame))),
  )
}

function frameBytes(frame: FoundFrame): number {
  return frame.headerBytes + frame.payloadBytes
}
