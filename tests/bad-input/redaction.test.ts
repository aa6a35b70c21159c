/** Cases 72 and 78 of the catalogue: secrets that hide. What hides well enough is what docs/redaction.md says is not found. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { createRedaction, loadRules } from '@agnes/redaction'
import { beforeAll, expect, test } from 'vitest'
import { repository } from '../support/agnes.ts'

/** In two parts, or scanners of other people's repositories find it here. */
const secret = 'sk-' + 'ant-api03-abcdefghij0123456789'

let redact: (text: string) => string
beforeAll(async () => {
  const redaction = createRedaction(await loadRules(undefined), Buffer.alloc(32, 5))
  redact = (text) => String(redaction('default').text(text, 'body'))
})

test.each([
  ['#72 behind a mark that turns the direction of reading', `\u202e${secret}`],
  ['#72 between blanks that take no room', `\u200b${secret}\u200b`],
  ['#78 across the boundary of 64 KiB', `${'x'.repeat(65_530)} ${secret} y`],
  ['#78 as a key of JSON', `{"${secret}":1}`],
  ['#78 in JSON within JSON within JSON', JSON.stringify({ a: JSON.stringify({ b: JSON.stringify({ c: secret }) }) })],
  ['#78 with its name encoded for a URL', `next=%3Fpassword%3D${secret}`],
  ['#78 written in capitals by its name', `PASSWORD: ${secret}`],
])('%s: taken out', (_, text) => {
  expect(text).toContain(secret)
  expect(redact(text)).toMatch(/\[redacted \w+ x[0-9a-f]{16}\]/)
  expect(redact(text)).not.toContain(secret.slice(4))
})

test.each([
  ['#72 with a hyphen of another kind', secret.replace('-', '\u2011')],
  ['#72 with a blank that takes no room in the middle', secret.replace('ant', 'a\u200bnt')],
  ['#72 by a name in letters of two scripts', 'passw\u043erd=hunter2'],
  ['#72 behind an equals sign of full width', 'password\uff1dhunter2'],
  ['#78 in base64', Buffer.from(secret).toString('base64')],
  ['#78 cut in two', `${secret.slice(0, 10)}\n${secret.slice(10)}`],
])('%s: not found, as the documentation says, and stored as it came', (_, text) => {
  expect(redact(text)).toBe(text)
  const documentation = readFileSync(path.join(repository, 'docs/redaction.md'), 'utf8').replace(/\s+/g, ' ')
  expect(documentation).toMatch(/Not found: secrets that were encoded or cut in pieces.*look-alike characters/)
})
