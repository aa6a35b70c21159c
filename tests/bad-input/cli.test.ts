/** Section H of the catalogue, as far as there are commands: what they are called with, and where. Others: catalogue.ts. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Ran, repository } from '../support/agnes.ts'
import { secret } from '../support/invariants.ts'
import { invokeHere } from '../support/invoke.ts'
import { freePort } from '../support/processes.ts'

const main = path.join(repository, 'cli/dist/main.js')
let directory: string
let nowhere: NodeJS.ProcessEnv
beforeAll(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-cli-'))
  nowhere = { AGNES_CLICKHOUSE_PORT: String(await freePort()), AGNES_OTLP_PORT: String(await freePort()) }
})
afterAll(() => rmSync(directory, { recursive: true }))

interface Circumstances {
  readonly env?: NodeJS.ProcessEnv
  /** Standard input; nothing unless told. */
  readonly input?: string
  /** Nobody reads what it prints. */
  readonly closed?: boolean
}

/** It shows nobody a stack, and nobody a secret. */
function discreet(ran: Ran): Ran {
  expect(ran.stdout + ran.stderr).not.toMatch(/^\s+at .+:\d+|node:internal|bug of ours|canary/m)
  return ran
}

/** What the command does, with nothing in its environment but what is told. */
async function agnes(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return discreet(await invokeHere(args, { cwd: directory, env: { ...nowhere, ...env } }))
}

/** Runs the built command. */
async function agnesProcess(
  args: readonly string[],
  { env = {}, input = '', closed = false }: Circumstances = {},
): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...args], { cwd: directory, env: { ...nowhere, ...env } })
  const ran = { stdout: '', stderr: '' }
  if (closed) child.stdout.destroy()
  for (const name of closed ? (['stderr'] as const) : (['stdout', 'stderr'] as const)) {
    child[name].on('data', (chunk: Buffer) => {
      ran[name] += chunk.toString()
    })
  }
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return discreet({ code, ...ran })
}

describe('#126 arguments and surroundings', () => {
  test.each<[string, string[], RegExp]>([
    ['a command behind --', ['--', '--help'], /^agnes: unknown command '--help'/],
    ['an option behind -- is an argument', ['completion', '--', '--json'], /^agnes: .*'--json'/],
    ['an option twice, with no value', ['activity', '--limit', '--limit'], /^agnes: /],
    ['an empty command', [''], /^agnes: unknown command ''/],
    ['terminal controls', ['\u001b[2J\u001b]0;x\u0007'], /^agnes: unknown command '[\P{Cc}]*'/u],
    ['a line break', ['a\nb'], /^agnes: [^\n]*\n {2}hint: [^\n]*\n$/],
    ['a name of Object.prototype', ['constructor'], /^agnes: unknown command 'constructor'/],
  ])('%s: exit code 2, one line and a hint', async (_, args, says) => {
    const { code, stdout, stderr } = await agnes(args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(says)
    expect(stderr).toMatch(/\n {2}hint: .+\n$/)
  })

  test('nothing but -- shows the help', async () => {
    expect(await agnesProcess(['--'])).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(/^Usage: agnes/) })
  })

  test('a query on standard input, without a terminal', async () => {
    expect(await agnesProcess(['sql'], { input: ' ;\n' })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no query'),
    })
    expect(await agnesProcess(['sql'], { input: 'SELECT 1' })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('cannot reach'),
    })
  })

  test('nobody reads the output: it ends quietly', async () => {
    for (const args of [['--help'], ['completion', 'bash']]) {
      expect(await agnesProcess(args, { closed: true })).toEqual({ code: 0, stdout: '', stderr: '' })
    }
  })

  test.each<[string, NodeJS.ProcessEnv]>([
    ['no HOME, no PATH', {}],
    [
      'a HOME that is not there, the locale C, NODE_OPTIONS of somebody else, a dumb terminal without colours',
      {
        HOME: '/nonexistent',
        LC_ALL: 'C',
        LANG: 'C',
        NODE_OPTIONS: '--max-old-space-size=256 --trace-warnings',
        NO_COLOR: '1',
        TERM: 'dumb',
      },
    ],
  ])('%s: changes nothing', async (_, env) => {
    const { code, stderr } = await agnesProcess(['health'], { env })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^agnes: cannot reach ClickHouse at .*\n {2}hint: .*\n$/)
  })
})

