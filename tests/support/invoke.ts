/**
 * What `agnes …` does, within the test's process: a process of its own takes a third of a second. That the built command
 * does the same is tested where it matters (cli/src/program.test.ts, tests/e2e).
 */
import { invoke } from '../../cli/src/invoke.ts'
import type { Ran } from './agnes.ts'

export interface Surroundings {
  /** All there is, beside PATH. */
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

/** These tell their parent when they are ready, and end their process. */
const services = new Set(['up', 'engine', 'gateway', 'inbox', 'migrate', 'processors'])

/** One at a time: environment, working directory and output are the process's. */
export async function invokeHere(args: readonly string[], { env = {}, cwd }: Surroundings = {}): Promise<Ran> {
  if (services.has(args[0] ?? '') && !args.includes('--help')) throw new Error(`${args[0]} needs a process of its own`)
  const before = { env: process.env, cwd: process.cwd() }
  const output = { stdout: '', stderr: '' }
  const give = (['stdout', 'stderr'] as const).map((name) => {
    const stream = process[name]
    const write = stream.write
    stream.write = (text: string | Uint8Array, encodingOrDone?: unknown, done?: unknown): boolean => {
      output[name] += typeof text === 'string' ? text : Buffer.from(text).toString()
      const callback = typeof encodingOrDone === 'function' ? encodingOrDone : done
      if (typeof callback === 'function') callback()
      return true
    }
    return () => {
      stream.write = write
    }
  })
  process.env = { PATH: before.env.PATH ?? '', ...env }
  if (cwd !== undefined) process.chdir(cwd)
  try {
    return { code: await invoke(args), ...output }
  } finally {
    process.env = before.env
    process.chdir(before.cwd)
    process.exitCode = undefined
    for (const back of give) back()
  }
}
