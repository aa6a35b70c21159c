import { expect, test } from 'vitest'
import { type CacheOptions, createCache } from './cached.ts'

function start(options: Omit<CacheOptions, 'nowMs'>) {
  let nowMs = 0
  let asked = 0
  const pending: ((answer: string | Error) => void)[] = []
  const cache = createCache<string>({ ...options, nowMs: () => nowMs })
  return {
    get: (key = 'a') =>
      cache(key, () => {
        asked++
        return new Promise<string>((resolve, reject) =>
          pending.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer))),
        )
      }),
    /** Ends the question that was asked first. */
    answer: (answer: string | Error) => pending.shift()?.(answer),
    pass: (ms: number) => {
      nowMs += ms
    },
    asked: () => asked,
  }
}

test('who asks while the answer is on its way, or fresh, gets the same one', async () => {
  const { get, answer, pass, asked } = start({ freshMs: 30_000 })
  const both = [get(), get()]
  answer('first')
  expect(await Promise.all(both)).toEqual(['first', 'first'])
  pass(29_999)
  expect(await get()).toBe('first')
  expect(asked()).toBe(1)
  pass(1)
  const next = get()
  answer('second')
  expect(await next).toBe('second')
  void get('b')
  expect(asked()).toBe(3)
})

test('an older answer is handed out while the next one is on its way, for a while', async () => {
  const { get, answer, pass, asked } = start({ freshMs: 30_000, staleMs: 60_000 })
  const first = get()
  answer('first')
  await first
  pass(30_000)
  expect(await Promise.all([get(), get()])).toEqual(['first', 'first'])
  expect(asked()).toBe(2)
  answer('second')
  await expect.poll(() => get()).toBe('second')
  pass(90_000)
  const late = get()
  answer('third')
  expect(await late).toBe('third')
})

test('an answer that failed is not kept', async () => {
  const { get, answer, pass } = start({ freshMs: 30_000, staleMs: 60_000 })
  const first = get()
  answer(new Error('away'))
  await expect(first).rejects.toThrow('away')
  const second = get()
  answer('second')
  expect(await second).toBe('second')
  pass(30_000)
  expect(await get()).toBe('second')
  answer(new Error('away again'))
  expect(await get()).toBe('second')
})

test('what took long is kept longer', async () => {
  const { get, answer, pass, asked } = start({ freshMs: (tookMs) => tookMs * 10 })
  const first = get()
  pass(100)
  answer('first')
  await first
  pass(999)
  expect(await get()).toBe('first')
  pass(1)
  void get()
  expect(asked()).toBe(2)
})

test('of more keys than it keeps the oldest is forgotten', async () => {
  const { get, answer, asked } = start({ freshMs: 30_000, maxKeys: 2 })
  for (const key of ['a', 'b', 'c']) {
    const asking = get(key)
    answer(key)
    expect(await asking).toBe(key)
  }
  expect(await Promise.all([get('b'), get('c')])).toEqual(['b', 'c'])
  expect(asked()).toBe(3)
  void get('a')
  expect(asked()).toBe(4)
})
