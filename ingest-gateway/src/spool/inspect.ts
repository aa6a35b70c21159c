/**
 * Looking into a spool directory: while nobody has it open, and beside a running gateway. Reads only; `redrive` moves
 * files, and leaves the rest to the gateway.
 */
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { UserError } from '@agnes/config'
import { makeDurableDirectory, nodeFs } from './file-system.ts'
import type { FrameHeader } from './frame.ts'
import { readRecords, type SpooledRecord } from './read-rows.ts'
import {
  type Damage,
  firstSeqOf,
  quarantineDirectory,
  reasonsName,
  redriveDirectory,
  scanSegment,
} from './segment-file.ts'

/** A file of a spool directory as it is found. */
export interface SpoolFileReport {
  /** Relative to the spool directory. */
  readonly name: string
  /**
   * `segment`: waits for ClickHouse; `refused`: ClickHouse does not take it; `redriven`: will be tried again;
   * `damaged`: bytes that are no whole frame, set aside.
   */
  readonly kind: 'segment' | 'refused' | 'redriven' | 'damaged'
  readonly bytes: number
  readonly frames: readonly FrameHeader[]
  readonly records: number
  /** What does not fit its checksums; of a `damaged` file nothing is expected to. */
  readonly damages: readonly Damage[]
  /** The end of the newest segment is no whole frame: being written, or cut off and never acknowledged. */
  readonly unfinishedBytes: number
  /** Of a refused file: ClickHouse's error by frame. */
  readonly reasons: readonly RefusalReason[]
}

export interface RefusalReason {
  readonly seq: string
  readonly records: number
  readonly tenant: string
  readonly code: string
  readonly type: string
  readonly message: string
}

/** Reads every file and holds its checksums against its bytes. @throws UserError if there is no spool */
export async function inspectSpool(directory: string): Promise<readonly SpoolFileReport[]> {
  const segments = (await names(directory, true)).filter((name) => firstSeqOf(name) !== undefined)
  const newest = segments[segments.length - 1]
  const reports: SpoolFileReport[] = []
  const add = async (name: string, kind: SpoolFileReport['kind']): Promise<void> => {
    const report = await inspect(directory, name, kind, name === newest)
    if (report !== undefined) reports.push(report)
  }
  for (const name of segments) await add(name, 'segment')
  for (const name of await names(path.join(directory, redriveDirectory))) {
    await add(path.join(redriveDirectory, name), 'redriven')
  }
  for (const name of await names(path.join(directory, quarantineDirectory))) {
    if (name.endsWith('.json')) continue
    await add(path.join(quarantineDirectory, name), isRefused(name) ? 'refused' : 'damaged')
  }
  return reports
}

/** The records of a file, frame by frame. @throws UserError if it is not there */
export async function recordsOf(
  directory: string,
  name: string,
): Promise<readonly { readonly frame: FrameHeader; readonly records: readonly SpooledRecord[] }[]> {
  const bytes = await readFile(inside(directory, name)).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${name} cannot be read: ${error.message}`, {
      code: 'spool_file',
      hint: '"agnes spool list" names the files there are',
      cause: error,
    })
  })
  return scanSegment(bytes).frames.map((frame) => {
    const at = frame.offset + frame.headerBytes
    return { frame, records: readRecords(bytes.subarray(at, at + frame.payloadBytes), frame.format) }
  })
}

/**
 * Gives refused frames back to the gateway: it takes them within a second, or when it starts. Their batch and sequence
 * stay what they were, and the gateway looks for them in ClickHouse first, so nothing is stored twice.
 * @param files names in `quarantine/`; none: all that were refused
 * @returns what was moved
 * @throws UserError if a file is not there, or damaged
 */
export async function redrive(directory: string, files: readonly string[]): Promise<readonly string[]> {
  const from = path.join(directory, quarantineDirectory)
  const to = path.join(directory, redriveDirectory)
  const there = (await names(from)).filter(isRefused)
  const wanted = files.length === 0 ? there : files.map((name) => path.basename(name))
  for (const name of wanted) {
    if (!there.includes(name)) {
      throw new UserError(`there is no refused file ${name}`, {
        code: 'spool_file',
        hint: '"agnes spool quarantine" names them; what is damaged cannot be driven again',
      })
    }
    const { damages } = scanSegment(await readFile(path.join(from, name)))
    if (damages.length > 0) {
      throw new UserError(`${name} is damaged: it is left where it is`, {
        code: 'spool_file',
        hint: 'agnes spool verify',
      })
    }
  }
  if (wanted.length > 0) await makeDurableDirectory(nodeFs, to)
  for (const name of wanted) {
    await nodeFs.rename(path.join(from, name), path.join(to, name))
    await nodeFs.syncDirectory(to)
    await nodeFs.unlink(path.join(from, reasonsName(name))).catch(() => {})
  }
  if (wanted.length > 0) await nodeFs.syncDirectory(from)
  return wanted
}

async function inspect(
  directory: string,
  name: string,
  kind: SpoolFileReport['kind'],
  newest: boolean,
): Promise<SpoolFileReport | undefined> {
  let bytes: Buffer
  try {
    bytes = await readFile(path.join(directory, name))
  } catch (error) {
    // Stored and removed while we were looking.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const { frames, damages } = scanSegment(bytes)
  const tail = newest ? damages.find(({ reason }) => reason === 'torn tail') : undefined
  return {
    name,
    kind,
    bytes: bytes.length,
    frames,
    records: frames.reduce((total, { records }) => total + records, 0),
    damages: kind === 'damaged' ? [] : damages.filter((damage) => damage !== tail),
    unfinishedBytes: tail?.length ?? 0,
    reasons: kind === 'refused' ? await reasonsOf(path.join(directory, reasonsName(name))) : [],
  }
}

async function reasonsOf(file: string): Promise<readonly RefusalReason[]> {
  try {
    return (JSON.parse(await readFile(file, 'utf8')) as { frames: readonly RefusalReason[] }).frames
  } catch {
    return [] // the frames are what counts
  }
}

const isRefused = (name: string): boolean => /^refused-[0-9a-f]{16}\.rowbinary$/.test(name)

function inside(directory: string, name: string): string {
  const file = path.resolve(directory, name)
  if (path.relative(directory, file).startsWith('..')) {
    throw new UserError(`${name} is not in the spool`, { code: 'spool_file', hint: 'agnes spool list' })
  }
  return file
}

async function names(directory: string, required = false): Promise<string[]> {
  try {
    return (await readdir(directory)).sort()
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new UserError(`there is no spool in ${directory}: ${(error as Error).message}`, {
      code: 'no_spool',
      hint: 'set AGNES_DATA_DIR to the data directory of the instance',
      cause: error,
    })
  }
}
