import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import {
  type Config,
  exitCodes,
  isLoopback,
  type Log,
  loadConfig,
  type Variable,
  type VariableName,
  variables,
} from '@agnes/config'
import { type Command, Option } from 'commander'
import { adminKeyFile, ensureAdminKey, gatewayHeaders } from '../admin-key.ts'
import { keyAudit } from '../audit.ts'
import { explain } from '../connect.ts'
import { createDataDir } from '../data-dir.ts'
import { gatewayAgent } from '../gateway-client.ts'
import { type Instance, writeRunNote } from '../instance.ts'
import { goOnWithoutReader } from '../output/streams.ts'
import { serviceLog } from '../service/log.ts'
import type { ReadyMessage } from '../service/messages.ts'
import { completed, watchChild } from '../up/child.ts'
import { createLifecycle, type Lifecycle } from '../up/lifecycle.ts'
import { watchStopSignals } from '../up/stop-signals.ts'
import { type Supervised, supervise } from '../up/supervisor.ts'

export function registerUp(program: Command): void {
  program
    .command('up')
    .description('Start engine, migrations, gateway, processors and inbox; Ctrl-C stops')
    .addOption(
      new Option('--print-ports <format>', 'when ready, print one line of JSON with the ports taken').choices(['json']),
    )
    .addHelpText(
      'after',
      `
Examples:
  agnes up
  AGNES_DATA_DIR=/var/lib/agnes agnes up
  AGNES_OTLP_PORT=0 AGNES_OTLP_GRPC_PORT=0 AGNES_CLICKHOUSE_PORT=0 AGNES_HTTP_PORT=0 agnes up --print-ports json
  CLICKHOUSE_URL=https://agnes:secret@db.example:8443/agnes agnes up
`,
    )
    .action(async ({ printPorts }: { printPorts?: 'json' }) => {
      await up(loadConfig().config, printPorts === 'json')
    })
}

/** From the signal to the end of the last service, in milliseconds. */
const drainMs = 9_500
/** After this long every gateway knows a new key. */
const newKeyMs = 5_000
/** Of these, for the engine after the gateway has ended. */
const engineDrainMs = 2_000
const main = fileURLToPath(new URL('../main.js', import.meta.url))

/** Secrets a service needs; it is not given the others, which anybody could read in its environment. */
const secretsOf: Readonly<Record<string, readonly string[]>> = {
  gateway: ['AGNES_KEYS', 'CLICKHOUSE_URL'],
  inbox: ['AGNES_KEYS', 'CLICKHOUSE_URL', 'TELEGRAM_BOT_TOKEN'],
  migrate: ['CLICKHOUSE_URL'],
  processors: ['CLICKHOUSE_URL'],
}

