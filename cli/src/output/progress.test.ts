import { expect, test } from 'vitest'
import { startProgress } from './progress.ts'

test('a pipe or a file gets no progress bar', () => {
  const { stream, written } = recording(false)
  const progress = startProgress('sending', 10, stream)
  progress.update(5)
  progress.end()
  expect(written()).toBe('')
})

test('a terminal gets a bar that fills, on one line, and is wiped at the end', () => {
  const { stream, written } = recording(true)
  const progress = startProgress('sending', 200, stream)
  progress.update(50)
  expect(written()).toMatch(/^\rsending █{8}░{22} 25 %$/)
  progress.update(300)
  expect(written()).toMatch(/\rsending █{30} 100 %$/)
  progress.end()
  expect(written().endsWith('\r\u001b[K')).toBe(true)
  expect(written()).not.toContain('\n')
})

test('nothing to do is all done', () => {
  const { stream, written } = recording(true)
  startProgress('sending', 0, stream).update(0)
  expect(written()).toContain('100 %')
})

function recording(isTTY: boolean): { stream: NodeJS.WriteStream; written: () => string } {
  let text = ''
  const stream = {
    isTTY,
    write: (chunk: string) => {
      text += chunk
      return true
    },
  }
  // All the bar uses of a terminal; a real one cannot be had in a test.
  return { stream: stream as NodeJS.WriteStream, written: () => text }
}
