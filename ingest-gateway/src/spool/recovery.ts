/**
 * Taking over segments that an earlier process left: keep every valid frame, set the rest aside.
 * Nothing is ever thrown away here: bytes that are no valid frame are copied to `quarantine/` first.
 *
 * A start must not wait for gigabytes: only the newest segment can end in a write that was cut off, so it alone is read
 * whole. Of the others the headers are walked, for counts and request hashes; their checksums are held against the bytes
 * when the writer takes them.
 */
import path from 'node:path'
import { createTenantCounter, type RecordsByTenant } from '../tenant-counter.ts'
import {
  makeDurableDirectory,
  readWhole,
  replaceFile,
  type SpoolFs,
  type StartupFile,
  unfinished,
  writeDurably,
} from './file-system.ts'
import { markFormat } from './format-mark.ts'
import { decodeFrameHeader, type FrameHeader, frameHeaderBytes } from './frame.ts'
import {
  type FoundFrame,
  firstSeqOf,
  quarantineDirectory,
  reasonsName,
  refusedName,
  type Scan,
  scanSegment,
} from './segment-file.ts'
import type { RefusedFrame, SealedSegment, SeqRange } from './spool.ts'

export interface RecoveredSegment extends SealedSegment {
  /** What the requests of the last minutes, and their events, are recognised by. */
  readonly requests: readonly Pick<FrameHeader, 'requestHash' | 'ids'>[]
  /** The sequence number after the last record; undefined for a segment without frames. */
  readonly nextSeq: bigint | undefined
  /** Damaged frames that were set aside. */
  readonly quarantinedFrames: number
  /** Records of those of them whose header can still be read. */
  readonly quarantinedByTenant: RecordsByTenant
  /** Not read yet: its records are counted by the names of the segments around it. */
  readonly estimated?: true
}

export interface Stock {
  /** In order of arrival, with those that hold nothing. */
  readonly segments: readonly RecoveredSegment[]
  readonly nextSeq: bigint
  readonly quarantinedFrames: number
}

/** A retry is recognised for this long, counted back from the newest request on disk. */
const retryWindowNs = 600_000_000_000n
/** About so many retries are recognised, of the newest requests: each costs 10 µs of the start. */
const maxHashes = 50_000
/** Headers of older segments are walked as long as the start has not taken this long. */
const walkForMs = 200

/** What an earlier process left. @throws UserError if it was of a newer release; the file system's errors */
export async function takeStock(fs: SpoolFs, directory: string, log: (line: string) => void): Promise<Stock> {
  const names = await fs.list(directory)
  for (const name of names) if (name.endsWith(unfinished)) await fs.unlink(path.join(directory, name))
  await markFormat(fs, directory, names)
  const found = names
    .map((name) => ({ file: path.join(directory, name), firstSeq: firstSeqOf(name) }))
    .filter((entry): entry is { file: string; firstSeq: bigint } => entry.firstSeq !== undefined)
    .sort((a, b) => (a.firstSeq > b.firstSeq ? -1 : 1))
  const quarantine = path.join(directory, quarantineDirectory)
  const start = performance.now()

  const newestFirst: RecoveredSegment[] = []
  let nextSeq = 1n
  let quarantinedFrames = 0
  /** Where the next newer segment begins. */
  let nextName = found[0]?.firstSeq ?? 1n
  /** When the next newer frame came that is known. */
  let newerNs: bigint | undefined
  let windowStartNs = 0n
  let hashes = 0
  for (const { file, firstSeq } of found) {
    let segment: RecoveredSegment | undefined
    if (newerNs === undefined) {
      // The newest with frames, and empty ones after it.
      segment = await recoverSegment(fs, file, quarantine, log, { tailMayBeTorn: true })
      windowStartNs = segment.lastReceivedAtNs - retryWindowNs
    } else if ((newerNs >= windowStartNs && hashes < maxHashes) || performance.now() - start < walkForMs) {
      segment = walkHeaders(fs, file, windowStartNs) ?? (await recoverSegment(fs, file, quarantine, log, {}))
    } else {
      segment = glance(fs, file, Number(nextName - firstSeq)) ?? (await recoverSegment(fs, file, quarantine, log, {}))
    }
    newestFirst.push(segment)
    hashes += segment.requests.length
    nextName = firstSeq
    if (segment.records > 0) newerNs = segment.firstReceivedAtNs
    quarantinedFrames += segment.quarantinedFrames
    const after = segment.nextSeq ?? firstSeq
    if (after > nextSeq) nextSeq = after
  }
  return { segments: newestFirst.reverse(), nextSeq, quarantinedFrames }
}

