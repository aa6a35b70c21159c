/**
 * A copy of a spool, for backups: also of one that a gateway is writing to. And a spool made of such a copy.
 *
 * What was acknowledged before the copy began is in it, or in ClickHouse when it ends; so the database is backed up after
 * the spool, never before. What is in both is looked up by its batch when the restored gateway starts, and not stored
 * again.
 */
import path from 'node:path'
import { makeDurableDirectory, nodeFs, readWhole, type SpoolFs, unfinished, writeDurably } from './file-system.ts'
import { firstSeqOf, quarantineDirectory, redriveDirectory, scanSegment, segmentPath } from './segment-file.ts'

export interface CopiedSpool {
  readonly files: number
  readonly bytes: number
  /** Records that wait for ClickHouse, with those that are to be tried again. */
  readonly records: number
  /** Records that were set aside and can still be read. */
  readonly quarantinedRecords: number
}

/** Beside the segments: what requests are recognised by. */
const otherFiles = /^(recognised-[ab]\.journal|request-hash\.key)$/

/**
 * Copies the files of a spool into a directory, which is created; all of it is on disk when this resolves.
 *
 * Frames move while we read: from a segment to `quarantine/`, from there to `redrive/`, and into a segment again; the
 * file they leave goes last. Two rounds in that order see each of them at least once.
 */
export async function copySpool(from: string, to: string, fs: SpoolFs = nodeFs): Promise<CopiedSpool> {
  const copied = { files: 0, bytes: 0, records: 0, quarantinedRecords: 0 }
  const done = new Set<string>()
  await makeDurableDirectory(fs, to)

  async function copyFrames(name: string, mayBeTorn: boolean): Promise<void> {
    if (done.has(name)) return
    const bytes = await contentOf(fs, path.join(from, name))
    if (bytes === undefined) return
    const { frames, damages } = scanSegment(bytes)
    const last = damages[damages.length - 1]
    // A frame that is being written: nobody was told that it is stored.
    await write(name, mayBeTorn && last?.reason === 'torn tail' ? bytes.subarray(0, last.offset) : bytes)
    const records = frames.reduce((total, frame) => total + frame.records, 0)
    if (path.dirname(name) === quarantineDirectory) copied.quarantinedRecords += records
    else copied.records += records
  }

  async function write(name: string, bytes: Buffer): Promise<void> {
    await makeDurableDirectory(fs, path.dirname(path.join(to, name)))
    await writeDurably(fs, path.join(to, name), [bytes])
    done.add(name)
    copied.files++
    copied.bytes += bytes.length
  }

  for (let round = 1; round <= 2; round++) {
    const segments = (await names(fs, from)).filter((name) => firstSeqOf(name) !== undefined)
    const newest = segments[segments.length - 1]
    for (const name of segments) await copyFrames(name, name === newest)
    for (const directory of [quarantineDirectory, redriveDirectory]) {
      for (const name of await names(fs, path.join(from, directory)))
        await copyFrames(path.join(directory, name), false)
    }
  }
  // Last: what a segment that has gone was recognised by is in a journal before it goes.
  for (const name of (await names(fs, from)).filter((file) => otherFiles.test(file))) {
    const bytes = await contentOf(fs, path.join(from, name))
    if (bytes !== undefined) await write(name, bytes)
  }
  for (const directory of new Set(['.', ...[...done].map((name) => path.dirname(name))])) {
    await fs.syncDirectory(path.join(to, directory))
  }
  return copied
}

/** Has a spool that nobody uses give no sequence number below this one: ClickHouse may hold them already. */
export async function raiseSequence(directory: string, nextSeq: bigint): Promise<void> {
  await makeDurableDirectory(nodeFs, directory)
  // A segment of that name or above sets the sequence itself.
  if ((await names(nodeFs, directory)).some((name) => (firstSeqOf(name) ?? 0n) >= nextSeq)) return
  await writeDurably(nodeFs, segmentPath(directory, nextSeq), [])
  await nodeFs.syncDirectory(directory)
}

/** Whether a spool directory has anything in it that a restore would cover up. */
export async function holdsRecords(directory: string): Promise<boolean> {
  const segments = (await names(nodeFs, directory)).filter((name) => firstSeqOf(name) !== undefined)
  for (const name of segments) if ((await contentOf(nodeFs, path.join(directory, name)))?.length) return true
  for (const inside of [quarantineDirectory, redriveDirectory]) {
    if ((await names(nodeFs, path.join(directory, inside))).length > 0) return true
  }
  return false
}

/** undefined if it went while we were looking. */
async function contentOf(fs: SpoolFs, file: string): Promise<Buffer | undefined> {
  try {
    return await readWhole(fs, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Of files that are whole, sorted; none if there is no such directory. */
async function names(fs: SpoolFs, directory: string): Promise<string[]> {
  try {
    return (await fs.list(directory)).filter((name) => !name.endsWith(unfinished)).sort()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
