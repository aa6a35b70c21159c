/**
 * The file system as the spool sees it: few calls, each with the one meaning that durability rests on. The default is
 * Node's own, handed through; tests put a simulated one in its place that loses what was not synced.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { constants, mkdir, open, readdir, rename, statfs, unlink } from 'node:fs/promises'
import path from 'node:path'

/** An open file. Node's FileHandle is one. */
export interface SpoolFile {
  writev(parts: readonly Uint8Array[], position: number): Promise<{ readonly bytesWritten: number }>
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>
  /** Content and length are on disk. After an error the pages may be gone: a second call proves nothing. */
  datasync(): Promise<unknown>
  truncate(length: number): Promise<unknown>
  stat(): Promise<{ readonly size: number }>
  close(): Promise<unknown>
}

/** A file read without the event loop: at the start nobody waits yet, and ten thousand small reads are 20 times quicker. */
export interface StartupFile {
  readonly size: number
  /** @returns how much there was */
  read(buffer: Uint8Array, position: number): number
  close(): void
}

export interface SpoolFs {
  /** With its parents, mode 0700. @returns the first directory that was missing; undefined if all were there */
  makeDirectory(directory: string): Promise<string | undefined>
  list(directory: string): Promise<string[]>
  /** `create` empties a file that is there. */
  open(file: string, purpose: 'read' | 'create'): Promise<SpoolFile>
  openAtStartup(file: string): StartupFile
  rename(from: string, to: string): Promise<void>
  unlink(file: string): Promise<void>
  /** Names are durable only after this. */
  syncDirectory(directory: string): Promise<void>
  /** Of the file system that holds the directory. */
  space(directory: string): Promise<DiskSpace>
}

export interface DiskSpace {
  readonly totalBytes: number
  /** What this user may still write. */
  readonly freeBytes: number
}

export const nodeFs: SpoolFs = {
  makeDirectory: (directory) => mkdir(directory, { recursive: true, mode: 0o700 }),
  list: (directory) => readdir(directory),
  open: (file, purpose) =>
    purpose === 'read'
      ? open(file, constants.O_RDONLY)
      : open(file, constants.O_CREAT | constants.O_TRUNC | constants.O_RDWR, 0o600),
  openAtStartup(file) {
    const descriptor = openSync(file, constants.O_RDONLY)
    return {
      size: fstatSync(descriptor).size,
      read: (buffer, position) => readSync(descriptor, buffer, 0, buffer.length, position),
      close: () => closeSync(descriptor),
    }
  },
  rename,
  unlink,
  async syncDirectory(directory) {
    const handle = await open(directory, constants.O_RDONLY)
    await handle.sync().finally(() => handle.close())
  },
  async space(directory) {
    const { blocks, bavail, bsize } = await statfs(directory)
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize }
  },
}

/** writev at a position, going on after short writes. */
export async function writeAll(file: SpoolFile, parts: readonly Uint8Array[], position: number): Promise<void> {
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

/** Fills `buffer` from a position on. @returns how much there was */
export async function readInto(file: SpoolFile, buffer: Uint8Array, position: number): Promise<number> {
  let at = 0
  while (at < buffer.length) {
    const { bytesRead } = await file.read(buffer, at, buffer.length - at, position + at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return at
}

export async function readWhole(fs: SpoolFs, file: string): Promise<Buffer> {
  const handle = await fs.open(file, 'read')
  try {
    const { size } = await handle.stat()
    const buffer = Buffer.allocUnsafe(size)
    return buffer.subarray(0, await readInto(handle, buffer, 0))
  } finally {
    await handle.close()
  }
}

/** Content on disk; the name only after syncDirectory. */
export async function writeDurably(fs: SpoolFs, file: string, parts: readonly Uint8Array[]): Promise<void> {
  const handle = await fs.open(file, 'create')
  try {
    await writeAll(handle, parts, 0)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

/** Name of a file that is still being written; what a crash leaves of it counts for nothing. */
export const unfinished = '.tmp'

/** Puts another content in the place of a file: after a crash it is the one or the other, whole. */
export async function replaceFile(fs: SpoolFs, file: string, parts: readonly Uint8Array[]): Promise<void> {
  const temporary = `${file}${unfinished}`
  await writeDurably(fs, temporary, parts)
  await fs.rename(temporary, file)
  await fs.syncDirectory(path.dirname(file))
}

/** Makes a directory whose name survives a power cut, with the names of those of its parents that were missing. */
export async function makeDurableDirectory(fs: SpoolFs, directory: string): Promise<void> {
  const first = await fs.makeDirectory(directory)
  if (first === undefined) return
  for (let made = directory; ; made = path.dirname(made)) {
    // A parent that may be written but not read cannot be synced.
    await fs.syncDirectory(path.dirname(made)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EACCES') throw error
    })
    if (made === first || made === path.dirname(made)) return
  }
}
