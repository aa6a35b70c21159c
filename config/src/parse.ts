/** From environment variables (and a `.env` file) to a checked Config; unknown AGNES_* names are refused. */
import { readFileSync, statSync } from 'node:fs'
import { isIP } from 'node:net'
import path from 'node:path'
import { parseEnv } from 'node:util'
import { exitCodes, UserError } from './errors.ts'
import { type Config, processorInterval, type TlsFiles, type Variable, type VariableName, variables } from './schema.ts'

export interface ConfigSource {
  /** Of a variable, or of one processor's interval. */
  readonly name: string
  /** Where the effective value came from. */
  readonly source: 'environment' | '.env' | 'file' | 'default' | 'unset'
  /** Printable value; secrets are masked. */
  readonly shown: string
}

export interface ParsedConfig {
  readonly config: Config
  /** One entry a variable, in the order of the reference, for `agnes doctor`. */
  readonly sources: readonly ConfigSource[]
}

/**
 * Parses the process environment, falling back to `<cwd>/.env`.
 * @throws UserError (exit code 2) that names the variable, what is wrong and what it takes.
 */
export function loadConfig(env: NodeJS.ProcessEnv = process.env, cwd: string = process.cwd()): ParsedConfig {
  return parseConfig(env, readDotEnv(path.join(cwd, '.env')), cwd)
}

/** All but the reading of `.env`, whose content is `dotEnv`; relative paths are resolved against `cwd`. */
export function parseConfig(env: NodeJS.ProcessEnv, dotEnv: NodeJS.Dict<string>, cwd: string): ParsedConfig {
  refuseUnknown([...Object.keys(env), ...Object.keys(dotEnv)])
  const sources: ConfigSource[] = []
  const read = (name: VariableName): unknown => readAs(name, variables[name])
  const readAs = (name: string, variable: Variable): unknown => {
    const [source, text] = secretFromFile(name, variable, env, dotEnv, cwd) ?? pick(name, variable, env, dotEnv)
    sources.push({ name, source, shown: show(variable, text) })
    if (text === undefined) return undefined
    const parsed = variable.schema.safeParse(text)
    if (parsed.success) return parsed.data
    const problem = parsed.error.issues[0]?.message ?? 'is not valid'
    throw new UserError(`${name} (from ${source}): ${problem}`, {
      code: 'bad_config',
      exitCode: exitCodes.usage,
      hint: `${name}: ${variable.description}`,
    })
  }
  const processorIntervals = (): Record<string, number> => {
    const names = new Set([...Object.keys(env), ...Object.keys(dotEnv)])
    const found: Record<string, number> = {}
    for (const name of [...names].sort()) {
      const processor = processorInterval.pattern.exec(name)?.[1]?.toLowerCase()
      const seconds = processor === undefined ? undefined : readAs(name, processorInterval)
      if (processor !== undefined && seconds !== undefined) found[processor] = seconds as number
    }
    return found
  }
  const fileOf = (name: VariableName): string | undefined => {
    const file = read(name) as string | undefined
    return file === undefined ? undefined : path.resolve(cwd, file)
  }
  const config: Config = {
    dataDir: path.resolve(cwd, read('AGNES_DATA_DIR') as string),
    host: read('AGNES_HOST') as string,
    otlpPort: read('AGNES_OTLP_PORT') as number,
    otlpGrpcPort: read('AGNES_OTLP_GRPC_PORT') as number,
    gatewayUrl: read('AGNES_GATEWAY_URL') as string | undefined,
    gatewayKey: read('AGNES_GATEWAY_KEY') as string | undefined,
    decodeThreads: read('AGNES_DECODE_THREADS') as number | undefined,
    tls: tlsFiles(
      cwd,
      read('AGNES_TLS_CERT_FILE') as string | undefined,
      read('AGNES_TLS_KEY_FILE') as string | undefined,
      read('AGNES_TLS_CLIENT_CA_FILE') as string | undefined,
    ),
    httpPort: read('AGNES_HTTP_PORT') as number,
    trustedProxies: read('AGNES_TRUSTED_PROXIES') as readonly string[],
    publicUrl: read('AGNES_PUBLIC_URL') as string | undefined,
    telegram: {
      token: read('TELEGRAM_BOT_TOKEN') as string | undefined,
      apiRoot: read('TELEGRAM_API_ROOT') as string,
      mode: read('AGNES_TELEGRAM_MODE') as Config['telegram']['mode'],
      intervalSeconds: read('AGNES_TELEGRAM_INTERVAL_SECONDS') as number,
      digestAt: read('AGNES_TELEGRAM_DIGEST_AT') as string,
    },
    clickhousePort: read('AGNES_CLICKHOUSE_PORT') as number,
    clickhouseUrl: read('CLICKHOUSE_URL') as string | undefined,
    clickhouseCluster: read('CLICKHOUSE_CLUSTER') as string | undefined,
    maxBodyBytes: read('AGNES_MAX_BODY_BYTES') as number,
    maxDecodedBytes: read('AGNES_MAX_DECODED_BYTES') as number,
    logLevel: read('AGNES_LOG_LEVEL') as Config['logLevel'],
    logFormat: read('AGNES_LOG_FORMAT') as Config['logFormat'],
    tenantRecordsPerSecond: read('AGNES_TENANT_RECORDS_PER_SECOND') as number,
    tenantBytesPerSecond: read('AGNES_TENANT_BYTES_PER_SECOND') as number,
    keys: (read('AGNES_KEYS') ?? []) as Config['keys'],
    redaction: read('AGNES_REDACTION') === 'on',
    redactionRules: fileOf('AGNES_REDACTION_RULES'),
    redactionKeyFile: fileOf('AGNES_REDACTION_KEY_FILE'),
    issueRepository: read('AGNES_ISSUE_REPOSITORY') as string,
    reportUrl: read('AGNES_REPORT_URL') as string | undefined,
    reportKey: read('AGNES_REPORT_KEY') as string | undefined,
    sessionsDir: fileOf('AGNES_SESSIONS_DIR'),
    pushUrl: read('AGNES_PUSH_URL') as string | undefined,
    pushKey: read('AGNES_PUSH_KEY') as string | undefined,
    spoolMaxBytes: read('AGNES_SPOOL_MAX_BYTES') as number | undefined,
    alertsDailyBudgetUsd: read('AGNES_ALERTS_DAILY_BUDGET_USD') as number,
    processorIntervals: processorIntervals(),
  }
  refuseContradictions(config)
  return { config, sources }
}

