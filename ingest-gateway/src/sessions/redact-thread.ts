/** One thread that redacts long lines: their memory is handed over rather than copied. */
import { parentPort, type Transferable, workerData } from 'node:worker_threads'
import { compileRules, createRedaction, noRules, type RulesFile } from '@agnes/redaction'
import { type Numbered, wholeBuffer } from '../thread-pool.ts'
import { redactLine } from './redact-line.ts'

/** What the thread is started with. */
export interface RedactSettings {
  /** undefined: nothing is redacted. */
  readonly rules: RulesFile | undefined
  readonly redactionKey: Uint8Array
}

export interface RedactTask {
  readonly tenant: string
  /** A whole ArrayBuffer: it changes hands. */
  readonly line: Uint8Array<ArrayBuffer>
}

export type RedactOutcome =
  | { readonly line: Uint8Array<ArrayBuffer>; readonly redactions: readonly string[] }
  | { readonly failure: string }

const port = parentPort
if (port === null) throw new Error('redact-thread.ts runs as a worker thread only')
const settings = workerData as RedactSettings
const rules = settings.rules === undefined ? noRules : await compileRules(settings.rules)
const redaction = createRedaction(rules, settings.redactionKey)

port.on('message', ({ number, message: { tenant, line } }: Numbered<RedactTask>) => {
  const answer = (message: RedactOutcome, transfer: readonly Transferable[] = []): void =>
    port.postMessage({ number, message } satisfies Numbered<RedactOutcome>, transfer)
  try {
    const redacted = redactLine(redaction(tenant), Buffer.from(line.buffer))
    const own = wholeBuffer(redacted.line)
    answer({ line: own, redactions: redacted.redactions }, [own.buffer])
  } catch (error) {
    answer({ failure: (error as Error).stack ?? String(error) })
  }
})
