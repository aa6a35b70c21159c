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
import { constants, type FileHandle, mkdir, open, readdir, readFile, unlink } from 'node:fs/promises'
import path from 'node:path'
import { UserError } from '@agnes/config'
import { encodeFrameHeader } from './frame.ts'
import { type RecoveredSegment, recoverSegment, replaceFile } from './recovery.ts'
import { firstSeqOf, segmentPath } from './segment-file.ts'

export interface SpoolOptions {
  /** Created with mode 0700 if missing. */
  readonly directory: string
  /** A segment is sealed when it is this large. */
  readonly segmentBytes?: number
  /** … or this old while the writer has nothing else to do. Milliseconds. */
  readonly sealAfterMs?: number
  /** Requests that wait for their fdatasync may hold this many bytes; more are refused. */
  readonly maxPendingBytes?: number
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
  /** Insert-ready bytes (layout.ts). They must not change until the promise settles. */
  readonly payload: Uint8Array
}

/** A segment that takes no more frames. */
export interface SealedSegment {
  readonly path: string
  readonly batchId: string
  readonly bytes: number
  readonly records: number
  readonly firstReceivedAtNs: bigint
  readonly lastReceivedAtNs: bigint
  /** It was there when this process started: an earlier one may have stored it already. */
  readonly recovered: boolean
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
  /** Request hashes of everything that was on disk at the start. */
  readonly recoveredHashes: readonly Uint8Array[]
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
  readonly quarantinedFrames: number
  /** Acknowledged records that were set aside as damaged since the start. */
  readonly quarantinedRecords: number
  /** Records an earlier process left on disk. */
  readonly recoveredRecords: number
}

