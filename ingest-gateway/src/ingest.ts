/** One request's way: bytes → rows → disk → answer. Transport (HTTP, later gRPC) stays outside. */

import type { StartRedaction } from '@agnes/redaction'
import { giveBack } from './buffer-pool.ts'
import type { EventIds, RequestIds } from './event-ids.ts'
import { decode, type Rows, type TranscodeLimits, type WireFormat } from './otlp/decode.ts'
import { type DecodeThreads, worthAThreadBytes } from './otlp/decode-threads.ts'
import type { GivenAnswer, RecentRequests } from './recent-requests.ts'
import type { RequestHash } from './request-hash.ts'
import type { Spool } from './spool/spool.ts'
import { createTenantCounter, type TenantCounter } from './tenant-counter.ts'

export interface IngestCounters {
  /** Records in requests we understood. */
  readonly received: TenantCounter
  /** Records that came before: of requests recognised as retries, and events recognised by their ids. */
  readonly duplicate: TenantCounter
  /** Records left out with a partial success. */
  readonly rejected: TenantCounter
}

export interface Ingested {
  readonly rejected: number
  readonly notes: readonly string[]
}

export interface Ingest {
  /**
   * Takes a log export request, and its memory with it; resolves when it is on disk.
   * @param onRecords told how many records there are as soon as that is known; not for a retry
   * @throws RequestError if it can't be understood, SpoolUnavailableError if it can't be made durable
   */
  logs(body: Buffer, format: WireFormat, tenant: string, onRecords?: (records: number) => void): Promise<Ingested>
  readonly counters: IngestCounters
}

export interface IngestOptions {
  readonly spool: Spool
  readonly recent: RecentRequests
  readonly hashOf: RequestHash
  readonly eventIds: EventIds
  readonly redaction: StartRedaction
  /** 8 bytes. */
  readonly ruleSet: Uint8Array
  readonly limits?: TranscodeLimits
  /** Without it all is decoded on this thread. */
  readonly threads?: DecodeThreads | undefined
  /** Wall clock, nanoseconds since 1970. */
  readonly nowNs: () => bigint
}

interface Undecoded {
  readonly body: Buffer
  readonly format: WireFormat
  readonly tenant: string
  readonly receivedAtNs: bigint
}

export function createIngest(options: IngestOptions): Ingest {
  const { spool, recent, hashOf, eventIds, redaction, ruleSet, limits, threads, nowNs } = options
  const counters: IngestCounters = {
    received: createTenantCounter(),
    duplicate: createTenantCounter(),
    rejected: createTenantCounter(),
  }

  async function logs(
    body: Buffer,
    format: WireFormat,
    tenant: string,
    onRecords: (records: number) => void = () => {},
  ): Promise<Ingested> {
    if (body.length === 0 && format === 'protobuf') return { rejected: 0, notes: [] }
    const requestHash = hashOf(body, format, tenant)
    const before = recent.find(requestHash)
    if (before !== undefined) {
      giveBack(body)
      const answer = await before
      counters.received.add(tenant, answer.records)
      counters.duplicate.add(tenant, answer.records)
      return answer
    }
    return recent.remember(requestHash, take({ body, format, tenant, receivedAtNs: nowNs() }, requestHash, onRecords))
  }

  function take(
    request: Undecoded,
    requestHash: Uint8Array,
    onRecords: (records: number) => void,
  ): Promise<GivenAnswer> {
    const ids = eventIds.begin(request.tenant)
    const taken = decodeAndStore(request, requestHash, ids, onRecords)
    // In the same turn of the loop: whoever repeats an id of it waits.
    ids.settle(taken)
    return taken
  }

  async function decodeAndStore(
    request: Undecoded,
    requestHash: Uint8Array,
    ids: RequestIds,
    onRecords: (records: number) => void,
  ): Promise<GivenAnswer> {
    const elsewhere = threads !== undefined && request.body.length >= worthAThreadBytes
    let rows: Rows
    try {
      rows = elsewhere ? await decodeElsewhere(threads, request, ids) : decodeHere(request, ids)
    } catch (error) {
      ids.fail()
      throw error
    }
    const { records, duplicates, rejected, notes } = rows
    onRecords(records + duplicates + rejected)
    await append(rows, request, requestHash, ids)
    counters.received.add(request.tenant, records + duplicates + rejected)
    counters.duplicate.add(request.tenant, duplicates)
    counters.rejected.add(request.tenant, rejected)
    return { records: records + duplicates, rejected, notes }
  }

  function decodeHere({ body, format, receivedAtNs, tenant }: Undecoded, ids: RequestIds): Rows {
    const redactor = redaction(tenant)
    try {
      return decode(body, format, receivedAtNs, limits === undefined ? { redactor, ids } : { redactor, ids, limits })
    } finally {
      giveBack(body)
    }
  }

  /** Threads do not know which events came before; where some did, the request is decoded once more without them. */
  async function decodeElsewhere(on: DecodeThreads, request: Undecoded, ids: RequestIds): Promise<Rows> {
    const first = await on.decode({ ...request, known: undefined })
    const known = ids.note(first.ids)
    if (known === undefined) return first.rows
    return (await on.decode({ ...request, body: first.body, known })).rows
  }

  async function append(
    { records, unfoldedBytes, bytes: payload }: Rows,
    { tenant, receivedAtNs }: Undecoded,
    requestHash: Uint8Array,
    ids: RequestIds,
  ): Promise<void> {
    try {
      // What came before and is not on disk yet: only when it is may this request be acknowledged.
      const repeated = ids.repeated()
      if (repeated !== undefined) await repeated
      if (records === 0) return
      const added = ids.added()
      await spool.append({ tenant, receivedAtNs, requestHash, ruleSet, ids: added, records, unfoldedBytes, payload })
    } finally {
      giveBack(payload)
    }
  }

  return { logs, counters }
}
