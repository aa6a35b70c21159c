/** Which transcript a report is about: the newest of the project this directory lies in, or the one that is named. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { currentSession, namedSession } from './session.ts'

let root: string
let work: string
let env: NodeJS.ProcessEnv
beforeAll(() => {
  root = realpathSync(mkdtempSync(path.join(tmpdir(), 'agnes-session-')))
  work = path.join(root, 'my.work_1')
  mkdirSync(path.join(work, 'deeper'), { recursive: true })
  env = { CLAUDE_CONFIG_DIR: path.join(root, 'claude') }
})
afterAll(() => rmSync(root, { recursive: true }))

function transcript(directory: string, name: string, minutes: number, content = '{}\n'): string {
  const project = path.join(root, 'claude/projects', directory.replace(/[^A-Za-z0-9]/g, '-'))
  mkdirSync(project, { recursive: true })
  const file = path.join(project, name)
  writeFileSync(file, content)
  utimesSync(file, minutes * 60, minutes * 60)
  return file
}

test('the newest of the project counts, also from a folder below it; those of sub-agents and empty ones do not', () => {
  expect(currentSession(work, env)).toBeUndefined()
  const newest = transcript(work, 'b.jsonl', 20)
  transcript(work, 'a.jsonl', 10)
  transcript(work, 'agent-1.jsonl', 30)
  transcript(work, 'empty.jsonl', 30, '')
  transcript(work, 'notes.txt', 30)
  transcript(path.join(root, 'elsewhere'), 'c.jsonl', 30)
  expect(currentSession(work, env)).toBe(newest)
  expect(currentSession(path.join(work, 'deeper'), env)).toBe(newest)
  expect(currentSession(root, env)).toBeUndefined()
})

test('one is named by its id, whatever project it is of, or by its path', () => {
  const file = transcript(path.join(root, 'elsewhere'), 'd1f0.jsonl', 5)
  expect(namedSession('d1f0', env)).toBe(file)
  expect(namedSession('d1f0.jsonl', env)).toBe(file)
  expect(namedSession(file, env)).toBe(file)
})

test.each(['nowhere', '..', '/', ''])('%j is no session', (named) => {
  expect(() => namedSession(named, env)).toThrow(expect.objectContaining({ code: 'no_session', exitCode: 2 }))
})
