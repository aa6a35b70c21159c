/** Finding a running instance: from the configuration, or from the note `agnes up` leaves when ports were free to choose. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Config } from '@agnes/config'

export interface Instance {
  readonly clickhouseUrl: string
  readonly otlpUrl: string
}

interface RunNote extends Instance {
  readonly pid: number
}

function noteFile(config: Config): string {
  return path.join(config.dataDir, 'run.json')
}

/** Readable by its owner only: the URL of a server may hold a password. */
export function writeRunNote(config: Config, instance: Instance): void {
  writeFileSync(noteFile(config), `${JSON.stringify({ ...instance, pid: process.pid })}\n`, { mode: 0o600 })
}

export function removeRunNote(config: Config): void {
  rmSync(noteFile(config), { force: true })
}

/** Where the instance of this configuration answers, or would. */
export function findInstance(config: Config): Instance {
  return runningNote(config) ?? configured(config)
}

function configured(config: Config): Instance {
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  return {
    clickhouseUrl: config.clickhouseUrl ?? `http://${host}:${config.clickhousePort}/agnes`,
    otlpUrl: `http://${host}:${config.otlpPort}`,
  }
}

/** The note counts only while the process that wrote it lives: it may have been killed. */
function runningNote(config: Config): Instance | undefined {
  try {
    const note = JSON.parse(readFileSync(noteFile(config), 'utf8')) as RunNote
    process.kill(note.pid, 0)
    return note
  } catch {
    return undefined
  }
}
