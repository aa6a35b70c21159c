/**
 * The spool: what was acknowledged and is not yet in ClickHouse, as append-only segment files.
 *
 * - Group commit: while one fdatasync runs, requests gather; the next one carries them all. A caller's promise resolves
 *   only when its bytes are on disk (promise P1).
 * - All state is derived from the segments. There is no ledger beside them that could disagree with them.
 * - There is always an active segment; its name is the floor of the sequence, so numbers are never given twice.
 * - One segment is one batch: one INSERT, one batch id, one receive day (the table's partition key).
 */

import { randomFillSync } from 'node:crypto'
import path from 'node:path'
import { UserError } from '@agnes/config'
import { createTenantCounter, type RecordsByTenant, type TenantCounter } from '../tenant-counter.ts'
import {
  makeDurableDirectory,
  nodeFs,
  readWhole,
  replaceFile,
  type SpoolFile,
  type SpoolFs,
  unfinished,
  writeAll,
  writeDurably,
} from './file-system.ts'
import { encodeFrameHeader } from './frame.ts'
import { type Clocks, openRecognition } from './recognition.ts'
import { recoverSegment, type Stock, takeOutRefused, takeStock } from './recovery.ts'
import { watchRoom } from './room.ts'
import {
  type FoundFrame,
  quarantineDirectory,
  redriveDirectory,
  scanSegment,
  segmentOfRefused,
  segmentPath,
} from './segment-file.ts'

export interface SpoolOptions {
  /** Created with mode 0700 if missing. */
  readonly directory: string
  /** A segment is sealed when it is this large. */
  readonly segmentBytes?: number
  /** … or before its resources and scopes, repeated for each record by the INSERT, become more than this. */
  readonly segmentUnfoldedBytes?: number
  /** … or this old while the writer has nothing else to do. Milliseconds. */
  readonly sealAfterMs?: number
  /** Requests that wait for their fdatasync may hold this many bytes; more are refused. */
  readonly maxPendingBytes?: number
  /** The spool may grow to this; without it, to what the disk allows. */
  readonly maxBytes?: number | undefined
  readonly fs?: SpoolFs
  readonly clocks?: Clocks
  readonly log?: (line: string) => void
}

/** A request as the spool takes it. */
export interface SpoolRequest {
  readonly tenant: string
  readonly receivedAtNs: bigint
  /** 16 bytes. */
  readonly requestHash: Uint8Array
  /** 8 bytes: which redaction rules held; none unless told. */
  readonly ruleSet?: Uint8Array
  /** What the request's events with an id are recognised by, 8 bytes each; none unless told. */
  readonly ids?: Uint8Array
  readonly records: number
  /** What the payload's resources and scopes become when the INSERT repeats them for each record; 0 unless told. */
  readonly unfoldedBytes?: number
  /** Insert-ready bytes (layout.ts). They must not change until the promise settles. */
  readonly payload: Uint8Array
}

/** A segment that takes no more frames. */
export interface SealedSegment {
  readonly path: string
  readonly batchId: string
  readonly bytes: number
  readonly records: number
  readonly recordsByTenant: RecordsByTenant
  readonly firstReceivedAtNs: bigint
  readonly lastReceivedAtNs: bigint
  /** It was there when this process started: an earlier one may have stored it already. */
  readonly recovered: boolean
  /** Sequence numbers of its records, in order. One range, unless frames were set aside. */
  readonly ranges: readonly SeqRange[]
}

/** From a sequence number up to, not including, another. */
export type SeqRange = readonly [bigint, bigint]

/** A frame that ClickHouse does not take, and its reason. */
export interface RefusedFrame {
  readonly frame: FoundFrame
  /** ClickHouse's number and name of the error. */
  readonly code: string
  readonly type: string
  readonly message: string
}

/** The spool can't make a write durable; the caller answers 503 and the client tries again. */
export class SpoolUnavailableError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'SpoolUnavailableError'
  }
}

