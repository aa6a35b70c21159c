/**
 * The same load, on the same machine in the same minutes, into an OpenTelemetry Collector and into the gateway. Needs a
 * Collector with the receiver `otlp`, the exporter `clickhouse` and the extension `file_storage` (the contrib
 * distribution has them; built with Go's builder where there is no network): `OTELCOL=/path/to/it npm run bench collector`.
 *
 * The Collector writes into our table as deploy/collector/bypass.yaml does, once with its queue on disk and synced, which
 * is what the gateway promises, and once with its usual queue in memory. It neither redacts nor recognises repetitions.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { cpuSeconds, type Instance, peakRssMb, startInstance } from './instance.ts'
import { protobufTemplate, stamp, type Template } from './load.ts'
import { type Figure, report } from './report.ts'
import { send } from './send.ts'

const recordsARequest = 500
const connections = 8
const records = 200_000
/** What is given to either before it is measured. */
const warmUp = 50_000

interface Target {
  readonly url: string
  readonly pid: number
}

export async function benchCollector(): Promise<void> {
  const binary = process.env.OTELCOL
  if (binary === undefined) {
    console.log('\ncollector\n  skipped: OTELCOL does not name an OpenTelemetry Collector')
    return
  }
  const figures: Figure[] = []
  figures.push(
    ...(await withInstance('gateway', async ({ otlpUrl, gatewayPid }) => ({ url: otlpUrl, pid: gatewayPid }))),
  )
  for (const queue of ['disk', 'memory'] as const) {
    let collector: ChildProcess | undefined
    try {
      figures.push(
        ...(await withInstance(`Collector, queue in ${queue}`, async (instance) => {
          const started = await startCollector(binary, instance, queue)
          collector = started.child
          return started
        })),
      )
    } finally {
      if (collector !== undefined && collector.exitCode === null) {
        collector.kill('SIGKILL')
        await once(collector, 'exit')
      }
    }
  }
  report('collector', figures)
}

async function withInstance(name: string, target: (instance: Instance) => Promise<Target>): Promise<Figure[]> {
  const instance = await startInstance()
  try {
    return await measure(name, instance, await target(instance))
  } finally {
    await instance.stop()
  }
}

async function measure(name: string, instance: Instance, { url, pid }: Target): Promise<Figure[]> {
  const template = protobufTemplate(recordsARequest, BigInt(Date.now()) * 1_000_000n)
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  let sent = 0
  const sendAll = async (most: number): Promise<void> => {
    const last = sent + most
    const connection = async (): Promise<void> => {
      while (sent < last) await send(url, agent, nextOf(template))
    }
    await Promise.all(Array.from({ length: connections }, connection))
  }
  const nextOf = (of: Template): Buffer => {
    const body = stamp(of, sent)
    sent += recordsARequest
    return body
  }
  try {
    await sendAll(warmUp)
    await stored(instance, sent)
    const cpuBefore = cpuSeconds(pid)
    const engineBefore = cpuSeconds(instance.enginePid)
    const start = performance.now()
    await sendAll(records)
    const acknowledgedMs = performance.now() - start
    await stored(instance, sent)
    const storedMs = performance.now() - start
    return [
      { name: `${name}: acknowledged`, value: (records / acknowledgedMs) * 1000, unit: 'records/s' },
      { name: `${name}: acknowledged and stored`, value: (records / storedMs) * 1000, unit: 'records/s' },
      { name: `${name}: CPU per record`, value: ((cpuSeconds(pid) - cpuBefore) / records) * 1e6, unit: 'µs' },
      {
        name: `${name}: ClickHouse's CPU per record`,
        value: ((cpuSeconds(instance.enginePid) - engineBefore) / records) * 1e6,
        unit: 'µs',
      },
      { name: `${name}: RSS, peak`, value: peakRssMb(pid), unit: 'MB' },
    ]
  } finally {
    agent.destroy()
  }
}

/** Waits until so many events are in the table; the gateway's own do not count. */
async function stored({ client }: Instance, atLeast: number): Promise<void> {
  for (;;) {
    const query = "SELECT count() AS n FROM otel_logs WHERE EventName = 'agnes.audit'"
    const [row] = await (await client.query({ query, format: 'JSONEachRow' })).json<{ n: string }>()
    if (Number(row?.n ?? 0) >= atLeast) return
    await pause(50)
  }
}

async function startCollector(
  binary: string,
  instance: Instance,
  queue: 'disk' | 'memory',
): Promise<Target & { readonly child: ChildProcess }> {
  const port = await freePort()
  const directory = path.join(instance.dataDir, 'collector')
  mkdirSync(directory)
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
    ...(queue === 'disk' ? { extensions: { file_storage: { directory, fsync: true } } } : {}),
    exporters: {
      clickhouse: {
        endpoint: instance.clickhouseUrl,
        database: 'agnes',
        logs_table_name: 'otel_logs',
        create_schema: false,
        async_insert: false,
        // The embedded engine speaks neither ClickHouse's native protocol nor its own frames of LZ4.
        compress: 'none',
        sending_queue: {
          queue_size: 100_000,
          ...(queue === 'disk' ? { storage: 'file_storage' } : {}),
          // Its README asks for batches of 5,000 rows and more, from the queue.
          batch: { flush_timeout: '1s', min_size: 5_000, max_size: 50_000, sizer: 'items' },
        },
        retry_on_failure: { max_elapsed_time: 0 },
      },
    },
    service: {
      ...(queue === 'disk' ? { extensions: ['file_storage'] } : {}),
      telemetry: { logs: { level: 'warn' }, metrics: { level: 'none' } },
      pipelines: { logs: { receivers: ['otlp'], exporters: ['clickhouse'] } },
    },
  }
  const file = path.join(directory, 'config.json')
  writeFileSync(file, JSON.stringify(config))
  const child = spawn(binary, ['--config', file], { stdio: ['ignore', 'ignore', 'inherit'] })
  const url = `http://127.0.0.1:${port}`
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the Collector ended with ${child.exitCode} before it was ready`)
    const answer = await fetch(url).catch(() => undefined)
    if (answer !== undefined) break
    await pause(50)
  }
  return { url, pid: child.pid ?? 0, child }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
