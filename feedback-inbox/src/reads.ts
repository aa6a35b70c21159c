/**
 * What people and scripts look at, as audit events: one for each actor and question, and no second one within a minute.
 * What came in that minute is told by number when it is over, so nothing goes uncounted and an open page that refreshes
 * itself leaves one event a minute.
 */
export interface Read {
  readonly action: string
  readonly userId: string
  readonly resource?: string
  /** What was asked. */
  readonly params: Readonly<Record<string, unknown>>
}

/** Tells of a read; `suppressed` counts the same reads since the event before that left none. */
export type TellRead<R extends Read> = (read: R, suppressed: number) => void

export interface Reads<R extends Read> {
  note(read: R): void
  /** Tells what is still untold. */
  close(): void
}

export const windowMs = 60_000
/** Beyond it every read is told at once. */
const maxOpen = 10_000

export function createReads<R extends Read>(tell: TellRead<R>, everyMs: number = windowMs): Reads<R> {
  const open = new Map<string, { read: R; suppressed: number; timer: NodeJS.Timeout }>()

  function begin(key: string, read: R, suppressed: number): void {
    tell(read, suppressed)
    if (open.size >= maxOpen) return
    const timer = setTimeout(() => {
      const last = open.get(key)
      open.delete(key)
      if (last !== undefined && last.suppressed > 0) begin(key, last.read, last.suppressed)
    }, everyMs).unref()
    open.set(key, { read, suppressed: 0, timer })
  }

  return {
    note(read) {
      const key = JSON.stringify([read.userId, read.action, read.resource, read.params])
      const before = open.get(key)
      if (before === undefined) begin(key, read, 0)
      else {
        before.suppressed++
        before.read = read
      }
    },
    close() {
      for (const { read, suppressed, timer } of open.values()) {
        clearTimeout(timer)
        if (suppressed > 0) tell(read, suppressed)
      }
      open.clear()
    },
  }
}
