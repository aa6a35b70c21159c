/** One request's way: bytes → rows → disk → answer. Transport (HTTP, later gRPC) stays outside. */

import type { StartRedaction } from '@agnes/redaction'
import type { EventIds, RequestIds } from './event-ids.ts'
import type { Rows, TranscodeLimits } from './otlp/rows.ts'
import { transcodeJson } from './otlp/transcode-json.ts'
import { transcodeProtobuf } from './otlp/transcode-protobuf.ts'
import type { RecentRequests } from './recent-requests.ts'
import type { RequestHash } from './request-hash.ts'
import type { Spool, SpoolRequest } from './spool/spool.ts'

export interface IngestCounters {
  /** Records in requests we understood. */
  received: number
  /** Records that came before: of requests recognised as retries, and events recognised by their ids. */
  duplicate: number
  /** Records left out with a partial success. */
  rejected: number
}

export interface Ingested {
  readonly rejected: number
  readonly notes: readonly string[]
}

export interface Ingest {
  /**
   * Takes a log export request; resolves when it is on disk.
   * @param onRecords told how many records there are as soon as that is known; not for a retry
   * @throws RequestError if it can't be understood, SpoolUnavailableError if it can't be made durable
   */
  logs(body: Buffer, format: WireFormat, tenant: string, onRecords?: (records: number) => void): Promise<Ingested>
  readonly counters: Readonly<IngestCounters>
}

export interface IngestOptions {
  readonly spool: Spool
  readonly recent: RecentRequests<Ingested & { readonly records: number }>
  readonly hashOf: RequestHash
  readonly eventIds: EventIds
  readonly redaction: StartRedaction
  /** 8 bytes. */
  readonly ruleSet: Uint8Array
  readonly limits?: TranscodeLimits
  /** Wall clock, nanoseconds since 1970. */
  readonly nowNs: () => bigint
}

type WireFormat = 'protobuf' | 'json'

export function createIngest(options: IngestOptions): Ingest {
  const { spool, recent, hashOf, eventIds, redaction, ruleSet, limits, nowNs } = options
  const counters: IngestCounters = { received: 0, duplicate: 0, rejected: 0 }

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
      const answer = await before
      counters.received += answer.records
      counters.duplicate += answer.records
      return answer
    }
    const receivedAtNs = nowNs()
    const ids = eventIds.begin(tenant)
    const rows = transcode(body, format, receivedAtNs, tenant, ids)
    onRecords(rows.records + rows.duplicates + rows.rejected)
    return recent.remember(requestHash, store(rows, { tenant, receivedAtNs, requestHash }, ids))
  }

  function transcode(body: Buffer, format: WireFormat, receivedAtNs: bigint, tenant: string, ids: RequestIds): Rows {
    try {
      return (format === 'protobuf' ? transcodeProtobuf : transcodeJson)(body, receivedAtNs, {
        redactor: redaction(tenant),
        ids,
        ...(limits === undefined ? {} : { limits }),
      })
    } catch (error) {
      ids.fail()
      throw error
    }
  }

  async function store(
    rows: Rows,
    request: Pick<SpoolRequest, 'tenant' | 'receivedAtNs' | 'requestHash'>,
    ids: RequestIds,
  ) {
    const { records, duplicates, rejected, notes } = rows
    const stored = append(rows, request, ids)
    ids.settle(stored)
    await stored
    counters.received += records + duplicates + rejected
    counters.duplicate += duplicates
    counters.rejected += rejected
    return { records: records + duplicates, rejected, notes }
  }

  async function append(
    { records, unfoldedBytes, bytes: payload }: Rows,
    request: Pick<SpoolRequest, 'tenant' | 'receivedAtNs' | 'requestHash'>,
    ids: RequestIds,
  ): Promise<void> {
    // What came before and is not on disk yet: only when it is may this request be acknowledged.
    await ids.repeated()
    if (records > 0) await spool.append({ ...request, ruleSet, ids: ids.added(), records, unfoldedBytes, payload })
  }

  return { logs, counters }
}
