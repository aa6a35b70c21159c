/**
 * A file system in memory that forgets what was not synced: a page cache over a durable image.
 *
 * A crash keeps any part of what was written since the last fdatasync: all, none, a prefix, or single blocks (512 B or
 * 4 KiB), with zeros where a file grew and its blocks did not arrive. Names that were made, renamed or removed since
 * their directory's sync may be as before. It is meaner than any one real file system, and it is quick.
 */
import path from 'node:path'
import type { DiskSpace, SpoolFile, SpoolFs } from '../../ingest-gateway/src/spool/file-system.ts'

/** A whole number from 0 to below `n`: every choice a run makes comes from here, so a seed repeats it. */
export type Choose = (n: number) => number

type Operation = 'open' | 'writev' | 'datasync' | 'truncate' | 'rename' | 'unlink' | 'syncDirectory'

export interface SimulatedFs {
  readonly fs: SpoolFs
  /** After so many more operations the machine stops: the call under way and all later ones never return. */
  crashAfter(operations: number): void
  /** Settles when it stopped. */
  readonly crashed: Promise<void>
  /** The next call of `operation` fails. A write leaves a part of its bytes behind, a failed fdatasync loses its pages. */
  fail(operation: Operation, code: string): void
  failuresMet(): number
  /** The machine after the power came back: only what is durable is there. */
  restart(): SimulatedFs
}

type PendingContent = { readonly at: number; readonly bytes: Buffer } | { readonly length: number }

interface Inode {
  durable: Buffer
  cached: Buffer
  pending: PendingContent[]
}

type NameChange =
  | { readonly kind: 'link'; readonly name: string; readonly inode: Inode | 'directory' }
  | { readonly kind: 'unlink'; readonly name: string }
  | { readonly kind: 'rename'; readonly from: string; readonly name: string; readonly inode: Inode | 'directory' }

type Names = Map<string, Inode | 'directory'>

/** mulberry32 */
export function chooser(seed: number): Choose {
  let state = seed >>> 0
  return (n) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n
  }
}

