/**
 * `agnes` as it is typed: what it says, with which exit code, and its help from the command tree. One of each kind is the
 * built command in a process of its own.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Ran, run } from '../../tests/support/agnes.ts'
import { invokeHere } from '../../tests/support/invoke.ts'
import { freePort } from '../../tests/support/processes.ts'
import { createProgram, usageError } from './program.ts'

const main = path.resolve(import.meta.dirname, '../dist/main.js')
const directory = mkdtempSync(path.join(tmpdir(), 'agnes-cli-'))
/** An instance that does not run. */
let nowhere: NodeJS.ProcessEnv = {}

beforeAll(async () => {
  nowhere = { AGNES_CLICKHOUSE_PORT: String(await freePort()), AGNES_OTLP_PORT: String(await freePort()) }
})
afterAll(() => rmSync(directory, { recursive: true }))

describe('help', () => {
  const program = createProgram()

  test.each(everyCommand(program).map((command) => [wordsOf(command), command] as const))(
    'agnes %s --help says what it does, with examples that work',
    (words, command) => {
      expect(command.description()).toMatch(/^[A-Z].{10,}[^.]$/)
      const examples = examplesOf(command)
      expect(examples.length).toBeGreaterThan(0)
      for (const example of examples) {
        const [, typed = ''] = /(?:^|[\s(])agnes ([^|<>]*)/.exec(example) ?? []
        expect(typed).toMatch(new RegExp(`^${words}\\b`))
        const called = everyCommand(program).findLast((one) => `${typed} `.startsWith(`${wordsOf(one)} `)) ?? command
        const known = [...called.options.flatMap(({ long, short }) => [long, short]), '--help']
        for (const [flag] of typed.matchAll(/(?<=\s)--?[a-z][a-z-]*/g)) expect(known).toContain(flag)
      }
    },
  )

  test('agnes alone shows the commands and where to begin', async () => {
    const { code, stdout } = await agnesProcess([])
    expect(code).toBe(0)
    for (const command of program.commands) expect(stdout).toContain(`  ${command.name()} `)
    expect(stdout).toMatch(/Examples:\n {2}agnes up /)
  })

  test('every option says what it is for', () => {
    for (const command of everyCommand(program)) {
      for (const { flags, description } of command.options) expect(`${flags}: ${description}`).toMatch(/: .{8,}/)
    }
  })
})

test('agnes --version says the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(path.resolve(main, '../../package.json'), 'utf8'))
  expect(await agnesProcess(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
})

describe('a mistake in what was typed ends with exit code 2, one line and a hint', () => {
  test.each([
    ['nope', "unknown command 'nope'", 'see agnes --help'],
    ['helth', "unknown command 'helth'", 'did you mean health?'],
    ['--jsn', "unknown option '--jsn'", 'see agnes --help'],
    ['activity --jsn', "unknown option '--jsn'", 'did you mean --json?'],
    ['activity --since yesterday', /^option '--since <time>' argument 'yesterday' is invalid\. Use .*30m/, /activity/],
    ['activity --limit 0', /Use a whole number from 1 to 1000\.$/, 'see agnes activity --help'],
    ['activity --format xml', /Allowed choices are table, json, ndjson, csv\.$/, 'see agnes activity --help'],
    ['activity --follow --limit 5', /'--follow' cannot be used with option '--limit <rows>'/, /activity/],
    ['activity --since 1h --until 2h', '--since is not before --until', /^it asks for events from /],
    ['demo --days 91', /Use a whole number from 0 to 90\.$/, 'see agnes demo --help'],
    ['completion', "missing required argument 'shell'", 'see agnes completion --help'],
    ['keys create', "required option '--scope <scope>' not specified", 'see agnes keys create --help'],
    ['keys create --scope write', /Allowed choices are ingest, runs, /, 'see agnes keys create --help'],
    ['keys create --scope ingest --expires 2020-01-01', /Use a time to come: 24h, 90d/, /keys create --help$/],
    ['keys create --scope ingest --tenant a/b', /Use 1 to 63 letters/, 'see agnes keys create --help'],
    ['keys rotate abcd1234 --grace soon', /Use 0s, 30m, 24h, 7d\.$/, 'see agnes keys rotate --help'],
    ['keys revoke', "missing required argument 'id'", 'see agnes keys revoke --help'],
    ['tenants sql a/b', /Use 1 to 63 letters/, 'see agnes tenants sql --help'],
    ['sql a b', /^too many arguments/, 'see agnes sql --help'],
  ])('agnes %s', async (line, message, hint) => {
    const { code, stdout, said } = await agnesFails(line.split(' '))
    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(said.message).toMatch(message)
    expect(said.hint).toMatch(hint)
  })

  test('the built command in its process does the same', async () => {
    const { code, stdout, stderr } = await agnesProcess(['activity', '--jsn'])
    expect({ code, stdout, stderr }).toEqual({
      code: 2,
      stdout: '',
      stderr: "agnes: unknown option '--jsn'\n  hint: did you mean --json?\n",
    })
  })

  test('an empty query', async () => {
    const { code, said } = await agnesFails(['sql', ' ; '])
    expect(code).toBe(2)
    expect(said).toEqual({ message: 'there is no query', hint: 'agnes sql "SELECT …"' })
  })

  test('a variable that makes no sense', async () => {
    const { code, said } = await agnesFails(['health'], { AGNES_OTLP_PORT: 'many' })
    expect(code).toBe(2)
    expect(said.message).toContain('AGNES_OTLP_PORT')
  })
})

describe('with nothing running', () => {
  // The last one serves whoever started it, so it is the built command.
  test.each([
    ['sql SELECT', agnes],
    ['health', agnes],
    ['health --json', agnes],
    ['activity', agnes],
    ['keys list', agnes],
    ['health', agnesProcess],
    ['migrate', agnesProcess],
  ] as const)('agnes %s cannot reach ClickHouse: exit code 1, and the way out (%o)', async (line, by) => {
    const { code, stdout, said } = inOurForm(await by(line.split(' '), nowhere))
    expect(code).toBe(1)
    expect(stdout).toBe('')
    expect(said).toEqual({
      message: `cannot reach ClickHouse at http://127.0.0.1:${nowhere.AGNES_CLICKHOUSE_PORT}`,
      hint: 'is "agnes up" running? "agnes doctor" says more',
    })
  })

  test('agnes demo has no gateway to send to', async () => {
    const { code, said } = await agnesFails(['demo'], nowhere)
    expect(code).toBe(1)
    expect(said.message).toBe(`no gateway answers at http://127.0.0.1:${nowhere.AGNES_OTLP_PORT}`)
    expect(said.hint).toContain('agnes up')
  })

  test('agnes doctor finds both problems, says what to do, and keeps the password to itself', async () => {
    const url = `http://reader:s3cret-word@127.0.0.1:${nowhere.AGNES_CLICKHOUSE_PORT}/agnes`
    for (const args of [['doctor'], ['doctor', '--json']]) {
      const { code, stdout, stderr } = await agnes(args, { ...nowhere, CLICKHOUSE_URL: url })
      expect(code).toBe(1)
      expect(stderr).toBe('')
      expect(stdout).not.toContain('s3cret-word')
      if (!args.includes('--json')) continue
      const { findings } = JSON.parse(stdout) as { findings: { check: string; status: string; advice?: string }[] }
      const problems = findings.filter(({ status }) => status === 'problem')
      expect(problems.map(({ check }) => check)).toEqual(expect.arrayContaining(['ClickHouse', 'gateway']))
      for (const { advice } of problems) expect(advice).toBeTruthy()
    }
  })
})

test("the parser's own errors take our form, with its suggestion as the hint", () => {
  expect(usageError("error: unknown option '--jsn'\n(Did you mean --json?)\n", 'see agnes --help')).toBe(
    "agnes: unknown option '--jsn'\n  hint: did you mean --json?\n",
  )
  expect(usageError("error: unknown command 'x'\n", 'see agnes --help')).toBe(
    "agnes: unknown command 'x'\n  hint: see agnes --help\n",
  )
})

// The working directory has no .env.
const environment = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  AGNES_DATA_DIR: path.join(directory, 'data'),
  ...env,
})

