/** `agnes push` as an analyst runs it, against a real gateway: what is sent, what is told, and with which exit code. */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { command, type Ran, run } from '../../../tests/support/agnes.ts'
import { startFaultProxy } from '../../../tests/support/fault-proxy.ts'
import { invokeHere } from '../../../tests/support/invoke.ts'
import {
  type SessionGateway,
  type SessionStand,
  startSessionStand,
  transcript,
} from '../../../tests/support/sessions.ts'

const key = { name: 'laptop', tenant: 'acme', scopes: ['ingest', 'sessions'] as const, secret: 's'.repeat(40) }

let stand: SessionStand
let gateway: SessionGateway
let home: string
let projects: string
beforeAll(async () => {
  stand = await startSessionStand()
  gateway = await stand.gateway({ needsKeys: true, config: { keys: [key] } })
})
afterAll(() => stand.stop())
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'agnes-home-'))
  projects = path.join(home, 'projects')
  return () => rmSync(home, { recursive: true })
})

function write(file: string, content: string): void {
  mkdirSync(path.dirname(path.join(projects, file)), { recursive: true })
  writeFileSync(path.join(projects, file), content)
}

let users = 0
/** Of this test alone. */
const newUser = (): string => `user-${++users}`

const argumentsOf = (user: string, args: readonly string[]): string[] => ['push', '--user', user, ...args]
const environment = (): NodeJS.ProcessEnv => ({
  AGNES_DATA_DIR: path.join(home, 'data'),
  AGNES_PUSH_URL: gateway.url,
  AGNES_PUSH_KEY: key.secret,
  CLAUDE_CONFIG_DIR: home,
})

function push(user: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return invokeHere(argumentsOf(user, args), { env: { ...environment(), ...env } })
}

/** The built command, in a process of its own. */
function pushProcess(user: string): Promise<Ran> {
  return run(process.execPath, [command, ...argumentsOf(user, [])], environment())
}

test('sends what Claude Code left here, sub-agents too, then only what is new; other files stay', async () => {
  const user = newUser()
  write('-home-ann-shop/1f.jsonl', transcript(5))
  write('-home-ann-shop/1f/subagents/agent-a1.jsonl', transcript(3, 100))
  write('-home-ann-web/2e.jsonl', transcript(4, 200))
  write('-home-ann-web/empty.jsonl', '')
  write('-home-ann-web/2e/journal.jsonl', 'no transcript\n')
  write('-home-ann-web/notes.txt', 'no transcript\n')
  symlinkSync(projects, path.join(projects, '-home-ann-web/loop'))

  const dry = await push(user, ['--dry-run'])
  expect(dry).toMatchObject({ code: 0, stderr: '' })
  expect(dry.stdout).toMatch(/^session +changed +size +to send\n/)
  expect(dry.stdout).toMatch(/^agent-a1 /m)
  expect(dry.stdout).toMatch(/3 sessions: 3 with something new; .* kB to send\n$/)
  expect(await stand.stored('acme', user, '1f')).toEqual({})

  expect(await pushProcess(user)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^3 sessions: 3 new; .* kB sent\n$/),
  })
  expect(await stand.stored('acme', user, '1f')).toEqual({ main: transcript(5) })
  expect(await stand.stored('acme', user, 'agent-a1')).toEqual({ main: transcript(3, 100) })
  expect(await stand.stored('acme', user, 'journal')).toEqual({})

  appendFileSync(path.join(projects, '-home-ann-shop/1f.jsonl'), transcript(2, 5))
  const [grown] = JSON.parse((await push(user, ['--json'])).stdout).filter(
    ({ outcome }: { outcome: string }) => outcome !== 'unchanged',
  )
  expect(grown).toMatchObject({
    outcome: 'grown',
    sent_bytes: Buffer.byteLength(transcript(2, 5)),
    user,
    session: '1f',
    version: 'main',
    lines: 7,
    added_lines: 2,
  })
  expect(await push(user)).toMatchObject({ code: 0, stdout: '3 sessions: 3 unchanged; 0 B sent\n' })
})

