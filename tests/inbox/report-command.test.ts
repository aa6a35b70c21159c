/** `agnes report` as an analyst types it: shown, asked, sent; and what happens when the server is away, older or newer. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fetchReport, fetchReports } from '@agnes/clickhouse'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Delivery, type Server, sendReport } from '../../cli/src/report/send.ts'
import { command, type Ran, run } from '../support/agnes.ts'
import { aReport, failedCall, sendReport as sendTo } from '../support/feedback.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'

let inbox: TestInbox
let key: string
let root: string
let home: string
let users = 0
let user: string

beforeAll(async () => {
  inbox = await startTestInbox()
  key = (await inbox.key(['feedback'])).text
  root = mkdtempSync(path.join(tmpdir(), 'agnes-report-'))
})
afterAll(async () => {
  await inbox?.stop()
  rmSync(root, { recursive: true, force: true })
})
beforeEach(() => {
  user = `analyst${++users}`
  home = path.join(root, user)
  mkdirSync(path.join(home, 'work/deeper'), { recursive: true })
})

const env = (changes: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv => ({
  HOME: home,
  SHELL: '/bin/zsh',
  AGNES_REPORT_URL: inbox.url,
  AGNES_REPORT_KEY: key,
  AGNES_DATA_DIR: path.join(home, 'data'),
  ...changes,
})
const report = (
  args: readonly string[],
  changes: NodeJS.ProcessEnv = {},
  cwd = path.join(home, 'work'),
): Promise<Ran> => run(process.execPath, [command, 'report', '--user', user, ...args], env(changes), { cwd })
const outbox = (): string[] => {
  try {
    return readdirSync(path.join(home, '.local/state/agnes/outbox'))
  } catch {
    return []
  }
}
const stored = async () => (await fetchReports(inbox.client, { tenant: 'default', user })).reports
const whole = (id: string) => fetchReport(inbox.client, { tenant: 'default', id })

/** A transcript of the project in `work`. */
function session(name: string, lines: readonly unknown[], ageMinutes = 0): string {
  const project = path.join(home, '.claude/projects', path.join(home, 'work').replace(/[^A-Za-z0-9]/g, '-'))
  mkdirSync(project, { recursive: true })
  const file = path.join(project, `${name}.jsonl`)
  writeFileSync(file, lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''))
  const at = new Date(Date.now() - ageMinutes * 60_000)
  utimesSync(file, at, at)
  return file
}

const said = (text: string) => ({ type: 'user', sessionId: 'sid', version: '2.1.7', message: { content: text } })
const called = (id: string) => ({
  type: 'assistant',
  message: { content: [{ type: 'tool_use', id, name: 'Bash', input: { command: 'make' } }] },
})
const failed = (id: string, content: string) => ({
  type: 'user',
  message: { content: [{ type: 'tool_result', tool_use_id: id, is_error: true, content }] },
})

describe('a report', () => {
  test('is shown and sent with the end of the newest session of this directory, and tells what came of it', async () => {
    for (const reporter of ['one', 'two']) {
      await sendTo(inbox, key, aReport({ reporter, session: { turns: [failedCall('t', 'Error: no port 17')] } }))
    }
    session('older', [said('an older one')], 60)
    session('newest', [
      'broken {',
      ...Array.from({ length: 60 }, (_, i) => said(`turn ${i}`)),
      said('my token is ghp_0123456789abcdefghijABCDEFGHIJ012345'),
      called('t'),
      failed('t', 'Error: no port 4318'),
    ])
    session('agent-1', [said('a sub-agent')])
    const { code, stdout, stderr } = await report(
      ['-m', 'the sync is stuck', '--yes'],
      {},
      path.join(home, 'work/deeper'),
    )
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [, shown = '', answer] = /^This will be sent:\n\n([\s\S]*?\n\}\n)\n([\s\S]*)$/.exec(stdout) ?? []
    const [listed] = await stored()
    expect(answer).toBe(
      `report ${listed?.id} has arrived: ${inbox.url}/admin/feedback/${listed?.id}\n2 others hit this\n`,
    )
    const bundle = JSON.parse(shown)
    expect(bundle).toMatchObject({
      message: 'the sync is stuck',
      reporter: user,
      session: { file: 'newest', session_id: 'sid' },
    })
    expect(bundle.session.turns).toHaveLength(50)
    expect(bundle.environment).toMatchObject({
      agnes: '0.1.0',
      node: process.version,
      shell: 'zsh',
      claude_code: '2.1.7',
    })
    expect(shown).not.toContain('ghp_')
    expect(await whole(listed?.id ?? '')).toMatchObject({
      previewAnswer: 'yes',
      previewBytes: Buffer.byteLength(shown) - 1,
      causeText: 'Error: no port <n>',
      redactions: [],
    })
    expect(outbox()).toEqual([])
  })

  test('is asked about first: previewed, kept, and sent exactly so', async () => {
    const previewed = await report(['-m', 'with a preview', '--preview', '--no-session'])
    const [, id = ''] = /report --send ([\w-]+)\n$/.exec(previewed.stderr) ?? []
    expect(await stored()).toEqual([])
    const sent = await report(['--send', id])
    expect(sent).toMatchObject({ code: 0, stdout: expect.stringContaining('has arrived') })
    const [{ previewBytes } = { previewBytes: 0 }] = await stored()
    expect(previewBytes).toBe(Buffer.byteLength(previewed.stdout) - 1)
  })

  test('without a terminal and without --yes is refused, with nothing sent', async () => {
    const [unasked, unwritten, empty, long] = await Promise.all([
      report(['-m', 'x']),
      report(['--yes']),
      report(['-m', ' \n', '--yes']),
      report(['-m', 'x'.repeat(10_001), '--yes']),
    ])
    expect(unasked).toMatchObject({ code: 2, stderr: expect.stringContaining('no terminal to ask') })
    expect(unwritten).toMatchObject({ code: 2, stderr: expect.stringContaining('no terminal to write') })
    expect(empty).toMatchObject({ code: 2, stderr: expect.stringContaining('the message is empty') })
    expect(long).toMatchObject({ code: 2, stderr: expect.stringContaining('10001 characters') })
    expect(await stored()).toEqual([])
  })
})