/** Reads a segment back. If it holds damage, the file is replaced by one with its valid frames only. */
export async function recoverSegment(
  fs: SpoolFs,
  file: string,
  quarantine: string,
  log: (line: string) => void,
  /** The end of the newest segment may be a write that was cut off; it was never acknowledged. */
  { tailMayBeTorn = false }: { readonly tailMayBeTorn?: boolean },
): Promise<RecoveredSegment> {
  const bytes = await readWhole(fs, file)
  const scan = scanSegment(bytes)
  const { frames, damages } = scan
  if (damages.length > 0) {
    await setAside(fs, file, quarantine, bytes, scan, log)
    await replaceByValidFrames(fs, file, bytes, frames)
  }
  const counted = tally(file)
  for (const frame of frames) counted.add(frame)
  const lost = damages.filter(({ reason }) => !(tailMayBeTorn && reason === 'torn tail'))
  return {
    ...counted.segment(),
    quarantinedFrames: lost.length,
    quarantinedByTenant: byTenantOf(lost),
  }
}

/**
 * Copies the refused frames to `quarantine/`, each group as a file in the segments' format with its reasons beside it, and
 * leaves `left` in the segment. The names follow from the frames: after a crash in between the same is done again.
 */
export async function takeOutRefused(
  fs: SpoolFs,
  segment: SealedSegment,
  quarantine: string,
  refused: readonly RefusedFrame[],
  left: readonly FoundFrame[],
  log: (line: string) => void,
): Promise<RecoveredSegment> {
  const bytes = await readWhole(fs, segment.path)
  const contentOf = (frame: FoundFrame) => bytes.subarray(frame.offset, frame.offset + frameBytes(frame))
  const inOrder = [...refused].sort((a, b) => a.frame.offset - b.frame.offset)
  const [first] = inOrder
  if (first !== undefined) {
    await makeDurableDirectory(fs, quarantine)
    const name = refusedName(first.frame.seq)
    const reasons = inOrder.map(({ frame: { seq, records, tenant }, code, type, message }) => {
      return { seq: seq.toString(), records, tenant, code, type, message }
    })
    await writeDurably(fs, path.join(quarantine, reasonsName(name)), [
      Buffer.from(`${JSON.stringify({ batchId: segment.batchId, frames: reasons }, null, 2)}\n`),
    ])
    await replaceFile(
      fs,
      path.join(quarantine, name),
      inOrder.map(({ frame }) => contentOf(frame)),
    )
    const records = reasons.reduce((total, frame) => total + frame.records, 0)
    log(
      `spool: ClickHouse refuses ${records} records of batch ${segment.batchId} for their content (${first.code} ${first.type}): set aside as quarantine/${name}; "agnes spool quarantine" shows why`,
    )
  }
  if (left.length > 0 || segment.records === 0) await replaceFile(fs, segment.path, left.map(contentOf))
  const counted = tally(segment.path)
  for (const frame of left) counted.add(frame)
  return counted.segment()
}

/** Header by header over the payloads. @returns undefined if a header is not valid, or the end is not a frame's end */
function walkHeaders(fs: SpoolFs, file: string, hashesFromNs: bigint): RecoveredSegment | undefined {
  const source = fs.openAtStartup(file)
  try {
    const counted = tally(file, hashesFromNs)
    const window = Buffer.allocUnsafe(64 * 1024)
    let windowAt = 0
    let windowEnd = 0
    let stride = Number.POSITIVE_INFINITY
    for (let at = 0; at < source.size; at += stride) {
      if (at + usualHeader > windowEnd && windowEnd < source.size) {
        // Small frames stand close to each other: many headers a read. Large ones are skipped.
        const length = stride > 2_048 ? usualHeader : window.length
        windowAt = at
        windowEnd = at + source.read(window.subarray(0, length), at)
      }
      const header = headerAt(source, at, window.subarray(at - windowAt, windowEnd - windowAt))
      if (header === undefined) return undefined
      stride = frameBytes(header)
      if (at + stride > source.size) return undefined
      counted.add(header)
    }
    return counted.segment()
  } finally {
    source.close()
  }
}

