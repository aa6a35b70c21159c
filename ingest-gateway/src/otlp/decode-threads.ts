/**
 * Large requests are decoded on threads of their own, which start with the first of them: a request of 50,000 records
 * would hold the thread that answers for half a second, and everybody else with it.
 */
import { Worker } from 'node:worker_threads'
import type { Log } from '@agnes/config'
import { RequestError, type Rows } from './decode.ts'
import type { DecodeOutcome, DecodeSettings, DecodeTask } from './decode-thread.ts'

export interface Decoded {
  readonly rows: Rows
  /** What the events with an id are recognised by, 8 bytes each. */
  readonly ids: Uint8Array
  /** The request's own bytes, back from the thread. */
  readonly body: Buffer
}

export interface DecodeThreads {
  /**
   * Takes the body's memory away: only the one that comes back may be used.
   * @throws RequestError if the body can't be understood
   * @throws Error if the thread ended: the request may be sent again
   */
  decode(request: Omit<DecodeTask, 'number' | 'body'> & { readonly body: Buffer }): Promise<Decoded>
  close(): Promise<void>
}

interface Waiting {
  readonly bytes: number
  resolve(decoded: Decoded): void
  reject(error: Error): void
}

interface Thread {
  readonly worker: Worker
  readonly waiting: Map<number, Waiting>
  bytes: number
}

/**
 * Smaller requests hold the thread that answers for 10 ms in protobuf, 40 ms in JSON (bench/transcode). With all of 32 KiB
 * and more on a thread two cores took a quarter more records a second, for a third more CPU a record and 65 MB.
 */
export const worthAThreadBytes = 1024 * 1024

/** @param most how many threads there are at most, at least 1 */
export function createDecodeThreads(most: number, settings: DecodeSettings, log: Log): DecodeThreads {
  const threads = new Set<Thread>()
  let lastNumber = 0

  function start(): Thread {
    // Tests run sources; a thread runs what was built, whatever Node was told for them.
    const file = new URL('../../dist/otlp/decode-thread.js', import.meta.url)
    const worker = new Worker(file, { workerData: settings, execArgv: [] })
    const thread: Thread = { worker, waiting: new Map(), bytes: 0 }
    threads.add(thread)
    worker.unref()
    worker.on('message', (outcome: DecodeOutcome) => settle(thread, outcome))
    worker.on('error', (error) => log(`gateway: a decoding thread failed: ${error.message}`, 'error'))
    worker.on('exit', () => {
      threads.delete(thread)
      for (const { reject } of thread.waiting.values()) reject(new Error('the thread that decoded the request ended'))
    })
    return thread
  }

  /** One that has nothing to do, else a new one, else the one with the least to do. */
  function leastBusy(): Thread {
    const [first, ...others] = threads
    if (first === undefined) return start()
    const least = others.reduce((one, other) => (other.bytes < one.bytes ? other : one), first)
    return least.bytes === 0 || threads.size === most ? least : start()
  }

  function settle(thread: Thread, outcome: DecodeOutcome): void {
    const waiting = thread.waiting.get(outcome.number)
    if (waiting === undefined) return
    thread.waiting.delete(outcome.number)
    thread.bytes -= waiting.bytes
    if (thread.waiting.size === 0) thread.worker.unref()
    if (outcome.kind === 'decoded') {
      waiting.resolve({ rows: outcome.rows, ids: outcome.ids, body: Buffer.from(outcome.body.buffer) })
    } else if (outcome.kind === 'refused') waiting.reject(new RequestError(outcome.status, outcome.message))
    else waiting.reject(new Error(outcome.message))
  }

  return {
    decode({ body, ...request }) {
      const thread = leastBusy()
      const own = wholeBuffer(body)
      lastNumber++
      const task: DecodeTask = { ...request, number: lastNumber, body: own }
      return new Promise((resolve, reject) => {
        thread.waiting.set(task.number, { bytes: own.length, resolve, reject })
        thread.bytes += own.length
        thread.worker.ref()
        thread.worker.postMessage(task, [own.buffer])
      })
    },
    async close() {
      await Promise.all([...threads].map(({ worker }) => worker.terminate()))
    },
  }
}

/** Memory that nothing else lies in: the whole of it changes hands. */
function wholeBuffer(body: Buffer): Uint8Array<ArrayBuffer> {
  const { buffer } = body
  if (buffer instanceof ArrayBuffer && buffer.byteLength === body.length) return new Uint8Array(buffer)
  return new Uint8Array(body)
}
