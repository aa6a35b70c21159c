import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRecentRequests, type GivenAnswer, type RecentRequests } from './recent-requests.ts'

const hash = (text: string): Uint8Array => Buffer.alloc(16, text)
const stored: GivenAnswer = { records: 3, rejected: 1, notes: ['severity_number was left out'] }
const answered = (recent: RecentRequests, text: string, answer = stored): Promise<GivenAnswer> =>
  recent.remember(hash(text), Promise.resolve(answer))

test('a repeated request gets the answer of the first one', async () => {
  const recent = createRecentRequests()
  expect(recent.find(hash('a'))).toBeUndefined()
  await answered(recent, 'a')
  expect(await recent.find(hash('a'))).toEqual(stored)
  expect(recent.find(hash('b'))).toBeUndefined()
})

test('the bytes of the hash count, not the buffer they lie in', async () => {
  const recent = createRecentRequests()
  await answered(recent, 'a')
  expect(await recent.find(Buffer.concat([hash('x'), hash('a')]).subarray(16))).toEqual(stored)
})

test('a retry that overtakes the first request waits for its answer', async () => {
  const recent = createRecentRequests()
  const { promise, resolve } = deferred<GivenAnswer>()
  const first = recent.remember(hash('a'), promise)
  const retry = recent.find(hash('a'))
  resolve(stored)
  expect(await Promise.all([first, retry])).toEqual([stored, stored])
})

test('a request that failed is forgotten, so that its retry is stored', async () => {
  const recent = createRecentRequests()
  await expect(recent.remember(hash('a'), Promise.reject(new Error('disk full')))).rejects.toThrow('disk full')
  expect(recent.find(hash('a'))).toBeUndefined()
})

test('a request is remembered for the window and no longer', async () => {
  let now = 0
  const recent = createRecentRequests({ windowMs: 1_000, now: () => now })
  await answered(recent, 'a')
  now = 1_000
  expect(await recent.find(hash('a'))).toEqual(stored)
  now = 1_001
  expect(recent.find(hash('a'))).toBeUndefined()
})

test('with more than twice as many as it is to hold the oldest are forgotten first', async () => {
  const recent = createRecentRequests({ maxRequests: 2 })
  for (const text of ['a', 'b', 'a', 'c', 'd', 'e']) await answered(recent, text)
  expect(recent.find(hash('b'))).toBeUndefined()
  for (const text of ['c', 'd', 'e']) expect(await recent.find(hash(text))).toEqual(stored)
})

test('after a pause of two windows nothing of before it is told', async () => {
  let now = 0
  const recent = createRecentRequests({ windowMs: 1_000, now: () => now })
  await answered(recent, 'a')
  now = 2_001
  await answered(recent, 'b')
  expect(recent.find(hash('a'))).toBeUndefined()
  expect(await recent.find(hash('b'))).toEqual(stored)
  const again: GivenAnswer = { records: 1, rejected: 0, notes: [] }
  await answered(recent, 'a', again)
  expect(await recent.find(hash('a'))).toEqual(again)
})

test('as a list that is looked through would remember: any order, any times, hashes that begin alike', async () => {
  const digest = (n: number): Uint8Array => {
    // Few first words: most of them have to look on.
    const bytes = Buffer.alloc(16)
    bytes.writeInt32LE(n % 7, 0)
    bytes.writeInt32LE(n, 12)
    return bytes
  }
  const step = fc.record({ n: fc.nat({ max: 60 }), records: fc.nat({ max: 9 }), waitMs: fc.nat({ max: 400 }) })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
      let now = 0
      const recent = createRecentRequests({ windowMs: 1_000, now: () => now })
      const list: { n: number; records: number; at: number }[] = []
      for (const { n, records, waitMs } of steps) {
        now += waitMs
        const known = list.findLast((one) => one.n === n && one.at >= now - 1_000)
        expect((await recent.find(digest(n)))?.records).toBe(known?.records)
        if (known !== undefined) continue
        await recent.remember(digest(n), Promise.resolve({ records, rejected: 0, notes: [] }))
        list.push({ n, records, at: now })
      }
    }),
    { numRuns: 200 },
  )
})

test('two hundred thousand are told apart', async () => {
  const recent = createRecentRequests()
  const digest = (n: number): Uint8Array => createHash('md5').update(String(n)).digest()
  for (let n = 0; n < 200_000; n++) {
    await recent.remember(digest(n), Promise.resolve({ records: n, rejected: 0, notes: [] }))
  }
  for (let n = 0; n < 200_000; n += 101) expect((await recent.find(digest(n)))?.records).toBe(n)
  expect(recent.find(digest(200_000))).toBeUndefined()
})

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
