/** P19: the gateway in a control group, and clients that want its memory. */
import { type ClientHttp2Stream, connect } from 'node:http2'
import { setTimeout as pause } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Bench, startBench } from '../../support/bench.ts'
import { createMemoryCgroup, type MemoryCgroup, noMemoryCgroup } from '../../support/memory-cgroup.ts'
import { endOf, framed, openCall } from '../../support/raw-grpc.ts'

/** Two thirds of what deploy/kubernetes gives it. */
const limitMib = 512
const loadMs = 20_000
const mib = 1024 ** 2

if (noMemoryCgroup !== undefined) test.skip(`P19 under a limit: ${noMemoryCgroup}`, () => {})

describe.skipIf(noMemoryCgroup !== undefined)('P19: with 512 MiB and no more', () => {
  let bench: Bench
  let cgroup: MemoryCgroup
  beforeEach(async () => {
    cgroup = createMemoryCgroup(limitMib)
    bench = await startBench({ under: cgroup.under })
  })
  afterEach(async () => {
    await bench.remove()
    cgroup.remove()
  })

  test('slow senders of large bodies, bombs, large batches and ClickHouse away: refusals, and nobody else notices', async () => {
    let died = false
    const { gateway } = bench
    void gateway.ended.then(() => {
      died = true
    })
    await bench.engine.kill()
    const honest = bench.startClient('honest')
    const until = performance.now() + loadMs
    const statuses = new Map<number | string, number>()
    const count = (status: number | string): void => void statuses.set(status, (statuses.get(status) ?? 0) + 1)

    async function repeat(clients: number, send: () => Promise<number | string>): Promise<void> {
      const one = async (): Promise<void> => {
        while (performance.now() < until && !died) count(await send().catch((error: Error) => error.name))
      }
      await Promise.all(Array.from({ length: clients }, one))
    }
    const post = async (body: RequestInit['body'], headers: Record<string, string>): Promise<number> => {
      const signal = AbortSignal.timeout(40_000)
      const sent = { method: 'POST', headers, body, signal, duplex: 'half' } as RequestInit
      const answer = await fetch(`${gateway.url}/v1/logs`, sent)
      await answer.arrayBuffer()
      return answer.status
    }
    const protobuf = { 'Content-Type': 'application/x-protobuf' }
    const bomb = gzipSync(Buffer.alloc(256 * mib))
    const batch = JSON.stringify({
      resourceLogs: [
        {
          scopeLogs: [
            { logRecords: Array.from({ length: 4_000 }, () => ({ body: { stringValue: 'x'.repeat(900) } })) },
          ],
        },
      ],
    })
    await Promise.all([
      repeat(64, () => post(slowly(8 * mib, until), protobuf)),
      repeat(16, () => post(bomb, { ...protobuf, 'Content-Encoding': 'gzip' })),
      repeat(16, () => post(batch, { 'Content-Type': 'application/json' })),
    ])
    const acknowledged = honest.acknowledged.size
    expect({ died, kills: cgroup.kills() }).toEqual({ died: false, kills: 0 })
    expect(acknowledged).toBeGreaterThan(200)
    expect(statuses.get(200)).toBeGreaterThan(0)
    expect(statuses.get(413)).toBeGreaterThan(0)
    // A body whose sender is cut off ends with its connection.
    const expected = [200, 400, 408, 413, 429, 503, 'TypeError', 'TimeoutError']
    expect([...statuses.keys()].filter((status) => !expected.includes(status))).toEqual([])
    await bench.startEngine()
    expect(await bench.closeBooks({ withinMs: 120_000 })).toMatchObject({ lost: [], doubled: [], changed: [] })
  })

  test('bombs and slow large messages over gRPC: refusals, and nobody else notices', async () => {
    let died = false
    const { gateway } = bench
    void gateway.ended.then(() => {
      died = true
    })
    const honest = bench.startClient('honest')
    const until = performance.now() + loadMs
    const codes = new Set<number | undefined>()
    /** Over a connection each: a client of Node.js that has more than 10 MB to send does not take headers any more. */
    async function repeat(headers: Record<string, string>, write: (call: ClientHttp2Stream) => void): Promise<void> {
      while (performance.now() < until && !died) {
        const session = connect(`http://127.0.0.1:${gateway.grpcPort}`)
        session.on('error', () => {})
        const call = openCall(session, headers)
        write(call)
        codes.add((await endOf(call)).code)
        session.destroy()
      }
    }
    const bomb = framed(gzipSync(Buffer.alloc(256 * mib)), { compressed: 1 })
    const half = framed(Buffer.alloc(4 * mib), { length: 8 * mib })
    await Promise.all([
      ...Array.from({ length: 32 }, () => repeat({ 'grpc-encoding': 'gzip' }, (call) => call.end(bomb))),
      ...Array.from({ length: 32 }, () => repeat({ 'grpc-timeout': '5S' }, (call) => call.write(half))),
    ])
    const acknowledged = honest.acknowledged.size
    expect({ died, kills: cgroup.kills() }).toEqual({ died: false, kills: 0 })
    expect(acknowledged).toBeGreaterThan(200)
    // Too late, too large, no room.
    expect(codes).toContain(14)
    expect([...codes].filter((code) => code !== 4 && code !== 8 && code !== 14)).toEqual([])
    expect(await bench.closeBooks({ withinMs: 120_000 })).toMatchObject({ lost: [], doubled: [], changed: [] })
  })
})

/** A body of that length: half of it at once, the rest drop by drop. */
function slowly(bytes: number, until: number): ReadableStream<Uint8Array> {
  let sent = 0
  return new ReadableStream({
    async pull(controller) {
      const length = sent < bytes / 2 ? 64 * 1024 : 64
      if (length === 64) await pause(100)
      sent += length
      if (sent >= bytes || performance.now() > until) controller.close()
      else controller.enqueue(new Uint8Array(length))
    },
  })
}
