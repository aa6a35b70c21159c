/**
 * A client that keeps books: it knows which events it issued and which were acknowledged, and it sends the same bytes
 * again until they are, as OpenTelemetry SDKs do.
 */
import { setTimeout as pause } from 'node:timers/promises'

export interface LedgerClient {
  readonly issued: ReadonlySet<string>
  readonly acknowledged: ReadonlySet<string>
  /** Ends after the request under way is acknowledged. */
  stop(): Promise<void>
  /** Ends without waiting for an answer. */
  abandon(): void
}

export interface LedgerOptions {
  readonly url: string
  /** Distinguishes the ids of several clients. */
  readonly name: string
  readonly recordsARequest: number
  /** Milliseconds between an answer and the next request; none unless told. */
  readonly pauseMs?: number
}

const retryPauseMs = 50

/** Sends until it is stopped; request after request, each until it is acknowledged. */
export function startLedgerClient({ url, name, recordsARequest, pauseMs = 0 }: LedgerOptions): LedgerClient {
  const issued = new Set<string>()
  const acknowledged = new Set<string>()
  let stopped = false
  let abandoned = false

  async function run(): Promise<void> {
    for (let request = 0; !stopped; request++) {
      const ids = Array.from({ length: recordsARequest }, (_, i) => `${name}-${request}-${i}`)
      for (const id of ids) issued.add(id)
      const body = JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: ids.map(record) }] }] })
      while (!(await send(`${url}/v1/logs`, body))) {
        if (abandoned) return
        await pause(retryPauseMs)
      }
      for (const id of ids) acknowledged.add(id)
      if (pauseMs > 0) await pause(pauseMs)
    }
  }
  const done = run()

  return {
    issued,
    acknowledged,
    stop() {
      stopped = true
      return done
    },
    abandon() {
      stopped = true
      abandoned = true
    },
  }
}

/** The payload follows from the id, so that what is stored can be held against what was sent. */
export function paramsOf(id: string): string {
  return JSON.stringify({ id, reversed: [...id].reverse().join('') })
}

function record(id: string) {
  const attribute = (key: string, stringValue: string) => ({ key, value: { stringValue } })
  return {
    timeUnixNano: `${BigInt(Date.now()) * 1_000_000n}`,
    eventName: 'agnes.audit',
    attributes: [
      attribute('log.record.uid', id),
      attribute('agnes.action', 'ledger.entry'),
      attribute('agnes.params', paramsOf(id)),
    ],
  }
}

/** @returns whether it was acknowledged: 200 and nothing rejected */
async function send(url: string, body: string): Promise<boolean> {
  try {
    const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })
    const answer = await response.text()
    return response.status === 200 && answer === '{}'
  } catch {
    return false // refused, reset, or no answer: whether it was stored is unknown, so the same bytes go again
  }
}
