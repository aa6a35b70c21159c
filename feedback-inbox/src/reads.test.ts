import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createReads, type Read, windowMs } from './reads.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function start() {
  const told: [userId: string, asked: unknown, suppressed: number][] = []
  const reads = createReads<Read>(({ userId, params }, suppressed) => told.push([userId, params.filter, suppressed]))
  const look = (userId: string, filter: string): void =>
    reads.note({ action: 'activity.read', userId, params: { filter } })
  return { told, reads, look }
}

test('the first look is told at once; those of the same minute by number, when it is over', () => {
  const { told, look } = start()
  look('ada', 'a')
  look('ada', 'a')
  look('ada', 'b')
  look('bob', 'a')
  look('ada', 'a')
  expect(told).toEqual([
    ['ada', 'a', 0],
    ['ada', 'b', 0],
    ['bob', 'a', 0],
  ])
  vi.advanceTimersByTime(windowMs)
  expect(told.slice(3)).toEqual([['ada', 'a', 2]])
})

test('a page that refreshes itself every thirty seconds leaves one event a minute, and no look goes uncounted', () => {
  const { told, look } = start()
  const minutes = 10
  for (let i = 0; i < minutes * 2; i++) {
    look('ada', 'a')
    vi.advanceTimersByTime(30_000)
  }
  expect(told.length).toBeLessThanOrEqual(minutes + 1)
  vi.advanceTimersByTime(10 * windowMs)
  // The first look stands for itself, each later event for those it counts.
  expect(told.reduce((sum, [, , suppressed]) => sum + suppressed, 1)).toBe(minutes * 2)
})

test('what is untold when the service stops is told then', () => {
  const { told, reads, look } = start()
  look('ada', 'a')
  look('ada', 'a')
  reads.close()
  expect(told).toEqual([
    ['ada', 'a', 0],
    ['ada', 'a', 1],
  ])
})
