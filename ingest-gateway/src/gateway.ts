/** The gateway as a whole: listener, ingest, spool, writer, heartbeat; nothing else knows all of them. */
import { mkdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createAgnesClient, type KeyRing, openKeyRing } from '@agnes/clickhouse'
import {
  type Config,
  exitCodes,
  isLoopback,
  type Log,
  loadKeyFile,
  lockDirectory,
  UserError,
  urlHost,
} from '@agnes/config'
import { createRedaction, loadRules, noRules } from '@agnes/redaction'
import { createGate, defaultTenant } from './auth/gate.ts'
import { createQuotas } from './auth/quota.ts'
import { createByteBudget } from './byte-budget.ts'
import { createEventIds } from './event-ids.ts'
import { listenGrpc } from './grpc/server.ts'
import { type HealthReport, listen } from './http/server.ts'
import { createIngest } from './ingest.ts'
import { createMetrics } from './metrics.ts'
import { createDecodeThreads } from './otlp/decode-threads.ts'
import { ageInSeconds, type Pulse, startPulse } from './pulse.ts'
import { createRecentRequests } from './recent-requests.ts'
import { createRequestHash } from './request-hash.ts'
import { openSessions } from './sessions/sessions.ts'
import type { SessionLimits } from './sessions/upload.ts'
import { openSpool } from './spool/spool.ts'
import { openTls } from './tls.ts'
import { startWriter } from './writer/writer.ts'

export interface GatewayOptions {
  readonly config: Pick<
    Config,
    'dataDir' | 'host' | 'otlpPort' | 'otlpGrpcPort' | 'maxBodyBytes' | 'maxDecodedBytes' | 'clickhouseUrl'
  > &
    // Redaction is on unless told.
    Partial<
      Pick<
        Config,
        | 'decodeThreads'
        | 'tls'
        | 'redaction'
        | 'redactionRules'
        | 'redactionKeyFile'
        | 'keys'
        | 'tenantRecordsPerSecond'
        | 'tenantBytesPerSecond'
        | 'spoolMaxBytes'
        | 'sessionsDir'
      >
    >
  /** Where ClickHouse answers: the server's URL or the embedded engine's. */
  readonly clickhouseUrl: string
  readonly log?: Log
  /** Seal a segment after this many milliseconds while the writer is idle. */
  readonly sealAfterMs?: number
  /** Milliseconds between two heartbeats; 0 for none. */
  readonly heartbeatMs?: number
  /** Whether clients need a key; unless told they do when the address is not one of loopback. */
  readonly needsKeys?: boolean
  /** Milliseconds between two readings of the list of keys. */
  readonly keysEveryMs?: number
  /** Milliseconds a request may take to arrive. */
  readonly arriveWithinMs?: number
  /** Milliseconds between two looks at the files of TLS. */
  readonly tlsEveryMs?: number
  readonly sessionLimits?: Partial<SessionLimits>
}

export interface Gateway {
  readonly url: string
  readonly port: number
  /** Of OTLP/gRPC. */
  readonly grpcPort: number
  /** The same report `/healthz` gives. */
  health(): HealthReport
  /** Refuses new requests, lets those under way end, leaves the backlog on disk. At most 10 s. */
  stop(): Promise<void>
}

/** The insert under way gets this long when the gateway stops; its segment stays on disk if that is too short. */
const drainMs = 8_000
/** Transcripts that were cut when the gateway stops get this long to be stored as far as they came. */
const sessionsMs = 3_000
/** On loopback the start waits this long for the list of keys; until it is there, clients with a key are told to come again. */
const keysWaitMs = 1_000
/** Threads that decode, unless told: more than four are faster than the thread that answers. */
const maxDecodeThreads = 4
/** Requests of the largest size that may be in memory at once: one as it was sent, and inflated; usual ones are small. */
const requestsInMemory = 2

