/**
 * Room on the disk: requests are refused while there is still some, so that what was acknowledged can be stored, and
 * ClickHouse on the same disk can merge. Clients that are refused try again; a disk that is full to the last byte serves
 * nobody.
 */
import type { DiskSpace, SpoolFs } from './file-system.ts'

export interface RoomOptions {
  readonly fs: SpoolFs
  readonly directory: string
  /** The spool may grow to this; undefined: to what the disk allows. */
  readonly maxBytes: number | undefined
  /** What the spool holds now. */
  readonly heldBytes: () => number
  readonly log: (line: string) => void
}

export interface Room {
  /** Why so many more bytes may not be written; undefined if they may. */
  refusal(bytes: number): string | undefined
  /** What will lead to refusals; undefined while there is plenty. */
  warning(): string | undefined
  /** undefined where the system does not say. */
  freeBytes(): number | undefined
  /** Counts on from the last look, which may be a second ago. */
  wrote(bytes: number): void
  look(): Promise<void>
}

const gib = 1024 ** 3

/** Refuse below both a share of the disk and a size: a large disk need not keep 50 GiB free, a small one not 1 GiB. */
const keptFree = { share: 0.05, bytes: gib } as const
const warnBelow = { share: 0.2, bytes: 4 * gib } as const
/** Having refused, take again when there is this much more than what is kept. */
const relief = 1.1
const warnFromShareOfMax = 0.8

export async function watchRoom({ fs, directory, maxBytes, heldBytes, log }: RoomOptions): Promise<Room> {
  let space: DiskSpace | undefined
  let free = 0
  let refusing = false
  let warned = false

  const limit = ({ share, bytes }: { share: number; bytes: number }): number =>
    space === undefined ? 0 : Math.min(space.totalBytes * share, bytes)

  async function look(): Promise<void> {
    try {
      space = await fs.space(directory)
    } catch {
      space = undefined // a write will tell what is wrong
    }
    free = space?.freeBytes ?? Number.POSITIVE_INFINITY
    judge()
    if (refusing !== warned) {
      warned = refusing
      log(refusing ? `spool: requests are refused: ${noRoom()}` : 'spool: there is room on the disk again')
    }
  }

  function judge(): void {
    const kept = limit(keptFree)
    refusing = free < (refusing ? kept * relief : kept)
  }

  const noRoom = (): string =>
    `the disk of the spool has ${inWords(free)} free, and ${inWords(limit(keptFree))} are kept for ClickHouse: make room`

  await look()
  return {
    look,
    freeBytes: () => (space === undefined ? undefined : Math.max(0, free)),
    wrote(bytes) {
      free -= bytes
      judge()
    },
    refusal(bytes) {
      if (refusing) return noRoom()
      if (maxBytes !== undefined && heldBytes() + bytes > maxBytes) {
        return `the spool holds ${inWords(heldBytes())} of ${inWords(maxBytes)} (AGNES_SPOOL_MAX_BYTES): ClickHouse must take some first`
      }
      return undefined
    },
    warning() {
      if (maxBytes !== undefined && heldBytes() >= warnFromShareOfMax * maxBytes) {
        return `the spool holds ${inWords(heldBytes())} of ${inWords(maxBytes)} (AGNES_SPOOL_MAX_BYTES)`
      }
      if (free >= limit(warnBelow)) return undefined
      return `the disk of the spool has ${inWords(free)} free; below ${inWords(limit(keptFree))} requests are refused`
    },
  }
}

function inWords(bytes: number): string {
  const positive = Math.max(0, bytes)
  if (positive >= gib) return `${(positive / gib).toFixed(1)} GiB`
  return `${(positive / 1024 ** 2).toFixed(1)} MiB`
}