describe.skipIf(process.platform !== 'linux')('at a terminal', () => {
  /** `script` gives a program a terminal; the answer is typed when the question stands there. */
  const typing = (keys: string, args: readonly string[], changes: NodeJS.ProcessEnv = {}): Promise<Ran> => {
    const line = [process.execPath, command, 'report', '--user', user, '--no-session', ...args]
      .map((one) => `'${one}'`)
      .join(' ')
    return run(
      'script',
      ['-qec', line, '/dev/null'],
      env({ SHELL: '/bin/sh', PAGER: 'cat', TERM: 'dumb', ...changes }),
      { cwd: path.join(home, 'work'), answer: { to: 'Send this? [y/N] ', with: keys } },
    )
  }

  test('it is sent after a yes, and not after anything else', async () => {
    const no = await typing('n\n', ['-m', 'do not send'])
    expect(no.stdout).toContain('nothing was sent')
    expect(await stored()).toEqual([])
    const yes = await typing('y\n', ['-m', 'do send'])
    expect(yes.stdout).toMatch(
      /This will be sent:[\s\S]*"message": "do send"[\s\S]*Send this\? \[y\/N\] [\s\S]*has arrived/,
    )
    expect(await stored()).toMatchObject([{ message: 'do send', previewAnswer: 'asked' }])
  })

  test.each([
    ['Ctrl-D', '\u0004'],
    ['Ctrl-C', '\u0003'],
  ])('%s at the question means no, with one line that says so', async (_name, key) => {
    const ended = await typing(key, ['-m', 'do not send'])
    expect(ended.code).toBe(1)
    expect(ended.stdout).toMatch(/Send this\? \[y\/N\] \S*\r?\n\S*nothing was sent\r?\n$/)
    expect(await stored()).toEqual([])
    expect(outbox()).toEqual([])
  })

  test('the message is written in the editor, its comments are left out, and an empty one sends nothing', async () => {
    const editor = path.join(home, 'editor')
    writeFileSync(editor, '#!/bin/sh\nprintf "from the editor\\nin two lines\\n# a comment\\n" > "$1"\n')
    chmodSync(editor, 0o700)
    await typing('y\n', [], { EDITOR: editor })
    expect((await stored())[0]?.message).toBe('from the editor\nin two lines')
    expect((await typing('y\n', [], { EDITOR: 'true' })).stdout).toContain('the message is empty')
    expect((await typing('y\n', [], { EDITOR: 'false' })).stdout).toContain('the editor (false) ended with exit code 1')
    expect(await stored()).toHaveLength(1)
  })
})

