/** Finding a running instance: from the configuration, and from the note `agnes up` leaves beside its data. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Config, engineHost, urlHost } from '@agnes/config'

export interface Instance {
  readonly clickhouseUrl: string
  readonly otlpUrl: string
  /** Of the inbox and admin pages. */
  readonly inboxUrl: string
}

interface RunNote extends Instance {
  readonly pid: number
  /** Tells the process from a later one with the same pid; empty where the system does not say. */
  readonly started: string
}

/**
 * Leaves the note; readable by its owner only, because the URL of a server may hold a password.
 * @returns removes it again
 */
export function writeRunNote(
  config: Pick<Config, 'dataDir'>,
  { clickhouseUrl, otlpUrl, inboxUrl }: Instance,
): () => void {
  const file = noteFile(config)
  const note: RunNote = { clickhouseUrl, otlpUrl, inboxUrl, pid: process.pid, started: startOf(process.pid) }
  const temporary = `${file}.${process.pid}`
  rmSync(temporary, { force: true })
  writeFileSync(temporary, `${JSON.stringify(note)}\n`, { mode: 0o600, flag: 'wx' })
  renameSync(temporary, file)
  return () => rmSync(file, { force: true })
}

/**
 * Where the instance of this configuration answers, or would. A server that the configuration names comes first; the
 * note comes before ports, which may be 0.
 */
export function findInstance(config: Config): Instance {
  const note = readRunNote(config)
  return {
    clickhouseUrl:
      config.clickhouseUrl ??
      note?.clickhouseUrl ??
      `http://${urlHost(engineHost(config.host))}:${config.clickhousePort}/agnes`,
    otlpUrl:
      note?.otlpUrl ?? `${config.tls === undefined ? 'http' : 'https'}://${urlHost(config.host)}:${config.otlpPort}`,
    inboxUrl: note?.inboxUrl ?? `http://${urlHost(config.host)}:${config.httpPort}`,
  }
}

/** The note of the process that runs now; one that was killed leaves its note behind, which counts for nothing. */
function readRunNote(config: Pick<Config, 'dataDir'>): RunNote | undefined {
  try {
    const note = JSON.parse(readFileSync(noteFile(config), 'utf8')) as Partial<RunNote>
    const { clickhouseUrl, otlpUrl, inboxUrl, pid, started } = note
    if (typeof clickhouseUrl !== 'string' || typeof otlpUrl !== 'string' || typeof inboxUrl !== 'string')
      return undefined
    if (typeof pid !== 'number') return undefined
    if (!isAlive(pid) || startOf(pid) !== started) return undefined
    return { clickhouseUrl, otlpUrl, inboxUrl, pid, started }
  } catch {
    return undefined
  }
}

function noteFile({ dataDir }: Pick<Config, 'dataDir'>): string {
  return path.join(dataDir, 'run.json')
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** When a process started, in the kernel's ticks since boot. @see proc(5), field 22 of /proc/pid/stat */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second field is the command in parentheses, which may hold blanks.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
