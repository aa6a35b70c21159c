/**
 * Transcripts from a directory in Agnes' own layout, `<dir>/<user>/*.jsonl`, looked at again and again: watches of the file
 * system miss what happens on network volumes. A file is taken once it has been still for a moment; one that never is, at
 * least once a minute. What is stored says what is new, so a restart, or a second gateway on the same directory, costs
 * reading and nothing else.
 */
import { createReadStream } from 'node:fs'
import { type FileHandle, open, readdir } from 'node:fs/promises'
import path from 'node:path'
import { prefixesAt, type SessionKey } from '@agnes/clickhouse'
import { type Log, UserError } from '@agnes/config'
import type { UploadAudit } from './audit.ts'
import { sessionName } from './names.ts'
import type { SessionStore, UploadResult } from './upload.ts'

export interface SessionDirectoryOptions {
  readonly directory: string
  /** Whose sessions they are. */
  readonly tenant: string
  readonly store: SessionStore
  readonly audit: UploadAudit
  readonly onUpload: (result: UploadResult) => void
  readonly log: Log
  /** Milliseconds between two looks. */
  readonly everyMs?: number
  /** A file that did not change for so long is taken. */
  readonly stillMs?: number
  /** One that goes on changing is taken after this. */
  readonly longestMs?: number
}

export interface SessionDirectory {
  /** What keeps files from being taken; undefined while nothing does. */
  failure(): string | undefined
  /** Ends the look that is under way, and the upload. */
  stop(): Promise<void>
}

interface Seen {
  /** Size, time of change and inode: whatever tells one state of the file from another. */
  state: string
  /** When it was first seen in this state, and when it first differed from what was taken. Monotonic milliseconds. */
  sinceMs: number
  pendingMs: number
  /** The state that was taken. */
  taken: string | undefined
}

export function watchSessionDirectory(options: SessionDirectoryOptions): SessionDirectory {
  const { directory, tenant, store, audit, onUpload, log } = options
  const { everyMs = 2_000, stillMs = 2_000, longestMs = 60_000 } = options
  const files = new Map<string, Seen>()
  /** Names that can't be taken are told once. */
  const told = new Set<string>()
  let failure: string | undefined
  let stopped = false
  let timer: NodeJS.Timeout | undefined

  async function look(): Promise<void> {
    const problem = await takeWhatIsDue().then(
      () => undefined,
      (error: Error) => error.message,
    )
    if (problem !== undefined && failure === undefined) log(`gateway: sessions in ${directory}: ${problem}`, 'warn')
    if (problem === undefined && failure !== undefined) log(`gateway: sessions in ${directory} are taken again`, 'info')
    failure = problem
  }

  /** @throws Error if the directory cannot be read, or a file cannot be taken; the others were taken */
  async function takeWhatIsDue(): Promise<void> {
    let problem: Error | undefined
    const present = new Set<string>()
    for (const user of await entriesOf(directory, 'directories')) {
      for (const file of await entriesOf(path.join(directory, user), 'files')) {
        if (stopped) return
        if (!file.endsWith('.jsonl')) continue
        const full = path.join(directory, user, file)
        present.add(full)
        const key = keyOf(user, file, full)
        if (key === undefined) continue
        try {
          await takeIfDue(full, key)
        } catch (error) {
          problem ??= new Error(`${user}/${file}: ${(error as Error).message}`)
        }
      }
    }
    for (const gone of files.keys()) if (!present.has(gone)) files.delete(gone)
    if (problem !== undefined) throw problem
  }

  function keyOf(user: string, file: string, full: string): SessionKey | undefined {
    try {
      return { tenant, ...sessionName(user, file) }
    } catch (error) {
      if (!(error instanceof UserError)) throw error
      if (!told.has(full)) log(`gateway: sessions: ${JSON.stringify(full)} is left out: ${error.message}`, 'warn')
      told.add(full)
      return undefined
    }
  }

  async function takeIfDue(full: string, key: SessionKey): Promise<void> {
    let handle: FileHandle
    try {
      handle = await open(full)
    } catch (error) {
      // It was moved or removed since the directory was read.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    try {
      const { size, mtimeMs, ino } = await handle.stat()
      const state = `${size} ${mtimeMs} ${ino}`
      const now = performance.now()
      const seen = files.get(full) ?? { state: '', sinceMs: now, pendingMs: now, taken: undefined }
      files.set(full, seen)
      if (seen.taken === state) return
      if (seen.state === seen.taken) seen.pendingMs = now
      if (seen.state !== state) Object.assign(seen, { state, sinceMs: now })
      if (now - seen.sinceMs < stillMs && now - seen.pendingMs < longestMs) return
      await take(full, key, size)
      seen.taken = state
      seen.state = state
    } finally {
      await handle.close()
    }
  }

  async function take(full: string, key: SessionKey, size: number): Promise<void> {
    const start = performance.now()
    const versions = await store.versions(key)
    const prefixes = await prefixesAt(
      bytesOf(full, 0, size),
      versions.map(({ bytes }) => bytes),
    )
    const resume = [...prefixes]
      .map(([offset, prefix]) => ({ offset, prefix }))
      .filter((one) => store.versionAt(key, versions, one) !== undefined)
      .sort((a, b) => b.offset - a.offset)[0]
    const upload = await store.begin(key, 'directory', resume)
    for await (const chunk of bytesOf(full, resume?.offset ?? 0, size)) {
      if (stopped) break
      await upload.write(chunk)
    }
    const result = stopped ? await upload.cut() : await upload.end()
    onUpload(result)
    if (result.outcome !== 'unchanged') audit(key, 'directory', result, performance.now() - start)
  }

  async function run(): Promise<void> {
    await look()
    if (!stopped) timer = setTimeout(start, everyMs).unref()
  }
  let running: Promise<void> = Promise.resolve()
  function start(): void {
    running = run()
  }
  start()

  return {
    failure: () => failure,
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}

/** Names in a directory; links are not followed, so nothing outside of it is read. */
async function entriesOf(directory: string, kind: 'files' | 'directories'): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true })
  return entries
    .filter((entry) => (kind === 'files' ? entry.isFile() : entry.isDirectory()) && !entry.name.startsWith('.'))
    .map(({ name }) => name)
}

/** As far as the file went when it was looked at. */
function bytesOf(file: string, start: number, size: number): AsyncIterable<Buffer> | Iterable<Buffer> {
  return start >= size ? [] : createReadStream(file, { start, end: size - 1, highWaterMark: 256 * 1024 })
}