export interface Spool {
  /** Resolves when the request is on disk. @throws SpoolUnavailableError: it is not stored and may be sent again */
  append(request: SpoolRequest): Promise<void>
  /** The oldest sealed segment; waits for one. undefined once the spool is closed. */
  nextSealed(): Promise<SealedSegment | undefined>
  /** The segment is in ClickHouse: forget it. */
  remove(segment: SealedSegment): Promise<void>
  /**
   * For a segment that ClickHouse cannot take: reads it back, sets aside what is damaged, and gives what is left of it.
   * @throws the file system's errors
   */
  recheck(segment: SealedSegment): Promise<SealedSegment>
  /** The frames of a segment, in order. @throws the file system's errors */
  framesOf(segment: SealedSegment): Promise<readonly FoundFrame[]>
  /**
   * Takes out of a segment what ClickHouse refuses for its content: it stays in `quarantine/` with the reason beside it.
   * @param left frames that stay in the segment; all others are stored
   * @returns what is left of the segment
   * @throws the file system's errors: then all is as before
   */
  setAside(
    segment: SealedSegment,
    refused: readonly RefusedFrame[],
    left: readonly FoundFrame[],
  ): Promise<SealedSegment>
  /** Lets others go first. @returns false if there are none */
  postpone(segment: SealedSegment): Promise<boolean>
  /** Hashes of the requests of the last minutes, from before the start; oldest first. */
  readonly recoveredHashes: readonly Uint8Array[]
  /** What their events with an id are recognised by, 8 bytes each. */
  readonly recoveredIds: readonly Uint8Array[]
  stats(): SpoolStats
  /** Waits for appends under way, then closes. What is on disk stays. */
  close(): Promise<void>
}

export interface SpoolStats {
  readonly backlogBytes: number
  readonly backlogRecords: number
  readonly backlogSegments: number
  /** Time of arrival of the oldest record on disk; undefined when there is none. */
  readonly oldestReceivedAtNs: bigint | undefined
  /** Why nothing can be written right now; undefined when all is well. */
  readonly failure: string | undefined
  /** What will make writing fail; undefined while nothing is in sight. */
  readonly warning: string | undefined
  /** On the disk of the spool; undefined where the system does not say. */
  readonly diskFreeBytes: number | undefined
  readonly quarantinedFrames: number
  /** Acknowledged records that were set aside as damaged since the start. */
  readonly quarantinedRecords: number
  /** Records an earlier process left on disk; an estimate while a large backlog is not read back yet. */
  readonly recoveredRecords: number
  /** The same by tenant. */
  readonly byTenant: Readonly<Record<'backlog' | 'quarantined' | 'recovered', RecordsByTenant>>
}

interface ActiveSegment {
  readonly file: SpoolFile
  readonly path: string
  readonly batchId: string
  bytes: number
  unfoldedBytes: number
  readonly records: TenantCounter
  firstReceivedAtNs: bigint
  lastReceivedAtNs: bigint
  /** When its first frame came, by the monotonic clock. */
  startedAtMs: number
}

interface Waiting {
  readonly request: SpoolRequest
  resolve(): void
  reject(error: Error): void
}

const noIds = new Uint8Array(0)
const dayNs = 86_400_000_000_000n
/** How long a disk that is full, or well again, goes unnoticed at most. Milliseconds. */
const lookEveryMs = 1_000
/** One fdatasync carries at most this many bytes, so that the first of a long queue does not wait for the last. */
const maxGroupBytes = 8 * 1024 * 1024

