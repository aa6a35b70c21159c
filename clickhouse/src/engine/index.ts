/** The embedded engine, as its parent sees it: a child process that serves ClickHouse's HTTP interface. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { UserError } from '@agnes/config'
import type { EngineChildMessage } from './messages.ts'
import type { ServedEngine, ServeOptions } from './serve.ts'

export { type ServedEngine, type ServeOptions, serveEngine } from './serve.ts'

export interface EngineOptions extends ServeOptions {
  /** Lines the engine writes to its standard error. */
  readonly log?: (line: string) => void
}

export interface EngineExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Engine extends ServedEngine {
  readonly pid: number
  /** Resolves when the process ends, however it ends. */
  readonly exited: Promise<EngineExit>
}

/** Longer than the child's own patience with running queries. */
const killAfterMs = 11_000

/**
 * Starts the engine and resolves when it serves.
 * @throws UserError if the package is missing, the directory is in use or not writable, or the port is taken
 */
export async function startEngine({ dataDir, host, port, log = () => {} }: EngineOptions): Promise<Engine> {
  // From sources (tests) the child runs what was built; from the package it is the file beside this one.
  const child = fork(fileURLToPath(new URL('../../dist/engine/child.js', import.meta.url)), [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // A debugger's or test runner's flags are not for this process.
    execArgv: [],
    env: { PATH: '/usr/bin:/bin', TZ: 'UTC' },
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    for (const line of text.split('\n')) if (line.trim() !== '') log(`engine: ${line}`)
  })
  const exited = new Promise<EngineExit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  child.send({ dataDir, host, port } satisfies ServeOptions)
  const ready = await firstMessage(child, exited)
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${ready.port}/agnes`,
    port: ready.port,
    pid: child.pid ?? 0,
    exited,
    stop: async () => {
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs)
      await exited
      clearTimeout(timer)
    },
  }
}

function firstMessage(child: ChildProcess, exited: Promise<EngineExit>): Promise<{ port: number }> {
  return new Promise((resolve, reject) => {
    child.once('message', (message: EngineChildMessage) => {
      if (message.type === 'ready') return resolve(message)
      const { code, hint, exitCode } = message
      reject(new UserError(message.message, { code, exitCode, ...(hint === undefined ? {} : { hint }) }))
    })
    void exited.then(({ code, signal }) => {
      reject(
        new UserError(`the engine ended while it started (${signal ?? `exit code ${code}`})`, {
          code: 'engine_failed',
          hint: 'run "agnes doctor" to check the data directory and the disk',
        }),
      )
    })
  })
}
