import type { Log, LogLevel } from '@agnes/config'
import { expect, test } from 'vitest'
import { createLog } from './log.ts'

async function logging(
  format: 'text' | 'json',
  level: LogLevel = 'info',
): Promise<{ log: Log; written: () => string }> {
  let written = ''
  const log = await createLog({
    service: 'gateway',
    level,
    format,
    write: (line) => {
      written += line
    },
    now: () => new Date('2026-11-21T12:00:00.123Z'),
  })
  return { log, written: () => written }
}

test('as JSON each message is one object on one line, with time, level and figures', async () => {
  const { log, written } = await logging('json')
  log('writer: ClickHouse is away', 'warn', { attempt: 3, level: 'fake', service: 'fake' })
  log('two\nlines')
  const lines = written().split('\n')
  expect(lines).toHaveLength(3)
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    time: '2026-11-21T12:00:00.123Z',
    level: 'warn',
    service: 'gateway',
    pid: process.pid,
    message: 'writer: ClickHouse is away',
    attempt: 3,
  })
  expect(JSON.parse(lines[1] ?? '')).toMatchObject({ level: 'info', message: 'two\nlines' })
})

test('as text it is the sentence alone', async () => {
  const { log, written } = await logging('text')
  log('spool: the disk is full', 'error', { bytes: 1 })
  expect(written()).toBe('spool: the disk is full\n')
})

test.each<[LogLevel, string]>([
  ['info', 'e\nw\ni\n'],
  ['warn', 'e\nw\n'],
  ['error', 'e\n'],
])('at level %s less serious messages are not said', async (level, expected) => {
  const { log, written } = await logging('text', level)
  log('e', 'error')
  log('w', 'warn')
  log('i')
  expect(written()).toBe(expected)
})

test.each(['text', 'json'] as const)('%s: nothing in a message steers a terminal', async (format) => {
  const { log, written } = await logging(format)
  log('quoted: \u001b[2J\u009b31m\u0007\u202e\r', 'info', { what: '\u001b]0;x\u0007' })
  expect(written()).not.toMatch(/[^\P{Cc}\n]|\u202e/u)
})