/**
 * Opens the spool of a directory and takes stock of what an earlier process left.
 * The caller holds the directory's lock.
 * @throws UserError if the directory can't be created or written, or holds segments of a newer release
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { directory, fs = nodeFs, log = () => {} } = options
  const segmentBytes = options.segmentBytes ?? 32 * 1024 * 1024
  const segmentUnfoldedBytes = options.segmentUnfoldedBytes ?? 256 * 1024 * 1024
  const sealAfterMs = options.sealAfterMs ?? 1_000
  const maxPendingBytes = options.maxPendingBytes ?? 64 * 1024 * 1024

  const recovered = await takeStockOf(fs, directory, log)
  const sealed: SealedSegment[] = recovered.segments.filter((segment) => segment.records > 0)
  /** Segments whose records are not counted yet, with what is assumed. */
  const estimated = new Set<SealedSegment>(recovered.segments.filter((segment) => segment.estimated))
  const recognition = await openRecognition(
    fs,
    directory,
    log,
    options.clocks ?? { wall: Date.now, monotonic: () => performance.now() },
  )
  for (const { path: file, requests } of recovered.segments) {
    for (const { requestHash, ids } of requests) recognition.note(file, requestHash, ids)
  }
  const recoveredRequests = recovered.segments.flatMap((segment) => segment.requests)
  let nextSeq = recovered.nextSeq
  let backlogBytes = sum(sealed, (segment) => segment.bytes)
  const recoveredRecords = createTenantCounter()
  const backlogRecords = createTenantCounter()
  for (const { recordsByTenant } of sealed) {
    recoveredRecords.addAll(recordsByTenant)
    backlogRecords.addAll(recordsByTenant)
  }
  let { quarantinedFrames } = recovered
  const quarantinedRecords = createTenantCounter()
  /** A write to the active segment failed: nothing more goes into it. */
  let suspect = false
  const inFlight = new Set<SealedSegment>()

  let waiting: Waiting[] = []
  let waitingBytes = 0
  let committing: Promise<void> | undefined
  let active = await createSegment(fs, directory, nextSeq)
  let failure: string | undefined
  let closed = false
  let taker: ((segment: SealedSegment | undefined) => void) | undefined
  let sealTimer: NodeJS.Timeout | undefined
  const room = await watchRoom({
    fs,
    directory,
    maxBytes: options.maxBytes,
    heldBytes: () => backlogBytes + waitingBytes,
    log,
  })
  const lookAfterDisk = setInterval(() => {
    void room.look().then(() => {
      if (failure !== undefined && !closed) probe()
    })
    adopting ??= adoptRedriven()
      .catch((error: Error) => log(`spool: what is to be stored again cannot be taken: ${error.message}`))
      .finally(() => {
        adopting = undefined
      })
  }, lookEveryMs).unref()
  let adopting: Promise<void> | undefined

  // Segments that held nothing: their names were the floor of the sequence, which the new active one is now.
  for (const empty of recovered.segments) {
    if (empty.records === 0 && empty.path !== active.path) await fs.unlink(empty.path)
  }

  function append(request: SpoolRequest): Promise<void> {
    if (closed) return Promise.reject(new SpoolUnavailableError('the gateway is stopping'))
    if (waitingBytes + request.payload.length > maxPendingBytes && waiting.length > 0) {
      return Promise.reject(new SpoolUnavailableError('more is arriving than the disk can take'))
    }
    const refusal = room.refusal(request.payload.length)
    if (refusal !== undefined) return Promise.reject(new SpoolUnavailableError(refusal))
    return new Promise((resolve, reject) => {
      waiting.push({ request, resolve, reject })
      waitingBytes += request.payload.length
      kick()
    })
  }

  function kick(): void {
    committing ??= commitAll().finally(committed)
  }

  function committed(): void {
    committing = undefined
    if (waiting.length > 0) kick()
    // A taker that came while this was ending found a segment that is due, and could not seal it.
    else if (taker !== undefined && !closed) armSealTimer()
  }

  async function commitAll(): Promise<void> {
    // Let the requests of this turn of the event loop gather: they share the first fdatasync.
    await new Promise(setImmediate)
    while (waiting.length > 0) {
      const group = takeGroup()
      try {
        if (suspect) await abandonSegment()
        await rotateIfNeeded(group)
        await commit(group)
        wellAgain()
        for (const { resolve } of group) resolve()
      } catch (error) {
        report(error as Error)
        suspect = true
        // At once, so that what was acknowledged is stored soon; else before the next commit.
        await abandonSegment().catch(report)
        const reason = new SpoolUnavailableError(`the spool cannot be written: ${(error as Error).message}`, error)
        for (const { reject } of group) reject(reason)
      }
    }
    if (taker !== undefined) armSealTimer()
  }

  /** The next requests in order of arrival: one receive day, one group's worth of bytes, no more than a segment unfolds to. */
  function takeGroup(): Waiting[] {
    const day = (waiting[0] as Waiting).request.receivedAtNs / dayNs
    let bytes = 0
    let unfoldedBytes = 0
    let count = 0
    for (const { request } of waiting) {
      unfoldedBytes += request.unfoldedBytes ?? 0
      const full = bytes + request.payload.length > maxGroupBytes || unfoldedBytes > segmentUnfoldedBytes
      if (count > 0 && (full || request.receivedAtNs / dayNs !== day)) break
      bytes += request.payload.length
      count++
    }
    const group = waiting.slice(0, count)
    waiting = waiting.slice(count)
    waitingBytes -= bytes
    return group
  }

  async function commit(group: readonly Waiting[]): Promise<void> {
    const parts: Uint8Array[] = []
    let bytes = 0
    let records = 0
    for (const { request } of group) {
      const header = encodeFrameHeader(request, nextSeq + BigInt(records), active.batchId)
      parts.push(header, request.payload)
      bytes += header.length + request.payload.length
      records += request.records
    }
    await writeAll(active.file, parts, active.bytes)
    await active.file.datasync()
    if (active.bytes === 0) {
      const [{ request }] = group as [Waiting]
      active.firstReceivedAtNs = request.receivedAtNs
      active.lastReceivedAtNs = request.receivedAtNs
      active.startedAtMs = performance.now()
    }
    // The wall clock may step back, and the look-up after an uncertain insert goes by these bounds.
    for (const { request } of group) {
      if (request.receivedAtNs < active.firstReceivedAtNs) active.firstReceivedAtNs = request.receivedAtNs
      if (request.receivedAtNs > active.lastReceivedAtNs) active.lastReceivedAtNs = request.receivedAtNs
    }
    for (const { request } of group) {
      recognition.note(active.path, request.requestHash, request.ids ?? noIds)
      active.records.add(request.tenant, request.records)
      backlogRecords.add(request.tenant, request.records)
    }
    room.wrote(bytes)
    active.bytes += bytes
    active.unfoldedBytes += unfoldedOf(group)
    nextSeq += BigInt(records)
    backlogBytes += bytes
  }

  async function rotateIfNeeded(group: readonly Waiting[]): Promise<void> {
    const day = (group[0] as Waiting).request.receivedAtNs / dayNs
    if (active.bytes === 0) return
    const full = active.bytes >= segmentBytes || active.unfoldedBytes + unfoldedOf(group) > segmentUnfoldedBytes
    if (full || active.firstReceivedAtNs / dayNs !== day || sealIsDue()) await seal()
  }

  function sealIsDue(): boolean {
    return active.bytes > 0 && taker !== undefined && performance.now() - active.startedAtMs >= sealAfterMs
  }

  async function seal(): Promise<void> {
    if (suspect) return abandonSegment()
    const next = await createSegment(fs, directory, nextSeq)
    await active.file.close().catch(() => {}) // everything in it was synced
    const segment = sealedFrom(active, false)
    active = next
    offer(segment)
  }

  /** Everything in the active segment follows on its first record, up to the next number to be given. */
  function sealedFrom(from: ActiveSegment, recovered: boolean): SealedSegment {
    const { path: file, batchId, bytes, firstReceivedAtNs, lastReceivedAtNs } = from
    const { total: records, byTenant: recordsByTenant } = from.records
    const ranges: SeqRange[] = [[nextSeq - BigInt(records), nextSeq]]
    return {
      path: file,
      batchId,
      bytes,
      records,
      recordsByTenant,
      firstReceivedAtNs,
      lastReceivedAtNs,
      recovered,
      ranges,
    }
  }

  function offer(segment: SealedSegment): void {
    if (taker === undefined) sealed.push(segment)
    else {
      const take = taker
      taker = undefined
      inFlight.add(segment)
      take(segment)
    }
  }

  /**
   * After a failed write or fdatasync the file is not trusted again: Linux may have dropped the pages, and a second
   * fdatasync would succeed without them. What was acknowledged before stays and is stored; the rest is cut off.
   */
  async function abandonSegment(): Promise<void> {
    await cutOff(active)
    const { file: handle } = active
    // As if it were an earlier process's: the writer looks it up before it inserts it.
    const segment = sealedFrom(active, true)
    active = await createSegment(fs, directory, nextSeq)
    suspect = false
    await handle.close().catch(() => {})
    if (segment.bytes > 0) offer(segment)
  }

  function report({ message }: Error): void {
    if (failure !== message) log(`spool: ${message}`)
    failure = message
  }

  function wellAgain(): void {
    if (failure !== undefined) log('spool: it can be written again')
    failure = undefined
  }

  /** A load balancer sends nothing while we are not ready: nothing but this would tell that the disk is well again. */
  function probe(): void {
    if (committing !== undefined) return
    committing = tryDisk().then(wellAgain, report).finally(committed)
  }

  async function tryDisk(): Promise<void> {
    if (suspect) await abandonSegment()
    const file = path.join(directory, `probe${unfinished}`)
    await writeDurably(fs, file, [Buffer.alloc(4_096)])
    await fs.unlink(file)
  }

  /** Refused requests must not be stored later, not after a crash either: their clients send them again. */
  async function cutOff({ file, path: name, bytes }: ActiveSegment): Promise<void> {
    try {
      await file.truncate(bytes)
      await file.datasync()
    } catch {
      const content = await readWhole(fs, name)
      if (content.length < bytes) throw new Error(`${path.basename(name)} is shorter than what was acknowledged`)
      await replaceFile(fs, name, [content.subarray(0, bytes)])
    }
  }

  function armSealTimer(afterMs = Math.max(0, sealAfterMs - (performance.now() - active.startedAtMs))): void {
    if (sealTimer !== undefined || active.bytes === 0) return
    sealTimer = setTimeout(() => {
      sealTimer = undefined
      if (!closed && sealIsDue()) sealNow()
      else if (!closed && taker !== undefined) armSealTimer()
    }, afterMs + 1)
  }

  /** Seals between two commits. */
  function sealNow(): void {
    if (committing !== undefined) return // what is under way arms the timer when it ends
    committing = seal()
      .catch((error: Error) => {
        report(error)
        // Without another request nothing else would try again.
        if (!closed) armSealTimer(sealAfterMs)
      })
      .finally(committed)
  }

  function nextSealed(): Promise<SealedSegment | undefined> {
    if (closed) return Promise.resolve(undefined)
    const segment = sealed.shift()
    if (segment !== undefined) {
      inFlight.add(segment)
      return Promise.resolve(segment)
    }
    return new Promise((resolve) => {
      taker = resolve
      if (sealIsDue()) sealNow()
      else armSealTimer()
    })
  }

  async function remove(segment: SealedSegment): Promise<void> {
    await recognition.keep(segment.path)
    await fs.unlink(segment.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    inFlight.delete(segment)
    backlogBytes -= segment.bytes
    backlogRecords.takeAll(segment.recordsByTenant)
  }

  /** One at a time, so that no more than one segment is in memory. */
  let rechecking: Promise<unknown> = Promise.resolve()
  function recheck(segment: SealedSegment): Promise<SealedSegment> {
    const checked = rechecking.then(() => readBack(segment))
    rechecking = checked.catch(() => {})
    return checked
  }

  async function readBack(segment: SealedSegment): Promise<SealedSegment> {
    const checked = await recoverSegment(fs, segment.path, path.join(directory, quarantineDirectory), log, {})
    inFlight.delete(segment)
    inFlight.add(checked)
    backlogBytes += checked.bytes - segment.bytes
    backlogRecords.addAll(checked.recordsByTenant)
    backlogRecords.takeAll(segment.recordsByTenant)
    quarantinedFrames += checked.quarantinedFrames
    if (estimated.delete(segment)) {
      recoveredRecords.addAll(checked.recordsByTenant)
      recoveredRecords.addAll(checked.quarantinedByTenant)
      recoveredRecords.takeAll(segment.recordsByTenant)
      quarantinedRecords.addAll(checked.quarantinedByTenant)
    } else {
      quarantinedRecords.addAll(segment.recordsByTenant)
      quarantinedRecords.takeAll(checked.recordsByTenant)
    }
    return checked
  }

  async function framesOf(segment: SealedSegment): Promise<readonly FoundFrame[]> {
    return scanSegment(await readWhole(fs, segment.path)).frames
  }

  async function setAside(
    segment: SealedSegment,
    refused: readonly RefusedFrame[],
    left: readonly FoundFrame[],
  ): Promise<SealedSegment> {
    const rest = await takeOutRefused(fs, segment, path.join(directory, quarantineDirectory), refused, left, log)
    inFlight.delete(segment)
    inFlight.add(rest)
    backlogBytes += rest.bytes - segment.bytes
    backlogRecords.addAll(rest.recordsByTenant)
    backlogRecords.takeAll(segment.recordsByTenant)
    quarantinedFrames += refused.length
    for (const { frame } of refused) quarantinedRecords.add(frame.tenant, frame.records)
    return rest
  }

  async function postpone(segment: SealedSegment): Promise<boolean> {
    // Those who wait may be in the active segment, which nobody asks for while every inserter is busy.
    if (sealed.length === 0 && active.bytes > 0) {
      while (committing !== undefined) await committing
      if (active.bytes > 0 && !closed) sealNow()
      await committing
    }
    if (sealed.length === 0 || closed) return false
    inFlight.delete(segment)
    // What was tried is uncertain: it is looked up before the next insert. (One that is estimated is recovered already.)
    sealed.push(segment.recovered ? segment : { ...segment, recovered: true })
    return true
  }

  /**
   * Frames that were set aside and are to be tried again: `agnes spool redrive` moved them here. They come in as they
   * were, under their batch and sequence, so that the look-up finds any of them that is stored already.
   */
  async function adoptRedriven(): Promise<void> {
    const from = path.join(directory, redriveDirectory)
    const names = await fs.list(from).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return []
      throw error
    })
    const taken = new Set([active, ...sealed, ...inFlight].map((segment) => path.basename(segment.path)))
    for (const name of names) {
      const segmentName = segmentOfRefused(name)
      // The segment they came from may be there still.
      if (segmentName === undefined || taken.has(segmentName) || closed) continue
      const file = path.join(directory, segmentName)
      await fs.rename(path.join(from, name), file)
      await fs.syncDirectory(directory)
      await fs.syncDirectory(from)
      const segment = await recoverSegment(fs, file, path.join(directory, quarantineDirectory), log, {})
      log(`spool: ${segment.records} records that were set aside are tried again`)
      backlogBytes += segment.bytes
      backlogRecords.addAll(segment.recordsByTenant)
      recoveredRecords.addAll(segment.recordsByTenant)
      offer(segment)
    }
  }

  function oldestReceivedAtNs(): bigint | undefined {
    let oldest: bigint | undefined
    for (const { bytes, firstReceivedAtNs } of [active, ...sealed, ...inFlight]) {
      if (bytes > 0 && (oldest === undefined || firstReceivedAtNs < oldest)) oldest = firstReceivedAtNs
    }
    return oldest
  }

  async function close(): Promise<void> {
    if (closed) return
    closed = true
    clearTimeout(sealTimer)
    clearInterval(lookAfterDisk)
    while (committing !== undefined) await committing
    await adopting
    taker?.(undefined)
    taker = undefined
    if (suspect) await abandonSegment().catch(report)
    await active.file.close().catch(() => {})
  }

  return {
    append,
    nextSealed,
    remove,
    recheck,
    framesOf,
    setAside,
    postpone,
    recoveredHashes: [...recognition.hashes, ...recoveredRequests.map(({ requestHash }) => requestHash)],
    recoveredIds: [...recognition.ids, ...recoveredRequests.map(({ ids }) => ids)],
    stats: () => ({
      backlogBytes,
      backlogRecords: backlogRecords.total,
      backlogSegments: sealed.length + inFlight.size + (active.bytes > 0 ? 1 : 0),
      oldestReceivedAtNs: oldestReceivedAtNs(),
      failure: failure ?? room.refusal(0),
      warning: room.warning(),
      diskFreeBytes: room.freeBytes(),
      quarantinedFrames,
      quarantinedRecords: quarantinedRecords.total,
      recoveredRecords: recoveredRecords.total,
      byTenant: {
        backlog: backlogRecords.byTenant,
        quarantined: quarantinedRecords.byTenant,
        recovered: recoveredRecords.byTenant,
      },
    }),
    close,
  }
}

