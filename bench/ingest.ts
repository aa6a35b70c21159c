/**
 * End to end: an OTLP client on the same machine → gateway → spool → engine.
 * Throughput is closed-loop over 8 connections until every record is stored; latencies are measured open-loop at
 * 10,000 records/s, from the moment a request was due, so that a slow answer is not hidden by sending less.
 */
import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { ClickHouseClient } from '@clickhouse/client'
import { cpuSeconds, type Instance, peakRssMb, startInstance } from './instance.ts'
import { jsonTemplate, protobufTemplate, stamp, type Template } from './load.ts'
import { type Figure, quantile, report } from './report.ts'
import { send } from './send.ts'

const recordsARequest = 500
const connections = 8

type Format = 'protobuf' | 'json'
const contentTypes = { protobuf: 'application/x-protobuf', json: 'application/json' } as const

export async function benchIngest(): Promise<void> {
  const instance = await startInstance()
  try {
    const figures: Figure[] = []
    figures.push(...(await throughput(instance, 'protobuf', 1_000_000)))
    figures.push(...(await throughput(instance, 'json', 200_000)))
    figures.push(...(await latency(instance, 10_000, 15)))
    report('ingest', figures)
  } finally {
    await instance.stop()
  }
}

let nextId = 0
/** Ids never repeat within a run: equal bytes would be recognised as a retry. */
function nextBody(template: Template): Buffer {
  const body = stamp(template, nextId)
  nextId += recordsARequest
  return body
}

function templateOf(format: Format): Template {
  const startNs = BigInt(Date.now()) * 1_000_000n
  return format === 'protobuf' ? protobufTemplate(recordsARequest, startNs) : jsonTemplate(recordsARequest, startNs)
}

async function throughput(instance: Instance, format: Format, records: number): Promise<Figure[]> {
  const template = templateOf(format)
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const acks: number[] = []
  let left = records / recordsARequest
  const cold = await count(instance.client)
  await send(instance.otlpUrl, agent, nextBody(template), { 'Content-Type': contentTypes[format] }) // warms both sides up
  while ((await count(instance.client)) < cold + recordsARequest) await pause(20)
  const before = cold + recordsARequest
  const cpuBefore = cpuSeconds(instance.gatewayPid)
  const engineBefore = cpuSeconds(instance.enginePid)
  const start = performance.now()
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (left-- > 0) {
        const sent = performance.now()
        await send(instance.otlpUrl, agent, nextBody(template), { 'Content-Type': contentTypes[format] })
        acks.push(performance.now() - sent)
      }
    }),
  )
  const acknowledgedMs = performance.now() - start
  while ((await roughCount(instance.client)) < before + records) await pause(100)
  const storedMs = performance.now() - start
  const stored = (await count(instance.client)) - before
  if (stored !== records) throw new Error(`${stored} records are stored of ${records} that were acknowledged`)
  agent.destroy()
  const gatewayCpu = cpuSeconds(instance.gatewayPid) - cpuBefore
  const engineCpu = cpuSeconds(instance.enginePid) - engineBefore
  const goal = format === 'protobuf'
  return [
    { name: `${format}: acknowledged`, value: (records / acknowledgedMs) * 1000, unit: 'records/s' },
    {
      name: `${format}: acknowledged and stored`,
      value: (records / storedMs) * 1000,
      unit: 'records/s',
      ...(goal ? { goal: { atLeast: 100_000 } } : {}),
    },
    {
      name: `${format}: gateway CPU per record`,
      value: (gatewayCpu / records) * 1e6,
      unit: 'µs',
      ...(goal ? { goal: { atMost: 6 } } : {}),
    },
    { name: `${format}: engine CPU per record`, value: (engineCpu / records) * 1e6, unit: 'µs' },
    { name: `${format}: ack p50 at full load`, value: quantile(acks, 0.5), unit: 'ms' },
    { name: `${format}: ack p99 at full load`, value: quantile(acks, 0.99), unit: 'ms' },
    {
      name: `${format}: gateway RSS, peak`,
      value: peakRssMb(instance.gatewayPid),
      unit: 'MB',
      ...(goal ? { goal: { atMost: 250 } } : {}),
    },
  ]
}

async function latency(instance: Instance, recordsPerSecond: number, seconds: number): Promise<Figure[]> {
  const template = templateOf('protobuf')
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const everyMs = (1000 * recordsARequest) / recordsPerSecond
  const requests = (recordsPerSecond * seconds) / recordsARequest
  const before = await count(instance.client)
  const dueAt: number[] = []
  const acks: number[] = []
  const queryable: number[] = []
  const watched = watch()
  const start = performance.now()
  const answers: Promise<void>[] = []
  for (let i = 0; i < requests; i++) {
    const due = start + i * everyMs
    await pause(Math.max(0, due - performance.now()))
    dueAt.push(due)
    answers.push(
      send(instance.otlpUrl, agent, nextBody(template)).then(() => {
        acks.push(performance.now() - due)
      }),
    )
  }
  await Promise.all(answers)
  await watched
  agent.destroy()
  const at = `at ${recordsPerSecond.toLocaleString('en-US')} records/s`
  return [
    { name: `${at}: ack p50`, value: quantile(acks, 0.5), unit: 'ms' },
    { name: `${at}: ack p99`, value: quantile(acks, 0.99), unit: 'ms', goal: { atMost: 50 } },
    { name: `${at}: queryable p50`, value: quantile(queryable, 0.5), unit: 'ms' },
    { name: `${at}: queryable p99`, value: quantile(queryable, 0.99), unit: 'ms', goal: { atMost: 2_000 } },
  ]

  /** Requests become queryable in order: the number of rows tells which ones are. */
  async function watch(): Promise<void> {
    while (queryable.length < requests) {
      const stored = (await roughCount(instance.client)) - before
      const now = performance.now()
      while (queryable.length < Math.floor(stored / recordsARequest))
        queryable.push(now - (dueAt[queryable.length] ?? now))
      await pause(20)
    }
  }
}

/** Costs nothing, so that looking does not slow what is looked at; counts the gateway's few heartbeats too. */
async function roughCount(client: ClickHouseClient): Promise<number> {
  return countWhere(client, '')
}

async function count(client: ClickHouseClient): Promise<number> {
  return countWhere(client, "WHERE EventName = 'agnes.audit'")
}

async function countWhere(client: ClickHouseClient, where: string): Promise<number> {
  const result = await client.query({ query: `SELECT count() AS n FROM otel_logs ${where}`, format: 'JSONEachRow' })
  const [row] = await result.json<{ n: string }>()
  return Number(row?.n ?? 0)
}
