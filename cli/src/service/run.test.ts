/** A service as its operator sees it: what it logs, and how it ends. The built code, in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { afterEach, expect, test } from 'vitest'

const run = pathToFileURL(path.resolve(import.meta.dirname, '../../dist/service/run.js')).href
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

/** A service with nothing in it. @param doing what it does when it serves */
function startService(doing: string, env: NodeJS.ProcessEnv = {}) {
  const source = `
    import { runService } from ${JSON.stringify(run)}
    await runService('nothing', async (config, log) => {
      setInterval(() => {}, 1000)
      setTimeout(() => { ${doing} }, 50)
      return { url: 'http://nowhere', port: 1, stop: async () => {} }
    })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { cwd: tmpdir(), env })
  children.push(child)
  const lines: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line))
  return { child, lines, ended: once(child, 'close') as Promise<[number | null]> }
}

test('without a terminal it logs JSON: that it serves, what it says, and then ends on SIGTERM', async () => {
  const { child, lines, ended } = startService("log('something is odd', 'warn', { times: 3 })")
  await expect.poll(() => lines.length, { timeout: 10_000 }).toBe(2)
  const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  expect(entries).toEqual([
    {
      time: expect.any(String),
      level: 'info',
      service: 'nothing',
      pid: child.pid,
      port: 1,
      message: expect.any(String),
    },
    {
      time: expect.any(String),
      level: 'warn',
      service: 'nothing',
      pid: child.pid,
      times: 3,
      message: 'something is odd',
    },
  ])
  for (const { time } of entries) expect(new Date(time as string).toISOString()).toBe(time)
  child.kill('SIGTERM')
  expect(await ended).toEqual([0, null])
})

test('AGNES_LOG_FORMAT and AGNES_LOG_LEVEL say how much, and in which form', async () => {
  const { lines, child } = startService("log('left out'); log('said', 'error')", {
    AGNES_LOG_FORMAT: 'text',
    AGNES_LOG_LEVEL: 'error',
  })
  await expect.poll(() => lines, { timeout: 10_000 }).toEqual(['said'])
  child.kill('SIGTERM')
})

test('a bug of ours ends it with exit code 1, and the log says where', async () => {
  const { lines, ended } = startService("throw new Error('a bug')")
  expect((await ended)[0]).toBe(1)
  expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
    level: 'error',
    message: expect.stringMatching(/^crashed: Error: a bug\n\s+at /),
  })
})
