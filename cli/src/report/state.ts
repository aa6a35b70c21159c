/**
 * What `agnes report` keeps on this machine: reports that are not delivered yet, and previews that wait for a yes. A report
 * lies here, on disk, before anything is sent, and leaves when the server has it.
 */
import { createHash } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { UserError } from '@agnes/config'

export interface KeptReport {
  readonly id: string
  /** What was shown, and is sent. */
  readonly text: string
  readonly sha256: string
  /** How its sender agreed; `undefined` for one that waits for a yes. */
  readonly answer: 'asked' | 'yes' | undefined
  /** Origin of the server; undefined for the instance of this machine. */
  readonly to: string | undefined
}

export type Shelf = 'outbox' | 'previews' | 'refused'

export interface ReportState {
  readonly directory: string
  /** On disk when it returns. @throws UserError if it cannot be written */
  keep(shelf: Shelf, report: KeptReport): string
  remove(shelf: Shelf, id: string): void
  find(shelf: Shelf, id: string): KeptReport | undefined
  /** Oldest first; what is none of ours, or was damaged, is left out. */
  list(shelf: Shelf): KeptReport[]
}

/** @see XDG Base Directory Specification */
export function openState(env: NodeJS.ProcessEnv): ReportState {
  const base =
    env.XDG_STATE_HOME && path.isAbsolute(env.XDG_STATE_HOME)
      ? env.XDG_STATE_HOME
      : path.join(homedir(), '.local/state')
  const directory = path.join(base, 'agnes')
  const fileOf = (shelf: Shelf, id: string): string => path.join(directory, shelf, `${id}.json`)

  return {
    directory,
    keep(shelf, report) {
      const file = fileOf(shelf, report.id)
      try {
        mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
        const temporary = `${file}.${process.pid}`
        writeFileSync(temporary, JSON.stringify({ ...report, kept_at: new Date().toISOString() }), {
          mode: 0o600,
          flush: true,
        })
        renameSync(temporary, file)
        flushDirectory(path.dirname(file))
      } catch (error) {
        throw new UserError(`cannot keep the report in ${path.dirname(file)}: ${(error as Error).message}`, {
          code: 'no_outbox',
          hint: 'make the directory writable, or set XDG_STATE_HOME to another one; nothing was sent',
          cause: error,
        })
      }
      return file
    },
    remove: (shelf, id) => rmSync(fileOf(shelf, id), { force: true }),
    find(shelf, id) {
      return /^[\w-]{1,64}$/.test(id) ? readKept(fileOf(shelf, id)) : undefined
    },
    list(shelf) {
      let names: string[]
      try {
        names = readdirSync(path.join(directory, shelf))
      } catch {
        return []
      }
      return names
        .filter((name) => name.endsWith('.json'))
        .flatMap((name) => readKept(path.join(directory, shelf, name)) ?? [])
        .sort((a, b) => a.keptAt.localeCompare(b.keptAt))
    },
  }
}

/** What was changed in the file since is not what its sender agreed to. */
function readKept(file: string): (KeptReport & { readonly keptAt: string }) | undefined {
  try {
    const { id, text, sha256, answer, to, kept_at } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    if (typeof id !== 'string' || typeof text !== 'string' || typeof sha256 !== 'string') return undefined
    if (createHash('sha256').update(text).digest('hex') !== sha256) return undefined
    return {
      id,
      text,
      sha256,
      answer: answer === 'asked' || answer === 'yes' ? answer : undefined,
      to: typeof to === 'string' ? to : undefined,
      keptAt: String(kept_at),
    }
  } catch {
    return undefined
  }
}

function flushDirectory(directory: string): void {
  const handle = openSync(directory, 'r')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}
