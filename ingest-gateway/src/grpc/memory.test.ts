/** P19 over gRPC, in a process of its own: what was the most memory it ever had counts. */
import { type ClientHttp2Session, connect } from 'node:http2'
import { gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { connectGrpc } from '../../../tests/support/grpc-client.ts'
import { encodeExportLogsRequest } from '../../../tests/support/otlp-reference.ts'
import { type CallEnd, endOf, framed, openCall } from '../../../tests/support/raw-grpc.ts'
import { startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'

const mib = 1024 ** 2
const maxDecodedBytes = 16 * mib
const peakBytes = (): number => process.resourceUsage().maxRSS * 1024

test('P19: 32 bombs and 32 slow messages of 8 MiB at once are refused, and an honest client goes on', async () => {
  const gateway = await startSpoolOnlyGateway({ maxDecodedBytes, arriveWithinMs: 6_000 })
  const honest = connectGrpc(gateway.grpcPort)
  let events = 0
  const event = (): Promise<Buffer> =>
    honest.export(
      encodeExportLogsRequest({
        resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: `event ${++events}` } }] }] }],
      }),
    )
  await event()
  const sessions: ClientHttp2Session[] = []
  const session = (): ClientHttp2Session => {
    // A client of Node.js that has more than 10 MB to send does not take headers any more.
    const opened = connect(`http://127.0.0.1:${gateway.grpcPort}`, { maxSessionMemory: 1_000 })
    opened.on('error', () => {})
    sessions.push(opened)
    return opened
  }
  const bomb = framed(Buffer.concat(Array(256).fill(gzipSync(Buffer.alloc(mib)))), { compressed: 1 }) // 256 MiB in 260 kB
  const most = framed(Buffer.alloc(7 * mib), { length: 8 * mib })
  const before = peakBytes()

  const slowEnds = Array.from({ length: 4 }, session).flatMap((own) =>
    Array.from({ length: 8 }, () => {
      const stream = openCall(own)
      stream.write(most)
      return endOf(stream)
    }),
  )
  const bombs = (): Promise<CallEnd>[] =>
    Array.from({ length: 4 }, session).flatMap((own) =>
      Array.from({ length: 8 }, () => {
        const stream = openCall(own, { 'grpc-encoding': 'gzip' })
        stream.end(bomb)
        return endOf(stream)
      }),
    )
  let done = false
  let acknowledged = 0
  const told = new Set<number>()
  const honestly = (async () => {
    while (!done) {
      await event().then(
        () => acknowledged++,
        (error: { code: number }) => told.add(error.code),
      )
    }
  })()
  const codes = (ends: CallEnd[]): Set<number | undefined> => new Set(ends.map(({ code }) => code))
  const beside = bombs()
  const slowCodes = codes(await Promise.all(slowEnds))
  const bombCodes = codes([...(await Promise.all(beside)), ...(await Promise.all(bombs()))])
  done = true
  await honestly

  expect(slowCodes).toEqual(new Set([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]))
  // Those for which there is no room while others are inflated are told to try again.
  expect(bombCodes).toEqual(new Set([status.UNAVAILABLE, status.RESOURCE_EXHAUSTED]))
  expect(acknowledged).toBeGreaterThan(10)
  expect([...told].filter((code) => code !== status.UNAVAILABLE)).toEqual([])
  expect(gateway.counts().received).toBe(acknowledged + 1)
  // Together they are 256 MiB as sent, and 512 MiB if each is inflated up to its limit.
  expect(peakBytes() - before).toBeLessThan(14 * maxDecodedBytes)

  honest.close()
  for (const own of sessions) own.destroy()
  await gateway.stop()
})
