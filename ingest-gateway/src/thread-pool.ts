/**
 * Work that would hold the thread that answers for too long, on threads of its own, which start with the first of it. One
 * that fails takes only what it was given with it; the next work gets another one.
 */
import { type Transferable, Worker } from 'node:worker_threads'
import type { Log } from '@agnes/config'

export interface ThreadPool<Task, Outcome> {
  /**
   * @param bytes about how much work it is: it is given to the thread with the least
   * @param transfer memory that changes hands: it is gone here
   * @throws Error if the thread ended
   */
  run(task: Task, bytes: number, transfer: readonly Transferable[]): Promise<Outcome>
  close(): Promise<void>
}

export interface ThreadPoolOptions {
  /** From `dist`. */
  readonly file: string
  /** Goes into messages: `decoding`. */
  readonly work: string
  /** At most, at least 1. */
  readonly most: number
  /** What each thread is started with. */
  readonly workerData: unknown
  readonly log: Log
}

/** What goes to a thread, and what comes back. */
export interface Numbered<Message> {
  readonly number: number
  readonly message: Message
}

interface Waiting<Outcome> {
  readonly bytes: number
  resolve(outcome: Outcome): void
  reject(error: Error): void
}

interface Thread<Outcome> {
  readonly worker: Worker
  readonly waiting: Map<number, Waiting<Outcome>>
  bytes: number
}

export function createThreadPool<Task, Outcome>(options: ThreadPoolOptions): ThreadPool<Task, Outcome> {
  const { work, most, workerData, log } = options
  const threads = new Set<Thread<Outcome>>()
  let lastNumber = 0

  function start(): Thread<Outcome> {
    // Tests run sources; a thread runs what was built, whatever Node was told for them.
    const file = new URL(`../dist/${options.file}`, import.meta.url)
    const worker = new Worker(file, { workerData, execArgv: [] })
    const thread: Thread<Outcome> = { worker, waiting: new Map(), bytes: 0 }
    threads.add(thread)
    worker.unref()
    worker.on('message', (answer: Numbered<Outcome>) => settle(thread, answer))
    worker.on('error', (error) => log(`gateway: a ${work} thread failed: ${error.message}`, 'error'))
    worker.on('exit', () => {
      threads.delete(thread)
      for (const { reject } of thread.waiting.values()) reject(new Error(`the ${work} thread ended`))
    })
    return thread
  }

  /** One that has nothing to do, else a new one, else the one with the least to do. */
  function leastBusy(): Thread<Outcome> {
    const [first, ...others] = threads
    if (first === undefined) return start()
    const least = others.reduce((one, other) => (other.bytes < one.bytes ? other : one), first)
    return least.bytes === 0 || threads.size === most ? least : start()
  }

  function settle(thread: Thread<Outcome>, { number, message }: Numbered<Outcome>): void {
    const waiting = thread.waiting.get(number)
    if (waiting === undefined) return
    thread.waiting.delete(number)
    thread.bytes -= waiting.bytes
    if (thread.waiting.size === 0) thread.worker.unref()
    waiting.resolve(message)
  }

  return {
    run(message, bytes, transfer) {
      const thread = leastBusy()
      lastNumber++
      const numbered: Numbered<Task> = { number: lastNumber, message }
      return new Promise((resolve, reject) => {
        thread.waiting.set(numbered.number, { bytes, resolve, reject })
        thread.bytes += bytes
        thread.worker.ref()
        thread.worker.postMessage(numbered, transfer)
      })
    },
    async close() {
      await Promise.all([...threads].map(({ worker }) => worker.terminate()))
    },
  }
}

/** Memory that nothing else lies in: the whole of it can change hands. */
export function wholeBuffer(bytes: Buffer): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.length) return new Uint8Array(buffer)
  return new Uint8Array(bytes)
}
