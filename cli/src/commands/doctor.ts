import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import path from 'node:path'
import { type Config, type ConfigSource, exitCodes, loadConfig } from '@agnes/config'
import type { Command } from 'commander'
import { askGateway, toGateway } from '../gateway-client.ts'
import { findInstance } from '../instance.ts'
import { renderTable } from '../output/table.ts'
import { version } from '../version.ts'
import { adminKey, keys } from './doctor-keys.ts'

export interface Finding {
  readonly check: string
  readonly status: 'ok' | 'warning' | 'problem'
  readonly detail: string
  /** What to do about it. */
  readonly advice?: string
}

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description(
      'Check versions, configuration, disk, keys, engine, gateway and clock; say what to do. Exit code 1 on problems',
    )
    .option('--json', 'print findings and configuration as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  agnes doctor\n  agnes doctor --json | jq ".findings[] | select(.status != \\"ok\\")"\n',
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { config, sources } = loadConfig()
      const { otlpUrl } = findInstance(config)
      const findings = [
        nodeVersion(process.versions.node),
        ...dataDirectory(config),
        ...adminKey(config),
        ...(await clickhouse(config)),
        await gateway(otlpUrl, config),
      ]
      if (json) process.stdout.write(`${JSON.stringify({ version, findings, configuration: sources }, null, 2)}\n`)
      else print(findings, sources)
      await record(findings, otlpUrl, config)
      process.exitCode = findings.some(({ status }) => status === 'problem') ? exitCodes.failure : exitCodes.done
    })
}

/** Lines that get security fixes; 20 ended in April 2026. The floors fix CVE-2026-111497 (Brotli). */
const nodeFloors: Readonly<Record<number, readonly [number, number]>> = { 22: [23, 4], 24: [22, 1], 26: [12, 1] }

/** @param node `20.20.2` */
export function nodeVersion(node: string): Finding {
  const [major = 0, minor = 0, patch = 0] = node.split('.').map(Number)
  const advice = 'install Node.js 24.22.1 or newer'
  const check = 'Node.js'
  if (major < 20 || (major === 20 && minor < 19)) {
    return { check, status: 'problem', detail: `${node} is too old: 20.19 is the oldest we run on`, advice }
  }
  const floor = nodeFloors[major]
  if (major < 26 && floor === undefined) {
    return { check, status: 'warning', detail: `${node} gets no security fixes any more`, advice }
  }
  if (floor !== undefined && (minor < floor[0] || (minor === floor[0] && patch < floor[1]))) {
    return {
      check,
      status: 'warning',
      detail: `${node} has a known hole in its Brotli decoder`,
      advice: `install ${major}.${floor.join('.')} or newer`,
    }
  }
  return { check, status: 'ok', detail: node }
}

const gib = 1024 ** 3

function dataDirectory({ dataDir }: Config): Finding[] {
  const existing = nearestExisting(dataDir)
  const findings: Finding[] = []
  try {
    accessSync(existing, constants.W_OK)
    const detail = existing === dataDir ? dataDir : `${dataDir} (will be created)`
    findings.push({ check: 'data directory', status: 'ok', detail })
  } catch {
    findings.push({
      check: 'data directory',
      status: 'problem',
      detail: `${existing} is not writable`,
      advice: 'make it writable for this user, or set AGNES_DATA_DIR',
    })
  }
  const { bavail, bsize, blocks } = statfsSync(existing)
  const free = bavail * bsize
  const status = free < gib ? 'problem' : free < 5 * gib ? 'warning' : 'ok'
  const share = Math.round((bavail / blocks) * 100)
  findings.push({
    check: 'disk',
    status,
    detail: `${(free / gib).toFixed(1)} GiB free (${share} %)`,
    ...(status === 'ok' ? {} : { advice: 'free some space, or move AGNES_DATA_DIR to a larger disk' }),
  })
  return findings
}

function nearestExisting(directory: string): string {
  let candidate = directory
  while (!existsSync(candidate)) candidate = path.dirname(candidate)
  return candidate
}

async function clickhouse(config: Config): Promise<Finding[]> {
  const { clickhouseUrl } = findInstance(config)
  const { createAgnesClient, loadMigrations } = await import('@agnes/clickhouse')
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-doctor', requestTimeoutMs: 5_000 })
  const where = new URL(clickhouseUrl).host
  try {
    const asked = Date.now()
    const result = await client.query({
      query: `SELECT version() AS version, toUnixTimestamp64Milli(now64(3)) AS now,
        (SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations') AS migrated`,
      format: 'JSONEachRow',
    })
    const [row] = await result.json<{ version: string; now: string; migrated: string }>()
    const skewMs = Number(row?.now ?? 0) - (asked + Date.now()) / 2
    return [
      { check: 'ClickHouse', status: 'ok', detail: `${row?.version ?? ''} at ${where}` },
      await migrations(client, Number(row?.migrated ?? 0) > 0, (await loadMigrations()).length),
      ...(await keys(client)),
      Math.abs(skewMs) < 2_000
        ? { check: 'clock', status: 'ok', detail: `agrees with ClickHouse within ${Math.abs(Math.round(skewMs))} ms` }
        : {
            check: 'clock',
            status: 'warning',
            detail: `differs from ClickHouse by ${Math.round(skewMs / 1000)} s`,
            advice: 'synchronise both machines (NTP): health compares event times with the clock',
          },
    ]
  } catch (error) {
    return [
      {
        check: 'ClickHouse',
        status: 'problem',
        detail: `no answer at ${where}: ${(error as Error).message.split('\n', 1)[0]}`,
        advice: config.clickhouseUrl === undefined ? 'run "agnes up"' : 'check CLICKHOUSE_URL and the server',
      },
    ]
  } finally {
    await client.close()
  }
}

