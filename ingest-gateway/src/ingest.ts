/** One request's way: bytes → rows → disk → answer. Transport (HTTP, later gRPC) stays outside. */
import type { Rows, TranscodeLimits } from './otlp/rows.ts'
import { transcodeJson } from './otlp/transcode-json.ts'
import { transcodeProtobuf } from './otlp/transcode-protobuf.ts'
import type { RecentRequests } from './recent-requests.ts'
import type { StartRedaction } from './redact/redactor.ts'
import type { RequestHash } from './request-hash.ts'
import type { Spool } from './spool/spool.ts'

export interface IngestCounters {
  /** Records in requests we understood. */
  received: number
  /** Records of requests that were recognised as retries. */
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
  logs(
    body: Buffer,
    format: 'protobuf' | 'json',
    tenant: string,
    onRecords?: (records: number) => void,
  ): Promise<Ingested>
  readonly counters: Readonly<IngestCounters>
}

export interface IngestOptions {
  readonly spool: Spool
  readonly recent: RecentRequests<Ingested & { readonly records: number }>
  readonly hashOf: RequestHash
  readonly redaction: StartRedaction
  /** 8 bytes. */
  readonly ruleSet: Uint8Array
  readonly limits?: TranscodeLimits
  /** Wall clock, nanoseconds since 1970. */
  readonly nowNs: () => bigint
}

export function createIngest(options: IngestOptions): Ingest {
  const { spool, recent, hashOf, redaction, ruleSet, limits, nowNs } = options
  const counters: IngestCounters = { received: 0, duplicate: 0, rejected: 0 }

  async function logs(
    body: Buffer,
    format: 'protobuf' | 'json',
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
    const rows = (format === 'protobuf' ? transcodeProtobuf : transcodeJson)(body, receivedAtNs, {
      redactor: redaction(tenant),
      ...(limits === undefined ? {} : { limits }),
    })
    onRecords(rows.records + rows.rejected)
    return recent.remember(requestHash, store(rows, tenant, receivedAtNs, requestHash))
  }

  async function store(rows: Rows, tenant: string, receivedAtNs: bigint, requestHash: Uint8Array) {
    const { records, rejected, notes, bytes: payload } = rows
    if (records > 0) await spool.append({ tenant, receivedAtNs, requestHash, ruleSet, records, payload })
    counters.received += records + rejected
    counters.rejected += rejected
    return { records, rejected, notes }
  }

  return { logs, counters }
}
