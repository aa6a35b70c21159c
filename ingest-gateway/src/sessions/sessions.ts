/** All ways a transcript comes in, put together: over HTTP, and from a directory. */
import { createHmac } from 'node:crypto'
import { createAgnesClient } from '@agnes/clickhouse'
import type { Log } from '@agnes/config'
import type { RulesFile, StartRedaction } from '@agnes/redaction'
import { defaultTenant, type Gate } from '../auth/gate.ts'
import type { ByteBudget } from '../byte-budget.ts'
import type { Metrics } from '../metrics.ts'
import { createUploadAudit, type Deliver } from './audit.ts'
import { watchSessionDirectory } from './directory.ts'
import { createRedactThreads } from './redact-threads.ts'
import { createSessionRoute, type SessionRoute } from './route.ts'
import { createSessionStore, type SessionLimits } from './upload.ts'

export interface SessionsOptions {
  readonly clickhouseUrl: string
  readonly redaction: StartRedaction
  /** What `redaction` was made of; undefined: nothing is redacted. */
  readonly rules: RulesFile | undefined
  /** Hash of the rules, hex, or `off`. */
  readonly redactionRules: string
  readonly redactionKey: Uint8Array
  readonly gate: Gate
  readonly budget: ByteBudget
  readonly metrics: Pick<Metrics, 'session' | 'refused'>
  /** Takes an `ExportLogsServiceRequest` in JSON. */
  readonly deliver: Deliver
  /** Looked at for transcripts; undefined for none. */
  readonly directory?: string | undefined
  readonly limits?: Partial<SessionLimits> | undefined
  /** A client that sends nothing for so many milliseconds is cut. */
  readonly silenceMs?: number | undefined
  readonly log: Log
}

export interface Sessions {
  readonly route: SessionRoute
  /** What keeps files of the directory from being taken. */
  failure(): string | undefined
  /** Ends when what is under way is stored, at the latest after `withinMs`. */
  stop(withinMs: number): Promise<void>
}

export function openSessions(options: SessionsOptions): Sessions {
  const { redaction, redactionRules, redactionKey, gate, budget, metrics, log } = options
  const client = createAgnesClient({
    url: options.clickhouseUrl,
    application: 'agnes-sessions',
    // A piece of eight megabytes on a server that is busy.
    requestTimeoutMs: 60_000,
  })
  const threads = createRedactThreads({ rules: options.rules, redactionKey }, log)
  const store = createSessionStore({
    client,
    redaction,
    threads,
    redactionRules,
    // A key of its own: a mark that stands for a secret tells nothing of the hash of a line.
    key: createHmac('sha256', redactionKey).update('lines of sessions').digest(),
    ...(options.limits && { limits: options.limits }),
  })
  const audit = createUploadAudit(options.deliver)
  const onUpload = ({ outcome, added }: { outcome: string; added: number }): void => metrics.session(outcome, added)
  const { silenceMs } = options
  const route = createSessionRoute({ store, gate, budget, audit, onUpload, onRefused: metrics.refused, silenceMs, log })
  const directory =
    options.directory === undefined
      ? undefined
      : watchSessionDirectory({ directory: options.directory, tenant: defaultTenant, store, audit, onUpload, log })

  return {
    route,
    failure: () => directory?.failure(),
    async stop(withinMs) {
      const idle = Promise.all([route.idle(), directory?.stop()])
      await Promise.race([idle, new Promise((resolve) => setTimeout(resolve, withinMs).unref())])
      await threads.close()
      await client.close()
    },
  }
}