/** True for addresses only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/** The address as it stands in a URL; one that means all addresses is asked on loopback. */
export function urlHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

/** Where the embedded engine binds: it asks nobody for a key, so it stays on loopback whatever AGNES_HOST says. */
export function engineHost(host: string): string {
  return isLoopback(host) ? host : '127.0.0.1'
}

function tlsFiles(cwd: string, cert?: string, key?: string, clientCa?: string): TlsFiles | undefined {
  if (cert !== undefined && key !== undefined) {
    return {
      certFile: path.resolve(cwd, cert),
      keyFile: path.resolve(cwd, key),
      clientCaFile: clientCa === undefined ? undefined : path.resolve(cwd, clientCa),
    }
  }
  if (cert !== undefined) throw incompleteTls('AGNES_TLS_CERT_FILE', 'AGNES_TLS_KEY_FILE')
  if (key !== undefined) throw incompleteTls('AGNES_TLS_KEY_FILE', 'AGNES_TLS_CERT_FILE')
  if (clientCa === undefined) return undefined
  throw incompleteTls('AGNES_TLS_CLIENT_CA_FILE', 'AGNES_TLS_CERT_FILE and AGNES_TLS_KEY_FILE')
}

function incompleteTls(set: string, missing: string): UserError {
  return new UserError(`${set} is set, but ${missing} is not`, {
    code: 'bad_config',
    exitCode: exitCodes.usage,
    hint: `set ${missing} too, or unset ${set} to go on without TLS`,
  })
}

function refuseContradictions(config: Config): void {
  const { telegram, publicUrl } = config
  if (telegram.mode === 'webhook' && !publicUrl?.startsWith('https://')) {
    throw new UserError('AGNES_TELEGRAM_MODE is webhook, but AGNES_PUBLIC_URL is no https:// address', {
      code: 'bad_config',
      exitCode: exitCodes.usage,
      hint: 'Telegram calls HTTPS only: set AGNES_PUBLIC_URL, or AGNES_TELEGRAM_MODE=polling, which needs no address',
    })
  }
  if (config.clickhouseCluster !== undefined && config.clickhouseUrl === undefined) {
    throw new UserError('CLICKHOUSE_CLUSTER is set, but the embedded engine is not a cluster', {
      code: 'bad_config',
      exitCode: exitCodes.usage,
      hint: 'set CLICKHOUSE_URL to a node of the cluster, or unset CLICKHOUSE_CLUSTER',
    })
  }
}

