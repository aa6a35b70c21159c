/** A control group with a limit of memory: what a process in it takes beyond, the kernel kills it for. Needs root. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

/** Version 1 has a hierarchy for memory alone, version 2 one for all. @see cgroups(7) */
const first = '/sys/fs/cgroup/memory'
const isFirst = existsSync(path.join(first, 'memory.limit_in_bytes'))
const root = isFirst ? first : '/sys/fs/cgroup'

export interface MemoryCgroup {
  /** To go before the command of a process that shall be in it. */
  readonly under: readonly string[]
  /** How often the kernel killed for it. */
  kills(): number
  /** All its processes have ended. */
  remove(): void
}

/** Why there is none here; undefined where there is. */
export const noMemoryCgroup: string | undefined = reasonWithout()

export function createMemoryCgroup(mib: number): MemoryCgroup {
  const directory = path.join(root, `agnes-test-${process.pid}-${Date.now()}`)
  mkdirSync(directory)
  const write = (name: string, value: number): void => writeFileSync(path.join(directory, name), String(value))
  write(isFirst ? 'memory.limit_in_bytes' : 'memory.max', mib * 1024 ** 2)
  // What does not fit must not go to swap unseen. Not every kernel counts swap.
  if (!isFirst && existsSync(path.join(directory, 'memory.swap.max'))) write('memory.swap.max', 0)
  return {
    under: ['sh', '-c', `echo $$ > ${path.join(directory, 'cgroup.procs')} && exec "$@"`, 'sh'],
    kills() {
      const events = readFileSync(path.join(directory, isFirst ? 'memory.oom_control' : 'memory.events'), 'utf8')
      return Number(/^oom_kill (\d+)$/m.exec(events)?.[1] ?? 0)
    },
    remove: () => rmdirSync(directory),
  }
}

function reasonWithout(): string | undefined {
  try {
    createMemoryCgroup(64).remove()
    return undefined
  } catch (error) {
    return `no control group with a limit of memory can be made (${(error as NodeJS.ErrnoException).code})`
  }
}
