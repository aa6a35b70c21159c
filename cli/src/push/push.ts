/**
 * Sends transcripts to a gateway: of each file what is not stored there. Nothing is remembered on this machine; the gateway
 * says how far it knows a file, and a hash of the lines up to there says whether it is the same file.
 */
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { FoundSession } from './find.ts'
import {
  GatewayError,
  type GatewayTarget,
  isStored,
  type Point,
  type Stored,
  sendSession,
  storedOffsets,
} from './gateway.ts'

export interface PushOptions {
  readonly target: GatewayTarget
  readonly user: string
  /** Only says what would be sent. */
  readonly dryRun: boolean
  /** Told how many bytes of the files are settled. */
  readonly onProgress: (bytes: number) => void
  /** Milliseconds before a second attempt, and twice as many before the third; 1 s unless told. */
  readonly retryMs?: number
}

export interface Pushed {
  readonly session: FoundSession
  readonly outcome: Stored['outcome'] | 'pending' | 'failed' | 'skipped'
  /** Of the file as it is here; in a dry run, what would be sent. */
  readonly sentBytes: number
  readonly stored?: Stored
  readonly error?: string
  /** Why none of the files will do better. */
  readonly concernsAll?: 'key' | 'gateway'
}

/** Files at the same time. */
const lanes = 4
/** Attempts in a row that bring nothing. */
const attempts = 5
const longestWaitSeconds = 30

/** One result a file, in their order. A failure of one is its own, unless it would be that of all. */
export async function pushSessions(sessions: readonly FoundSession[], options: PushOptions): Promise<Pushed[]> {
  const results: Pushed[] = []
  let next = 0
  let hopeless: string | undefined

  async function lane(): Promise<void> {
    for (let i = next++; i < sessions.length; i = next++) {
      const session = sessions[i] as FoundSession
      if (hopeless !== undefined) {
        results[i] = { session, outcome: 'skipped', sentBytes: 0, error: hopeless }
        continue
      }
      try {
        results[i] = await pushOne(session, options)
      } catch (error) {
        const { message } = error as Error
        const all = concernsAll(error)
        results[i] = { session, outcome: 'failed', sentBytes: 0, error: message, ...(all && { concernsAll: all }) }
        if (all !== undefined) hopeless = message
      }
      options.onProgress(session.bytes)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return results
}

/** A gateway that is not there, or does not know who we are. */
function concernsAll(error: unknown): Pushed['concernsAll'] {
  if (!(error instanceof GatewayError)) return undefined
  if (error.status === 401 || error.status === 403) return 'key'
  return error.status === 0 || error.status === 404 ? 'gateway' : undefined
}

async function pushOne(session: FoundSession, { target, user, dryRun, retryMs = 1_000 }: PushOptions): Promise<Pushed> {
  const path = `/v1/sessions/${encodeURIComponent(user)}/${encodeURIComponent(session.session)}.jsonl`
  let furthest = -1
  for (let failed = 0; ; ) {
    let from: Point | undefined
    try {
      from = await findPoint(target, path, session)
      const rest = Math.max(0, session.bytes - (from?.offset ?? 0))
      if (rest === 0) return { session, outcome: 'unchanged', sentBytes: 0 }
      if (dryRun) return { session, outcome: 'pending', sentBytes: rest }
      const stored = await sendSession(target, path, from, contentOf(session, from?.offset ?? 0))
      return { session, outcome: stored.outcome, sentBytes: rest, stored }
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      const reached = from?.offset ?? 0
      if (reached > furthest) failed = 0
      furthest = Math.max(furthest, reached)
      if (!mayPass(error) || ++failed >= attempts) throw error
      const seconds = error.retryAfterSeconds ?? (retryMs / 1000) * 2 ** (failed - 1)
      await pause(Math.min(seconds, longestWaitSeconds) * 1000)
    }
  }
}

/** 409: somebody else sent this file meanwhile. */
function mayPass({ status }: GatewayError): boolean {
  return status === 0 || status === 409 || status === 429 || status === 502 || status === 503 || status === 504
}

/** The last point up to which this file is stored; undefined if it is not, or differs from its beginning. */
async function findPoint(target: GatewayTarget, path: string, session: FoundSession): Promise<Point | undefined> {
  const offsets = await storedOffsets(target, path)
  if (offsets.length === 0) return undefined
  const { prefixesAt } = await import('@agnes/clickhouse')
  const prefixes = await prefixesAt(contentOf(session, 0), offsets)
  for (const [offset, prefix] of [...prefixes].sort(([a], [b]) => b - a)) {
    if (await isStored(target, path, { offset, prefix })) return { offset, prefix }
  }
  return undefined
}

/** As far as the file went when it was found: one that is being written goes on. */
function contentOf({ path, bytes }: FoundSession, start: number): Readable {
  return createReadStream(path, { start, end: bytes - 1, highWaterMark: 256 * 1024 })
}
