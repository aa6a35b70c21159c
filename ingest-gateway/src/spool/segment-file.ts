/** Segment files: their names, and what is found in one when it is read back. */
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { decodeFrameHeader, type FrameHeader, findMagic } from './frame.ts'

/** `seg-<sequence number of the first record, 16 hexadecimal digits>.rowbinary`: the names sort in order of arrival. */
export function segmentName(firstSeq: bigint): string {
  return `seg-${firstSeq.toString(16).padStart(16, '0')}.rowbinary`
}

/** In the spool directory: what was set aside, and what is to be tried again. */
export const quarantineDirectory = 'quarantine'
export const redriveDirectory = 'redrive'

/** Frames that ClickHouse refused, in `quarantine/`: a file like a segment, named by its first record. */
export function refusedName(firstSeq: bigint): string {
  return segmentName(firstSeq).replace('seg-', 'refused-')
}

/** The segment that a refused file becomes when it is driven again; undefined for any other file. */
export function segmentOfRefused(name: string): string | undefined {
  const segment = name.replace(/^refused-/, 'seg-')
  return segment !== name && firstSeqOf(segment) !== undefined ? segment : undefined
}

/** Why they were refused. */
export function reasonsName(refused: string): string {
  return refused.replace(/rowbinary$/, 'json')
}

/** The sequence number in a segment's name; undefined for any other file. */
export function firstSeqOf(name: string): bigint | undefined {
  const match = /^seg-([0-9a-f]{16})\.rowbinary$/.exec(name)
  return match?.[1] === undefined ? undefined : BigInt(`0x${match[1]}`)
}

export interface FoundFrame extends FrameHeader {
  /** Where the frame starts in the file. */
  readonly offset: number
}

/** Bytes that are no valid frame. */
export interface Damage {
  readonly offset: number
  readonly length: number
  readonly reason: 'torn tail' | 'damaged header' | 'damaged payload' | 'repeated frame'
  /** Records it held, and whose they are, as far as its header says. */
  readonly records: number
  readonly tenant: string
}

export interface Scan {
  readonly frames: readonly FoundFrame[]
  readonly damages: readonly Damage[]
}

/**
 * Finds the valid frames of a segment. A frame whose payload is damaged is stepped over by its length; after a damaged
 * header the search goes on at the next byte sequence that is a valid header. What reaches the end of the file without
 * a valid frame after it is a torn tail: a write that was cut off and never acknowledged. A frame that stands there twice
 * counts once.
 */
export function scanSegment(bytes: Buffer): Scan {
  const frames: FoundFrame[] = []
  const damages: Damage[] = []
  let nextSeq = 0n
  let at = 0
  while (at < bytes.length) {
    const header = decodeFrameHeader(bytes.subarray(at))
    if (header === undefined) {
      const next = nextHeader(bytes, at + 1)
      const reason = next === bytes.length ? 'torn tail' : 'damaged header'
      damages.push({ offset: at, length: next - at, reason, records: 0, tenant: '' })
      at = next
      continue
    }
    const { records, tenant } = header
    const payloadAt = at + header.headerBytes
    const end = payloadAt + header.payloadBytes
    if (end > bytes.length) {
      damages.push({ offset: at, length: bytes.length - at, reason: 'torn tail', records, tenant })
      break
    }
    if (header.seq < nextSeq) {
      // Sequence numbers only grow: whoever copied it here, its records are in the segment already.
      damages.push({ offset: at, length: end - at, reason: 'repeated frame', records: 0, tenant })
    } else if (crc32(bytes.subarray(payloadAt, end)) === header.payloadCrc) {
      frames.push({ ...header, offset: at })
      nextSeq = header.seq + BigInt(records)
    } else {
      const reason = end === bytes.length ? 'torn tail' : 'damaged payload'
      damages.push({ offset: at, length: end - at, reason, records, tenant })
    }
    at = end
  }
  return { frames, damages }
}

function nextHeader(bytes: Buffer, from: number): number {
  for (let at = findMagic(bytes, from); at >= 0; at = findMagic(bytes, at + 1)) {
    if (decodeFrameHeader(bytes.subarray(at)) !== undefined) return at
  }
  return bytes.length
}

export function segmentPath(directory: string, firstSeq: bigint): string {
  return path.join(directory, segmentName(firstSeq))
}
