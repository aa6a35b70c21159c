/** One thread that decodes: requests in, rows out, their memory handed over rather than copied. */
import { parentPort, type Transferable, workerData } from 'node:worker_threads'
import { compileRules, createRedaction, noRules, type RulesFile } from '@agnes/redaction'
import { createIdCollector } from '../event-ids.ts'
import type { Numbered } from '../thread-pool.ts'
import { decode, RequestError, type Rows, type TranscodeLimits, type WireFormat } from './decode.ts'

/** What the thread is started with. */
export interface DecodeSettings {
  /** undefined: nothing is redacted. */
  readonly rules: RulesFile | undefined
  readonly redactionKey: Uint8Array
  /** Of event ids. */
  readonly recognitionKey: Uint8Array
  readonly limits: TranscodeLimits | undefined
}

/** A request. */
export interface DecodeTask {
  /** A whole ArrayBuffer: it changes hands. */
  readonly body: Uint8Array<ArrayBuffer>
  readonly format: WireFormat
  readonly tenant: string
  /** Nanoseconds since 1970. */
  readonly receivedAtNs: bigint
  /** Ids of its events that came before, 8 bytes each: these are left out. */
  readonly known: Uint8Array | undefined
}

export type DecodeOutcome =
  | {
      readonly kind: 'decoded'
      readonly rows: Rows
      /** What its events with an id are recognised by, 8 bytes each. */
      readonly ids: Uint8Array
      /** As it came. */
      readonly body: Uint8Array<ArrayBuffer>
    }
  | {
      readonly kind: 'refused'
      readonly status: RequestError['status']
      readonly message: string
    }
  | { readonly kind: 'failed'; readonly message: string }

const port = parentPort
if (port === null) throw new Error('decode-thread.ts runs as a worker thread only')
const settings = workerData as DecodeSettings
const rules = settings.rules === undefined ? noRules : await compileRules(settings.rules)
const redaction = createRedaction(rules, settings.redactionKey)
const collect = createIdCollector(settings.recognitionKey)

port.on('message', ({ number, message: task }: Numbered<DecodeTask>) => {
  const { body } = task
  const answer = (message: DecodeOutcome, transfer: readonly Transferable[] = []): void =>
    port.postMessage({ number, message } satisfies Numbered<DecodeOutcome>, transfer)
  try {
    const collected = collect(task.tenant, task.known)
    const rows = decode(Buffer.from(body.buffer), task.format, task.receivedAtNs, {
      redactor: redaction(task.tenant),
      ids: collected,
      ...(settings.limits === undefined ? {} : { limits: settings.limits }),
    })
    answer({ kind: 'decoded', rows, ids: collected.added(), body }, [body.buffer, rows.bytes.buffer as Transferable])
  } catch (error) {
    answer(
      error instanceof RequestError
        ? { kind: 'refused', status: error.status, message: error.message }
        : { kind: 'failed', message: (error as Error).stack ?? String(error) },
    )
  }
})
