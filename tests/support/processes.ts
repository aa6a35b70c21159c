/** The real processes, as `agnes up` starts them: engine and gateway, killed and started again as a test pleases. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import path from 'node:path'

const main = path.resolve(import.meta.dirname, '../../cli/dist/main.js')

export interface Service {
  readonly url: string
  /** Of the gateway; 0 for others. */
  readonly grpcPort: number
  /** What it has written to standard error. */
  stderr(): string
  /** SIGKILL: no handler runs, nothing is flushed. */
  kill(): Promise<void>
  /** SIGTERM, as an operator stops it. */
  stop(): Promise<number | null>
}

/** Starts `agnes <command>` and resolves when it says that it serves. */
export async function startService(command: 'engine' | 'gateway', env: NodeJS.ProcessEnv): Promise<Service> {
  const child = fork(main, [command], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // The test runner's own flags (conditions that resolve to sources) are not for what was built.
    execArgv: [],
  })
  let errors = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const { url, grpcPort = 0 } = await new Promise<{ url: string; grpcPort?: number }>((resolve, reject) => {
    child.once('exit', (code, signal) => reject(new Error(`agnes ${command} ended (${code ?? signal}): ${errors}`)))
    child.on(
      'message',
      (message: { type?: string; url?: string; grpcPort?: number; message?: string; hint?: string }) => {
        if (message.type === 'ready' && message.url !== undefined) resolve({ ...message, url: message.url })
        if (message.type === 'failed') reject(new Error(`${message.message}; hint: ${message.hint}`))
      },
    )
  })
  return {
    url,
    grpcPort,
    stderr: () => errors,
    kill: () => end(child, 'SIGKILL').then(() => {}),
    stop: () => end(child, 'SIGTERM'),
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
