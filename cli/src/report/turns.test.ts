/** The end of a transcript is what reading all of it would have found, however lines and reads fall on each other. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readLastTurns } from './turns.ts'

let directory: string
let file: string
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-turns-'))
  file = path.join(directory, 'session.jsonl')
})
afterAll(() => rmSync(directory, { recursive: true }))

const prompt = (text: string) => JSON.stringify({ type: 'user', uuid: 'u', message: { content: text } })
const call = (id: string, input: unknown) =>
  JSON.stringify({ type: 'assistant', message: { content: [{ type: 'tool_use', id, name: 'Bash', input }] } })
const result = (id: string, content: unknown, is_error = false) =>
  JSON.stringify({ type: 'user', message: { content: [{ type: 'tool_result', tool_use_id: id, content, is_error }] } })

test('whatever the lines are and however much is read at once, the last turns are those of the whole file', () => {
  const line = fc.oneof(
    { weight: 4, arbitrary: fc.string({ unit: 'grapheme', maxLength: 40 }).map(prompt) },
    fc.constant(''),
    fc.constant('{"type":"user","message":'),
    fc.constant('[1,2]'),
    fc.constant('{"type":"progress","data":{"text":"not a turn"}}'),
    fc.string({ maxLength: 30 }).map((text) => text.replaceAll('\n', '')),
  )
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 30 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 12 }),
      (lines, ends, chunk, count) => {
        writeFileSync(file, lines.join('\n') + (ends && lines.length > 0 ? '\n' : ''))
        const all = lines.flatMap((text) => {
          try {
            const { type, message } = JSON.parse(text)
            return type === 'user' && typeof message?.content === 'string' ? [message.content as string] : []
          } catch {
            return []
          }
        })
        expect(readLastTurns(file, count, chunk).turns.map(({ text }) => text)).toEqual(all.slice(-count))
      },
    ),
    { numRuns: 500 },
  )
})

test('calls have their input, results the name of their call, failures say so; bookkeeping and thinking are left out', () => {
  const records = [
    JSON.stringify({ type: 'user', sessionId: 's9', version: '2.1.99', message: { content: 'please run it' } }),
    JSON.stringify({
      type: 'assistant',
      message: {
        content: [
          { type: 'thinking', thinking: 'hmm' },
          { type: 'text', text: 'I do' },
        ],
      },
    }),
    call('t1', { command: 'make' }),
    result(
      't1',
      [
        { type: 'text', text: 'Exit code 2' },
        { type: 'image', source: {} },
      ],
      true,
    ),
    JSON.stringify({ type: 'user', isMeta: true, message: { content: 'Caveat: …' } }),
    JSON.stringify({ type: 'user', isSidechain: true, message: { content: 'to a sub-agent' } }),
    JSON.stringify({ type: 'file-history-snapshot', snapshot: {} }),
    JSON.stringify({
      type: 'assistant',
      isApiErrorMessage: true,
      message: { content: [{ type: 'text', text: 'API Error: 529' }] },
    }),
    JSON.stringify({ type: 'user', message: { content: [{ type: 'text', text: '[Request interrupted by user]' }] } }),
    JSON.stringify({ type: 'user', message: { content: '<command-name>/clear</command-name>' } }),
  ]
  writeFileSync(file, `${records.join('\n')}\n`)
  const { turns, sessionId, clientVersion } = readLastTurns(file, 50)
  expect({ sessionId, clientVersion }).toEqual({ sessionId: 's9', clientVersion: '2.1.99' })
  expect(turns).toEqual([
    { role: 'user', kind: 'prompt', text: 'please run it' },
    { role: 'assistant', kind: 'text', text: 'I do' },
    { role: 'assistant', kind: 'tool_use', tool: 'Bash', tool_use_id: 't1', text: '', input: '{"command":"make"}' },
    {
      role: 'user',
      kind: 'tool_result',
      tool: 'Bash',
      tool_use_id: 't1',
      is_error: true,
      text: 'Exit code 2\n[image]',
    },
    { role: 'assistant', kind: 'api_error', is_error: true, text: 'API Error: 529' },
    { role: 'user', kind: 'interrupt', text: '[Request interrupted by user]' },
    { role: 'user', kind: 'command', text: '<command-name>/clear</command-name>' },
  ])
})

test('a line of many megabytes is stepped over, and what stands before it is found', () => {
  writeFileSync(file, `${prompt('before')}\n`)
  appendFileSync(file, `${prompt('x'.repeat(9 * 1024 * 1024))}\n${prompt('after')}\n`)
  expect(readLastTurns(file, 5).turns.map(({ text }) => text)).toEqual(['before', 'after'])
})

test('an empty file, and one that is binary, have no turns', () => {
  for (const content of ['', Buffer.from([0xff, 0x00, 0x0a, 0xfe, 0x0a])]) {
    writeFileSync(file, content)
    expect(readLastTurns(file, 50).turns).toEqual([])
  }
})
