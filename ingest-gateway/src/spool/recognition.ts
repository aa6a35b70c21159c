/**
 * What requests and events are recognised by after a restart. While their segment lies in the spool it is in the frames;
 * when the segment is stored and removed it goes into one of two journals, which take turns: the older one is emptied when
 * the newer one is full or old. To lose a journal costs recognition and nothing else, so its errors are only logged.
 */
import path from 'node:path'
import { crc32 } from 'node:zlib'
import type { SpoolFs } from './file-system.ts'

export interface Recognition {
  /** Of what the journals held at the start: 16 bytes a request, oldest first. */
  readonly hashes: readonly Uint8Array[]
  /** 8 bytes an event. */
  readonly ids: readonly Uint8Array[]
  /** A request is on disk in this segment. */
  note(segment: string, requestHash: Uint8Array, ids: Uint8Array): void
  /** The segment is stored and about to be removed. */
  keep(segment: string): Promise<void>
}

const journalNames = ['recognised-a.journal', 'recognised-b.journal'] as const
const magic = 0x314a4741
const blockHeaderBytes = 24
const hashBytes = 16
/** As long as an event or request is recognised at most. */
const windowMs = 600_000
/** Of one journal: half a million events, also where each came in a request of its own (24 bytes). */
const journalBytes = 16 * 1024 * 1024
/** What is kept in memory for segments that wait; more, and the oldest are forgotten. */
const maxWaitingBytes = 16 * 1024 * 1024

/** Of one segment. In one piece each: an array of them took a hundred bytes and more for sixteen. */
interface Waiting {
  readonly hashes: ByteList
  readonly ids: ByteList
}

/** Milliseconds. */
export interface Clocks {
  /** Since 1970; it may jump. */
  readonly wall: () => number
  /** Since whenever; it does not. */
  readonly monotonic: () => number
}

export async function openRecognition(
  fs: SpoolFs,
  directory: string,
  log: (line: string) => void,
  { wall, monotonic }: Clocks,
): Promise<Recognition> {
  const journals = journalNames.map((name) => path.join(directory, name))
  const found = (await Promise.all(journals.map((file) => readJournal(fs, file, wall() - windowMs)))).sort(
    (a, b) => a.startedAtMs - b.startedAtMs,
  )
  let lastStampMs = Math.max(...found.map(({ lastAtMs }) => lastAtMs))
  /** Grows also where the wall clock does not: it tells which journal is the older one. */
  const stamp = (): number => {
    lastStampMs = Math.max(wall(), lastStampMs + 1)
    return lastStampMs
  }
  const waiting = new Map<string, Waiting>()
  let waitingBytes = 0
  const [older, newer] = found as [Journal, Journal]
  /** Goes on behind its last whole block: restarts in a row must not use up both. */
  let active: { readonly file: string; bytes: number } | undefined = newer.bytes === 0 ? undefined : newer
  let activeSinceMs = monotonic()
  let next = journals.indexOf(older.file)
  let keeping: Promise<void> = Promise.resolve()
  let failing = false

  function note(segment: string, requestHash: Uint8Array, ids: Uint8Array): void {
    let entry = waiting.get(segment)
    if (entry === undefined) {
      entry = { hashes: createByteList(), ids: createByteList() }
      waiting.set(segment, entry)
    }
    entry.hashes.push(requestHash)
    entry.ids.push(ids)
    waitingBytes += hashBytes + ids.length
    for (const [name, oldest] of waiting) {
      if (waitingBytes <= maxWaitingBytes || name === segment) break
      waiting.delete(name)
      waitingBytes -= bytesOf(oldest)
    }
  }

  function keep(segment: string): Promise<void> {
    const entry = waiting.get(segment)
    if (entry === undefined) return Promise.resolve()
    waiting.delete(segment)
    waitingBytes -= bytesOf(entry)
    keeping = keeping
      .then(() => append(encodeBlock(entry, stamp())))
      .then(
        () => {
          failing = false
        },
        (error: Error) => {
          if (!failing) log(`spool: what retries are recognised by cannot be kept: ${error.message}`)
          failing = true
          active = undefined
        },
      )
    return keeping
  }

  async function append(block: Uint8Array): Promise<void> {
    if (active !== undefined && (active.bytes >= journalBytes || monotonic() - activeSinceMs > windowMs / 2)) {
      active = undefined
    }
    const begins = active === undefined
    if (active === undefined) {
      active = { file: journals[next] as string, bytes: 0 }
      activeSinceMs = monotonic()
      next = next === 0 ? 1 : 0
    }
    const file = await fs.open(active.file, begins ? 'create' : 'update')
    try {
      const { bytesWritten } = await file.writev([block], active.bytes)
      if (bytesWritten < block.length) throw new Error('the disk took only a part')
      await file.datasync()
    } finally {
      await file.close()
    }
    if (begins) await fs.syncDirectory(directory)
    active.bytes += block.length
  }

  return {
    hashes: found.flatMap(({ hashes }) => hashes),
    ids: found.flatMap(({ ids }) => ids),
    note,
    keep,
  }
}

