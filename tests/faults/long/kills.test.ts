import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Bench, type Books, startBench } from '../../support/bench.ts'
import { crashAt, faultRounds, killRounds, noStrace, underFaults } from '../../support/faults.ts'

let bench: Bench
beforeEach(async () => {
  bench = await startBench()
})
afterEach(() => bench.remove())

function expectWhole(what: string, rounds: number, books: Books): void {
  const { acknowledged, lost, doubled, changed, gaps } = books
  console.log(
    `${what}: ${rounds} rounds, ${acknowledged} records acknowledged, ${lost.length} lost, ${doubled.length} doubled, ${changed.length} changed, ${gaps} gaps`,
  )
  expect(books).toMatchObject({ lost: [], doubled: [], changed: [], gaps: 0 })
  expect(acknowledged).toBeGreaterThan(rounds * 20)
}

test('P2 P8 P16 P26: kill -9 of gateway and engine under load', async () => {
  for (const name of ['a', 'b', 'c']) bench.startClient(name)
  await killRounds(bench, faultRounds)
  await pause(300)
  expectWhole('kill -9', faultRounds, await bench.closeBooks())
})

test.skipIf(noStrace !== undefined)(
  'P1 P2 P8: a crash at each of the first system calls that change the disk',
  async () => {
    const times = Math.max(1, Math.round(faultRounds / 20))
    const points = Array.from({ length: times }, (_, i) => i + 1).flatMap((when) => [
      // The first two of these are the start's own.
      `fdatasync:signal=SIGKILL:when=${when}`,
      `pwritev:signal=SIGKILL:when=${when}`,
      `fsync:signal=SIGKILL:when=${when + 2}`,
      `unlink:signal=SIGKILL:when=${when}`,
    ])
    await crashAt(bench, points)
    expectWhole('crash at a system call', points.length, await bench.closeBooks())
  },
)

test.skipIf(noStrace !== undefined)('P6 P7: failing writes, syncs and cuts', async () => {
  await bench.gateway.stop()
  await bench.startGateway(
    underFaults('fdatasync:error=EIO:when=4+9', 'pwritev:error=ENOSPC:when=7+11', 'ftruncate:error=EIO:when=2+3'),
  )
  const client = bench.startClient('failing')
  await expect.poll(() => client.acknowledged.size, { timeout: 600_000 }).toBeGreaterThan(faultRounds * 40)
  expectWhole('failing disk', faultRounds, await bench.closeBooks())
})
