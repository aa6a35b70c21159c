import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { UserError } from './errors.ts'
import { loadKeyFile } from './key-file.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-key-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

const load = (name: string): Uint8Array => loadKeyFile(path.join(directory, name), 32, 'AGNES_REDACTION_KEY_FILE')

test('a key is made once, survives a restart, and only its owner can read it', () => {
  const key = load('new.key')
  expect(key).toHaveLength(32)
  expect(Buffer.from(load('new.key')).equals(key)).toBe(true)
  expect(statSync(path.join(directory, 'new.key')).mode & 0o777).toBe(0o600)
})

test('an empty file, left by an interrupted start, is filled', () => {
  writeFileSync(path.join(directory, 'empty.key'), '')
  expect(Buffer.from(load('empty.key')).equals(readFileSync(path.join(directory, 'empty.key')))).toBe(true)
})

test("P41 somebody's file that is no key is refused and stays as it is", () => {
  writeFileSync(path.join(directory, 'mine.pem'), 'a private key of something else')
  expect(() => load('mine.pem')).toThrow(UserError)
  expect(() => load('mine.pem')).toThrow('holds 31 bytes, but a key here has 32')
  expect(readFileSync(path.join(directory, 'mine.pem'), 'utf8')).toBe('a private key of something else')
})

test('P41 a place where no file can be is refused with the variable that names it', () => {
  const refused = expect.objectContaining({ exitCode: 2, hint: expect.stringContaining('AGNES_REDACTION_KEY_FILE') })
  expect(() => load('missing/a.key')).toThrow(refused)
})
