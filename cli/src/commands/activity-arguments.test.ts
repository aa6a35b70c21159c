import { execFileSync } from 'node:child_process'
import type { TimelineFilter } from '@agnes/clickhouse'
import { UserError } from '@agnes/config'
import { Command } from 'commander'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { activityCommand, addFilterOptions, type FilterOptions, filterOf } from './activity-arguments.ts'

test('without options the newest rows are asked for', () => {
  expect(filterOf(parse([]))).toEqual({ limit: 50 })
})

test('every option reaches the filter', () => {
  const words =
    '--since 2026-11-01 --until 2026-11-02T12:00Z --user anna --action-prefix sync. --action a --action b ' +
    '--resource table:orders --result error.404 --correlation-id tick-1 --q orders --limit 7 --cursor c ' +
    '--include-reads --include-heartbeats'
  expect(filterOf(parse(words.split(' ')))).toEqual({
    since: new Date('2026-11-01T00:00:00Z'),
    until: new Date('2026-11-02T12:00:00Z'),
    userId: 'anna',
    actionPrefix: 'sync.',
    actionIn: ['a', 'b'],
    resource: 'table:orders',
    result: 'error.404',
    correlationId: 'tick-1',
    q: 'orders',
    limit: 7,
    cursor: 'c',
    includeOwnReads: true,
    includeHeartbeats: true,
  })
})

test.each([
  ['2026-11-02', '2026-11-01'],
  ['2026-11-02', '2026-11-02'],
  ['1h', '2h'],
])('from %s until %s is no span of time: exit code 2', (since, until) => {
  const options = parse(['--since', since, '--until', until])
  expect(() => filterOf(options)).toThrow(
    expect.objectContaining({
      constructor: UserError,
      exitCode: 2,
      message: '--since is not before --until',
      hint: expect.stringContaining('it asks for events from '),
    }),
  )
})

test('a command that is pasted into a shell asks for what the filter selects', () => {
  // No argument of a process can hold NUL.
  const value = fc
    .oneof(
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.constantFrom("it's", '-x', '--json', '$(id)', '`id`', 'a\nb', '!!', '\\', '*', '~', '#', '"', 'table:orders'),
    )
    .filter((text) => !text.includes('\0'))
  // Times as ISO 8601 writes them with four digits of a year.
  const time = fc.date({ min: new Date(0), max: new Date('9999-01-01T00:00:00Z'), noInvalidDate: true })
  const filter: fc.Arbitrary<Partial<TimelineFilter>> = fc.record(
    {
      actionIn: fc.array(value, { minLength: 1, maxLength: 3 }),
      actionPrefix: value,
      userId: value,
      resource: value,
      result: value,
      correlationId: value,
      q: value,
      includeOwnReads: fc.constant(true),
      includeHeartbeats: fc.constant(true),
    },
    { requiredKeys: [] },
  )
  const span = fc.tuple(time, fc.integer({ min: 1, max: 1e9 })).map(([since, ms]) => ({
    since,
    until: new Date(since.getTime() + ms),
  }))
  fc.assert(
    fc.property(filter, fc.option(span, { nil: {} }), (selected, between) => {
      const wanted = { ...selected, ...between }
      expect(filterOf(parse(shellWords(activityCommand(wanted))))).toEqual({ ...wanted, limit: 50 })
    }),
    { numRuns: 50 },
  )
})

test('the command is as short as a person would type it', () => {
  const since = new Date('2026-11-20T10:00:00Z')
  expect(activityCommand({ actionPrefix: 'sync.', result: 'error', since })).toBe(
    'agnes activity --action-prefix sync. --result error --since 2026-11-20T10:00:00Z',
  )
  expect(activityCommand({ actionIn: ['system.heartbeat'], includeHeartbeats: true })).toBe(
    'agnes activity --action system.heartbeat',
  )
})

function parse(words: readonly string[]): FilterOptions {
  return addFilterOptions(new Command('activity').exitOverride()).parse(words, { from: 'user' }).opts()
}

/** What a real shell hands to `agnes` when the line is pasted. */
function shellWords(command: string): string[] {
  const script = `agnes() { printf '%s\\0' "$@"; }; ${command}`
  const [name, ...words] = execFileSync('sh', ['-c', script], { encoding: 'utf8' }).split('\0').slice(0, -1)
  expect(name).toBe('activity')
  return words
}
