/** The real processes, as `agnes up` starts them: engine and gateway, killed and started again as a test pleases. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const builtMain = path.resolve(import.meta.dirname, '../../cli/dist/main.js')

export interface Service {
  readonly url: string
  readonly pid: number
  /** Settles when it has ended, for whatever reason. */
  readonly ended: Promise<unknown>
  /** Of the gateway; 0 for others. */
  readonly grpcPort: number
  /** What it has written to standard error. */
  stderr(): string
  /** SIGKILL: no handler runs, nothing is flushed. */
  kill(): Promise<void>
  /** SIGTERM, as an operator stops it. */
  stop(): Promise<number | null>
}

export interface ServiceOptions {
  /** Another build of the command. */
  readonly main?: string
  /** A program with its arguments that the command runs under. */
  readonly under?: readonly string[]
  /** On top of the instance's environment. */
  readonly env?: NodeJS.ProcessEnv
}

/** Starts `agnes <command>` and resolves when it says that it serves. */
export async function startService(
  command: 'engine' | 'gateway' | 'inbox',
  env: NodeJS.ProcessEnv,
  { main = builtMain, under = [], env: more = {} }: ServiceOptions = {},
): Promise<Service> {
  const [program = '', ...args] = [...under, process.execPath, main, command]
  // The channel to us is an open file: it goes through whatever program stands between.
  const child = spawn(program, args, {
    env: { PATH: process.env.PATH ?? '', ...env, ...more },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const ended = once(child, 'exit')
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const { url, grpcPort = 0 } = await new Promise<{ url: string; grpcPort?: number }>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => reject(new Error(`agnes ${command} ended (${code ?? signal}): ${errors}`)))
    child.on(
      'message',
      (message: { type?: string; url?: string; grpcPort?: number; message?: string; hint?: string }) => {
        if (message.type === 'ready' && message.url !== undefined) resolve({ ...message, url: message.url })
        if (message.type === 'failed') reject(new Error(`${message.message}; hint: ${message.hint}`))
      },
    )
  })
  const pid = under.length === 0 ? (child.pid ?? 0) : childOf(child.pid ?? 0)
  return {
    url,
    grpcPort,
    pid,
    ended,
    stderr: () => errors,
    async kill() {
      // Who runs under another program would live on without it.
      if (pid !== child.pid) signalIfAlive(pid, 'SIGKILL')
      await end(child, 'SIGKILL')
      // What it held, such as the lock on its directory, is free when its last thread has ended.
      while (isAlive(pid)) await pause(5)
    },
    stop: () => end(child, 'SIGTERM'),
  }
}

/** The process itself, if what it ran under has become it (exec). */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]) || pid
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended.
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal)
    await once(child, 'exit')
  }
  return child.exitCode
}

/** A port that was free a moment ago: for services that must come back under the same address. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