describe('#127 configuration', () => {
  test.each<[string, NodeJS.ProcessEnv, RegExp]>([
    ['a line break', { AGNES_HOST: '127.0.0.1\nAGNES_OTLP_PORT=1' }, /^agnes: .*AGNES_HOST/],
    [
      'a port with words',
      { AGNES_OTLP_PORT: '4318; rm -rf /' },
      /^agnes: AGNES_OTLP_PORT \(from environment\): must be a/,
    ],
    ['a port with a fraction', { AGNES_OTLP_PORT: '1.5' }, /^agnes: AGNES_OTLP_PORT/],
    ['a port below 0', { AGNES_OTLP_PORT: '-1' }, /^agnes: AGNES_OTLP_PORT/],
    ['a size beyond all', { AGNES_MAX_BODY_BYTES: '1e400' }, /^agnes: AGNES_MAX_BODY_BYTES/],
    ['a size of nothing', { AGNES_MAX_BODY_BYTES: '0' }, /^agnes: AGNES_MAX_BODY_BYTES/],
    ['a name nobody knows', { AGNES_OTLP_PROT: '1' }, /did you mean AGNES_OTLP_PORT\?/],
    [
      'a name of ours in lower case behind the prefix',
      { AGNES_otlp_port: '1' },
      /^agnes: AGNES_otlp_port is not a variable/,
    ],
    ['a URL of another kind', { CLICKHOUSE_URL: `file:///${secret}` }, /^agnes: CLICKHOUSE_URL .*must look like/],
    ['a key file and no certificate', { AGNES_TLS_KEY_FILE: 'key.pem' }, /^agnes: AGNES_TLS_KEY_FILE is set, but/],
  ])('%s is refused with exit code 2, by name', async (_, env, says) => {
    const { code, stdout, stderr } = await agnes(['health'], env)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(says)
  })

  test('by a service as by any other command', async () => {
    const { code, stdout, stderr } = await agnesProcess(['gateway'], { env: { AGNES_OTLP_PORT: '1.5' } })
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^agnes: AGNES_OTLP_PORT \(from environment\): must be a/)
  })

  test.each<[string, string | Buffer]>([
    ['binary', Buffer.from([0, 255, 254, 10, 61, 61])],
    ['without an equals sign', 'what is this\n'],
    ['that runs commands', 'X=$(touch ran)\nY=`touch ran`\n'],
    ['of a megabyte', `X=${'x'.repeat(2 ** 20)}\n`],
  ])('a .env file %s is read as what it is, or skipped', async (_, content) => {
    writeFileSync(path.join(directory, '.env'), content)
    try {
      expect(await agnes(['health'])).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot reach') })
    } finally {
      rmSync(path.join(directory, '.env'))
    }
  })

  test('a port in use is named with its holder, and nothing is left behind', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const { port } = holder.address() as { port: number }
    for (const variable of ['AGNES_OTLP_PORT', 'AGNES_OTLP_GRPC_PORT']) {
      const free = { AGNES_OTLP_PORT: '0', AGNES_OTLP_GRPC_PORT: '0' }
      const env = { ...free, [variable]: String(port), AGNES_DATA_DIR: path.join(directory, 'data') }
      const { code, stderr } = await agnesProcess(['gateway'], { env })
      expect(code).toBe(1)
      expect(stderr).toMatch(new RegExp(`^agnes: port ${port} on 127\\.0\\.0\\.1 is taken.*\\n.*set ${variable}`, 'm'))
    }
    await new Promise((resolve) => holder.close(resolve))
  })

  test('a data directory that is a file, or under one, is refused by name', async () => {
    const file = path.join(directory, 'a-file')
    writeFileSync(file, '')
    for (const AGNES_DATA_DIR of [file, path.join(file, 'below')]) {
      const { code, stderr } = await agnesProcess(['gateway'], { env: { AGNES_DATA_DIR } })
      expect(code).toBe(1)
      expect(stderr).toMatch(/^agnes: cannot create .*a-file.*\n {2}hint: .*AGNES_DATA_DIR/)
    }
  })
})
