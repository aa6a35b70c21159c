/**
 * Start-up: the OpenTelemetry SDK with one log pipeline to an OTLP/HTTP endpoint, bounded in memory and in patience.
 * Standard OTEL_* variables are honoured where no option is given. @see OpenTelemetry environment variable specification
 */
import type { Agent } from 'node:http'
import { hostname } from 'node:os'
import { DiagConsoleLogger, type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api'
import { logs } from '@opentelemetry/api-logs'
import { diagLogLevelFromString, getBooleanFromEnv, getNumberFromEnv, getStringFromEnv } from '@opentelemetry/core'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { ProtobufLogsSerializer } from '@opentelemetry/otlp-transformer'
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import { LoggerProvider, type LogRecordExporter } from '@opentelemetry/sdk-logs'
import { ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions'
import { createLogPipeline, type LossStats } from './log-pipeline.ts'
import { createRecorder, type Recorder } from './recorder.ts'

export interface TelemetryOptions {
  /** `service.name`; else OTEL_SERVICE_NAME. */
  readonly serviceName?: string
  readonly serviceVersion?: string
  /** `deployment.environment.name`: production, staging, … */
  readonly environment?: string
  /** Base URL of an OTLP/HTTP receiver; else OTEL_EXPORTER_OTLP_(LOGS_)ENDPOINT, else http://127.0.0.1:4318. */
  readonly endpoint?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Opens the connections, e.g. an agent of node:https that trusts a certificate of your own. */
  readonly agent?: Agent
  /** Takes each `ExportLogsServiceRequest` in protobuf instead of a connection; rejects if it could not. */
  readonly deliver?: (request: Uint8Array) => Promise<void>
  /** Records that may wait; beyond it the newest are dropped. */
  readonly maxQueueSize?: number
  /** Milliseconds a record waits for others to travel with. */
  readonly scheduledDelayMs?: number
  /** Called with one line when sending fails; at most once in ten seconds. Written to standard error unless told. */
  readonly warn?: (line: string) => void
}

export interface Telemetry {
  readonly recorder: Recorder
  /** Resolves when everything recorded so far was answered by the receiver, or after `timeoutMs`. */
  flush(timeoutMs?: number): Promise<void>
  /** Flushes within a few seconds, then stops; again does nothing. Never throws. */
  shutdown(): Promise<void>
  /** Events that were recorded and will not arrive. */
  stats(): LossStats
}

const exportTimeoutMs = 10_000
const shutdownMs = 3_000
const warnEveryMs = 10_000

/**
 * Starts the SDK for this process. The process may end while it runs: it keeps nothing alive. Only the SDK's part for logs
 * is loaded: the package for all signals takes three times as long to start.
 */
export function startTelemetry(options: TelemetryOptions = {}): Telemetry {
  setDiagnostics(options.warn ?? ((line) => process.stderr.write(`${line}\n`)))
  const exporter = options.deliver === undefined ? httpExporter(options) : handOver(options.deliver)
  const maxQueueSize = options.maxQueueSize ?? 2_048
  const pipeline = createLogPipeline(
    exporter,
    {
      maxQueueSize,
      maxExportBatchSize: Math.min(512, maxQueueSize),
      scheduledDelayMillis: options.scheduledDelayMs ?? 1_000,
      exportTimeoutMillis: exportTimeoutMs,
    },
    () => diag.error(`${maxQueueSize} wait already, the newest are dropped`),
  )
  const provider = new LoggerProvider({
    // The later wins: the default, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, the options.
    resource: resourceFromAttributes({
      [ATTR_SERVICE_NAME]: 'agnes',
      // Who hands over within the process is a gateway: several of one name count apart.
      ...(options.deliver === undefined ? {} : { 'service.instance.id': `${hostname()}:${process.pid}` }),
    })
      .merge(detectResources({ detectors: [envDetector] }))
      .merge(
        resourceFromAttributes({
          ...(options.serviceName === undefined ? {} : { [ATTR_SERVICE_NAME]: options.serviceName }),
          ...(options.serviceVersion === undefined ? {} : { [ATTR_SERVICE_VERSION]: options.serviceVersion }),
          ...(options.environment === undefined ? {} : { 'deployment.environment.name': options.environment }),
        }),
      ),
    processors: [pipeline.processor],
    logRecordLimits: attributeLimits(),
  })
  if (getBooleanFromEnv('OTEL_SDK_DISABLED') !== true) logs.setGlobalLoggerProvider(provider)
  let stopped: Promise<void> | undefined
  const logger = logs.getLogger('@agnes/instrumentation')
  const recorder = createRecorder({
    emit: (record) => (stopped === undefined ? logger.emit(record) : pipeline.refuse()),
    enabled: (options) => logger.enabled(options),
  })
  async function stop(): Promise<void> {
    await within(shutdownMs, provider.shutdown())
    pipeline.giveUp()
    logs.disable()
  }
  return {
    recorder,
    flush: (timeoutMs = shutdownMs) => within(timeoutMs, pipeline.flush()),
    shutdown: () => {
      stopped ??= stop()
      return stopped
    },
    stats: pipeline.stats,
  }
}

function httpExporter({ endpoint, headers, agent }: TelemetryOptions): LogRecordExporter {
  return new OTLPLogExporter({
    ...(endpoint === undefined ? {} : { url: `${endpoint.replace(/\/+$/, '')}/v1/logs` }),
    ...(headers === undefined ? {} : { headers: { ...headers } }),
    ...(agent === undefined ? {} : { httpAgentOptions: () => agent }),
    timeoutMillis: exportTimeoutMs,
  })
}

function handOver(deliver: (request: Uint8Array) => Promise<void>): LogRecordExporter {
  return {
    export(records, done) {
      // 0 and 1 are ExportResultCode.SUCCESS and FAILED.
      deliver(ProtobufLogsSerializer.serializeRequest(records) ?? new Uint8Array()).then(
        () => done({ code: 0 }),
        (error: Error) => done({ code: 1, error }),
      )
    },
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  }
}

/** What is left out the SDK has defaults for. @see OpenTelemetry environment variable specification, "Attribute Limits" */
function attributeLimits(): { attributeCountLimit?: number; attributeValueLengthLimit?: number } {
  const limit = (name: string): number | undefined =>
    [`OTEL_LOGRECORD_${name}`, `OTEL_${name}`].map(getNumberFromEnv).find((value) => value !== undefined && value >= 0)
  const count = limit('ATTRIBUTE_COUNT_LIMIT')
  const length = limit('ATTRIBUTE_VALUE_LENGTH_LIMIT')
  return {
    ...(count === undefined ? {} : { attributeCountLimit: count }),
    ...(length === undefined ? {} : { attributeValueLengthLimit: length }),
  }
}

/** Resolves when the work is done or the time is over; its errors were reported by the SDK already. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms).unref()
  })
  await Promise.race([
    work.then(
      () => undefined,
      () => undefined,
    ),
    late,
  ])
  clearTimeout(timer)
}

/** Where the SDK reports: to the console whoever asks for it by OTEL_LOG_LEVEL, else its errors to `write`. */
function setDiagnostics(write: (line: string) => void): void {
  const level = getStringFromEnv('OTEL_LOG_LEVEL')
  diag.setLogger(level === undefined ? warnings(write) : new DiagConsoleLogger(), {
    logLevel: level === undefined ? DiagLogLevel.ERROR : (diagLogLevelFromString(level) ?? DiagLogLevel.INFO),
    suppressOverrideMessage: true,
  })
}

/** The SDK reports every failed export; one line in a while is enough for a host. */
function warnings(write: (line: string) => void): DiagLogger {
  let last = Number.NEGATIVE_INFINITY
  const ignore = (): void => {}
  return {
    error: (message) => {
      if (performance.now() - last < warnEveryMs) return
      last = performance.now()
      const text = typeof message === 'string' ? reasonOf(message) : 'export failed'
      write(`telemetry: events could not be sent: ${text.split('\n', 1)[0]?.slice(0, 300)}`)
    },
    warn: ignore,
    info: ignore,
    debug: ignore,
    verbose: ignore,
  }
}

/** The SDK reports an error as JSON with all its properties; people need its message. */
function reasonOf(report: string): string {
  try {
    const { message } = JSON.parse(report) as { message?: unknown }
    return typeof message === 'string' && message !== '' ? message : report
  } catch {
    return report
  }
}