/** Whatever it is asked, it shows nobody a stack trace. */
function withoutTrace(ran: Ran): Ran {
  expect(ran.stdout + ran.stderr).not.toMatch(/^\s+at .+:\d+|node:internal|bug of ours/m)
  return ran
}

async function agnes(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return withoutTrace(await invokeHere(args, { cwd: directory, env: environment(env) }))
}

/** The built command. */
async function agnesProcess(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return withoutTrace(await run(process.execPath, [main, ...args], environment(env), { cwd: directory, input: '' }))
}

async function agnesFails(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  return inOurForm(await agnes(args, env))
}

/** Of a command that failed in our form: `agnes: …`, a hint, and nothing else on standard error. */
function inOurForm({ code, stdout, stderr }: Ran) {
  const { message = '', hint = '' } = /^agnes: (?<message>.+)\n {2}hint: (?<hint>.+)\n$/.exec(stderr)?.groups ?? {}
  if (message === '') throw new Error(`not in our form: ${JSON.stringify(stderr)}`)
  return { code, stdout, said: { message, hint } }
}

/** Also the commands of commands. */
function everyCommand(program: Command): Command[] {
  return program.commands.flatMap((command) => [command, ...everyCommand(command)])
}

/** `keys create` */
function wordsOf(command: Command): string {
  const above = command.parent?.parent ? `${wordsOf(command.parent)} ` : ''
  return `${above}${command.name()}`
}

function examplesOf(command: Command): string[] {
  let help = ''
  command.configureOutput({
    writeOut: (text) => {
      help += text
    },
  })
  command.outputHelp()
  const [, examples = ''] = help.split('\nExamples:\n')
  return examples
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}