/** A process of our own; `env` goes before what this process was given. */
function start(command: string, env: NodeJS.ProcessEnv) {
  const given = Object.entries(process.env).filter(([name]) => {
    const variable: Variable | undefined = Object.hasOwn(variables, name) ? variables[name as VariableName] : undefined
    return !variable?.secret || secretsOf[command]?.includes(name)
  })
  return fork(main, [command], {
    env: { ...Object.fromEntries(given), ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}

async function up(config: Config, printPorts: boolean): Promise<void> {
  const log = await serviceLog('agnes', config)
  goOnWithoutReader()
  createDataDir(config)
  const { requested, stopped, onSecond } = watchStopSignals()
  const lifecycle = createLifecycle(gatewayAgent(config))
  /** In the order they stop: the gateway's last insert still needs the engine. */
  const services: Supervised[] = []
  let forgetInstance = (): void => {}
  onSecond(() => {
    for (const service of services) service.kill()
    forgetInstance()
    process.exit(exitCodes.failure)
  })
  lifecycle.emit('agnes', 'start', 'starting')
  try {
    const starting = startServices(config, log, services, lifecycle, requested)
    const ready = await Promise.race([starting, stopped])
    if (ready !== undefined) {
      forgetInstance = writeRunNote(config, ready)
      // Beyond loopback our own events need the admin key too.
      const unknownMs = ready.adminKey === undefined || isLoopback(config.host) ? 0 : newKeyMs
      setTimeout(() => lifecycle.connect(ready.otlpUrl, gatewayHeaders(config)), unknownMs).unref()
      lifecycle.emit('agnes', 'ready', `serving ${ready.otlpUrl}`)
      await Promise.race([announce(config, log, ready, printPorts, requested), stopped])
    }
    await stopped
    log('stopping; what was received is on disk')
  } finally {
    lifecycle.emit('agnes', 'stop', 'stopping')
    await shutDown(services, lifecycle)
    forgetInstance()
  }
  // The telemetry SDK or a connection that is kept alive must not hold the process.
  process.exit(exitCodes.done)
}

interface Serving extends Instance {
  /** The admin key, where it was created just now. */
  readonly adminKey: string | undefined
  readonly ports: {
    readonly otlp: number
    readonly otlpGrpc: number
    readonly http: number
    readonly clickhouse?: number
  }
}

async function startServices(
  config: Config,
  log: Log,
  services: Supervised[],
  lifecycle: Lifecycle,
  stop: AbortSignal,
): Promise<Serving> {
  const service = (
    command: string,
    component: string,
    env: (before: ReadyMessage | undefined) => NodeJS.ProcessEnv,
  ) => {
    const supervised = supervise({
      name: command,
      spawn: (before) => start(command, env(before)),
      log,
      onEvent: (event, message) => {
        const isGateway = command === 'gateway'
        if (isGateway && event === 'crash') lifecycle.hold()
        lifecycle.emit(component, event, message)
        if (isGateway && event === 'restart') lifecycle.release()
      },
    })
    services.unshift(supervised)
    return supervised.ready
  }

  // A port that was picked must stay the same for the others, and when the service is started again.
  const clickhousePort = (engine: ReadyMessage | undefined) =>
    engine === undefined ? {} : { AGNES_CLICKHOUSE_PORT: `${engine.port}` }
  const engine = config.clickhouseUrl === undefined ? await service('engine', 'engine', clickhousePort) : undefined
  if (engine !== undefined) lifecycle.emit('engine', 'ready', `serving ${engine.url}`)
  stop.throwIfAborted()

  const found = clickhousePort(engine)
  const migrating = watchChild('migrate', start('migrate', found))
  const endMigration = (): void => void migrating.process.kill('SIGTERM')
  stop.addEventListener('abort', endMigration, { once: true })
  await completed('migrate', migrating)
  stop.removeEventListener('abort', endMigration)
  stop.throwIfAborted()

  const gateway = await service('gateway', 'ingest-gateway', (before) => ({
    ...found,
    ...(before === undefined ? {} : { AGNES_OTLP_PORT: `${before.port}`, AGNES_OTLP_GRPC_PORT: `${before.grpcPort}` }),
  }))
  stop.throwIfAborted()

  const clickhouseUrl = config.clickhouseUrl ?? engine?.url ?? ''
  // After the gateway, which may refuse to start: a key would have been made then that nobody was shown.
  const adminKey = await createAdminKey(config, clickhouseUrl, lifecycle)
  stop.throwIfAborted()

  // After the key: beyond loopback their events need it. Both at once: neither needs the other.
  const withGateway = { ...found, AGNES_OTLP_PORT: `${gateway.port}` }
  const [, inbox] = await Promise.all([
    service('processors', 'processors', () => withGateway),
    service('inbox', 'inbox', (before) => ({
      ...withGateway,
      ...(before === undefined ? {} : { AGNES_HTTP_PORT: `${before.port}` }),
    })),
  ])
  return {
    adminKey,
    clickhouseUrl,
    otlpUrl: gateway.url,
    inboxUrl: inbox.url,
    ports: {
      otlp: gateway.port,
      otlpGrpc: gateway.grpcPort ?? 0,
      http: inbox.port,
      ...(engine === undefined ? {} : { clickhouse: engine.port }),
    },
  }
}

/** On the first start. @returns the key, to be shown once */
async function createAdminKey(config: Config, url: string, lifecycle: Lifecycle): Promise<string | undefined> {
  const { createAgnesClient } = await import('@agnes/clickhouse')
  const client = createAgnesClient({ url, application: 'agnes-up' })
  try {
    const issued = await ensureAdminKey(client, config)
    if (issued !== undefined) lifecycle.audit(keyAudit('keys.create', issued.key))
    return issued?.text
  } catch (error) {
    throw explain(error, url, config.clickhouseUrl === undefined)
  } finally {
    await client.close()
  }
}

async function announce(
  config: Config,
  log: Log,
  serving: Serving,
  printPorts: boolean,
  stop: AbortSignal,
): Promise<void> {
  if (printPorts) {
    if (serving.adminKey !== undefined) log(`the admin key is in ${adminKeyFile(config)}`)
    process.stdout.write(`${JSON.stringify(serving.ports)}\n`)
    return
  }
  const { healthLine, welcome } = await import('../up/welcome.ts')
  const keyFile = adminKeyFile(config)
  const options = {
    ...serving.ports,
    needsKey: !isLoopback(config.host),
    keyFile,
    toPerson: process.stdout.isTTY === true,
  }
  process.stdout.write(welcome(serving, options))
  const line = await healthLine(serving.clickhouseUrl, stop)
  if (line !== undefined) process.stdout.write(`${line}\n`)
}

async function shutDown(services: readonly Supervised[], lifecycle: Lifecycle): Promise<void> {
  const endAt = performance.now() + drainMs
  await lifecycle.close()
  for (const [i, service] of services.entries()) {
    const kept = i < services.length - 1 ? engineDrainMs : 0
    await service.stop(Math.max(500, endAt - kept - performance.now()))
  }
}
