/** Whatever people write, Telegram takes the message: held against the server's parser, which knows nothing of what makes it. */
import type { Delivery } from '@agnes/clickhouse'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseHtml } from './loopback/entities.ts'
import { notificationMessage, reportMessage, reportsMessage } from './messages.ts'
import type { Notification, ReportInChat } from './notification.ts'
import { compose, longestMessage } from './text.ts'

const hostile = fc.constantFrom(
  '<script>alert(1)</script>',
  '</b></i></blockquote>',
  '<a href="javascript:alert(1)">x</a>',
  '&lt;b&gt; &amp;amp; &#60; &#x3c;',
  '*bold* _it_ [x](tg://user?id=1) ```',
  '\u202egnp.exe\u2066',
  '\u200b\u2060\ufeff',
  '\ud83d',
  '\udc00\ud83d\ude00',
  '👩‍👩‍👧‍👦',
  'שלום مرحبا',
  '\0\u0001\u001b[31m',
  '/unlink @admin https://evil.example',
)
const anyText = fc
  .array(
    fc.oneof(
      hostile,
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.string({ unit: 'grapheme', maxLength: 60 }),
      fc.tuple(hostile, fc.integer({ min: 1, max: 900 })).map(([text, times]) => text.repeat(times).slice(0, 9_000)),
    ),
    { maxLength: 6 },
  )
  .map((parts) => parts.join(''))

const piece = fc.oneof(
  anyText,
  fc.record(
    {
      text: anyText,
      style: fc.constantFrom('b', 'i', 'code', 'blockquote'),
      atMost: fc.integer({ min: 1, max: 5_000 }),
      href: fc.constantFrom('https://agnes.example/admin/feedback/abc?a=1&b="<x>'),
    },
    { requiredKeys: ['text'] },
  ),
) as fc.Arbitrary<Parameters<typeof compose>[0][number]>

test('any text, cut and escaped, is read back as it was meant and is never too long', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const { html, plain } = compose(pieces)
      expect(parseHtml(html).text).toBe(plain)
      expect(plain.length).toBeLessThanOrEqual(longestMessage)
      expect(html.isWellFormed()).toBe(true)
    }),
    { numRuns: 400 },
  )
})

test('a text that fits is whole, and says so', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme-ascii', maxLength: 500 }), (text) => {
      expect(compose([{ text, style: 'b' }])).toMatchObject({ plain: text, cut: false })
    }),
  )
  expect(compose(['x'.repeat(5_000)])).toMatchObject({ plain: `${'x'.repeat(4_095)}…`, cut: true })
})

test('characters that hide or reorder others are shown', () => {
  expect(compose(['a\u202eb\u200bc']).plain).toBe('a⟨U+202E⟩b⟨U+200B⟩c')
})

const report: fc.Arbitrary<ReportInChat> = fc.record({
  id: fc.stringMatching(/^[a-z0-9]{12}$/),
  createdAt: fc.constant(new Date('2026-11-21T12:00:00Z')),
  reporter: anyText,
  message: anyText,
  status: fc.constantFrom('open', 'triaged', 'resolved'),
  assignee: anyText,
  cause: anyText,
})

const notification: fc.Arbitrary<Notification> = fc.record(
  {
    kind: fc.constantFrom('feedback' as const, 'alert' as const, 'health' as const),
    tenant: fc.constant('default'),
    incident: anyText,
    title: anyText,
    body: anyText,
    facts: fc.array(fc.tuple(anyText, anyText), { maxLength: 12 }),
    urgent: fc.boolean(),
    reportId: fc.stringMatching(/^[a-z0-9]{12}$/),
    path: fc.constant('/admin/feedback/abc'),
  },
  { requiredKeys: ['kind', 'tenant', 'incident', 'title'] },
)

const pages = { publicUrl: 'https://agnes.example', digestAt: '08:00' }

test('every message Telegram takes: its text, its entities, its buttons', () => {
  const times = { firstAt: new Date(0), lastAt: new Date(86_400_000) }
  const parcel = fc.record({ notification, occurrences: fc.nat(100), uncertainAttempts: fc.nat(1) }).map((one) => ({
    notification: one.notification,
    // What a message looks at of a delivery.
    delivery: { ...times, ...one } as unknown as Delivery,
  }))
  fc.assert(
    fc.property(
      fc.array(parcel, { minLength: 1, maxLength: 60 }),
      fc.nat(3),
      fc.array(report, { minLength: 1, maxLength: 5 }),
      (parcels, forDigest, reports) => {
        for (const message of [
          notificationMessage(parcels, { forDigest }, pages),
          notificationMessage(parcels.slice(0, 1), { forDigest }, pages),
          reportsMessage(reports, true),
          ...reports.map((one) => reportMessage(one, 'Triaged', pages)),
        ]) {
          expect(parseHtml(message.html).text).toBe(message.plain)
          expect(message.plain.length).toBeLessThanOrEqual(longestMessage)
          expect(message.plain.trim()).not.toBe('')
          for (const { data } of message.buttons.flat()) expect(Buffer.byteLength(data ?? '')).toBeLessThanOrEqual(64)
        }
      },
    ),
    { numRuns: 60 },
  )
})

test.each([
  ['<b>a', 'Can\'t find end tag corresponding to start tag "b"'],
  ['a</b>', 'Unexpected end tag at byte offset 1'],
  ['<b>é<i>x</b></i>', 'Unmatched end tag at byte offset 9, expected "</i>", found "</b>"'],
  ['<script>x</script>', 'Unsupported start tag "script" at byte offset 0'],
  ['x < y', 'Unsupported start tag "" at byte offset 2'],
  ['a<b', 'Unclosed start tag at byte offset 1'],
])('the server refuses %j as Telegram does', (source, problem) => {
  expect(() => parseHtml(source)).toThrow(problem)
})

test('the server reads references and entities as Telegram does', () => {
  expect(parseHtml('1 &lt; 2 &amp; &#x1F600; &nbsp; <b>b<i>i</i></b>')).toEqual({
    text: '1 < 2 & 😀 &nbsp; bi',
    entities: [
      { type: 'bold', offset: 18, length: 2 },
      { type: 'italic', offset: 19, length: 1 },
    ],
  })
})
