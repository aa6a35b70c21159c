/** P42: what others on the machine can read of our processes, and what we write, holds no secret. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type RunningAgnes, startAgnes } from '../support/agnes.ts'
import { copyDatabase } from '../support/database.ts'

const configured = 'canary0123456789canary0123456789abc'
const guessed = 'agn_canary00_guessed0123456789guessed0123456789'
const leaked = 'leaked0123456789leaked0123456789'

let dataDir: string
let instance: RunningAgnes
beforeAll(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-secrets-'))
  await copyDatabase(path.join(dataDir, 'clickhouse'))
  instance = await startAgnes(dataDir, { AGNES_KEYS: `app:ingest:${configured}` })
})
afterAll(async () => {
  await instance.interrupt()
  rmSync(dataDir, { recursive: true })
})

interface Process {
  readonly pid: number
  readonly command: string
  readonly environment: string
}

/** Processes below this one. @see proc(5) */
function descendants(pid: number): Process[] {
  const file = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8')
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  )
  return [{ pid, command: file('cmdline'), environment: file('environ') }, ...children.flatMap(descendants)]
}

test.skipIf(!existsSync('/proc/self/environ'))(
  'no argument holds a secret, and only who needs it has it in its environment',
  () => {
    const processes = descendants(instance.pid)
    expect(processes.length).toBeGreaterThanOrEqual(3)
    expect(processes.filter(({ command }) => command.includes(configured))).toEqual([])
    const holders = processes.filter(({ environment }) => environment.includes(configured))
    const names = holders.map(({ command }) => command.split('\0').filter(Boolean).at(-1))
    expect(names.sort()).toEqual(['gateway', 'inbox', 'json'])
  },
)

test('keys that come in, right, wrong or in a URL, leave no trace in what is logged, shown and written', async () => {
  const send = (headers: Record<string, string>, query = ''): Promise<number> =>
    fetch(`${instance.otlpUrl}/v1/logs${query}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: '{}',
    }).then(({ status }) => status)
  expect(await send({ Authorization: `Bearer ${configured}` })).toBe(200)
  expect(await send({ Authorization: `Bearer ${guessed}` })).toBe(401)
  expect(await send({}, `?api_key=${leaked}`)).toBe(400)
  const pages = await Promise.all(
    ['/metrics', '/healthz'].map((page) => fetch(instance.otlpUrl + page).then((answer) => answer.text())),
  )
  const doctor = await instance.agnes('doctor')
  const files = readdirSync(dataDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), 'latin1'))
  const everything = [...pages, doctor.stdout, doctor.stderr, instance.stderr(), ...files].join('\n')
  for (const secret of [configured, guessed, leaked]) expect(everything).not.toContain(secret)
})
