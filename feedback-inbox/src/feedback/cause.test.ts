/** What is grouped and what is kept apart: texts that differ in numbers, ids and paths only, and texts that differ in words. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { causeOf, maskText } from './cause.ts'

const word = fc.constantFrom(
  'cannot',
  'read',
  'table',
  'orders',
  'from',
  'Error:',
  'in',
  'at',
  'line',
  'žluťoučký',
  '東京',
)
/** What differs from machine to machine; one of a kind may stand for another. */
const kinds = [
  fc.oneof(
    fc.nat().map(String),
    fc.tuple(fc.nat(99), fc.nat(99)).map(([a, b]) => `${a}.${b}`),
  ),
  fc.oneof(
    fc.uuid(),
    fc.stringMatching(/^[0-9a-f]{6}[0-9][a-f][0-9a-f]{8}$/),
    fc.stringMatching(/^toolu_[0-9][A-Za-z0-9]{12}$/),
  ),
  fc.oneof(
    fc.stringMatching(/^\/[a-z]{1,8}(\/[a-z0-9._-]{1,10}){1,4}$/),
    fc.stringMatching(/^[a-z]{1,8}(\/[a-z0-9_-]{1,10}){1,3}\.ts$/),
    fc.stringMatching(/^C:\\[A-Za-z]{1,8}(\\[A-Za-z0-9._-]{1,10}){1,3}$/),
  ),
  fc.stringMatching(/^https:\/\/[a-z]{2,8}\.example\/[a-z0-9]{1,10}\?q=[0-9]{1,4}$/),
  fc.stringMatching(/^[a-z]{1,8}@[a-z]{2,8}\.example$/),
]
const varying = fc.oneof(...kinds)
const anyText = fc
  .array(fc.oneof(word, varying, fc.string({ unit: 'binary' })), { maxLength: 12 })
  .map((parts) => parts.join(' '))

test('masking what is masked changes nothing, leaves no digit and is never long', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const masked = maskText(text)
      expect(maskText(masked)).toBe(masked)
      expect(masked).not.toMatch(/\p{Nd}/u)
      expect(masked.length).toBeLessThanOrEqual(300)
      expect(masked.isWellFormed()).toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test('the same error has the same key, whatever its numbers, ids, paths and addresses', () => {
  const part = fc.oneof(
    word.map((same) => [same, same] as const),
    ...kinds.map((kind) => fc.tuple(kind, kind)),
  )
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), (parts) => {
      const [one, other] = [0, 1].map((at) => `Error: ${parts.map((pair) => pair[at]).join(' ')}`)
      expect(maskText(one ?? '')).toBe(maskText(other ?? ''))
      expect(keyOf(one ?? '')).toBe(keyOf(other ?? ''))
    }),
    { numRuns: 1000 },
  )
})

test.each([
  ['Error: no such table', 'Error: no such column'],
  ['Permission to use Bash has been denied.', 'Exit code 1\nPermission denied'],
])('"%s" and "%s" are two causes', (one, other) => {
  expect(keyOf(one)).not.toBe(keyOf(other))
})

test('the same words of another tool are another cause', () => {
  expect(keyOf('Error: timed out', 'Bash')).not.toBe(keyOf('Error: timed out', 'WebFetch'))
})

test.each([
  [
    'Exit code 1\nTraceback (most recent call last):\n  File "/a/b.py", line 3\nKeyError: \'orders\'',
    "KeyError: 'orders'",
  ],
  ['Exit code 2\n\nbuilding 12 of 40\nerror: cannot find crate\n  note: 3', 'error: cannot find crate'],
  ['<tool_use_error>File has not been read yet.</tool_use_error>', 'File has not been read yet.'],
  ['Exit code 127\n\u001b[31mfoo: command not found\u001b[0m', 'foo: command not found'],
  ['[redacted password x0123456789abcdef] is wrong', '<secret> is wrong'],
  ['', ''],
])('of %j the line that tells is %j', (text, told) => {
  expect(causeOf([result(text)])?.text).toBe(told)
})

test('control characters go with their sequences, and what stands behind a line break stays', () => {
  expect(maskText('\u001b[1;31merror:\u001b[0m\u0007 a\r[Ecma] b\n[Yes] c\u009bd\u0000')).toBe(
    'error: a[Ecma] b [Yes] cd',
  )
})

test('the last failure counts; what the user stopped is none', () => {
  const turns = [
    result('Error: first'),
    result('Error: last'),
    { role: 'user', kind: 'tool_result', text: 'error error error' },
    result("The user doesn't want to proceed with this tool use."),
    { role: 'user', kind: 'interrupt', text: '[Request interrupted by user]' },
  ]
  expect(causeOf(turns)?.text).toBe('Error: last')
  expect(causeOf(turns.slice(2))).toBeUndefined()
  expect(
    causeOf([...turns, { role: 'assistant', kind: 'api_error', text: 'API Error: 529 overloaded' }]),
  ).toMatchObject({
    errorClass: 'api_error',
    text: 'API Error: <n> overloaded',
  })
})

test('a hostile text takes no time', () => {
  for (const text of [
    'a-'.repeat(200_000),
    '/'.repeat(400_000),
    'a@'.repeat(200_000),
    '1.'.repeat(200_000),
    '.'.repeat(400_000),
  ]) {
    const startedAt = performance.now()
    causeOf([result(text)])
    expect(performance.now() - startedAt).toBeLessThan(1_000)
  }
})

function keyOf(text: string, tool = 'Bash'): string | undefined {
  return causeOf([result(text, tool)])?.key
}

function result(text: string, tool = 'Bash') {
  return { role: 'user', kind: 'tool_result', tool, is_error: true, text }
}
