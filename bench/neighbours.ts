/**
 * What a tenant notices of others: how long its small requests take to be acknowledged alone, beside a tenant that sends a
 * hundred times what it may, without ClickHouse, and while sessions are looked through.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { isMainThread, type MessagePort, parentPort, Worker, workerData } from 'node:worker_threads'
import { environment, type Instance, main, startInstance } from './instance.ts'
import { protobufTemplate, stamp } from './load.ts'
import { type Figure, quantile, report } from './report.ts'
import { session } from './scan.ts'
import { post } from './send.ts'

const everyMs = 20
const phaseMs = 12_000
const recordsARequest = 20
/** What each tenant may send: the quiet one a half of it, the loud one a hundred times as much, as far as it is let. */
const recordsPerSecond = (2 * recordsARequest * 1_000) / everyMs
const loudRecords = 500
const loudConnections = 4
const loudEveryMs = (loudConnections * loudRecords * 1_000) / (100 * recordsPerSecond)
const sessions = 60
const keys = {
  quiet: '0123456789abcdef0123456789abcdef-quiet',
  loud: '0123456789abcdef0123456789abcdef-loud',
} as const

export async function benchNeighbours(): Promise<void> {
  const instance = await startInstance({
    AGNES_KEYS: Object.entries(keys)
      .map(([tenant, secret]) => `${tenant}@${tenant}:ingest+sessions:${secret}`)
      .join(','),
    AGNES_TENANT_RECORDS_PER_SECOND: String(recordsPerSecond),
  })
  const figures: Figure[] = []
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  try {
    await quietTenant(instance.otlpUrl, agent, pause(2_000))
    const alone = await quietTenant(instance.otlpUrl, agent, pause(phaseMs))
    const compare = (name: string, acks: readonly number[], atMost: number): void => {
      const p99 = quantile(acks, 0.99)
      figures.push({ name: `${name}: ack p50`, value: quantile(acks, 0.5), unit: 'ms' })
      figures.push({ name: `${name}: ack p99`, value: p99, unit: 'ms' })
      figures.push({
        name: `${name}: p99 against alone`,
        value: p99 / quantile(alone, 0.99),
        unit: '×',
        goal: { atMost },
      })
    }
    figures.push({ name: 'alone: ack p50', value: quantile(alone, 0.5), unit: 'ms' })
    figures.push({ name: 'alone: ack p99', value: quantile(alone, 0.99), unit: 'ms' })

    const loud = startFlood(instance.otlpUrl)
    compare('beside a loud tenant', await quietTenant(instance.otlpUrl, agent, pause(phaseMs)), 1.5)
    const { asked, taken } = await loud.stop()
    figures.push({ name: 'the loud tenant asked for', value: asked, unit: 'records/s' })
    figures.push({ name: 'the loud tenant was let', value: taken, unit: 'records/s' })

    await upload(instance.otlpUrl)
    const uploaded = performance.now()
    const processors = startProcessors(instance)
    const found = (async () => {
      while ((await scanned(instance)) < sessions) await pause(500)
      return performance.now() - uploaded
    })()
    compare('while sessions are scanned', await quietTenant(instance.otlpUrl, agent, found), 1.2)
    figures.push({ name: `${sessions} sessions of 700 kB: uploaded to found`, value: (await found) / 1000, unit: 's' })
    processors.kill('SIGTERM')
    await once(processors, 'exit')

    process.kill(instance.enginePid, 'SIGKILL')
    await pause(1_000)
    compare('without ClickHouse', await quietTenant(instance.otlpUrl, agent, pause(phaseMs)), 1.5)
    report('neighbours', figures)
  } finally {
    agent.destroy()
    await instance.stop()
  }
}