export function simulateFs(choose: Choose, durable: Names = new Map([['/', 'directory']])): SimulatedFs {
  const names: Names = new Map(durable)
  const changes: NameChange[] = []
  const failures: { operation: Operation; code: string }[] = []
  let left = Number.POSITIVE_INFINITY
  let met = 0
  let stop: () => void = () => {}
  let stopped = false
  const crashed = new Promise<void>((resolve) => {
    stop = resolve
  })

  /** One operation: may fail, may be the one in which the machine stops, with its work done or not. */
  async function operate<T>(operation: Operation | 'read', work: () => T): Promise<T> {
    await new Promise(setImmediate)
    if (stopped || left-- <= 0) {
      if (!stopped && choose(2) === 0) work()
      stopped = true
      stop()
      return new Promise(() => {})
    }
    const planned = failures.findIndex((failure) => failure.operation === operation)
    if (planned >= 0) {
      met++
      const [{ code } = { code: 'EIO' }] = failures.splice(planned, 1)
      throw Object.assign(new Error(`${code}: simulated, ${operation}`), { code })
    }
    return work()
  }

  function inodeOf(name: string): Inode {
    const inode = names.get(name)
    if (inode === undefined || inode === 'directory') {
      throw Object.assign(new Error(`ENOENT: no such file, ${name}`), { code: 'ENOENT' })
    }
    return inode
  }

  function fileOf(inode: Inode): SpoolFile {
    const write = (at: number, bytes: Buffer): void => {
      inode.cached = written(inode.cached, at, bytes)
      inode.pending.push({ at, bytes })
    }
    return {
      async writev(parts, position) {
        const bytes = Buffer.concat(parts)
        try {
          return await operate('writev', () => {
            // Short writes happen; the caller goes on.
            const length = choose(8) === 0 ? 1 + choose(bytes.length) : bytes.length
            write(position, bytes.subarray(0, length))
            return { bytesWritten: length }
          })
        } catch (error) {
          write(position, bytes.subarray(0, choose(bytes.length + 1)))
          throw error
        }
      },
      read: (buffer, offset, length, position) =>
        operate('read', () => ({ bytesRead: inode.cached.copy(buffer, offset, position, position + length) })),
      async datasync() {
        try {
          await operate('datasync', () => {
            inode.durable = inode.cached
            inode.pending = []
          })
        } catch (error) {
          // Linux marks the pages clean all the same: the next fdatasync does not write them.
          inode.durable = afterCrash(inode, choose)
          inode.pending = []
          throw error
        }
      },
      truncate: (length) =>
        operate('truncate', () => {
          inode.cached = Buffer.from(inode.cached.subarray(0, length))
          inode.pending.push({ length })
          // The page that is cut is dirty again, as a whole.
          const page = length - (length % 4096)
          if (page < length) inode.pending.push({ at: page, bytes: inode.cached.subarray(page, length) })
        }),
      stat: () => operate('read', () => ({ size: inode.cached.length })),
      close: () => operate('read', () => {}),
    }
  }

  const fs: SpoolFs = {
    makeDirectory: (directory) =>
      operate('open', () => {
        let first: string | undefined
        for (let name = directory; !names.has(name); name = path.dirname(name)) first = name
        for (let name = directory; first !== undefined; name = path.dirname(name)) {
          names.set(name, 'directory')
          changes.push({ kind: 'link', name, inode: 'directory' })
          if (name === first) break
        }
        return first
      }),
    list: (directory) =>
      operate('read', () =>
        [...names.keys()]
          .filter((name) => name !== '/' && path.dirname(name) === directory)
          .map((n) => path.basename(n)),
      ),
    open: (name, purpose) =>
      operate(purpose === 'create' ? 'open' : 'read', () => {
        if (purpose === 'read') return fileOf(inodeOf(name))
        const existing = names.get(name)
        if (existing !== undefined && existing !== 'directory') {
          existing.cached = Buffer.alloc(0)
          existing.pending.push({ length: 0 })
          return fileOf(existing)
        }
        const inode: Inode = { durable: Buffer.alloc(0), cached: Buffer.alloc(0), pending: [] }
        names.set(name, inode)
        changes.push({ kind: 'link', name, inode })
        return fileOf(inode)
      }),
    openAtStartup(name) {
      const { cached } = inodeOf(name)
      return {
        size: cached.length,
        read: (buffer, position) => cached.copy(buffer, 0, position, position + buffer.length),
        close: () => {},
      }
    },
    rename: (from, to) =>
      operate('rename', () => {
        const inode = inodeOf(from)
        names.delete(from)
        names.set(to, inode)
        changes.push({ kind: 'rename', from, name: to, inode })
      }),
    unlink: (name) =>
      operate('unlink', () => {
        inodeOf(name)
        names.delete(name)
        changes.push({ kind: 'unlink', name })
      }),
    syncDirectory: (directory) =>
      operate('syncDirectory', () => {
        for (const change of changes.filter(({ name }) => path.dirname(name) === directory)) {
          apply(durable, change)
          changes.splice(changes.indexOf(change), 1)
        }
      }),
    space: async (): Promise<DiskSpace> => ({ totalBytes: 2 ** 40, freeBytes: 2 ** 39 }),
  }

  return {
    fs,
    crashed,
    crashAfter: (operations) => {
      left = operations
    },
    fail: (operation, code) => void failures.push({ operation, code }),
    failuresMet: () => met,
    restart() {
      stopped = true
      const inOrder = choose(2) === 0
      const kept = choose(changes.length + 1)
      changes.forEach((change, i) => {
        if (inOrder ? i < kept : choose(2) === 0) apply(durable, change)
      })
      const after: Names = new Map()
      for (const [name, inode] of durable) {
        if (inode === 'directory') after.set(name, inode)
        else {
          const content = afterCrash(inode, choose)
          after.set(name, { durable: content, cached: content, pending: [] })
        }
      }
      // A directory that did not arrive takes with it what was in it.
      for (const name of [...after.keys()]) {
        for (let parent = path.dirname(name); parent !== '/'; parent = path.dirname(parent)) {
          if (!after.has(parent)) after.delete(name)
        }
      }
      return simulateFs(choose, after)
    },
  }
}

function apply(names: Names, change: NameChange): void {
  if (change.kind === 'unlink') names.delete(change.name)
  else names.set(change.name, change.inode)
  if (change.kind === 'rename') names.delete(change.from)
}

/** What of a file is on the disk when the power goes. */
function afterCrash({ durable, pending }: Inode, choose: Choose): Buffer {
  let content = durable
  for (const change of pending) {
    if ('length' in change) {
      if (choose(2) === 0) content = Buffer.from(content.subarray(0, change.length))
      continue
    }
    const { at, bytes } = change
    const block = choose(2) === 0 ? 512 : 4096
    const fate = choose(4)
    const prefix = choose(bytes.length + 1)
    for (let from = 0; from < bytes.length; ) {
      const to = Math.min(bytes.length, from + block - ((at + from) % block))
      const kept = fate === 0 || (fate === 2 && to <= prefix) || (fate === 3 && choose(2) === 0)
      if (kept) content = written(content, at + from, bytes.subarray(from, to))
      // The length arrived, the block did not.
      else if (fate === 3 && choose(3) === 0)
        content = written(content, Math.max(content.length, at + to), Buffer.alloc(0))
      from = to
    }
  }
  return content
}

/** `content` with `bytes` at a place; zeros fill a gap before it. */
function written(content: Buffer, at: number, bytes: Buffer): Buffer {
  const result = Buffer.alloc(Math.max(content.length, at + bytes.length))
  content.copy(result)
  bytes.copy(result, at)
  return result
}
