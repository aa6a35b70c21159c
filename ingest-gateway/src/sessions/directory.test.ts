/** A directory of transcripts: what is put there is stored, as far as it is whole, and what it grows by. */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createAgnesClient } from '@agnes/clickhouse'
import { compileRules, createRedaction } from '@agnes/redaction'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type FaultProxy, startFaultProxy } from '../../../tests/support/fault-proxy.ts'
import { type SessionStand, startSessionStand, transcript } from '../../../tests/support/sessions.ts'
import { type SessionDirectory, type SessionDirectoryOptions, watchSessionDirectory } from './directory.ts'
import { createSessionStore, type UploadResult } from './upload.ts'

let stand: SessionStand
let proxy: FaultProxy
beforeAll(async () => {
  stand = await startSessionStand()
  proxy = await startFaultProxy(stand.engine.url)
})
afterAll(async () => {
  await proxy.stop()
  await stand.stop()
})

let directory: string
let uploads: UploadResult[]
let audited: string[]
let logged: string[]
const watches: SessionDirectory[] = []
const ends: (() => Promise<void>)[] = []
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-directory-'))
  uploads = []
  audited = []
  logged = []
})
afterEach(async () => {
  for (const watch of watches.splice(0)) await watch.stop()
  for (const end of ends.splice(0)) await end()
  rmSync(directory, { recursive: true, force: true })
})

async function watch(options: Partial<SessionDirectoryOptions> = {}): Promise<SessionDirectory> {
  const client = createAgnesClient({ url: proxy.url })
  ends.push(() => client.close())
  const watched = watchSessionDirectory({
    directory,
    tenant: 'default',
    store: createSessionStore({
      client,
      redaction: createRedaction(await compileRules({}), Buffer.alloc(32)),
      redactionRules: 'test',
      key: Buffer.alloc(32),
    }),
    audit: (key, source, { outcome }) => audited.push(`${source} ${key.user}/${key.file} ${outcome}`),
    onUpload: (result) => uploads.push(result),
    log: (line) => logged.push(line),
    everyMs: 30,
    stillMs: 100,
    ...options,
  })
  watches.push(watched)
  return watched
}

let users = 0
/** A folder of its own, for a user of this test alone. */
function newUser(): { user: string; folder: string } {
  const user = `user-${++users}`
  const folder = path.join(directory, user)
  mkdirSync(folder)
  return { user, folder }
}
const stored = (user: string, file = '1f') => stand.stored('default', user, file)
const patience = { timeout: 20_000 }

test('a file is stored, redacted, and again what it grew by; each is told', async () => {
  const { user, folder } = newUser()
  const secret = `${JSON.stringify({ type: 'user', password: 'canary-password' })}\n`
  writeFileSync(path.join(folder, '1f.jsonl'), transcript(5) + secret)
  await watch()
  await expect.poll(() => uploads.length, patience).toBe(1)
  const { main = '' } = await stored(user)
  expect(main.startsWith(transcript(5))).toBe(true)
  expect(main).toContain('[redacted password')
  expect(main).not.toContain('canary')

  appendFileSync(path.join(folder, '1f.jsonl'), transcript(2, 5))
  await expect.poll(() => uploads.length, patience).toBe(2)
  expect(uploads[1]).toMatchObject({ outcome: 'grown', lines: 8, added: 2 })
  expect(await stored(user)).toEqual({ main: main + transcript(2, 5) })
  expect(audited).toEqual([`directory ${user}/1f created`, `directory ${user}/1f grown`])
})

test('a file that is being written is left until it is still, or has not been for too long', async () => {
  const { user, folder } = newUser()
  const file = path.join(folder, '1f.jsonl')
  writeFileSync(file, '')
  await watch({ stillMs: 60_000, longestMs: 800 })
  const start = performance.now()
  let lines = 0
  while (uploads.length === 0 && performance.now() - start < 15_000) {
    appendFileSync(file, transcript(1, lines++))
    await pause(20)
  }
  expect(performance.now() - start).toBeGreaterThan(700)
  const [first] = uploads
  expect(first?.lines).toBeGreaterThan(5)
  expect(await stored(user)).toEqual({ main: transcript(first?.lines ?? 0) })
})

