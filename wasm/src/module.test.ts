import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compile, get, i32, i64, instantiate, op, set, simd, splat, type } from './index.ts'

test('a function takes its parameters and returns one number', () => {
  const { run } = instantiate(
    compile({ pages: 1, locals: [], body: [...get(0), ...get(1), op.i32Add, ...get(2), op.i32Sub] }),
  )
  fc.assert(
    fc.property(fc.integer(), fc.integer(), fc.integer(), (a, b, c) => {
      expect(run(a, b, c)).toBe((a + b - c) | 0)
    }),
  )
})

test('constants of any size are what they say', () => {
  fc.assert(
    fc.property(fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (small, large) => {
      const body = [...i64(large), ...set(3), ...get(3), op.i32Wrap, ...i32(small), op.i32Add]
      const { run } = instantiate(compile({ pages: 1, locals: [[1, type.i64]], body }))
      expect(run(0, 0, 0)).toBe((Number(BigInt.asIntN(32, large)) + small) | 0)
    }),
  )
})

test('a loop over the memory sees what was written there, also after it has grown', () => {
  const body = [...get(0), ...simd.load, 0, 0, ...splat(7), ...simd.equal, ...simd.bitMask]
  const { memory, run } = instantiate(compile({ pages: 1, locals: [], body }))
  memory.grow(1)
  new Uint8Array(memory.buffer).set([7, 0, 7, 7], 70_000)
  expect(run(70_000, 0, 0)).toBe(0b1101)
})
