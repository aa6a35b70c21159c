/**
 * P27: a gateway under mixed load, with ClickHouse killed again and again. SOAK_MINUTES=1440 makes it a day; five minutes
 * unless told. Prints what it saw.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Bench, startBench } from '../../support/bench.ts'

const minutes = Number(process.env.SOAK_MINUTES ?? 5)
/** What is measured begins after this part of the time: code is compiled, buffers have their sizes. */
const settled = 1 / 3
const faultEveryMs = Math.min(300_000, (minutes * 60_000) / 8)
const sampleEveryMs = 1_000
/** MiB an hour; and what one look may differ from another by, which is all that counts in a short run. */
const slopeMib = 1
const noiseMib = 24

let bench: Bench
beforeEach(async () => {
  bench = await startBench()
})
afterEach(() => bench.remove())

test.skipIf(process.platform !== 'linux')(
  'P27: memory and files stay what they were, the spool returns to nothing',
  async () => {
    const ends = performance.now() + minutes * 60_000
    const begins = performance.now() + settled * minutes * 60_000
    for (const name of ['a', 'b']) bench.startClient(name, 20)
    const load = Promise.all([others(ends, refused), others(ends, compressed)])
    const faults = killEngine(ends)
    const samples: Sample[] = []
    for (; performance.now() < ends; await pause(sampleEveryMs)) {
      if (performance.now() > begins) samples.push(look(bench.gateway.pid))
    }
    await Promise.all([load, faults])
    const books = await bench.closeBooks({ withinMs: 120_000 })
    const third = Math.floor(samples.length / 3)
    const first = samples.slice(0, third)
    const last = samples.slice(-third)
    const grown = median(last.map(({ rssMib }) => rssMib)) - median(first.map(({ rssMib }) => rssMib))
    const moreFiles = Math.min(...last.map(({ files }) => files)) - Math.min(...first.map(({ files }) => files))
    const sampledHours = (2 / 3) * (1 - settled) * (minutes / 60)
    console.log(
      `soak: ${minutes} minutes, ${books.acknowledged} records acknowledged, ${books.lost.length} lost, ${books.doubled.length} doubled, RSS ${grown.toFixed(1)} MiB more, ${moreFiles} files more`,
    )
    expect(books).toMatchObject({ lost: [], doubled: [], changed: [], gaps: 0 })
    expect(grown).toBeLessThan(noiseMib + slopeMib * sampledHours)
    expect(moreFiles).toBeLessThanOrEqual(0)
  },
)

interface Sample {
  readonly rssMib: number
  /** Open files and sockets. */
  readonly files: number
}

function look(pid: number): Sample {
  const rss = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return { rssMib: Number(rss?.[1]) / 1024, files: readdirSync(`/proc/${pid}/fd`).length }
}

async function killEngine(ends: number): Promise<void> {
  while (performance.now() + faultEveryMs < ends) {
    await pause(faultEveryMs)
    await bench.engine.kill()
    await pause(faultEveryMs / 8)
    await bench.startEngine()
  }
}

/** Requests beside those of the ledger, each over a connection of its own. */
async function others(ends: number, next: (i: number) => RequestInit): Promise<void> {
  for (let i = 0; performance.now() < ends; i++) {
    const answer = await fetch(`${bench.gateway.url}/v1/logs`, { method: 'POST', ...next(i) }).catch(() => undefined)
    await answer?.arrayBuffer()
    await pause(30)
  }
}

/** What is refused: not a message, not a type, not a method's path. */
function refused(i: number): RequestInit {
  const type = ['application/x-protobuf', 'application/json', 'text/plain'][i % 3] as string
  return { body: `no request ${i}`.repeat(1 + (i % 500)), headers: { 'Content-Type': type, Connection: 'close' } }
}

function compressed(i: number): RequestInit {
  const logRecords = Array.from({ length: 200 }, (_, n) => ({ body: { stringValue: `other ${i} ${n}` } }))
  const body = gzipSync(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }))
  return { body, headers: { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' } }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