interface ActiveSegment {
  readonly file: FileHandle
  readonly path: string
  readonly batchId: string
  bytes: number
  records: number
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

const dayNs = 86_400_000_000_000n
/** One fdatasync carries at most this many bytes, so that the first of a long queue does not wait for the last. */
const maxGroupBytes = 8 * 1024 * 1024

/**
 * Opens the spool of a directory and takes stock of what an earlier process left.
 * The caller holds the directory's lock.
 * @throws UserError if the directory can't be created or written
 */
export async function openSpool(options: SpoolOptions): Promise<Spool> {
  const { directory, log = () => {} } = options
  const segmentBytes = options.segmentBytes ?? 32 * 1024 * 1024
  const sealAfterMs = options.sealAfterMs ?? 1_000
  const maxPendingBytes = options.maxPendingBytes ?? 64 * 1024 * 1024

  const recovered = await takeStock(directory, log)
  const sealed: SealedSegment[] = recovered.segments.filter((segment) => segment.records > 0)
  const recoveredHashes = recovered.segments.flatMap((segment) => segment.requestHashes)
  let nextSeq = recovered.nextSeq
  let backlogBytes = sum(sealed, (segment) => segment.bytes)
  const recoveredRecords = sum(sealed, (segment) => segment.records)
  let backlogRecords = recoveredRecords
  let { quarantinedFrames } = recovered
  let quarantinedRecords = 0
  /** A write to the active segment failed: nothing more goes into it. */
  let suspect = false
  const inFlight = new Set<SealedSegment>()

  let waiting: Waiting[] = []
  let waitingBytes = 0
  let committing: Promise<void> | undefined
  let active = await createSegment(directory, nextSeq)
  let failure: string | undefined
  let closed = false
  let taker: ((segment: SealedSegment | undefined) => void) | undefined
  let sealTimer: NodeJS.Timeout | undefined

  // Segments that held nothing: their names were the floor of the sequence, which the new active one is now.
  for (const empty of recovered.segments) {
    if (empty.records === 0 && empty.path !== active.path) await unlink(empty.path)
  }

  function append(request: SpoolRequest): Promise<void> {
    if (closed) return Promise.reject(new SpoolUnavailableError('the gateway is stopping'))
    if (waitingBytes + request.payload.length > maxPendingBytes && waiting.length > 0) {
      return Promise.reject(new SpoolUnavailableError('more is arriving than the disk can take'))
    }
    return new Promise((resolve, reject) => {
      waiting.push({ request, resolve, reject })
      waitingBytes += request.payload.length
      kick()
    })
  }

  function kick(): void {
    committing ??= commitAll().finally(() => {
      committing = undefined
      if (waiting.length > 0) kick()
    })
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
        failure = undefined
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

  /** The next requests in order of arrival: one receive day, one group's worth of bytes. */
  function takeGroup(): Waiting[] {
    const day = (waiting[0] as Waiting).request.receivedAtNs / dayNs
    let bytes = 0
    let count = 0
    for (const { request } of waiting) {
      if (count > 0 && (bytes + request.payload.length > maxGroupBytes || request.receivedAtNs / dayNs !== day)) break
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
      const header = encodeFrameHeader({ ...request, seq: nextSeq + BigInt(records), batchId: active.batchId })
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
    active.bytes += bytes
    active.records += records
    nextSeq += BigInt(records)
    backlogBytes += bytes
    backlogRecords += records
  }

  async function rotateIfNeeded(group: readonly Waiting[]): Promise<void> {
    const day = (group[0] as Waiting).request.receivedAtNs / dayNs
    if (active.bytes === 0) return
    if (active.bytes >= segmentBytes || active.firstReceivedAtNs / dayNs !== day || sealIsDue()) await seal()
  }

  function sealIsDue(): boolean {
    return active.bytes > 0 && taker !== undefined && performance.now() - active.startedAtMs >= sealAfterMs
  }

  async function seal(): Promise<void> {
    if (suspect) return abandonSegment()
    const next = await createSegment(directory, nextSeq)
    await active.file.close()
    const { path: file, batchId, bytes, records, firstReceivedAtNs, lastReceivedAtNs } = active
    active = next
    offer({ path: file, batchId, bytes, records, firstReceivedAtNs, lastReceivedAtNs, recovered: false })
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
    const { file: handle, path: file, batchId, bytes, records, firstReceivedAtNs, lastReceivedAtNs } = active
    active = await createSegment(directory, nextSeq)
    suspect = false
    await handle.close().catch(() => {})
    // As if it were an earlier process's: the writer looks it up before it inserts it.
    if (bytes > 0) offer({ path: file, batchId, bytes, records, firstReceivedAtNs, lastReceivedAtNs, recovered: true })
  }

  function report({ message }: Error): void {
    if (failure !== message) log(`spool: ${message}`)
    failure = message
  }

  /** Refused requests must not be stored later: their clients send them again. */
  async function cutOff({ file, path: name, bytes }: ActiveSegment): Promise<void> {
    try {
      await file.truncate(bytes)
    } catch {
      const content = await readFile(name)
      if (content.length < bytes) throw new Error(`${path.basename(name)} is shorter than what was acknowledged`)
      await replaceFile(name, [content.subarray(0, bytes)])
    }
  }

  function armSealTimer(): void {
    if (sealTimer !== undefined || active.bytes === 0) return
    const age = performance.now() - active.startedAtMs
    sealTimer = setTimeout(
      () => {
        sealTimer = undefined
        if (!closed && sealIsDue()) sealNow()
        else if (!closed && taker !== undefined) armSealTimer()
      },
      Math.max(0, sealAfterMs - age) + 1,
    )
  }

  /** Seals between two commits. */
  function sealNow(): void {
    if (committing !== undefined) return // the commit under way ends with rotateIfNeeded or arms the timer again
    committing = seal()
      .catch((error: Error) => {
        failure = error.message
        log(`spool: cannot start a new segment: ${error.message}`)
      })
      .finally(() => {
        committing = undefined
        if (waiting.length > 0) kick()
      })
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
    await unlink(segment.path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    inFlight.delete(segment)
    backlogBytes -= segment.bytes
    backlogRecords -= segment.records
  }

  async function recheck(segment: SealedSegment): Promise<SealedSegment> {
    const checked = await recoverSegment(segment.path, path.join(directory, 'quarantine'), log)
    inFlight.delete(segment)
    inFlight.add(checked)
    backlogBytes += checked.bytes - segment.bytes
    backlogRecords += checked.records - segment.records
    quarantinedFrames += checked.quarantinedFrames
    quarantinedRecords += segment.records - checked.records
    return checked
  }

  function oldestReceivedAtNs(): bigint | undefined {
    const waiting = sealed[0] ?? (active.bytes > 0 ? active : undefined)
    let oldest = waiting?.firstReceivedAtNs
    for (const { firstReceivedAtNs } of inFlight) {
      if (oldest === undefined || firstReceivedAtNs < oldest) oldest = firstReceivedAtNs
    }
    return oldest
  }

  async function close(): Promise<void> {
    if (closed) return
    closed = true
    clearTimeout(sealTimer)
    while (committing !== undefined) await committing
    taker?.(undefined)
    taker = undefined
    await active.file.close().catch(() => {})
  }

  return {
    append,
    nextSealed,
    remove,
    recheck,
    recoveredHashes,
    stats: () => ({
      backlogBytes,
      backlogRecords,
      backlogSegments: sealed.length + inFlight.size + (active.bytes > 0 ? 1 : 0),
      oldestReceivedAtNs: oldestReceivedAtNs(),
      failure,
      quarantinedFrames,
      quarantinedRecords,
      recoveredRecords,
    }),
    close,
  }
}

interface Stock {
  readonly segments: readonly RecoveredSegment[]
  readonly nextSeq: bigint
  readonly quarantinedFrames: number
}

async function takeStock(directory: string, log: (line: string) => void): Promise<Stock> {
  let names: string[]
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    names = await readdir(directory)
  } catch (error) {
    throw new UserError(`cannot use the spool directory ${directory}: ${(error as Error).message}`, {
      code: 'spool_directory',
      hint: 'make it writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
  const found = names
    .map((name) => ({ file: path.join(directory, name), firstSeq: firstSeqOf(name) }))
    .filter((entry): entry is { file: string; firstSeq: bigint } => entry.firstSeq !== undefined)
    .sort((a, b) => (a.firstSeq < b.firstSeq ? -1 : 1))
  const segments: RecoveredSegment[] = []
  let nextSeq = 1n
  let quarantinedFrames = 0
  for (const { file, firstSeq } of found) {
    const segment = await recoverSegment(file, path.join(directory, 'quarantine'), log)
    segments.push(segment)
    quarantinedFrames += segment.quarantinedFrames
    const after = segment.nextSeq ?? firstSeq
    if (after > nextSeq) nextSeq = after
  }
  return { segments, nextSeq, quarantinedFrames }
}

async function createSegment(directory: string, firstSeq: bigint): Promise<ActiveSegment> {
  const file = segmentPath(directory, firstSeq)
  // Not O_EXCL: after a start without traffic, or a failed first write, the same name stands there without a valid frame.
  const handle = await open(file, constants.O_CREAT | constants.O_TRUNC | constants.O_RDWR, 0o600)
  await syncDirectory(directory)
  return {
    file: handle,
    path: file,
    batchId: uuidV7(),
    bytes: 0,
    records: 0,
    firstReceivedAtNs: 0n,
    lastReceivedAtNs: 0n,
    startedAtMs: 0,
  }
}

/** A file's name is durable only after its directory was synced. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** writev at a position, going on after short writes. */
async function writeAll(file: FileHandle, parts: readonly Uint8Array[], position: number): Promise<void> {
  let rest = parts.slice()
  let at = position
  while (rest.length > 0) {
    // IOV_MAX is 1024 on Linux.
    const { bytesWritten } = await file.writev(rest.slice(0, 1000), at)
    at += bytesWritten
    let left = bytesWritten
    let whole = 0
    while (whole < rest.length && left >= (rest[whole] as Uint8Array).length)
      left -= (rest[whole++] as Uint8Array).length
    rest = rest.slice(whole)
    if (left > 0) rest[0] = (rest[0] as Uint8Array).subarray(left)
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

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0)
}
