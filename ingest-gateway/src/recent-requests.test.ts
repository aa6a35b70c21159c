import { expect, test } from 'vitest'
import { createRecentRequests } from './recent-requests.ts'

const hash = (text: string): Uint8Array => Buffer.alloc(16, text)

test('a repeated request gets the answer of the first one', async () => {
  const recent = createRecentRequests<string>()
  expect(recent.find(hash('a'))).toBeUndefined()
  await recent.remember(hash('a'), Promise.resolve('stored'))
  expect(await recent.find(hash('a'))).toBe('stored')
  expect(recent.find(hash('b'))).toBeUndefined()
})

test('the bytes of the hash count, not the buffer they lie in', async () => {
  const recent = createRecentRequests<string>()
  await recent.remember(hash('a'), Promise.resolve('stored'))
  expect(await recent.find(Buffer.concat([hash('x'), hash('a')]).subarray(16))).toBe('stored')
})

test('a retry that overtakes the first request waits for its answer', async () => {
  const recent = createRecentRequests<string>()
  const { promise, resolve } = deferred<string>()
  const first = recent.remember(hash('a'), promise)
  const retry = recent.find(hash('a'))
  resolve('stored')
  expect(await Promise.all([first, retry])).toEqual(['stored', 'stored'])
})

test('a request that failed is forgotten, so that its retry is stored', async () => {
  const recent = createRecentRequests<string>()
  await expect(recent.remember(hash('a'), Promise.reject(new Error('disk full')))).rejects.toThrow('disk full')
  expect(recent.find(hash('a'))).toBeUndefined()
})

test('a request is remembered for the window and no longer', async () => {
  let now = 0
  const recent = createRecentRequests<string>({ windowMs: 1_000, now: () => now })
  await recent.remember(hash('a'), Promise.resolve('stored'))
  now = 1_000
  expect(await recent.find(hash('a'))).toBe('stored')
  now = 1_001
  expect(recent.find(hash('a'))).toBeUndefined()
})

test('with more requests than it may hold the oldest are forgotten first', async () => {
  const recent = createRecentRequests<string>({ maxRequests: 2 })
  for (const text of ['a', 'b', 'a', 'c']) await recent.remember(hash(text), Promise.resolve(text))
  expect(recent.find(hash('b'))).toBeUndefined()
  expect(await Promise.all([recent.find(hash('a')), recent.find(hash('c'))])).toEqual(['a', 'c'])
})

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