test('a restart, and a second gateway on the same directory, store nothing twice', async () => {
  const { user, folder } = newUser()
  writeFileSync(path.join(folder, '1f.jsonl'), transcript(50))
  const first = await watch()
  await expect.poll(() => uploads.length, patience).toBe(1)
  await first.stop()
  await Promise.all([watch(), watch()])
  await expect.poll(() => uploads.length, patience).toBe(3)
  expect(uploads.slice(1)).toMatchObject([
    { outcome: 'unchanged', added: 0 },
    { outcome: 'unchanged', added: 0 },
  ])
  appendFileSync(path.join(folder, '1f.jsonl'), transcript(10, 50))
  await expect.poll(() => uploads.length, patience).toBe(5)
  expect(await stored(user)).toEqual({ main: transcript(60) })
  expect(audited.filter((line) => line.endsWith('created'))).toHaveLength(1)
})

test('a file that was written anew is a version beside the one before', async () => {
  const { user, folder } = newUser()
  writeFileSync(path.join(folder, '1f.jsonl'), transcript(5))
  await watch()
  await expect.poll(() => uploads.length, patience).toBe(1)
  writeFileSync(path.join(folder, '1f.jsonl'), transcript(9, 100))
  await expect.poll(() => uploads.length, patience).toBe(2)
  expect(Object.values(await stored(user)).sort()).toEqual([transcript(5), transcript(9, 100)].sort())
})

test('links, hidden files and names that cannot be one are left out; the others are taken', async () => {
  const { user, folder } = newUser()
  const outside = mkdtempSync(path.join(tmpdir(), 'agnes-outside-'))
  writeFileSync(path.join(outside, 'outside.jsonl'), transcript(1))
  symlinkSync(path.join(outside, 'outside.jsonl'), path.join(folder, 'link.jsonl'))
  symlinkSync(outside, path.join(directory, 'linked-user'))
  writeFileSync(path.join(folder, '.hidden.jsonl'), transcript(1))
  writeFileSync(path.join(folder, `${'x'.repeat(140)}.jsonl`), transcript(1))
  writeFileSync(path.join(folder, 'a b.jsonl'), transcript(3))
  writeFileSync(path.join(folder, 'notes.txt'), transcript(1))
  await watch()
  await expect.poll(() => uploads.length, patience).toBe(1)
  await pause(300)
  expect(uploads).toHaveLength(1)
  expect(await stored(user, 'a_b')).toEqual({ main: transcript(3) })
  expect(logged).toEqual([expect.stringMatching(/is left out: the name of a session must not be longer than 128/)])
  rmSync(outside, { recursive: true })
})

test('while ClickHouse is away files wait, and that is told once; then they are taken', async () => {
  const { user, folder } = newUser()
  writeFileSync(path.join(folder, '1f.jsonl'), transcript(5))
  writeFileSync(path.join(folder, '2e.jsonl'), transcript(6))
  proxy.inject({ code: 243, message: 'Cannot reserve 1.00 MiB. (NOT_ENOUGH_SPACE)' }, 'session_lines', 4)
  const watched = await watch()
  await expect.poll(() => watched.failure(), patience).toMatch(/Cannot reserve/)
  await expect.poll(() => uploads.length, patience).toBe(2)
  await expect.poll(() => watched.failure(), patience).toBeUndefined()
  expect(await stored(user)).toEqual({ main: transcript(5) })
  expect(await stored(user, '2e')).toEqual({ main: transcript(6) })
  expect(logged).toHaveLength(2)
})

test('a directory that is not there yet is told, and taken up when it is', async () => {
  rmSync(directory, { recursive: true })
  const watched = await watch()
  await expect.poll(() => watched.failure(), patience).toMatch(/ENOENT/)
  mkdirSync(directory)
  const { folder } = newUser()
  writeFileSync(path.join(folder, '1f.jsonl'), transcript(1))
  await expect.poll(() => uploads.length, patience).toBe(1)
  expect(watched.failure()).toBeUndefined()
})