function pick(
  name: string,
  variable: Variable,
  env: NodeJS.ProcessEnv,
  dotEnv: NodeJS.Dict<string>,
): [ConfigSource['source'], string | undefined] {
  // An empty variable counts as unset: that is how shells and compose files switch one off.
  if (env[name]) return ['environment', env[name]]
  if (dotEnv[name]) return ['.env', dotEnv[name]]
  return variable.default === undefined ? ['unset', undefined] : ['default', variable.default]
}

/** Every secret may stand in a file that `<name>_FILE` names, as containers and systemd hand them over. */
const fileSuffix = '_FILE'

function secretFromFile(
  name: string,
  variable: Variable,
  env: NodeJS.ProcessEnv,
  dotEnv: NodeJS.Dict<string>,
  cwd: string,
): ['file', string] | undefined {
  const setting = `${name}${fileSuffix}`
  const given = env[setting] || dotEnv[setting]
  if (!variable.secret || !given) return undefined
  const refuse = (problem: string, hint: string, cause?: unknown): never => {
    throw new UserError(problem, { code: 'bad_config', exitCode: exitCodes.usage, hint, cause })
  }
  if (env[name] || dotEnv[name]) refuse(`${name} and ${setting} are both set`, `unset one of them`)
  const file = path.resolve(cwd, given)
  try {
    if (statSync(file).mode & 0o004) refuse(`everyone may read ${file} (${setting})`, `chmod 0400 ${file}`)
    const text = readFileSync(file, 'utf8').trim()
    return text === '' ? refuse(`${file} (${setting}) is empty`, `write ${name} into it`) : ['file', text]
  } catch (error) {
    if (error instanceof UserError) throw error
    return refuse(
      `cannot read ${file} (${setting}): ${(error as Error).message}`,
      'make it readable for this user',
      error,
    )
  }
}

function show(variable: Variable, text: string | undefined): string {
  if (text === undefined) return ''
  if (!variable.secret) return text
  if (variable.show !== undefined) return variable.show(text)
  try {
    const url = new URL(text)
    if (url.password !== '') url.password = '***'
    return url.href
  } catch {
    return '***'
  }
}

function refuseUnknown(names: readonly string[]): void {
  for (const name of names) {
    if (!name.startsWith('AGNES_') || name in variables || isSecretFile(name)) continue
    if (processorInterval.pattern.test(name)) continue
    const near = nearest(name, Object.keys(variables))
    throw new UserError(`${name} is not a variable we know`, {
      code: 'unknown_variable',
      exitCode: exitCodes.usage,
      hint: near === undefined ? 'docs/configuration.md lists all variables' : `did you mean ${near}?`,
    })
  }
}

function isSecretFile(name: string): boolean {
  const secret = name.endsWith(fileSuffix) ? name.slice(0, -fileSuffix.length) : ''
  const variable: Variable | undefined = Object.hasOwn(variables, secret)
    ? variables[secret as VariableName]
    : undefined
  return variable?.secret === true
}

/** The candidate within an edit distance of a third of the name, if any. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let bestDistance = Math.ceil(word.length / 3) + 1
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution))
    }
    row = next
  }
  return row[b.length] ?? 0
}

/** Whether the directory of the file is open to this user, whatever the file itself is. */
function mayEnter(file: string): boolean {
  try {
    statSync(file)
    return true
  } catch {
    return false
  }
}

function readDotEnv(file: string): NodeJS.Dict<string> {
  try {
    return parseEnv(readFileSync(file, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    // "sudo -u agnes" in a home of root's: whoever may not enter the directory was given no file in it.
    if (!mayEnter(file)) return {}
    throw new UserError(`cannot read ${file}: ${(error as Error).message}`, {
      code: 'bad_config',
      hint: 'make it readable for this user, or run this in another directory',
      cause: error,
    })
  }
}
