import fc from 'fast-check'
import { expect, test } from 'vitest'
import { giveBack, join, takeBuffer } from './buffer-pool.ts'

test('memory that was given back is used again', () => {
  const first = takeBuffer(5_000)
  giveBack(first.subarray(10, 20))
  expect(takeBuffer(6_000).buffer).toBe(first.buffer)
})

test('memory given back twice has one owner', () => {
  const first = takeBuffer(40_000)
  giveBack(first)
  giveBack(first)
  expect(takeBuffer(40_000).buffer).not.toBe(takeBuffer(40_000).buffer)
})

test('memory of others is not used', () => {
  const other = Buffer.alloc(2_048)
  giveBack(other)
  giveBack(Buffer.from('a part of the pool of Node.js'))
  expect(takeBuffer(2_048).buffer).not.toBe(other.buffer)
})

test('memory that another thread has is not used', () => {
  const lent = takeBuffer(3_000)
  structuredClone(lent.buffer, { transfer: [lent.buffer as ArrayBuffer] })
  giveBack(lent)
  expect(takeBuffer(3_000).length).toBeGreaterThanOrEqual(3_000)
})

test('whoever takes memory has it alone until it is given back', () => {
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 3 * 2 ** 20 }) }),
    fc.record({ give: fc.nat({ max: 30 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const owned: { readonly buffer: Buffer; readonly mark: number }[] = []
      for (const [i, one] of steps.entries()) {
        if ('take' in one) {
          const buffer = takeBuffer(one.take)
          expect(buffer.length).toBeGreaterThanOrEqual(one.take)
          const mark = 1 + (i % 250)
          buffer.fill(mark)
          owned.push({ buffer, mark })
        } else if (one.give < owned.length) {
          const [given] = owned.splice(one.give, 1)
          if (given !== undefined) giveBack(given.buffer)
        }
      }
      for (const { buffer, mark } of owned) expect(buffer.equals(Buffer.alloc(buffer.length, mark))).toBe(true)
      for (const { buffer } of owned) giveBack(buffer)
    }),
    { numRuns: 50 },
  )
})

test('what is unused is bounded', () => {
  const taken = Array.from({ length: 40 }, () => takeBuffer(2 ** 20))
  for (const buffer of taken) giveBack(buffer)
  const again = Array.from({ length: 40 }, () => takeBuffer(2 ** 20))
  const kept = again.filter(({ buffer }) => taken.some((before) => before.buffer === buffer))
  expect(kept.length).toBeGreaterThan(0)
  expect(kept.length).toBeLessThanOrEqual(16)
})

test('parts in one piece', () => {
  const parts = fc.array(fc.uint8Array({ maxLength: 3_000 }).map(Buffer.from), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(parts, (several) => {
      const whole = Buffer.concat(several)
      const piece = join(several, whole.length)
      expect(piece.equals(whole)).toBe(true)
      giveBack(piece)
    }),
  )
})
