import fc from 'fast-check'
import { expect, test } from 'vitest'
import { borrowIndexer, giveBack } from './structure.ts'

test('quotes and brackets are those a plain loop finds, wherever the line lies and however it is escaped', () => {
  const indexer = borrowIndexer()
  // Dense in what matters, and longer than the 64 bytes of a block.
  const text = fc.string({ unit: fc.constantFrom('"', '\\', '\\', '{', ']', 'a'), maxLength: 300, size: 'max' })
  fc.assert(
    fc.property(text, fc.nat(200), (line, start) => {
      const end = start + indexer.bytes.write(line, start, 'latin1')
      indexer.bytes[end] = 10
      // What lies behind the line is of another one.
      indexer.bytes.fill('"', end + 1, end + 70)
      const { tokens } = indexer.index(start, end)
      const expected = tokensOf(line).map((at) => at + start)
      expect([...tokens.subarray(0, expected.length + 2)]).toEqual([...expected, end, end])
    }),
    { numRuns: 3_000 },
  )
  giveBack(indexer)
})

test('what was written stays when the room grows', () => {
  const indexer = borrowIndexer()
  const line = `{"a":"${'b'.repeat(1_000_000)}"}`
  indexer.bytes.write('{"a":"')
  indexer.grow(2_000_000)
  expect(indexer.bytes.toString('latin1', 0, 6)).toBe('{"a":"')
  indexer.bytes.write(line)
  const { tokens } = indexer.index(0, line.length)
  expect([...tokens.subarray(0, 7)]).toEqual([0, 1, 3, 5, 1_000_006, 1_000_007, line.length])
})

function tokensOf(line: string): number[] {
  const tokens: number[] = []
  let isInString = false
  let isEscaped = false
  for (const [at, c] of [...line].entries()) {
    if (c === '"' && !isEscaped) {
      isInString = !isInString
      tokens.push(at)
    } else if (!isInString && '{}[]'.includes(c)) tokens.push(at)
    isEscaped = c === '\\' && !isEscaped
  }
  return tokens
}
