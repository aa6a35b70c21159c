/** The `agnes` command as a user runs it: `agnes up` in one terminal, the others beside it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'

export const repository = path.resolve(import.meta.dirname, '../..')
/** As npm links it. */
export const command = path.join(repository, 'node_modules/.bin/agnes')

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  /** What it finds on its standard input. */
  readonly input?: string
  /** What is typed once it has written that. */
  readonly answer?: { readonly to: string; readonly with: string }
}

/** Runs any program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { cwd = repository, input, answer }: RunOptions = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    cwd,
    env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...env },
    stdio: [input === undefined && answer === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  if (answer === undefined) child.stdin?.end(input)
  let stdout = ''
  let stderr = ''
  let answered = false
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    if (answer === undefined || answered || !stdout.includes(answer.to)) return
    answered = true
    child.stdin?.write(answer.with)
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const [code] = (await once(child, 'close')) as [number | null]
  child.stdin?.destroy()
  return { code, stdout, stderr }
}

export interface RunningAgnes {
  readonly otlpUrl: string
  readonly clickhouseUrl: string
  readonly inboxUrl: string
  /** Runs another command of the same instance. */
  agnes(...args: string[]): Promise<Ran>
  /** Of `agnes up`. */
  readonly pid: number
  /** What `agnes up` and its services have written to standard error. */
  stderr(): string
  /** Ctrl-C. */
  interrupt(): Promise<number | null>
}

/**
 * `agnes up` on a data directory; resolves when it has printed its ports.
 * @param settings further variables, of the commands too
 */
export async function startAgnes(dataDir: string, settings: NodeJS.ProcessEnv = {}): Promise<RunningAgnes> {
  const env = {
    ...settings,
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: '0',
    AGNES_HTTP_PORT: '0',
  }
  const child = spawn(process.execPath, [command, 'up', '--print-ports', 'json'], {
    cwd: repository,
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const ports = await firstLine(child, () => stderr)
  const { otlp, clickhouse, http } = JSON.parse(ports) as { otlp: number; clickhouse: number; http: number }
  return {
    otlpUrl: `${settings.AGNES_TLS_CERT_FILE === undefined ? 'http' : 'https'}://127.0.0.1:${otlp}`,
    clickhouseUrl: `http://127.0.0.1:${clickhouse}/agnes`,
    inboxUrl: `http://127.0.0.1:${http}`,
    agnes: (...args) => run(process.execPath, [command, ...args], { ...settings, AGNES_DATA_DIR: dataDir }),
    pid: child.pid ?? 0,
    stderr: () => stderr,
    async interrupt() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGINT')
        await once(child, 'exit')
      }
      return child.exitCode
    },
  }
}

async function firstLine(child: ChildProcess, errors: () => string): Promise<string> {
  if (child.stdout === null) throw new Error('no output to read')
  const lines = createInterface({ input: child.stdout })
  const [line] = (await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`agnes up ended with ${code}: ${errors()}`)
    }),
  ])) as [string]
  return line
}
