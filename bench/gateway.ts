/**
 * The gateway alone, its ClickHouse away: what it acknowledges goes to the spool and stays there. One process for each
 * case, so that memory and CPU are that case's own.
 */
import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { cpuSeconds, peakRssMb, startSpoolOnly } from './instance.ts'
import { protobufTemplate, stamp } from './load.ts'
import { type Figure, quantile, report } from './report.ts'
import { send } from './send.ts'

interface Case {
  readonly name: string
  readonly recordsARequest: number
  readonly connections: number
  /** Requests sent at most. */
  readonly requests: number
  readonly gzip?: boolean
  /** Attributes beside the usual eleven. */
  readonly moreAttributes?: number
  readonly env?: NodeJS.ProcessEnv
  readonly goals?: {
    readonly recordsPerSecond?: number
    readonly cpuPerRecord?: number
    readonly cpuPerRequest?: number
  }
}

/** A case ends after this, or with its last request. */
const caseMs = 4_000
/** Until what a request runs through is compiled: a gateway runs for days. */
const warmUpMs = 2_000
const usual = { recordsARequest: 500, connections: 8, requests: 4_000 } as const
const cases: readonly Case[] = [
  { name: '500 records, 8 connections', ...usual, goals: { recordsPerSecond: 250_000, cpuPerRecord: 4 } },
  { name: 'redaction off', ...usual, env: { AGNES_REDACTION: 'off' } },
  { name: '64 connections', ...usual, connections: 64 },
  { name: 'gzip', ...usual, requests: 400, gzip: true },
  { name: '1 record', ...usual, recordsARequest: 1, requests: 100_000, goals: { cpuPerRequest: 40 } },
  { name: '1 record, 64 connections', ...usual, recordsARequest: 1, connections: 64, requests: 100_000 },
  { name: '10 records', ...usual, recordsARequest: 10, requests: 100_000 },
  { name: '5,000 records', ...usual, recordsARequest: 5_000, requests: 400 },
  { name: '61 attributes', ...usual, requests: 400, moreAttributes: 50 },
]

export async function benchGateway(): Promise<void> {
  const figures: Figure[] = []
  for (const one of cases) figures.push(...(await run(one)))
  figures.push(...(await latency(20_000, 8)))
  report('gateway', figures)
}

async function run({ name, recordsARequest, connections, requests, goals = {}, ...rest }: Case): Promise<Figure[]> {
  const gateway = await startSpoolOnly(rest.env)
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const next = bodies(recordsARequest, requests, rest)
  const headers: Record<string, string> = rest.gzip ? { 'Content-Encoding': 'gzip' } : {}
  const acks: number[] = []
  try {
    const sendFor = async (ms: number, most: number, told: (ackMs: number) => void): Promise<void> => {
      let left = most
      const start = performance.now()
      const connection = async (): Promise<void> => {
        while (left-- > 0 && performance.now() - start < ms) {
          const sent = performance.now()
          await send(gateway.otlpUrl, agent, next(), headers)
          told(performance.now() - sent)
        }
      }
      await Promise.all(Array.from({ length: connections }, connection))
    }
    await sendFor(warmUpMs, requests / 2, () => {})
    const cpuBefore = cpuSeconds(gateway.pid)
    const start = performance.now()
    await sendFor(caseMs, requests, (ackMs) => acks.push(ackMs))
    const seconds = (performance.now() - start) / 1000
    const cpu = (cpuSeconds(gateway.pid) - cpuBefore) * 1e6
    const records = acks.length * recordsARequest
    const tiny = recordsARequest <= 10
    return [
      {
        name: `${name}: acknowledged`,
        value: (tiny ? acks.length : records) / seconds,
        unit: tiny ? 'requests/s' : 'records/s',
        ...(goals.recordsPerSecond === undefined ? {} : { goal: { atLeast: goals.recordsPerSecond } }),
      },
      tiny
        ? {
            name: `${name}: CPU per request`,
            value: cpu / acks.length,
            unit: 'µs',
            ...(goals.cpuPerRequest === undefined ? {} : { goal: { atMost: goals.cpuPerRequest } }),
          }
        : {
            name: `${name}: CPU per record`,
            value: cpu / records,
            unit: 'µs',
            ...(goals.cpuPerRecord === undefined ? {} : { goal: { atMost: goals.cpuPerRecord } }),
          },
      { name: `${name}: ack p99`, value: quantile(acks, 0.99), unit: 'ms' },
      { name: `${name}: RSS, peak`, value: peakRssMb(gateway.pid), unit: 'MB', goal: { atMost: 200 } },
    ]
  } finally {
    agent.destroy()
    await gateway.stop()
  }
}

/** Bodies that do not repeat. Compressed ones are made beforehand: that would cost more than what is measured. */
function bodies(
  records: number,
  requests: number,
  { gzip, moreAttributes }: Pick<Case, 'gzip' | 'moreAttributes'>,
): () => Buffer {
  const template = protobufTemplate(records, BigInt(Date.now()) * 1_000_000n, moreAttributes)
  let sent = 0
  const fresh = (): Buffer => stamp(template, sent++ * records)
  if (!gzip) return fresh
  const ready = Array.from({ length: 1.5 * requests }, () => gzipSync(fresh(), { level: 1 }))
  return () => ready.pop() as Buffer
}

/** Open loop: from the moment a request was due, so that a slow answer is not hidden by sending less. */
async function latency(recordsPerSecond: number, seconds: number): Promise<Figure[]> {
  const gateway = await startSpoolOnly()
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const next = bodies(usual.recordsARequest, 0, {})
  const everyMs = (1000 * usual.recordsARequest) / recordsPerSecond
  const acks: number[] = []
  try {
    for (let i = 0; i < 100; i++) await send(gateway.otlpUrl, agent, next())
    const answers: Promise<unknown>[] = []
    const start = performance.now()
    for (let i = 0; i < (recordsPerSecond * seconds) / usual.recordsARequest; i++) {
      const due = start + i * everyMs
      await pause(Math.max(0, due - performance.now()))
      answers.push(send(gateway.otlpUrl, agent, next()).then(() => acks.push(performance.now() - due)))
    }
    await Promise.all(answers)
  } finally {
    agent.destroy()
    await gateway.stop()
  }
  const at = `at ${recordsPerSecond.toLocaleString('en-US')} records/s`
  return [
    { name: `${at}: ack p50`, value: quantile(acks, 0.5), unit: 'ms' },
    { name: `${at}: ack p99`, value: quantile(acks, 0.99), unit: 'ms', goal: { atMost: 25 } },
  ]
}
