import { compileRules, createRedaction } from '@agnes/redaction'
import { afterAll, expect, test } from 'vitest'
import { redactLine } from './redact-line.ts'
import { createRedactThreads, longLineBytes } from './redact-threads.ts'

const redactionKey = Buffer.alloc(32, 1)
const redaction = createRedaction(await compileRules({}), redactionKey)
const threads = createRedactThreads({ rules: {}, redactionKey }, () => {})
afterAll(() => threads.close())

const said = (text: string): Buffer => Buffer.from(JSON.stringify({ type: 'user', message: { content: text } }))
const words = 'prices are in the list žluť 🙂 '.repeat(longLineBytes / 16)

test.each([
  ['a secret', said(`${words} password=hunter2-hunter2 ${words}`)],
  ['nothing to hide', said(words)],
  ['more secrets than are named', said('password=hunter2-hunter2, '.repeat(2_000))],
  ['bytes that are no text', Buffer.concat([Buffer.from('{"password":"hunter2-hunter2'), Buffer.alloc(99, 0xfe)])],
])('a thread makes of a line with %s what this thread makes of it', async (_, line) => {
  const here = redactLine(redaction('acme'), Buffer.from(line))
  const there = await threads.redact('acme', Buffer.from(line))
  expect(there.line.equals(here.line)).toBe(true)
  expect(there.redactions).toEqual(here.redactions)
})

test('a part of larger memory leaves the rest where it is', async () => {
  const memory = Buffer.from(`before ${said('password=hunter2-hunter2').toString()} behind`)
  const { line } = await threads.redact('acme', memory.subarray(7, -7))
  expect(line.toString()).toMatch(/^\{"type":"user","message":\{"content":"password=\[redacted password x\w+\]"\}\}$/)
  expect(memory.toString()).toMatch(/^before .* behind$/)
})

test('a line whose thread ends may be sent again, and gets another thread', async () => {
  const others = createRedactThreads({ rules: {}, redactionKey }, () => {})
  const lost = others.redact('acme', said('a'))
  await Promise.all([others.close(), expect(lost).rejects.toThrow('the redacting thread ended')])
  expect((await others.redact('acme', said('a'))).line.equals(said('a'))).toBe(true)
  await others.close()
})