async function takeStockOf(fs: SpoolFs, directory: string, log: (line: string) => void): Promise<Stock> {
  try {
    await makeDurableDirectory(fs, directory)
    return await takeStock(fs, directory, log)
  } catch (error) {
    if (error instanceof UserError) throw error
    throw new UserError(`cannot use the spool directory ${directory}: ${(error as Error).message}`, {
      code: 'spool_directory',
      hint: 'make it writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
}

async function createSegment(fs: SpoolFs, directory: string, firstSeq: bigint): Promise<ActiveSegment> {
  const file = segmentPath(directory, firstSeq)
  // May be there: after a start without traffic, or a failed first write, the name stands without a valid frame.
  const handle = await fs.open(file, 'create')
  try {
    await fs.syncDirectory(directory)
  } catch (error) {
    await handle.close().catch(() => {})
    throw error
  }
  return {
    file: handle,
    path: file,
    batchId: uuidV7(),
    bytes: 0,
    unfoldedBytes: 0,
    records: createTenantCounter(),
    firstReceivedAtNs: 0n,
    lastReceivedAtNs: 0n,
    startedAtMs: 0,
  }
}

/** RFC 9562, section 5.7: 48 bits of milliseconds, then random bits. */
function uuidV7(): string {
  const bytes = randomFillSync(Buffer.alloc(16))
  bytes.writeUIntBE(Date.now(), 0, 6)
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function unfoldedOf(group: readonly Waiting[]): number {
  return sum(group, ({ request }) => request.unfoldedBytes ?? 0)
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0)
}