describe('when the server', () => {
  const nowhere = { AGNES_REPORT_URL: 'http://127.0.0.1:9' }

  test('is away, reports wait on disk, and go with the next one or when asked to, each once', async () => {
    for (const words of ['first', 'second']) {
      const { code, stderr } = await report(['-m', words, '--no-session', '--yes'], nowhere)
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/does not answer[\s\S]*It is kept in /),
      })
    }
    expect(outbox()).toHaveLength(2)
    // They were meant for another server.
    expect(await report(['--resend'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('2 still wait, 2 for another server'),
    })
    for (const name of outbox()) readdress(name, inbox.url)
    const third = await report(['-m', 'third', '--no-session', '--yes'])
    expect(third).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^(an earlier report has arrived: \w+\n){2}$/),
    })
    expect((await stored()).map(({ message }) => message).sort()).toEqual(['first', 'second', 'third'])
    expect(outbox()).toEqual([])
    expect(await report(['--resend'])).toMatchObject({ code: 0, stderr: 'nothing is waiting\n' })
  })

  test('stored it and its answer was lost, sending it again is the same report', async () => {
    const proxy = await answering(async (body, headers) => {
      await fetch(`${inbox.url}/api/feedback`, { method: 'POST', body, headers })
      return undefined
    })
    expect((await report(['-m', 'once', '--no-session', '--yes'], { AGNES_REPORT_URL: proxy.url })).code).toBe(1)
    proxy.close()
    for (const name of outbox()) readdress(name, inbox.url)
    expect(await report(['--resend'])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('everything has arrived'),
    })
    expect(await stored()).toHaveLength(1)
  })

  test.each<[status: number, body: unknown, kind: Delivery['kind'], told: RegExp]>([
    [404, { detail: 'there is nothing at /api/feedback' }, 'later', /there is nothing[\s\S]*older server/],
    [429, { detail: '10 reports', hint: 'in 5 minutes' }, 'later', /10 reports[\s\S]*5 minutes/],
    [500, 'not even an object', 'later', /answered 500/],
    [401, { detail: 'the key is not known' }, 'later', /the key is not known/],
    [200, { hello: 'world' }, 'later', /no Agnes inbox/],
    [422, { detail: 'not what was shown' }, 'refused', /not what was shown/],
  ])('answers %s, it is known whether another try may help', async (status, body, kind, told) => {
    const server = await answering(() => ({ status, body }))
    const delivery = await send({ url: server.url, key })
    server.close()
    expect(delivery.kind).toBe(kind)
    expect(JSON.stringify(delivery)).toMatch(told)
  })

  test.each([
    [429, { detail: '10 reports', hint: 'in 5 minutes' }, 1, /10 reports[\s\S]*5 minutes[\s\S]*It is kept/, 'outbox'],
    [422, { detail: 'not what was shown' }, 3, /not what was shown[\s\S]*not sent again/, 'refused'],
  ])('refuses it with %s, nothing is lost and it is said', async (status, body, code, told, place) => {
    const server = await answering(() => ({ status, body }))
    const ran = await report(['-m', 'x', '--no-session', '--yes'], { AGNES_REPORT_URL: server.url })
    server.close()
    expect(ran).toMatchObject({ code, stderr: expect.stringMatching(told) })
    expect(readdirSync(path.join(home, '.local/state/agnes', place))).toHaveLength(1)
  })

  test('is newer and says more, what is known of it is told', async () => {
    const server = await answering(() => ({
      status: 200,
      body: {
        id: 'r1',
        mood: { of: 'the server' },
        others_hit_this: 1,
        redacted: [{ path: 'message', rule: 'token', more: 1 }, 'x'],
        url: '//evil.example',
      },
    }))
    const { code, stdout } = await report(['-m', 'x', '--no-session', '--yes'], { AGNES_REPORT_URL: server.url })
    server.close()
    expect(code).toBe(0)
    expect(stdout).toMatch(/\nreport r1 has arrived\nthe server took out more: message \(token\)\n1 other hit this\n$/)
  })

  test.each([302, 307])('leads elsewhere with %s, the key does not follow', async (status) => {
    let followed = false
    const elsewhere = await answering(() => {
      followed = true
      return { status: 200, body: { id: 'x' } }
    })
    const server = await answering(() => ({ status, body: {}, location: `${elsewhere.url}/api/feedback` }))
    expect(await send({ url: server.url, key })).toMatchObject({ kind: 'later' })
    server.close()
    elsewhere.close()
    expect(followed).toBe(false)
  })

  test('a report that was changed on disk since it was shown is not sent', async () => {
    await report(['-m', 'as shown', '--no-session', '--yes'], nowhere)
    for (const name of outbox()) {
      const file = path.join(home, '.local/state/agnes/outbox', name)
      writeFileSync(
        file,
        readFileSync(file, 'utf8').replace('as shown', 'not shown').replace(nowhere.AGNES_REPORT_URL, inbox.url),
      )
    }
    await report(['--resend'])
    expect(await stored()).toEqual([])
  })

  /** The part of the command that speaks with the server, without a process for each answer. */
  const send = (server: Server) =>
    sendReport(server, { id: 'an-id', text: '{}', sha256: 'a'.repeat(64), answer: 'yes', to: server.url })

  /** As if it had been meant for that server. */
  function readdress(name: string, url: string): void {
    const file = path.join(home, '.local/state/agnes/outbox', name)
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), to: url }))
  }
})

type Reply = { readonly status: number; readonly body: unknown; readonly location?: string } | undefined

/** A server of another version; no reply cuts the connection. */
async function answering(
  answer: (body: string, headers: Record<string, string>) => Reply | Promise<Reply>,
): Promise<{ readonly url: string; close(): void }> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const { host: _, connection: __, 'content-length': ___, 'transfer-encoding': ____, ...headers } = request.headers
    const reply = await answer(Buffer.concat(chunks).toString(), headers as Record<string, string>)
    if (reply === undefined) return void response.destroy()
    response.writeHead(reply.status, {
      'content-type': 'application/json',
      ...(reply.location && { location: reply.location }),
    })
    response.end(JSON.stringify(reply.body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
