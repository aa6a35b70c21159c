/**
 * What a processor is: a name, a cadence, and one function that takes one session file and says how many items it made.
 *
 * The frame around it (`run.ts`) picks the sessions that are due, keeps account, retries and parks. A processor may be
 * killed anywhere and run again with the same session, also twice at once, so what it writes must be ordered by
 * `rank`: rows of a ReplacingMergeTree(rank), of which the highest counts.
 */
import type { ClickHouseClient } from '@agnes/clickhouse'
import type { Turn } from './transcripts/turn.ts'

/** One version of a session file, as far as it has grown. */
export interface Session {
  readonly tenant: string
  readonly user: string
  /** Name of the file without `.jsonl`. */
  readonly file: string
  readonly version: string
  readonly fileHash: string
  readonly lines: number
  readonly bytes: number
  readonly firstReceivedAt: Date
}

export interface ProcessorContext {
  readonly client: ClickHouseClient
  /** The transcript, from its first line to the last one the session counts. */
  turns(): AsyncIterable<Turn>
  /**
   * The rank of what is made of this session now. `evidence` counts what else went into it and can only become more,
   * such as events of telemetry.
   */
  rank(evidence?: number): bigint
  /** The number of the lease; by hand that of the last one. */
  readonly fence: bigint
  /** Somebody asked for this session: nothing that an earlier run left may be relied on. */
  readonly fromScratch: boolean
  /** Do everything but write. */
  readonly dryRun: boolean
  /** Aborted when the session takes too long. */
  readonly signal: AbortSignal
}

export interface Outcome {
  /** What the run made: turns, findings, days. */
  readonly items: number
  /** As given to `rank`; 0 unless told. */
  readonly evidence?: number
}

export interface Processor {
  /** Letters, digits and `_`; also of AGNES_PROCESSOR_<NAME>_INTERVAL. */
  readonly name: string
  /** One more when the same session would give something else: every session is then processed anew. */
  readonly version: number
  /** Seconds between two runs, unless the configuration says otherwise. */
  readonly everySeconds: number
  readonly description: string
  /** A processor whose result this one reads: it comes first, and when it has a new version this one runs again too. */
  readonly after?: Processor
  /**
   * SQL of the sessions (tenant, user_name, session_file, version) that are due again although they did not grow, because
   * something else that goes into the result did.
   */
  readonly reopened?: string
  process(session: Session, context: ProcessorContext): Promise<Outcome>
}

/** Its version and those of the processors it builds on: grows with any of them. */
export function effectiveVersion({ version, after }: Processor): number {
  return version + (after === undefined ? 0 : effectiveVersion(after))
}