/**
 * Starts the gateway.
 * @throws UserError if the data directory is in use or not writable, or the port is taken
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { config, clickhouseUrl, log = () => {} } = options
  // Spool and writer speak up when something is wrong, or right again.
  const warn: Log = (message, level = 'warn', fields) => log(message, level, fields)
  const rules = config.redaction === false ? noRules : await loadRules(config.redactionRules)
  const directory = path.join(config.dataDir, 'spool')
  createDirectory(directory)
  const recognitionKey = loadKeyFile(path.join(directory, 'request-hash.key'), 16, 'AGNES_DATA_DIR')
  const redactionKeyFile = config.redactionKeyFile ?? path.join(config.dataDir, 'redaction.key')
  const redactionKey = loadKeyFile(redactionKeyFile, 32, 'AGNES_REDACTION_KEY_FILE')
  const tls = config.tls && openTls({ files: config.tls, log, everyMs: options.tlsEveryMs })
  const lock = await lockDirectory(directory, 'spool')
  const ring = openKeyRing({
    client: createAgnesClient({ url: clickhouseUrl, application: 'agnes-ingest-gateway', requestTimeoutMs: 5_000 }),
    cacheFile: path.join(config.dataDir, 'keys-cache.json'),
    configured: config.keys ?? [],
    log: (line) => log(`gateway: ${line}`),
    ...(options.keysEveryMs === undefined ? {} : { everyMs: options.keysEveryMs }),
  })
  const open = !(options.needsKeys ?? !isLoopback(config.host))
  await Promise.race([
    ring.asked,
    ...(open || ring.has('ingest') ? [pause(keysWaitMs, undefined, { ref: false })] : []),
  ])
  if (!open && !ring.has('ingest')) {
    tls?.stop()
    await ring.stop()
    await lock.release()
    throw nobodyMaySend(config.host, ring.stats().failure)
  }
  if (!isLoopback(config.host) && tls === undefined) {
    log(
      `gateway: ${config.host} speaks plain HTTP, so keys can be read on the way: set AGNES_TLS_CERT_FILE, or put TLS in front`,
    )
  }
  const quotas = createQuotas({
    tenantRates: {
      recordsPerSecond: config.tenantRecordsPerSecond ?? 0,
      bytesPerSecond: config.tenantBytesPerSecond ?? 0,
    },
    nowMs: () => performance.now(),
  })
  const gate = createGate({ ring, open, quotas, log })
  const nowNs = wallClock()
  const spool = await openSpool({
    directory,
    maxBytes: config.spoolMaxBytes,
    log: warn,
    ...(options.sealAfterMs === undefined ? {} : { sealAfterMs: options.sealAfterMs }),
  }).catch(async (error: unknown) => {
    tls?.stop()
    await ring.stop()
    await lock.release()
    throw error
  })
  const recent = createRecentRequests()
  const answered = Promise.resolve({ records: 0, rejected: 0, notes: [] })
  for (const hash of spool.recoveredHashes) void recent.remember(hash, answered)
  const eventIds = createEventIds({ key: recognitionKey })
  for (const ids of spool.recoveredIds) eventIds.restore(ids)
  const threadCount = config.decodeThreads ?? Math.max(1, Math.min(maxDecodeThreads, availableParallelism() - 1))
  const threads =
    threadCount === 0
      ? undefined
      : createDecodeThreads(threadCount, { rules: rules.source, redactionKey, recognitionKey, limits: undefined }, log)
  const redaction = createRedaction(rules, redactionKey)
  const ingest = createIngest({
    threads,
    spool,
    recent,
    eventIds,
    hashOf: createRequestHash(recognitionKey),
    redaction,
    ruleSet: rules.hash,
    nowNs,
  })
  const client = createAgnesClient({
    url: clickhouseUrl,
    application: 'agnes-ingest-gateway',
    requestTimeoutMs: 120_000,
  })
  const writer = startWriter({
    spool,
    client,
    // The embedded engine runs on this machine and opens the segment file itself.
    transport: config.clickhouseUrl === undefined ? 'file' : 'stream',
    log: warn,
    nowNs,
  })

  const metrics = createMetrics({ ingest, spool, writer, ring, nowNs })

  function health(): HealthReport {
    const { failure, warning, oldestReceivedAtNs, byTenant: _, ...backlog } = spool.stats()
    const { received, duplicate, rejected } = ingest.counters
    const { storedRecords, failure: writerFailure } = writer.stats()
    return {
      ready: failure === undefined,
      details: {
        ...(failure === undefined ? {} : { spoolFailure: failure }),
        ...(warning === undefined ? {} : { spoolWarning: warning }),
        ...(writerFailure === undefined ? {} : { clickhouseFailure: writerFailure }),
        received: received.total,
        duplicate: duplicate.total,
        rejected: rejected.total,
        stored: storedRecords,
        ...backlog,
        oldestSeconds: ageInSeconds(oldestReceivedAtNs, nowNs()),
        redactionRules: rules.size,
        ...(rules.size === 0 ? {} : { redactionRuleSet: Buffer.from(rules.hash).toString('hex') }),
        notStored: { ...listener.notStored },
        sessionUploads: sessions.route.underWay(),
        ...(sessions.failure() === undefined ? {} : { sessionsFailure: sessions.failure() }),
        ...keyReport(ring),
      },
    }
  }

  const limits = { maxBodyBytes: config.maxBodyBytes, maxDecodedBytes: config.maxDecodedBytes }
  const budget = createByteBudget(requestsInMemory * config.maxDecodedBytes)
  const sessions = openSessions({
    clickhouseUrl,
    redaction,
    rules: rules.source,
    redactionRules: rules.size === 0 ? 'off' : Buffer.from(rules.hash).toString('hex'),
    redactionKey,
    gate,
    budget,
    metrics,
    deliver: async (request, tenant) => void (await ingest.logs(request, 'json', tenant)),
    directory: config.sessionsDir,
    limits: options.sessionLimits,
    silenceMs: options.arriveWithinMs,
    log: warn,
  })
  const { host } = config
  const listener = await listen({
    host,
    port: config.otlpPort,
    limits,
    arriveWithinMs: options.arriveWithinMs,
    tls,
    budget,
    gate,
    ingest,
    sessions: sessions.route,
    health,
    metrics,
    log,
  }).catch(giveUp)
  const grpc = await listenGrpc({
    host,
    port: config.otlpGrpcPort,
    limits,
    arriveWithinMs: options.arriveWithinMs,
    tls,
    budget,
    gate,
    ingest,
    onNotStored: (signal) => {
      listener.notStored[signal]++
      metrics.notStored(signal)
    },
    onAnswered: (code, seconds) => metrics.request('grpc', code, seconds),
    onRefused: metrics.refused,
    log,
  }).catch(async (error: unknown) => {
    await listener.close()
    return giveUp(error)
  })

  async function giveUp(error: unknown): Promise<never> {
    await sessions.stop(0)
    await threads?.close()
    await spool.close()
    await writer.stop()
    await client.close()
    await ring.stop()
    await lock.release()
    throw error
  }

  const url = `${tls === undefined ? 'http' : 'https'}://${urlHost(host)}:${listener.port}`
  const pulse: Pulse | undefined =
    options.heartbeatMs === 0
      ? undefined
      : startPulse({
          url,
          everyMs: options.heartbeatMs ?? 30_000,
          ingest,
          spool,
          writer,
          redactionRules: rules.size,
          deliver: async (request) => void (await ingest.logs(Buffer.from(request), 'protobuf', defaultTenant)),
          nowNs,
        })

  async function stop(): Promise<void> {
    tls?.stop()
    await pulse?.stop()
    await Promise.all([listener.close(), grpc.close(), sessions.stop(sessionsMs)])
    await threads?.close()
    await spool.close()
    const drained = writer.stop()
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, drainMs).unref())])
    await client.close()
    await ring.stop()
    await lock.release()
  }

  return { url, port: listener.port, grpcPort: grpc.port, health, stop }
}

/** Who may send, and how fresh that is. */
function keyReport(ring: KeyRing): Readonly<Record<string, unknown>> {
  const { keys, ageSeconds, failure } = ring.stats()
  return {
    keys,
    ...(ageSeconds === undefined ? {} : { keysAgeSeconds: ageSeconds }),
    ...(failure === undefined ? {} : { keysFailure: failure }),
  }
}

function nobodyMaySend(host: string, failure: string | undefined): UserError {
  const unread = failure === undefined ? '' : ` (those of ClickHouse cannot be read: ${failure})`
  return new UserError(
    `AGNES_HOST=${host} opens the gateway to the network, and there is no key with scope ingest${unread}`,
    {
      code: 'no_keys',
      exitCode: exitCodes.usage,
      hint: 'set AGNES_KEYS=app:ingest:<secret>, or start once with AGNES_HOST=127.0.0.1 and run "agnes keys create --scope ingest"',
    },
  )
}

/**
 * Nanoseconds since 1970 with the monotonic clock's resolution: Date.now() has milliseconds only.
 * Re-anchored when the wall clock was set.
 */
function wallClock(): () => bigint {
  let anchor = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()
  return () => {
    const now = process.hrtime.bigint() + anchor
    const wall = BigInt(Date.now()) * 1_000_000n
    const drift = now - wall
    if (drift > 2_000_000n || drift < -2_000_000n) {
      anchor += wall - now
      return wall
    }
    return now
  }
}

function createDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new UserError(`cannot create ${directory}: ${(error as Error).message}`, {
      code: 'data_directory',
      hint: 'make its parent writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
}
