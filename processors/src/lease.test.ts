/** One holder at a time, whoever dies, sleeps, races or sets a clock (P34). Time is the test's; the database is real. */
import { randomUUID } from 'node:crypto'
import type { ClickHouseClient } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { createTestClock, type TestClock } from '../../tests/support/test-clock.ts'
import { acquireLease, type Lease } from './lease.ts'

let engine: TestEngine
let client: ClickHouseClient
beforeAll(async () => {
  engine = await startTestEngine()
  client = engine.client
})
afterAll(() => engine.stop())

const ttlMs = 10_000

function take(name: string, holder: string, clock: TestClock, signal = new AbortController().signal) {
  return acquireLease({ client, name, holder, ttlMs, clock, signal })
}

async function must(lease: Promise<Lease | undefined>): Promise<Lease> {
  const taken = await lease
  if (taken === undefined) throw new Error('no lease')
  return taken
}

/** Lets a waiting process look again and again, a quarter of the lease at a time. */
async function letWait(clock: TestClock, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await clock.sleeping()
    clock.pass(ttlMs / 4)
  }
}

test('of many that start at once one gets it', async () => {
  const name = randomUUID()
  const stop = new AbortController()
  const clocks = Array.from({ length: 6 }, () => createTestClock())
  const tries = clocks.map((clock, i) => take(name, `p${i}`, clock, stop.signal))
  const first = await must(Promise.race(tries))
  expect(first.held()).toBe(true)
  // All others have looked and wait.
  await Promise.all(clocks.map((clock) => clock.sleeping()))
  stop.abort()
  const leases = (await Promise.all(tries)).filter((lease) => lease !== undefined)
  expect(leases).toEqual([first])
  await first.release()
})

test('one that is given back is taken at once, with a higher number', async () => {
  const name = randomUUID()
  const clock = createTestClock()
  const first = await must(take(name, 'a', clock))
  await first.release()
  expect(first.held()).toBe(false)
  const second = await must(take(name, 'b', clock))
  expect(second.fence).toBe(first.fence + 1n)
  await second.release()
})

test('of a holder that was killed it is taken over once it has been silent for its whole time', async () => {
  const name = randomUUID()
  // A clock that nobody advances is a process that does nothing more.
  await must(take(name, 'killed', createTestClock()))
  const clock = createTestClock()
  const waiting = take(name, 'next', clock)
  let taken = false
  void waiting.then(() => {
    taken = true
  })
  await letWait(clock, 3)
  await clock.sleeping()
  expect(taken).toBe(false)
  clock.pass(ttlMs / 4)
  const next = await must(waiting)
  expect(next.held()).toBe(true)
  await next.release()
})

test('a holder that renews keeps it, however long another waits', async () => {
  const name = randomUUID()
  const clock = createTestClock()
  const holder = await must(take(name, 'holder', clock))
  const stop = new AbortController()
  const waitingClock = createTestClock()
  const waiting = take(name, 'waiting', waitingClock, stop.signal)
  for (let i = 0; i < 12; i++) {
    await clock.sleeping()
    clock.pass(ttlMs / 4)
    await clock.sleeping()
    await letWait(waitingClock, 1)
  }
  expect(holder.held()).toBe(true)
  stop.abort()
  expect(await waiting).toBeUndefined()
  await holder.release()
})

test('a paused holder finds, when it goes on, that it no longer holds, and does not take it back', async () => {
  const name = randomUUID()
  const paused = createTestClock()
  const first = await must(take(name, 'paused', paused))
  const clock = createTestClock()
  const waiting = take(name, 'next', clock)
  await letWait(clock, 4)
  const next = await must(waiting)
  await paused.sleeping()
  paused.pass(10 * ttlMs)
  expect(first.held()).toBe(false)
  await first.release()
  expect(next.held()).toBe(true)
  await clock.sleeping()
  clock.pass(ttlMs / 4)
  await clock.sleeping()
  expect(next.held()).toBe(true)
  await next.release()
})

test('a holder that is told of a higher number stops at its next renewal', async () => {
  const name = randomUUID()
  const clock = createTestClock()
  const first = await must(take(name, 'a', clock))
  await client.insert({
    table: 'processor_leases',
    values: [{ name, fence: String(first.fence + 1n), beat: '0', holder: 'b', released: false }],
    format: 'JSONEachRow',
  })
  await clock.sleeping()
  clock.pass(ttlMs / 4)
  await new Promise<void>((resolve) => first.lost.addEventListener('abort', () => resolve(), { once: true }))
  expect(first.held()).toBe(false)
})

test('wall clocks that jump by days change nothing', async () => {
  const name = randomUUID()
  const clock = createTestClock()
  const holder = await must(take(name, 'holder', clock))
  const waitingClock = createTestClock()
  const stop = new AbortController()
  const waiting = take(name, 'waiting', waitingClock, stop.signal)
  for (const jumpMs of [172_800_000, -345_600_000]) {
    clock.setWall(clock.wall() + jumpMs)
    waitingClock.setWall(waitingClock.wall() - jumpMs)
    await clock.sleeping()
    clock.pass(ttlMs / 4)
    await clock.sleeping()
    await letWait(waitingClock, 1)
  }
  expect(holder.held()).toBe(true)
  stop.abort()
  expect(await waiting).toBeUndefined()
  await holder.release()
})

test('a number whose row was lost in a power cut is left out', async () => {
  const name = randomUUID()
  // The token is known, the row is gone.
  await client.insert({
    table: 'processor_leases',
    values: [{ name, fence: '1', beat: '0', holder: 'lost', released: false }],
    format: 'JSONEachRow',
    clickhouse_settings: { insert_deduplicate: 1, insert_deduplication_token: `${name}/1` },
  })
  await client.command({
    query: 'ALTER TABLE processor_leases DELETE WHERE name = {name:String} SETTINGS mutations_sync = 1',
    query_params: { name },
  })
  const lease = await must(take(name, 'a', createTestClock()))
  expect(lease.fence).toBe(2n)
  await lease.release()
})