interface Journal {
  readonly file: string
  /** Of its first block; 0 for none. */
  readonly startedAtMs: number
  /** Of its last block. */
  readonly lastAtMs: number
  /** Of its whole blocks. */
  bytes: number
  readonly hashes: Uint8Array[]
  readonly ids: Uint8Array[]
}

/** The blocks of a journal up to the first that is torn or damaged. */
async function readJournal(fs: SpoolFs, file: string, sinceMs: number): Promise<Journal> {
  const journal = { file, startedAtMs: 0, lastAtMs: 0, bytes: 0, hashes: [] as Uint8Array[], ids: [] as Uint8Array[] }
  const bytes = await contentOf(fs, file)
  for (let at = 0; at + blockHeaderBytes <= bytes.length; ) {
    if (bytes.readUInt32LE(at) !== magic) break
    const hashes = bytes.readUInt32LE(at + 8)
    const idsBytes = bytes.readUInt32LE(at + 12)
    const keptAtMs = bytes.readDoubleLE(at + 16)
    const idsAt = at + blockHeaderBytes + hashes * hashBytes
    const end = idsAt + idsBytes
    if (end > bytes.length || crc32(bytes.subarray(at + 8, end)) !== bytes.readUInt32LE(at + 4)) break
    if (journal.startedAtMs === 0) journal.startedAtMs = keptAtMs
    journal.lastAtMs = keptAtMs
    if (keptAtMs >= sinceMs) {
      for (let i = at + blockHeaderBytes; i < idsAt; i += hashBytes)
        journal.hashes.push(bytes.subarray(i, i + hashBytes))
      journal.ids.push(bytes.subarray(idsAt, end))
    }
    at = end
    journal.bytes = end
  }
  return journal
}

async function contentOf(fs: SpoolFs, file: string): Promise<Buffer> {
  try {
    const source = fs.openAtStartup(file)
    try {
      const bytes = Buffer.alloc(source.size)
      return bytes.subarray(0, source.read(bytes, 0))
    } finally {
      source.close()
    }
  } catch {
    return Buffer.alloc(0) // none yet, or not readable
  }
}

function encodeBlock({ hashes, ids }: Waiting, stampMs: number): Uint8Array {
  const header = Buffer.alloc(blockHeaderBytes)
  header.writeUInt32LE(magic, 0)
  header.writeUInt32LE(hashes.bytes().length / hashBytes, 8)
  header.writeUInt32LE(ids.bytes().length, 12)
  header.writeDoubleLE(stampMs, 16)
  const block = Buffer.concat([header, hashes.bytes(), ids.bytes()])
  block.writeUInt32LE(crc32(block.subarray(8)), 4)
  return block
}

function bytesOf({ hashes, ids }: Waiting): number {
  return hashes.bytes().length + ids.bytes().length
}

interface ByteList {
  push(bytes: Uint8Array): void
  bytes(): Uint8Array
}

function createByteList(): ByteList {
  let memory = new Uint8Array(0)
  let length = 0
  return {
    push(bytes) {
      if (length + bytes.length > memory.length) {
        const larger = new Uint8Array(Math.max(256, 2 * memory.length, length + bytes.length))
        larger.set(memory)
        memory = larger
      }
      memory.set(bytes, length)
      length += bytes.length
    },
    bytes: () => memory.subarray(0, length),
  }
}
