/**
 * One file on its way into ClickHouse, line by line, in bounded memory. Nothing about a session is kept here between two
 * uploads: what is stored says what is new, so any gateway can take the next growth.
 *
 * What is stored is a tree: a line is told by the hash of all lines up to it, and names the one before it. An upload walks
 * along it as far as it is equal, and adds the rest. Rows are only ever added, and equal ones count once; so neither a
 * retry, nor a cut, nor two uploads at the same instant can change or mix what is there. Which ends of the tree are
 * versions, and what they are called: versions.ts.
 */
import { Buffer } from 'node:buffer'
import { setImmediate as breathe } from 'node:timers/promises'
import {
  type ClickHouseClient,
  createKeyedHash,
  emptyPrefix,
  fetchSessionFiles,
  fetchStoredLines,
  insertSessionLines,
  type NewLine,
  type SessionFile,
  type SessionKey,
  type SessionSource,
} from '@agnes/clickhouse'
import type { StartRedaction } from '@agnes/redaction'
import { createLineReader, type FileLine } from './lines.ts'
import { redactLine } from './redact-line.ts'
import { longLineBytes, type RedactThreads } from './redact-threads.ts'
import { commitVersion } from './versions.ts'

export interface SessionLimits {
  /** A longer line is not kept; what says so stands in its place. */
  readonly maxLineBytes: number
  /** Of a whole file. */
  readonly maxFileBytes: number
  readonly maxLines: number
  /** Other contents that are kept for one file. */
  readonly maxVersions: number
  /** Lines are stored in pieces of about this size. */
  readonly batchBytes: number
  readonly batchLines: number
}

export const sessionLimits: SessionLimits = {
  maxLineBytes: 8 * 1024 * 1024,
  maxFileBytes: 2 * 1024 * 1024 * 1024,
  maxLines: 2_000_000,
  maxVersions: 100,
  batchBytes: 4 * 1024 * 1024,
  batchLines: 20_000,
}

export interface SessionStoreOptions {
  readonly client: ClickHouseClient
  readonly redaction: StartRedaction
  /** For long lines; without them each is redacted on this thread. */
  readonly threads?: Pick<RedactThreads, 'redact'> | undefined
  /** Hash of the rules, hex, or `off`. */
  readonly redactionRules: string
  /** Secret of this installation: what is stored of a line's hash is made with it. */
  readonly key: Uint8Array
  readonly now?: () => Date
  readonly limits?: Partial<SessionLimits>
}

/** Where in a file an upload goes on, and the proof that the sender's file is the same up to there. */
export interface Resume {
  /** Bytes before it; each line counts with its line break. */
  readonly offset: number
  /** Hash of the lines before it, as prefix-hash.ts says. */
  readonly prefix: Uint8Array
}

export interface UploadResult {
  readonly version: string
  /** Of what was sent, from the beginning of the file. */
  readonly lines: number
  readonly bytes: number
  /** Lines that were not there before. */
  readonly added: number
  /** Of these, the places redacted. */
  readonly redactions: number
  /** Lines too long to be kept. */
  readonly tooLong: number
  /** Behind the last whole line: not kept, to be sent again once it is whole. */
  readonly unfinishedBytes: number
  /** `unchanged`: all of it was there. `diverged`: it differs from what was there, and is a version of its own. */
  readonly outcome: 'created' | 'grown' | 'diverged' | 'unchanged'
}

export interface Upload {
  /** Takes bytes of the file. Resolves when more may come. @throws SessionTooLargeError */
  write(chunk: Buffer): Promise<void>
  /** That was all of it. Resolves when it is on disk. */
  end(): Promise<UploadResult>
  /** The rest will not come: keeps the whole lines that came. */
  cut(): Promise<UploadResult>
  /** Bytes in memory. */
  held(): number
}

export interface SessionStore {
  /**
   * @param resume the file is sent from there; undefined: from its beginning
   * @throws UnknownOffsetError if nothing that is stored ends there
   */
  begin(key: SessionKey, source: SessionSource, resume?: Resume): Promise<Upload>
  /** Versions of a file, longest first. */
  versions(key: SessionKey): Promise<SessionFile[]>
  /** The version that ends there, if one does. */
  versionAt(key: SessionKey, versions: readonly SessionFile[], resume: Resume): SessionFile | undefined
}

