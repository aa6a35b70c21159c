/** What is shown is what is sent, byte by byte: between the two rooms that make a bundle and that take it. */
import { createHash } from 'node:crypto'
import { createRedaction, loadRules } from '@agnes/redaction'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { makeBundle, reporterOf } from '../../cli/src/report/bundle.ts'
import type { FoundTurn } from '../../cli/src/report/turns.ts'
import { readBundle } from '../../feedback-inbox/src/feedback/bundle.ts'

let redact: ReturnType<typeof createRedaction>
beforeAll(async () => {
  redact = createRedaction(await loadRules(undefined), Buffer.alloc(32, 7))
})

const hostile = fc.constantFrom(
  '\u001b[2J',
  '\u202e',
  '\u200b',
  '\u0000',
  '\ud800',
  '<script>',
  '"',
  '\\',
  '\r\n',
  '\u2028',
  '🚀',
)
const anyText = fc
  .array(fc.oneof(hostile, fc.string({ unit: 'binary', maxLength: 30 })), { maxLength: 8 })
  .map((parts) => parts.join(''))
const anyTurn: fc.Arbitrary<FoundTurn> = fc.record(
  {
    role: fc.constantFrom('user', 'assistant'),
    kind: fc.constantFrom('prompt', 'text', 'tool_use', 'tool_result'),
    text: fc.oneof(
      anyText,
      fc.nat(70_000).map((length) => 'lorem '.repeat(length / 6)),
    ),
    tool: anyText,
    uuid: anyText,
    tool_use_id: anyText,
    time: anyText,
    input: fc.oneof(
      anyText,
      fc.dictionary(anyText, anyText).map((value) => JSON.stringify(value)),
    ),
    is_error: fc.boolean(),
  },
  { requiredKeys: ['role', 'kind', 'text'] },
)
const steering = /[^\P{Cc}\n]|\p{Bidi_Control}|\u2028|\u2029|\ufeff/u

function bundleOf(message: string, turns: readonly FoundTurn[]) {
  const session = { file: 'a/b/c.jsonl', turns, sessionId: 's', clientVersion: '2.1' }
  return makeBundle(
    { message, reporter: reporterOf('ann b.'), version: '1', session, env: { SHELL: '/bin/zsh' } },
    redact('report'),
  )
}

function take(body: Uint8Array, previewSha256: string) {
  const sent = {
    body,
    previewSha256,
    answer: 'asked',
    idempotencyKey: undefined,
    tenant: 't',
    keyId: 'k',
    now: new Date(),
  }
  return readBundle(sent, redact('t'))
}

test('whatever a session holds, its preview is harmless on a terminal, within the limits, and taken as it was shown', () => {
  fc.assert(
    fc.property(anyText, fc.array(anyTurn, { maxLength: 50 }), (words, turns) => {
      const message = `stuck ${words}`
      const { text, sha256 } = bundleOf(message, turns)
      const body = Buffer.from(text)
      expect(text).not.toMatch(steering)
      expect(body.toString()).toBe(text)
      expect(sha256).toBe(createHash('sha256').update(body).digest('hex'))
      const report = take(body, sha256)
      expect(report.previewSha256).toBe(sha256)
      expect(report.reporterUser).toBe('ann_b.')
      // Nothing is lost on the way but what the preview itself had left out.
      expect(report.message).toBe(redact('t').text(redact('report').text(message, 'm').toWellFormed(), 'm'))
    }),
    { numRuns: 60 },
  )
})

test('a body with any byte changed, added or taken away is refused', () => {
  const { text, sha256 } = bundleOf('the sync does not start', [{ role: 'user', kind: 'prompt', text: 'please' }])
  const body = Buffer.from(text)
  fc.assert(
    fc.property(
      fc.nat(body.length - 1),
      fc.integer({ min: 1, max: 255 }),
      fc.constantFrom('change', 'add', 'remove'),
      (at, by, how) => {
        const other =
          how === 'change'
            ? Buffer.from(body).fill(((body[at] ?? 0) + by) % 256, at, at + 1)
            : Buffer.concat([
                body.subarray(0, at),
                how === 'add' ? Buffer.from([by]) : Buffer.alloc(0),
                body.subarray(how === 'add' ? at : at + 1),
              ])
        expect(() => take(other, sha256)).toThrow(expect.objectContaining({ code: 'preview_differs', status: 422 }))
      },
    ),
  )
  expect(take(body, sha256.toUpperCase()).message).toBe('the sync does not start')
})

test('secrets are taken out before they are shown, also where a text is cut', () => {
  const secret = 'ghp_0123456789abcdefghijABCDEFGHIJ012345'
  for (const before of [0, 3_980, 3_999, 4_000, 29_990, 30_001, 50_000]) {
    const text = `${'x '.repeat(before / 2)}${secret} ${'y '.repeat(40_000)}`
    expect(bundleOf('stuck', [{ role: 'user', kind: 'prompt', text }]).text).not.toMatch(/ghp_\w/)
  }
  const input = JSON.stringify({ command: `curl -H "Authorization: Bearer ${secret}"`, password: 'rosebud99' })
  const { text } = bundleOf(`my key is ${secret}`, [{ role: 'assistant', kind: 'tool_use', text: '', input }])
  expect(text).not.toMatch(/ghp_|rosebud99/)
  expect(text).toContain('password: [redacted password')
})