/** Open loop: from the moment a request was due. @returns milliseconds, of requests until `end` */
async function quietTenant(url: string, agent: Agent, end: Promise<unknown>): Promise<number[]> {
  const next = bodies(recordsARequest)
  const acks: number[] = []
  const answers: Promise<unknown>[] = []
  let ended = false
  void end.then(() => {
    ended = true
  })
  const start = performance.now()
  for (let i = 0; !ended; i++) {
    const due = start + i * everyMs
    await pause(Math.max(0, due - performance.now()))
    answers.push(
      sendAs('quiet', url, agent, next()).then((status) => {
        if (status !== 200) throw new Error(`the quiet tenant was answered ${status}`)
        acks.push(performance.now() - due)
      }),
    )
  }
  await Promise.all(answers)
  return acks
}

interface Flood {
  /** Ends it. @returns records a second */
  stop(): Promise<Flooded>
}

interface Flooded {
  readonly asked: number
  readonly taken: number
}

/** On a thread of its own: its work must not be what the quiet tenant waits for. */
function startFlood(url: string): Flood {
  const thread = new Worker(import.meta.filename, { workerData: url })
  return {
    async stop() {
      thread.postMessage('stop')
      const [flooded] = (await once(thread, 'message')) as [Flooded]
      return flooded
    },
  }
}

/** As SDKs do not: what is refused comes again at once. */
async function flood(url: string, port: MessagePort): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: loudConnections })
  const next = bodies(loudRecords)
  const start = performance.now()
  let stopped = false
  let asked = 0
  let taken = 0
  port.once('message', () => {
    stopped = true
  })
  const connection = async (): Promise<void> => {
    let body = next()
    while (!stopped) {
      const begun = performance.now()
      asked += loudRecords
      if ((await sendAs('loud', url, agent, body)) === 200) {
        taken += loudRecords
        body = next()
      }
      await pause(Math.max(0, loudEveryMs - (performance.now() - begun)))
    }
  }
  await Promise.all(Array.from({ length: loudConnections }, connection))
  const seconds = (performance.now() - start) / 1000
  port.postMessage({ asked: asked / seconds, taken: taken / seconds } satisfies Flooded)
  agent.destroy()
}

function bodies(records: number): () => Buffer {
  const template = protobufTemplate(records, BigInt(Date.now()) * 1_000_000n)
  let sent = Math.floor(Math.random() * 1e6) * 1_000
  return () => {
    sent += records
    return stamp(template, sent)
  }
}

function sendAs(tenant: keyof typeof keys, url: string, agent: Agent, body: Buffer): Promise<number> {
  return post(url, agent, body, { Authorization: `Bearer ${keys[tenant]}` })
}

async function upload(url: string): Promise<void> {
  for (let i = 0; i < sessions; i++) {
    const uploaded = () =>
      fetch(`${url}/v1/sessions/user-${i % 7}/session-${i}.jsonl`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${keys.loud}`, 'Content-Type': 'application/x-ndjson' },
        body: new Uint8Array(session(i)),
      })
    let answer = await uploaded()
    // What it sent too much before is still held against it.
    for (; answer.status === 429; answer = await uploaded()) await pause(1_000)
    if (!answer.ok) throw new Error(`a session was answered ${answer.status}: ${await answer.text()}`)
  }
}

async function scanned({ client }: Instance): Promise<number> {
  const result = await client.query({
    query: 'SELECT uniqExact(session_file) AS sessions FROM session_scans',
    format: 'JSONEachRow',
  })
  const [row] = await result.json<{ sessions: string }>()
  return Number(row?.sessions)
}

function startProcessors({ dataDir, clickhouseUrl, otlpUrl }: Instance): ChildProcess {
  return fork(main, ['processors'], {
    env: {
      ...environment(dataDir),
      AGNES_OTLP_PORT: new URL(otlpUrl).port,
      AGNES_CLICKHOUSE_PORT: new URL(clickhouseUrl).port,
      AGNES_PROCESSOR_TRANSCRIPTS_INTERVAL: '1',
      AGNES_PROCESSOR_FAILURE_SCAN_INTERVAL: '1',
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
}

if (!isMainThread && parentPort !== null) await flood(workerData as string, parentPort)
