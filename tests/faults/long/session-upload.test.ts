/** P19 for transcripts: however large a file is, the gateway's memory stays bounded, and events are acknowledged meanwhile. */
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { json } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { createGzip, gzipSync } from 'node:zlib'
import { createAgnesClient, migrate } from '@agnes/clickhouse'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Service, startService } from '../../support/processes.ts'

const mib = 1024 ** 2
const sizeMib = Number(process.env.SESSION_MIB ?? 200)

let dataDir: string
let engine: Service
let gateway: Service
beforeEach(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-large-'))
  const env = { AGNES_DATA_DIR: dataDir, AGNES_OTLP_PORT: '0', AGNES_OTLP_GRPC_PORT: '0', AGNES_CLICKHOUSE_PORT: '0' }
  engine = await startService('engine', env)
  const client = createAgnesClient({ url: engine.url })
  await migrate(client)
  await client.close()
  const port = new URL(engine.url).port
  gateway = await startService('gateway', { ...env, AGNES_CLICKHOUSE_PORT: port })
})
afterEach(async () => {
  console.log(gateway.stderr())
  await gateway.stop()
  await engine.stop()
  rmSync(dataDir, { recursive: true })
})

/** Transcript-like text; some of it to be redacted. */
function* content(bytes: number): Generator<Buffer> {
  const words = 'reads the file then edits it and runs the tests until they pass again'.split(' ')
  for (let sent = 0, i = 0; sent < bytes; ) {
    const lines = Array.from({ length: 200 }, () => {
      const text = Array.from(
        { length: 20 + ((i * 7919) % 500) },
        (_, word) => words[(i + word * 31) % words.length],
      ).join(' ')
      const secret = i % 50 === 0 ? ' password=canary-secret' : ''
      return `${JSON.stringify({ type: 'assistant', uuid: `u-${i++}`, message: { content: text + secret } })}\n`
    })
    const chunk = Buffer.from(lines.join(''))
    sent += chunk.length
    yield chunk
  }
}

async function upload(
  name: string,
  body: Readable,
  headers = {},
): Promise<{ status: number; answer: Record<string, unknown> }> {
  const sending = request(`${gateway.url}/v1/sessions/ann/${name}.jsonl`, { method: 'POST', headers })
  body.pipe(sending)
  const [response] = await once(sending, 'response')
  return { status: response.statusCode, answer: (await json(response)) as Record<string, unknown> }
}

/** Megabytes; the peak since it was last reset. @see proc(5) */
function peakMib(): number {
  const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

/** Sends events one after the other. @returns milliseconds each took, once told to stop */
function sendEvents(): () => Promise<number[]> {
  let stopped = false
  const took: number[] = []
  const sending = (async () => {
    for (let i = 0; !stopped; i++) {
      const start = performance.now()
      const body = JSON.stringify({
        resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${i}` } }] }] }],
      })
      const answer = await fetch(`${gateway.url}/v1/logs`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body,
      })
      expect(answer.status).toBe(200)
      took.push(performance.now() - start)
      await pause(5)
    }
    return took.sort((a, b) => a - b)
  })()
  return () => {
    stopped = true
    return sending
  }
}

const p99 = (sorted: readonly number[]): string => (sorted[Math.floor(sorted.length * 0.99)] ?? 0).toFixed(1)

test.runIf(process.platform === 'linux')(
  `a transcript of ${sizeMib} MiB, a bomb and a line without end are taken in bounded memory`,
  async () => {
    await upload('warm-up', Readable.from(content(10 * mib)))
    const quiet = sendEvents()
    await pause(3_000)
    const quietP99 = p99(await quiet())

    writeFileSync(`/proc/${gateway.pid}/clear_refs`, '5')
    const before = peakMib()
    const busy = sendEvents()
    const start = performance.now()
    const large = await upload('large', Readable.from(content(sizeMib * mib)).pipe(createGzip({ level: 1 })), {
      'Content-Encoding': 'gzip',
    })
    const seconds = (performance.now() - start) / 1000
    const busyP99 = p99(await busy())
    expect(large).toMatchObject({ status: 200, answer: { outcome: 'created', tooLong: 0 } })
    const grown = peakMib() - before

    writeFileSync(`/proc/${gateway.pid}/clear_refs`, '5')
    const again = performance.now()
    const resent = await upload('large', Readable.from(content(sizeMib * mib)))
    const resentSeconds = (performance.now() - again) / 1000
    expect(resent).toMatchObject({ status: 200, answer: { outcome: 'unchanged', added: 0 } })

    // 100 MiB of zeros in 100 kB: one line that never ends.
    const bomb = gzipSync(Buffer.alloc(100 * mib))
    expect(await upload('bomb', Readable.from([bomb]), { 'Content-Encoding': 'gzip' })).toMatchObject({
      status: 200,
      answer: { lines: 0, unfinishedBytes: 100 * mib },
    })
    // Ten million empty lines in 10 kB.
    const lines = gzipSync(Buffer.alloc(10_000_000, '\n'))
    expect(await upload('lines', Readable.from([lines]), { 'Content-Encoding': 'gzip' })).toMatchObject({ status: 413 })
    const grownAfterwards = peakMib() - before
    console.log(
      `${sizeMib} MiB: ${(sizeMib / seconds).toFixed(1)} MiB/s, again ${(sizeMib / resentSeconds).toFixed(1)} MiB/s; ` +
        `memory +${grown.toFixed(0)} MiB, afterwards +${grownAfterwards.toFixed(0)} MiB over ${before.toFixed(0)}; ` +
        `p99 of events ${quietP99} ms, meanwhile ${busyP99} ms`,
    )
    expect(grown).toBeLessThan(200)
    expect(grownAfterwards).toBeLessThan(300)
  },
)