/**
 * Records of a transcript are objects with a type and a time. Millions of empty lines come in kilobytes of gzip, and each
 * would cost a row.
 */
const leastLineBytes = 20
const linesBeforeLooked = 10_000

/** The sender believes that something is stored which is not: it sends the whole file instead. */
export class UnknownOffsetError extends Error {}

export class SessionTooLargeError extends Error {}

/** Longer without a pause, and answers to others would wait. */
const longestStretchMs = 5

interface HashedLine extends FileLine {
  /** Keyed, as it is stored. */
  readonly hash: Buffer
}

export function createSessionStore(options: SessionStoreOptions): SessionStore {
  const { client, redaction, threads, redactionRules, key: secret, now = () => new Date() } = options
  const limits = { ...sessionLimits, ...options.limits }

  function versionAt(
    key: SessionKey,
    versions: readonly SessionFile[],
    { offset, prefix }: Resume,
  ): SessionFile | undefined {
    const hash = createKeyedHash(secret, key)(prefix).toString('hex')
    return versions.find(({ bytes, fileHash }) => bytes === offset && fileHash === hash)
  }

  async function begin(key: SessionKey, source: SessionSource, resume?: Resume): Promise<Upload> {
    const known = await fetchSessionFiles(client, key)
    const from = resume === undefined || resume.offset === 0 ? undefined : versionAt(key, known, resume)
    if (resume !== undefined && resume.offset > 0 && from === undefined) {
      throw new UnknownOffsetError(
        `nothing that is stored of this session ends at byte ${resume.offset} with that hash: send the whole file`,
      )
    }
    const keyed = createKeyedHash(secret, key)
    const firstReceivedAt = known[0]?.firstReceivedAt ?? now()
    const longestKnown = Math.max(0, ...known.map(({ lines }) => lines))
    const reader = createLineReader(
      from === undefined ? emptyPrefix : (resume?.prefix ?? emptyPrefix),
      limits.maxLineBytes,
    )
    const path = createPath(from)

    let batch: HashedLine[] = []
    let batchBytes = 0
    let received = { lines: path.start.lines, bytes: path.start.bytes }
    /** Behind the last line that was there before, none can be. */
    let allNew = known.length === 0 || from?.lines === longestKnown
    let added = 0
    let redactions = 0
    let tooLong = 0

    async function take(line: FileLine): Promise<void> {
      const next = { lines: received.lines + 1, bytes: received.bytes + line.bytes }
      if (next.lines > limits.maxLines) {
        throw new SessionTooLargeError(`a session may have ${limits.maxLines} lines: this one has more`)
      }
      if (next.lines > linesBeforeLooked && next.bytes < next.lines * leastLineBytes) {
        throw new SessionTooLargeError(`lines of a session have more than ${leastLineBytes} bytes: these have less`)
      }
      refuseTooLarge(next.bytes)
      received = next
      if (line.content.length + 1 < line.bytes) tooLong++
      batch.push({ ...line, hash: keyed(line.prefix) })
      batchBytes += line.content.length
      if (batchBytes >= limits.batchBytes || batch.length >= limits.batchLines) await flush()
    }

    function refuseTooLarge(bytes: number): void {
      if (bytes <= limits.maxFileBytes) return
      throw new SessionTooLargeError(`a session may have ${limits.maxFileBytes} bytes: this one has more`)
    }

    async function flush(): Promise<void> {
      const lines = batch
      if (lines.length === 0) return
      const stored = await storedOf(lines)
      for (const [i, { hash, bytes }] of lines.slice(0, stored.length).entries()) {
        path.add(hash, bytes, stored[i] ?? 0)
      }
      const fresh = lines.slice(stored.length)
      const redacted = await redactAll(fresh)
      await insertSessionLines(client, {
        key,
        fromLine: path.lines() + 1,
        parent: path.lines() === 0 ? undefined : path.hashAt(path.lines()),
        lines: redacted,
        redactionRules,
        firstReceivedAt,
        receivedAt: now(),
      })
      for (const [i, { hash, bytes }] of fresh.entries()) path.add(hash, bytes, redacted[i]?.redactions.length ?? 0)
      added += fresh.length
      redactions += redacted.reduce((sum, line) => sum + line.redactions.length, 0)
      batch = []
      batchBytes = 0
    }

    /** How many of the lines are stored, and how much was redacted in each of these. */
    async function storedOf(lines: readonly { readonly hash: Buffer }[]): Promise<number[]> {
      const before = path.lines()
      if (allNew || before >= longestKnown) {
        allNew = true
        return []
      }
      const rows = await fetchStoredLines(client, key, {
        firstReceivedAt,
        fromLine: before + 1,
        toLine: before + lines.length,
      })
      const found = new Map(rows.map((row) => [`${row.lineNo} ${row.hash}`, row.redactions]))
      const stored: number[] = []
      for (const [i, { hash }] of lines.entries()) {
        const count = found.get(`${before + i + 1} ${hash.toString('hex')}`)
        if (count === undefined) {
          allNew = true
          break
        }
        stored.push(count)
      }
      return stored
    }

    async function redactAll(lines: readonly HashedLine[]): Promise<NewLine[]> {
      const redactor = redaction(key.tenant)
      const result: NewLine[] = []
      let since = performance.now()
      for (const { content, hash } of lines) {
        const isLong = content.length >= longLineBytes && redactor.candidates(content)?.length !== 0
        const line =
          isLong && threads !== undefined ? await threads.redact(key.tenant, content) : redactLine(redactor, content)
        result.push({ hash, ...line })
        if (performance.now() - since < longestStretchMs) continue
        await breathe()
        since = performance.now()
      }
      return result
    }

    async function finish(unfinishedBytes: number): Promise<UploadResult> {
      await flush()
      const { version, outcome } = await commitVersion({
        client,
        key,
        source,
        path,
        firstReceivedAt,
        receivedAt: now(),
        maxVersions: limits.maxVersions,
      })
      return { version, ...received, added, redactions, tooLong, unfinishedBytes, outcome }
    }

    return {
      async write(chunk) {
        let since = performance.now()
        for (const line of reader.read(chunk)) {
          await take(line)
          if (performance.now() - since < longestStretchMs) continue
          await breathe()
          since = performance.now()
        }
        refuseTooLarge(received.bytes + reader.length())
      },
      async end() {
        const { line, unfinishedBytes } = reader.rest()
        if (line !== undefined) await take(line)
        return finish(unfinishedBytes)
      },
      cut: () => finish(0),
      held: () => batchBytes + reader.held(),
    }
  }

  return { begin, versions: (key) => fetchSessionFiles(client, key), versionAt }
}

