import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Bench, startBench } from '../support/bench.ts'
import { killRounds } from '../support/faults.ts'

let bench: Bench
beforeEach(async () => {
  bench = await startBench()
})
afterEach(() => bench.remove())

test('P2 P8 P16 P26: kill -9 of gateway and engine under load, five rounds: every acknowledged event is stored exactly once', async () => {
  for (const name of ['a', 'b', 'c']) bench.startClient(name, 10)
  await killRounds(bench, 5)
  await pause(300)
  const books = await bench.closeBooks()
  expect(books.acknowledged).toBeGreaterThan(300)
  expect(books).toMatchObject({ lost: [], doubled: [], changed: [], gaps: 0 })
}, 120_000)
