/** A real instance for a bench: engine and gateway as processes of their own, on a data directory that is thrown away. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createAgnesClient, migrate } from '@agnes/clickhouse'
import type { ClickHouseClient } from '@clickhouse/client'

export const main = path.join(import.meta.dirname, '..', '..', 'cli', 'dist', 'main.js')

/** What a process of ours is started with: this data directory, and free ports. */
export function environment(dataDir: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env.PATH ?? '',
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: '0',
    AGNES_HTTP_PORT: '0',
  }
}

export interface Instance {
  readonly dataDir: string
  readonly otlpUrl: string
  readonly clickhouseUrl: string
  readonly client: ClickHouseClient
  readonly gatewayPid: number
  readonly enginePid: number
  stop(): Promise<void>
}

/** @param gatewayEnv beside what every process gets */
export async function startInstance(gatewayEnv: NodeJS.ProcessEnv = {}): Promise<Instance> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bench-'))
  const env = environment(dataDir)
  const engine = await start('engine', env)
  const clickhouse = new URL(engine.url)
  const client = createAgnesClient({ url: engine.url, requestTimeoutMs: 120_000 })
  await migrate(client)
  const gateway = await start('gateway', { ...env, ...gatewayEnv, AGNES_CLICKHOUSE_PORT: clickhouse.port })
  return {
    dataDir,
    otlpUrl: gateway.url,
    clickhouseUrl: engine.url,
    client,
    gatewayPid: gateway.child.pid ?? 0,
    enginePid: engine.child.pid ?? 0,
    async stop() {
      await client.close()
      for (const { child } of [gateway, engine]) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** A gateway whose ClickHouse does not answer. */
export interface SpoolOnly {
  readonly otlpUrl: string
  readonly pid: number
  stop(): Promise<void>
}

export async function startSpoolOnly(env: NodeJS.ProcessEnv = {}): Promise<SpoolOnly> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bench-'))
  // Port 1 (tcpmux) is one that nobody listens on.
  const { child, url } = await start('gateway', {
    ...environment(dataDir),
    AGNES_CLICKHOUSE_PORT: '1',
    AGNES_LOG_LEVEL: 'error',
    ...env,
  })
  // What it loads after its ports are open is loaded when its own first events have come.
  while ((await received(url)) < 2) await pause(50)
  return {
    otlpUrl: url,
    pid: child.pid ?? 0,
    async stop() {
      if (child.exitCode === null) {
        child.kill('SIGTERM')
        await once(child, 'exit')
      }
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

async function received(url: string): Promise<number> {
  const health = (await (await fetch(`${url}/healthz`)).json()) as { received: number }
  return health.received
}

async function start(command: string, env: NodeJS.ProcessEnv): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(main, [command], { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`agnes ${command} ended with ${code} before it was ready`)))
    child.on('message', (message: { type?: string; url?: string }) => {
      if (message.type === 'ready' && message.url !== undefined) resolve(message.url)
    })
  })
  return { child, url }
}

/** CPU seconds a process has used, children not included (proc(5), fields 14 and 15 of stat, in ticks of 10 ms). */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Largest resident set of a process so far, in MB. */
export function peakRssMb(pid: number): number {
  const line = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(line?.[1] ?? 0) / 1000
}
