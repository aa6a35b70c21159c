/** One life of a child process: until it serves, and until it ends. */
import type { ChildProcess } from 'node:child_process'
import { UserError } from '@agnes/config'
import { errorOf, type ReadyMessage, type ServiceMessage } from '../service/messages.ts'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Child {
  readonly process: ChildProcess
  /**
   * Resolves when it serves.
   * Rejects with what it said about why it cannot, as a UserError; or when it ended without a word.
   */
  readonly ready: Promise<ReadyMessage>
  /** Resolves when it ended, however it ended. */
  readonly exited: Promise<Exit>
}

export function watchChild(name: string, process: ChildProcess): Child {
  const exited = new Promise<Exit>((resolve) => {
    // Unlike 'exit', 'close' comes after the last message was delivered.
    process.once('close', (code, signal) => resolve({ code, signal }))
    process.once('error', () => resolve({ code: null, signal: null }))
  })
  const ready = new Promise<ReadyMessage>((resolve, reject) => {
    process.on('message', (message: ServiceMessage) => {
      if (message.type === 'ready') resolve(message)
      else reject(errorOf(message))
    })
    void exited.then((exit) => {
      reject(
        new UserError(`${name} ended while it started (${describeExit(exit)})`, {
          code: 'service_failed',
          hint: `run "agnes ${name}" to see what it says, or "agnes doctor"`,
        }),
      )
    })
  })
  // Whoever stops a child while it starts does not wait for it to serve.
  ready.catch(() => {})
  return { process, ready, exited }
}

/**
 * Waits for a child that does one thing and ends.
 * @throws UserError with what it said
 */
export async function completed(name: string, { ready, exited }: Child): Promise<void> {
  const exit = await exited
  if (exit.code === 0) return
  await ready
  throw new UserError(`${name} failed (${describeExit(exit)})`, { code: 'service_failed' })
}

export function describeExit({ code, signal }: Exit): string {
  if (signal !== null) return signal
  return code === null ? 'it could not be started' : `exit code ${code}`
}
