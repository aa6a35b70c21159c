/** The inbox as a whole: listener, keys, sessions, pages, API, and the events it leaves; nothing else knows all of them. */
import type { Agent } from 'node:http'
import path from 'node:path'
import { type ClickHouseClient, createAgnesClient, openKeyRing } from '@agnes/clickhouse'
import { bindPort, type Config, isLoopback, type Log, loadKeyFile, UserError, urlHost, variables } from '@agnes/config'
import type { EmitOptions, Recorder, Telemetry } from '@agnes/instrumentation'
import { createRedaction, loadRules, noRules, type StartRedaction } from '@agnes/redaction'
import type { FastifyRequest } from 'fastify'
import { registerActivityApi } from './api/activity.ts'
import { registerAlertsApi } from './api/alerts.ts'
import { registerEventApi } from './api/events.ts'
import { registerFeedbackApi } from './api/feedback.ts'
import { registerOpenApi } from './api/openapi.ts'
import { registerService } from './api/service.ts'
import { registerSessionApi } from './api/sessions.ts'
import { registerSyncApi } from './api/sync.ts'
import { registerTelegramApi } from './api/telegram.ts'
import { buildApp } from './app.ts'
import { createFormTokens, type FormTokens } from './auth/csrf.ts'
import { createSessions, type Sessions } from './auth/session.ts'
import { createGate, type Gate } from './auth/visitor.ts'
import { createFeedback, type Feedback } from './feedback/service.ts'
import { createSilent, type SilentSessions } from './feedback/silent.ts'
import { type Assets, loadAssets } from './http/assets.ts'
import { visitorOf } from './http/form.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { originOf } from './origin.ts'
import { registerActivityPages } from './pages/activity/routes.ts'
import { registerFeedbackPages } from './pages/feedback/routes.ts'
import { registerLogin } from './pages/login.ts'
import { registerSessionPages } from './pages/sessions/routes.ts'
import { registerTelegramPages } from './pages/telegram/routes.ts'
import { createQuestions, type Questions } from './questions.ts'
import { createReads, type Read } from './reads.ts'
import type { Clock } from './telegram/clock.ts'
import { reportActionsOf, reportNotification } from './telegram/reports.ts'
import { openTelegram, type Telegram } from './telegram/telegram.ts'

export interface InboxOptions {
  readonly config: Pick<Config, 'dataDir' | 'host' | 'httpPort'> &
    Partial<
      Pick<
        Config,
        | 'keys'
        | 'redaction'
        | 'redactionRules'
        | 'redactionKeyFile'
        | 'issueRepository'
        | 'trustedProxies'
        | 'publicUrl'
        | 'telegram'
      >
    >
  /** Where ClickHouse answers: the server's URL or the embedded engine's. */
  readonly clickhouseUrl: string
  /** The gateway that takes the events of the inbox itself. */
  readonly gateway: {
    readonly url: string
    readonly headers?: Readonly<Record<string, string>>
    readonly agent?: Agent | undefined
  }
  readonly version?: string
  readonly log?: Log
  /** Of the Telegram bot. */
  readonly clock?: Clock
}

export interface RunningInbox {
  readonly url: string
  readonly port: number
  /** Reads the list of keys now; it is read every two seconds anyway. */
  readKeys(): Promise<void>
  /** Refuses new requests, lets those under way end. At most some seconds. */
  stop(): Promise<void>
}

type AuditFields = Parameters<Recorder['audit']>[0]

