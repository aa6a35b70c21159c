/** Somebody sets the clock of the machine, by days, while events come in. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { createAgnesClient } from '@agnes/clickhouse'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Bench, startBench } from '../support/bench.ts'

const dayMs = 86_400_000
const preload = pathToFileURL(path.join(import.meta.dirname, '../support/shifted-clock.mjs')).href

let directory: string
let bench: Bench
beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-clock-'))
  setClock(0)
  bench = await startBench(shifted())
})
afterEach(async () => {
  await bench.remove()
  rmSync(directory, { recursive: true })
})

const shifted = () => ({
  env: { NODE_OPTIONS: `--import=${preload}`, SHIFTED_CLOCK: path.join(directory, 'offset') },
})

function setClock(offsetMs: number): void {
  const file = path.join(directory, 'offset')
  writeFileSync(`${file}.new`, String(offsetMs))
  renameSync(`${file}.new`, file)
}

test('P25: a wall clock that jumps by days, ahead and back, also over a kill -9, loses, doubles and delays nothing', async () => {
  const clients = ['a', 'b'].map((name) => bench.startClient(name))
  const acknowledged = (): number => clients.reduce((total, { acknowledged: { size } }) => total + size, 0)
  const more = async (): Promise<void> => {
    const before = acknowledged()
    await expect.poll(acknowledged, { timeout: 20_000 }).toBeGreaterThan(before + 100)
  }
  await more()
  for (const days of [2, -2, 0, 400]) {
    setClock(days * dayMs)
    await more()
  }
  setClock(-400 * dayMs)
  await bench.gateway.kill()
  await bench.startGateway(shifted())
  await more()
  // Seals, inserts and removes what waits: its timers do not wait for the day to come.
  const books = await bench.closeBooks({ withinMs: 30_000 })
  expect(books.acknowledged).toBeGreaterThan(600)
  expect(books).toMatchObject({ lost: [], doubled: [], changed: [], gaps: 0 })
  const client = createAgnesClient({ url: bench.engineUrl })
  const taken = await client.query({
    query:
      'SELECT DISTINCT toInt32(round(dateDiff(second, now(), toDateTime(ReceivedAt)) / 86400)) AS days FROM otel_logs ORDER BY days',
    format: 'JSONEachRow',
  })
  expect((await taken.json<{ days: number }>()).map(({ days }) => days)).toEqual([-400, -2, 0, 2, 400])
  await client.close()
})