test('a file that differs from what is stored under its name is kept beside it, and that is said', async () => {
  const user = newUser()
  write('p/1f.jsonl', transcript(5))
  await push(user)
  write('p/1f.jsonl', transcript(3) + transcript(4, 50))
  const told = await push(user)
  expect(told).toMatchObject({ code: 0, stdout: expect.stringContaining('1 session: 1 kept as versions') })
  expect(told.stderr).toMatch(
    /1f\.jsonl differs from what is stored under its name: it is kept as version [0-9a-f]{16}/,
  )
  write('p/1f.jsonl', transcript(3) + transcript(6, 50))
  expect(await push(user)).toMatchObject({ stdout: expect.stringContaining('1 session: 1 grown') })
  const stored = await stand.stored('acme', user, '1f')
  expect(Object.values(stored)).toEqual(expect.arrayContaining([transcript(5), transcript(3) + transcript(6, 50)]))
  expect(Object.keys(stored)).toHaveLength(2)
})

test('a file that fails is told and does not stop the others; the exit code is 1', async () => {
  const user = newUser()
  write('p/good.jsonl', transcript(2))
  write('p/.jsonl', transcript(2))
  write('p/also-good.jsonl', transcript(2))
  write(`p/${'x'.repeat(140)}.jsonl`, transcript(2))
  const result = await push(user)
  expect(result).toMatchObject({ code: 1, stdout: expect.stringMatching(/^3 sessions: 2 new, 1 failed; /) })
  expect(result.stderr).toMatch(/^agnes: .*xxx\.jsonl: the name of a session must not be longer than 128 characters$/m)
  expect(await stand.stored('acme', user, 'also-good')).toEqual({ main: transcript(2) })
})

test('a gateway that is away for a moment is tried again; the file arrives once', async () => {
  const user = newUser()
  write('p/1f.jsonl', transcript(400))
  const proxy = await startFaultProxy(gateway.url)
  try {
    proxy.inject('lose-answer', '/1f.jsonl')
    proxy.inject({ code: 0, message: 'no', status: 503 }, '/1f.jsonl')
    const result = await push(user, [], { AGNES_PUSH_URL: proxy.url })
    expect(result).toMatchObject({ code: 0, stderr: '' })
    expect(proxy.met()).toBe(2)
    expect(await stand.stored('acme', user, '1f')).toEqual({ main: transcript(400) })
  } finally {
    await proxy.stop()
  }
})

test('a wrong key, or nobody at the address, ends it at once, and the key is never shown', async () => {
  const user = newUser()
  for (let i = 0; i < 20; i++) write(`p/${i}.jsonl`, transcript(1, i))
  const refused = await push(user, [], { AGNES_PUSH_KEY: 'w'.repeat(40) })
  expect(refused.code).toBe(1)
  expect(refused.stdout).toMatch(/^20 sessions: \d failed, 1\d not tried; 0 B sent\n$/)
  expect(refused.stderr).toMatch(/^agnes: the key is not known: .*\n {2}hint: send a key of scope sessions: .*\n$/)
  expect(refused.stdout + refused.stderr).not.toContain('w'.repeat(40))

  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const away = await push(user, ['--dry-run', '--json'], { AGNES_PUSH_URL: `http://127.0.0.1:${port}` })
  server.close()
  expect(away.code).toBe(1)
  expect(JSON.parse(away.stdout)).toHaveLength(20)
})

test('a path that is not there and an address that is none are mistakes of who typed them', async () => {
  expect(await push('ann', [path.join(home, 'nowhere')])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^agnes: cannot read .*nowhere: .*\n {2}hint: name a directory/),
  })
  write('p/1f.jsonl', transcript(1))
  expect(await push('ann', ['--to', 'ftp://x'])).toMatchObject({ code: 2 })
  expect(await push('ann', ['--key-file', path.join(home, 'no.key')])).toMatchObject({ code: 2 })
})