/** What pages and API are built of. */
export interface Inbox extends Questions {
  readonly client: ClickHouseClient
  readonly gate: Gate
  readonly sessions: Sessions
  readonly forms: FormTokens
  readonly assets: Assets
  readonly metrics: Metrics
  readonly feedback: Feedback
  /** Who has what others reported, and said nothing. */
  readonly silent: SilentSessions
  /** Where issues are opened: `owner/name` on GitHub. */
  readonly repository: string
  readonly redaction: StartRedaction
  /** undefined: there is no bot. */
  readonly telegram: Telegram | undefined
  readonly log: Log
  readonly now: () => Date
  /** Somebody looked at something. */
  read(request: FastifyRequest, read: Omit<Read, 'userId'>): void
  /** Somebody did something. It counts with or without the event. */
  audit(request: FastifyRequest, fields: AuditFields): void
  /** What must not be done without its event. @throws UserError (503) if the gateway does not take it */
  auditFirst(request: FastifyRequest, fields: AuditFields): Promise<void>
  /** Errors of ClickHouse as users understand them; others as they are. */
  explain(error: unknown): unknown
}

const stopWithinMs = 5_000
const flushMs = 3_000

/** @throws UserError if the port is taken or the data directory is not writable */
export async function startInbox(options: InboxOptions): Promise<RunningInbox> {
  const { config, clickhouseUrl, log = () => {} } = options
  const { host, dataDir } = config
  const rules = config.redaction === false ? noRules : await loadRules(config.redactionRules)
  const redactionKeyFile = config.redactionKeyFile ?? path.join(dataDir, 'redaction.key')
  const redactionKey = loadKeyFile(redactionKeyFile, 32, 'AGNES_REDACTION_KEY_FILE')
  const ring = openKeyRing({
    client: createAgnesClient({ url: clickhouseUrl, application: 'agnes-inbox', requestTimeoutMs: 5_000 }),
    cacheFile: path.join(dataDir, 'inbox-keys-cache.json'),
    configured: config.keys ?? [],
    log: (line) => log(`inbox: ${line}`),
  })
  if (!isLoopback(host)) {
    log(`inbox: ${host} speaks plain HTTP, so keys can be read on the way: put TLS in front`, 'warn')
  }
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-inbox' })
  // The SDK takes longer to load than the pages need to serve: it comes when they do, and events wait for it.
  let serves = (): void => {}
  const serving = new Promise<void>((resolve) => {
    serves = resolve
  })
  const telemetry: Promise<Telemetry> = serving.then(async () => {
    const { startTelemetry } = await import('@agnes/instrumentation')
    return startTelemetry({
      serviceName: 'agnes-inbox',
      ...(options.version === undefined ? {} : { serviceVersion: options.version }),
      endpoint: options.gateway.url,
      ...(options.gateway.headers && { headers: options.gateway.headers }),
      ...(options.gateway.agent && { agent: options.gateway.agent }),
      warn: (line) => log(`inbox: ${line}`, 'warn'),
    })
  })
  let stats: Telemetry['stats'] = () => ({ dropped: 0, undelivered: 0 })
  void telemetry.then((started) => {
    stats = started.stats
  })
  const lost = (): number => stats().dropped + stats().undelivered
  const record = (fields: AuditFields, emit: EmitOptions = {}): void => {
    const at = new Date()
    void telemetry.then(({ recorder }) => recorder.at(at).audit(fields, emit))
  }

  const metrics: Metrics = createMetrics({ eventsLost: lost, telegram: () => telegram?.stats })
  const reads = createReads<Read & { readonly fields: AuditFields }>(({ fields, params }, suppressed) => {
    metrics.readTold()
    record({ ...fields, params: suppressed === 0 ? params : { ...params, suppressed } })
  })
  const forms = createFormTokens()
  const sessions = createSessions({
    secret: loadKeyFile(path.join(dataDir, 'inbox-cookie.key'), 32, 'AGNES_DATA_DIR'),
    ring,
    endedFile: path.join(dataDir, 'inbox-ended-sessions.json'),
  })
  const assets = loadAssets()
  const questions = createQuestions(client)
  const redaction = createRedaction(rules, redactionKey)
  const feedback = createFeedback({
    client,
    redaction,
    record,
    log,
    explain: explainClickHouse,
  })
  const token = config.telegram?.token
  const telegram: Telegram | undefined =
    config.telegram && token
      ? openTelegram({
          config: config.telegram,
          token,
          publicUrl: config.publicUrl,
          client,
          ring,
          pulse: questions.pulse,
          record,
          reports: reportActionsOf(client, feedback),
          explain: explainClickHouse,
          onCall: metrics.telegramCall,
          log,
          clock: options.clock,
        })
      : undefined
  if (telegram !== undefined) feedback.onReport((report, others) => telegram.notify(reportNotification(report, others)))
  const inbox: Inbox = {
    client,
    gate: createGate({
      ring,
      sessions,
      onWrongKey(request) {
        metrics.wrongKey()
        const read = { action: 'inbox.login', userId: '', params: { address: request.ip } }
        reads.note({ ...read, fields: { ...originOf(request), action: read.action, result: 'denied' } })
      },
    }),
    sessions,
    forms,
    assets,
    metrics,
    ...questions,
    feedback,
    silent: createSilent(client),
    redaction,
    telegram,
    repository: config.issueRepository ?? variables.AGNES_ISSUE_REPOSITORY.default,
    log,
    now: () => new Date(),
    read(request, read) {
      const { userId, tenant } = visitorOf(request)
      const params = tenant === 'default' ? read.params : { tenant, ...read.params }
      const fields = { ...originOf(request), action: read.action, resource: read.resource, userId, result: 'success' }
      metrics.read()
      reads.note({ ...read, userId, params, fields })
    },
    audit: (request, fields) => record({ ...originOf(request), ...fields }),
    async auditFirst(request, fields) {
      const { recorder, flush } = await telemetry
      const lostBefore = lost()
      const startedAt = performance.now()
      recorder.audit({ ...originOf(request), ...fields })
      await flush(flushMs)
      if (lost() === lostBefore && performance.now() - startedAt < flushMs) return
      throw new UserError('this is only done when it can be written down, and the ingest gateway does not answer', {
        code: 'not_audited',
        status: 503,
        hint: 'look whether the gateway runs, and try again',
      })
    },
    explain: (error) => explainClickHouse(error),
  }

  const app = buildApp(inbox, assets, config.trustedProxies ?? ['loopback'])
  registerLogin(app, inbox)
  registerService(app, inbox, { isOnLoopback: isLoopback(host) })
  registerOpenApi(app)
  registerActivityApi(app, inbox)
  registerEventApi(app, inbox)
  registerSyncApi(app, inbox)
  registerAlertsApi(app, inbox)
  registerFeedbackApi(app, inbox)
  registerSessionApi(app, inbox)
  registerTelegramApi(app, inbox)
  registerTelegramPages(app, inbox)
  registerActivityPages(app, inbox)
  registerSessionPages(app, inbox)
  registerFeedbackPages(app, inbox)
  await app.ready()
  // Whoever comes first should find the keys known; without ClickHouse they are told to come again.
  await ring.asked
  const port = await bindPort(app.server, host, config.httpPort, 'AGNES_HTTP_PORT').catch(async (error: unknown) => {
    serves()
    await release()
    throw error
  })
  serves()

  async function release(): Promise<void> {
    reads.close()
    await telegram?.stop()
    await (await telemetry).shutdown()
    await app.close()
    await client.close()
    await ring.stop()
  }

  return {
    url: `http://${urlHost(host)}:${port}`,
    port,
    readKeys: () => ring.askNow(),
    async stop() {
      const closed = new Promise((resolve) => app.server.close(resolve))
      app.server.closeIdleConnections()
      const cut = setTimeout(() => app.server.closeAllConnections(), stopWithinMs).unref()
      await closed
      clearTimeout(cut)
      await release()
    },
  }
}

const unreachable = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ETIMEDOUT'])

function explainClickHouse(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof UserError) return error
  const { code = '' } = error as { readonly code?: string }
  if (!unreachable.has(code) && error.message !== 'Timeout error.' && error.message !== 'socket hang up') return error
  return new UserError('ClickHouse does not answer', {
    code: 'unreachable',
    status: 503,
    hint: '"agnes doctor" says more; nothing that was received is lost, it waits on disk',
    cause: error,
  })
}