/** The first header only. @returns undefined if it is not valid */
function glance(fs: SpoolFs, file: string, estimatedRecords: number): RecoveredSegment | undefined {
  const source = fs.openAtStartup(file)
  try {
    const counted = tally(file)
    if (source.size === 0) return counted.segment()
    const start = Buffer.alloc(usualHeader)
    const header = headerAt(source, 0, start.subarray(0, source.read(start, 0)))
    if (header === undefined) return undefined
    counted.add(header)
    const records = Math.max(header.records, estimatedRecords)
    return {
      ...counted.segment(),
      bytes: source.size,
      records,
      recordsByTenant: new Map([['', records]]),
      estimated: true,
    }
  } finally {
    source.close()
  }
}

/** What a header takes unless many events of its request have ids. */
const usualHeader = 512
/** Eight bytes for each of the records a request may hold, and room. */
const longestHeader = 1024 * 1024

/** @param start the bytes at `at` that were read already */
function headerAt(source: StartupFile, at: number, start: Buffer): FrameHeader | undefined {
  const length = frameHeaderBytes(start) ?? 0
  if (length <= start.length || length > longestHeader) return decodeFrameHeader(start)
  const whole = Buffer.allocUnsafe(length)
  return decodeFrameHeader(whole.subarray(0, source.read(whole, at)))
}

interface Tally {
  add(header: FrameHeader): void
  segment(): RecoveredSegment
}

/** What the frames of a segment say together. */
function tally(file: string, hashesFromNs = 0n): Tally {
  const requests: Pick<FrameHeader, 'requestHash' | 'ids'>[] = []
  const ranges: SeqRange[] = []
  let batchId: string | undefined
  let bytes = 0
  const records = createTenantCounter()
  // The wall clock may have stepped back within the segment.
  let firstReceivedAtNs: bigint | undefined
  let lastReceivedAtNs: bigint | undefined
  let nextSeq: bigint | undefined

  return {
    add(header) {
      const { receivedAtNs, seq } = header
      batchId ??= header.batchId
      bytes += frameBytes(header)
      records.add(header.tenant, header.records)
      if (firstReceivedAtNs === undefined || receivedAtNs < firstReceivedAtNs) firstReceivedAtNs = receivedAtNs
      if (lastReceivedAtNs === undefined || receivedAtNs > lastReceivedAtNs) lastReceivedAtNs = receivedAtNs
      if (receivedAtNs >= hashesFromNs) requests.push({ requestHash: header.requestHash, ids: header.ids })
      const end = seq + BigInt(header.records)
      if (seq === nextSeq) ranges[ranges.length - 1] = [(ranges[ranges.length - 1] as SeqRange)[0], end]
      else ranges.push([seq, end])
      nextSeq = end
    },
    segment: () => ({
      path: file,
      batchId: batchId ?? '',
      bytes,
      records: records.total,
      recordsByTenant: records.byTenant,
      ranges,
      firstReceivedAtNs: firstReceivedAtNs ?? 0n,
      lastReceivedAtNs: lastReceivedAtNs ?? 0n,
      recovered: true,
      requests,
      nextSeq,
      quarantinedFrames: 0,
      quarantinedByTenant: new Map(),
    }),
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

function frameBytes({ headerBytes, payloadBytes }: FrameHeader): number {
  return headerBytes + payloadBytes
}

/** @param counted frames, or what is left of some */
export function byTenantOf(counted: readonly { readonly tenant: string; readonly records: number }[]): RecordsByTenant {
  const counter = createTenantCounter()
  for (const { tenant, records } of counted) if (records > 0) counter.add(tenant, records)
  return counter.byTenant
}