/** What a walk along the tree has passed: from a version's end, or the beginning, to the last line that is stored. */
export interface Path {
  /** The version it goes on from; one of no lines at the beginning of a file. */
  readonly start: Pick<SessionFile, 'lines' | 'bytes' | 'redactions'>
  lines(): number
  /** Of a line from the start on, which included; undefined for others. */
  hashAt(lines: number): Buffer | undefined
  /** Size of the file up to this line. */
  bytesAt(lines: number): number
  redactionsAt(lines: number): number
}

interface GrowingPath extends Path {
  add(hash: Buffer, bytes: number, redactions: number): void
}

const hashBytes = 16

function createPath(from: SessionFile | undefined): GrowingPath {
  const start = from ?? { lines: 0, bytes: 0, redactions: 0 }
  const startHash = from === undefined ? undefined : Buffer.from(from.fileHash, 'hex')
  /** 16 bytes a line: there may be millions. */
  let hashes = Buffer.alloc(64 * hashBytes)
  const bytes = [start.bytes]
  const redactions = [start.redactions]
  const lines = (): number => start.lines + bytes.length - 1
  const at = (list: readonly number[], line: number): number => list[line - start.lines] ?? 0
  return {
    start,
    lines,
    hashAt(line) {
      if (line === start.lines) return startHash
      if (line < start.lines || line > lines()) return undefined
      const place = (line - start.lines - 1) * hashBytes
      return hashes.subarray(place, place + hashBytes)
    },
    bytesAt: (line) => at(bytes, line),
    redactionsAt: (line) => at(redactions, line),
    add(hash, length, count) {
      const place = (bytes.length - 1) * hashBytes
      if (place + hashBytes > hashes.length) hashes = Buffer.concat([hashes], hashes.length * 2)
      hashes.set(hash, place)
      bytes.push((bytes.at(-1) ?? 0) + length)
      redactions.push((redactions.at(-1) ?? 0) + count)
    },
  }
}
