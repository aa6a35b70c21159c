import { fork } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Config, loadConfig, UserError } from '@agnes/config'
import type { Command } from 'commander'
import { type Instance, removeRunNote, writeRunNote } from '../instance.ts'
import { paint } from '../output/paint.ts'
import { createLifecycle, type Lifecycle } from '../up/lifecycle.ts'
import { type Supervised, supervise } from '../up/supervisor.ts'
import { log } from './service.ts'

export function registerUp(program: Command): void {
  program
    .command('up')
    .description('Start everything: engine, migrations, gateway; Ctrl-C stops it')
    .option('--print-ports <format>', 'print what was taken as one line of JSON when ready (format: json)')
    .addHelpText(
      'after',
      '\nExamples:\n  agnes up\n  AGNES_DATA_DIR=/var/lib/agnes agnes up\n  AGNES_OTLP_PORT=0 AGNES_CLICKHOUSE_PORT=0 agnes up --print-ports json\n',
    )
    .action(async ({ printPorts }: { printPorts?: string }) => {
      if (printPorts !== undefined && printPorts !== 'json') {
        throw new UserError(`--print-ports takes "json", not "${printPorts}"`, { code: 'usage', exitCode: 2 })
      }
      await up(loadConfig().config, printPorts === 'json')
    })
}

/** Each service gets this long to drain; together they stay below ten seconds. */
const drainMs = 8_500
const main = fileURLToPath(new URL('../main.js', import.meta.url))

async function up(config: Config, printPorts: boolean): Promise<void> {
  createDataDir(config)
  const stop = stopSignals()
  const lifecycle = createLifecycle()
  const services: Supervised[] = []
  const start = async (command: string, env: NodeJS.ProcessEnv): Promise<Supervised> => {
    const service = await supervise({
      name: command,
      spawn: () =>
        fork(main, [command], { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
      log,
      onEvent: (event, message) => lifecycle.emit(command, event, message),
    })
    services.unshift(service)
    return service
  }
  try {
    const engine = config.clickhouseUrl === undefined ? await start('engine', {}) : undefined
    const clickhouseUrl = config.clickhouseUrl ?? engine?.url ?? ''
    // A free port that was picked must stay the same for the others, and when the service is started again.
    const env = engine === undefined ? {} : { AGNES_CLICKHOUSE_PORT: String(engine.port) }
    await migrateSchema(clickhouseUrl, config)
    const gateway = await start('gateway', env)
    const instance = { clickhouseUrl, otlpUrl: gateway.url }
    writeRunNote(config, instance)
    lifecycle.connect(gateway.url)
    lifecycle.emit('agnes', 'ready', `serving on ${gateway.url}`)
    if (printPorts) {
      process.stdout.write(
        `${JSON.stringify({ otlp: gateway.port, ...(engine === undefined ? {} : { clickhouse: engine.port }) })}\n`,
      )
    } else printWelcome(instance)
    await stop.requested
    log('stopping: what is on disk stays, the next start goes on with it')
  } finally {
    await shutDown(services, lifecycle, config, stop.again)
  }
}

async function migrateSchema(clickhouseUrl: string, config: Config): Promise<void> {
  const { createAgnesClient, migrate } = await import('@agnes/clickhouse')
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-up' })
  try {
    await migrate(client, config.clickhouseCluster === undefined ? {} : { cluster: config.clickhouseCluster })
  } catch (error) {
    if (error instanceof UserError) throw error
    throw new UserError(`cannot migrate the database: ${(error as Error).message.split('\n', 1)[0]}`, {
      code: 'migrate_failed',
      hint: 'see "agnes doctor"; with CLICKHOUSE_URL, check that the server is up and the user may create tables',
      cause: error,
    })
  } finally {
    await client.close()
  }
}

/** The gateway stops first: its last insert still needs the engine. */
async function shutDown(
  services: readonly Supervised[],
  lifecycle: Lifecycle,
  config: Config,
  again: Promise<void>,
): Promise<void> {
  void again.then(() => {
    for (const service of services) service.kill()
    process.exit(1)
  })
  lifecycle.emit('agnes', 'stop', 'stopping')
  await lifecycle.close()
  const deadline = performance.now() + drainMs
  for (const service of services) await service.stop(Math.max(500, deadline - performance.now()))
  removeRunNote(config)
}

function createDataDir(config: Config): void {
  try {
    mkdirSync(config.dataDir, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new UserError(`cannot create the data directory ${config.dataDir}: ${(error as Error).message}`, {
      code: 'data_directory',
      hint: 'make its parent writable for this user, or set AGNES_DATA_DIR',
      cause: error,
    })
  }
}

function stopSignals(): { requested: Promise<void>; again: Promise<void> } {
  let count = 0
  let first: () => void = () => {}
  let second: () => void = () => {}
  const requested = new Promise<void>((resolve) => {
    first = resolve
  })
  const again = new Promise<void>((resolve) => {
    second = resolve
  })
  const on = (): void => (++count === 1 ? first() : second())
  process.on('SIGINT', on)
  process.on('SIGTERM', on)
  return { requested, again }
}

function printWelcome({ clickhouseUrl, otlpUrl }: Instance): void {
  const clickhouse = new URL(clickhouseUrl).origin
  process.stdout.write(`
  ${paint.bold('OTLP')}        ${otlpUrl}      POST /v1/logs, GET /healthz
  ${paint.bold('ClickHouse')}  ${clickhouse}      database agnes

Send the first event:

  curl ${otlpUrl}/v1/logs -H 'Content-Type: application/json' -d '{"resourceLogs":[{"scopeLogs":[{"logRecords":[
    {"eventName":"agnes.audit","attributes":[{"key":"agnes.action","value":{"stringValue":"hello.world"}}]}]}]}]}'

or let Claude Code send its own:

  export CLAUDE_CODE_ENABLE_TELEMETRY=1 OTEL_LOGS_EXPORTER=otlp OTEL_METRICS_EXPORTER=otlp \\
    OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT=${otlpUrl}

then: agnes demo (a simulated week). Ctrl-C stops.
`)
}