async function migrations(
  client: import('@agnes/clickhouse').ClickHouseClient,
  any: boolean,
  known: number,
): Promise<Finding> {
  const applied = any
    ? Number(
        (
          await (
            await client.query({
              query: 'SELECT uniqExact(version) AS n FROM schema_migrations',
              format: 'JSONEachRow',
            })
          ).json<{ n: string }>()
        )[0]?.n ?? 0,
      )
    : 0
  if (applied >= known) return { check: 'schema', status: 'ok', detail: `${applied} migrations applied` }
  return {
    check: 'schema',
    status: 'problem',
    detail: `${applied} of ${known} migrations applied`,
    advice: 'run "agnes migrate"',
  }
}

async function gateway(otlpUrl: string, config: Config): Promise<Finding> {
  try {
    const health = await askGateway<{
      /** Missing where we are refused. */
      ready?: boolean
      /** Missing where we may not see details. */
      backlogRecords?: number
      spoolFailure?: string
      spoolWarning?: string
      clickhouseFailure?: string
    }>(`${otlpUrl}/healthz`, config)
    const check = 'gateway'
    if (health.ready === false) {
      return {
        check,
        status: 'problem',
        detail: `cannot write: ${health.spoolFailure}`,
        advice: 'check the disk of the data directory',
      }
    }
    if (health.clickhouseFailure !== undefined) {
      const detail = `keeps ${health.backlogRecords} records on disk: ${health.clickhouseFailure}`
      return { check, status: 'warning', detail, advice: 'nothing is lost; bring ClickHouse back' }
    }
    if (health.backlogRecords === undefined) {
      const detail = health.ready ? `${otlpUrl}; it tells details only with a key` : `${otlpUrl} refuses our admin key`
      return { check, status: 'warning', detail, advice: 'see "agnes keys list", and AGNES_DATA_DIR/admin.key' }
    }
    if (health.spoolWarning !== undefined) {
      return {
        check,
        status: 'warning',
        detail: health.spoolWarning,
        advice: 'make room on the disk of the data directory',
      }
    }
    return { check, status: 'ok', detail: `${otlpUrl}, ${health.backlogRecords} records waiting` }
  } catch (error) {
    return {
      check: 'gateway',
      status: 'problem',
      detail: `no answer at ${otlpUrl}: ${(error as Error).message}`,
      advice: 'run "agnes up"',
    }
  }
}

function print(findings: readonly Finding[], sources: readonly ConfigSource[]): void {
  const color = { ok: 'green', warning: 'yellow', problem: 'red' } as const
  process.stdout.write(
    renderTable(findings, [
      { title: '', text: () => '●', color: ({ status }) => color[status] },
      { title: 'check', text: ({ check }) => check },
      { title: 'found', text: ({ detail }) => detail, flexible: true },
      { title: 'what to do', text: ({ advice }) => advice ?? '', flexible: true },
    ]),
  )
  process.stdout.write(`\nagnes ${version}, configuration in force:\n`)
  process.stdout.write(
    renderTable(sources, [
      { title: 'variable', text: ({ name }) => name },
      { title: 'value', text: ({ shown }) => shown, flexible: true },
      { title: 'from', text: ({ source }) => source, color: () => 'dim' },
    ]),
  )
}

/** Health shows how many warnings the last run found. */
async function record(findings: readonly Finding[], otlpUrl: string, config: Config): Promise<void> {
  if (findings.some(({ check, status }) => check === 'gateway' && status === 'problem')) return
  const { startTelemetry } = await import('@agnes/instrumentation')
  const telemetry = startTelemetry({
    serviceName: 'agnes',
    serviceVersion: version,
    endpoint: otlpUrl,
    ...toGateway(config),
    warn: () => {},
  })
  const warnings = findings.filter(({ status }) => status !== 'ok')
  telemetry.recorder.system({
    component: 'cli',
    event: 'diagnose',
    warnings: warnings.length,
    message: warnings.map(({ check, detail }) => `${check}: ${detail}`).join('; '),
  })
  await telemetry.shutdown()
}
