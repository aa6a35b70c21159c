import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { UserError } from '@agnes/config'
import { afterAll, afterEach, expect, test } from 'vitest'
import { type Clock, type Supervised, supervise } from './supervisor.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'agnes-supervisor-'))
const script = path.join(directory, 'service.mjs')
writeFileSync(
  script,
  `process.on('disconnect', () => process.exit())
const behaviours = {
  serves: () => process.send({ type: 'ready', url: 'http://127.0.0.1:4318', port: Number(process.argv[3] || 4318) }),
  refuses: () => process.send({ type: 'failed', message: 'port taken', code: 'port_taken', exitCode: 3, hint: 'stop it' }, () => process.exit(3)),
  dies: () => process.exit(7),
  hangs: () => setInterval(() => {}, 1000),
  stubborn: () => { process.on('SIGTERM', () => process.send('asked')); behaviours.serves() },
  graceful: () => { process.on('SIGTERM', () => process.exit(0)); behaviours.serves() },
}
behaviours[process.argv[2]]()
`,
)
afterAll(() => rmSync(directory, { recursive: true }))

const running: Supervised[] = []
afterEach(async () => {
  for (const service of running.splice(0)) {
    service.kill()
    await service.stop(1_000)
  }
})

test('a service is ready when it says so, and tells where', async () => {
  const { service, children } = start(['serves'])
  expect(await service.ready).toEqual({ type: 'ready', url: 'http://127.0.0.1:4318', port: 4318 })
  expect(service.pid).toBe(children[0]?.pid)
})

test('a service that crashes comes back under the port it had, and both are said', async () => {
  const { service, children, ports, lines, events, line } = start(['serves', 'serves'])
  const { port } = await service.ready
  children[0]?.kill('SIGKILL')
  await line('gateway is back')
  expect(ports).toEqual([undefined, port])
  expect(service.pid).toBe(children[1]?.pid)
  expect(lines).toEqual(['gateway crashed (SIGKILL): starting it again in 1 s', 'gateway is back'])
  expect(events).toEqual(['crash', 'restart'])
})

test('a service that keeps crashing is started after 1, 2, 4, 8, 16, then every 30 s', async () => {
  const { service, children, pauses, lines, line } = start(['serves', ...Array<Behaviour>(7).fill('dies'), 'serves'])
  await service.ready
  children[0]?.kill('SIGKILL')
  await line('gateway is back')
  expect(pauses).toEqual([1, 2, 4, 8, 16, 30, 30, 30])
  const problem = 'gateway: gateway ended while it started (exit code 7)'
  expect(lines.filter((text) => text === problem)).toHaveLength(1)
})

test('after a minute of health a crash counts as the first', async () => {
  const { service, children, clock, pauses, line } = start(['serves', 'dies', 'serves', 'serves', 'serves'])
  await service.ready
  children[0]?.kill('SIGKILL')
  await line('gateway is back')
  clock.nowMs += 59_999
  children[2]?.kill('SIGKILL')
  await line('gateway is back')
  expect(pauses).toEqual([1, 2, 4])
  clock.nowMs += 60_000
  children[3]?.kill('SIGKILL')
  await line('gateway is back')
  expect(pauses).toEqual([1, 2, 4, 1])
})

test('a service that says why it cannot start is not started again', async () => {
  const { service, children, lines } = start(['refuses', 'serves'])
  await expect(service.ready).rejects.toMatchObject({
    constructor: UserError,
    message: 'port taken',
    code: 'port_taken',
    hint: 'stop it',
    exitCode: 3,
  })
  await service.stop(1_000)
  expect(children).toHaveLength(1)
  expect(lines).toEqual([])
})

test('nor is one that ends without a word, and its name and exit code are said', async () => {
  const { service, children } = start(['dies', 'serves'])
  await expect(service.ready).rejects.toMatchObject({
    message: 'gateway ended while it started (exit code 7)',
    hint: expect.stringContaining('agnes gateway'),
  })
  await service.stop(1_000)
  expect(children).toHaveLength(1)
})

test('a service that ends on SIGTERM is given its time', async () => {
  const { service, children } = start(['graceful'])
  await service.ready
  await service.stop(60_000)
  expect(children[0]).toMatchObject({ exitCode: 0, signalCode: null })
})

test('one that does not end is asked, then killed when its time is over', async () => {
  const { service, children } = start(['stubborn'])
  await service.ready
  const [child] = children as [ChildProcess]
  const asked = once(child, 'message')
  const stopped = service.stop(200)
  expect(await asked).toContain('asked')
  await stopped
  expect(child.signalCode).toBe('SIGKILL')
})

test('one that has not come to serve yet can be stopped too', async () => {
  const { service, children } = start(['hangs'])
  await service.stop(60_000)
  expect(children[0]?.signalCode).toBe('SIGTERM')
  await expect(service.ready).rejects.toThrow('ended while it started (SIGTERM)')
})

test('what is stopped or killed stays down, also in the pause before a restart', async () => {
  for (const end of ['stop', 'kill'] as const) {
    const held = start(['serves', 'serves'], { holdPauses: true })
    await held.service.ready
    held.children[0]?.kill('SIGKILL')
    await held.line('gateway crashed (SIGKILL): starting it again in 1 s')
    if (end === 'kill') held.service.kill()
    await held.service.stop(1_000)
    expect(held.children).toHaveLength(1)

    const serving = start(['serves', 'serves'])
    await serving.service.ready
    if (end === 'kill') serving.service.kill()
    await serving.service.stop(1_000)
    expect(serving.children).toHaveLength(1)
    expect(serving.lines).toEqual([])
  }
})

type Behaviour = 'serves' | 'refuses' | 'dies' | 'hangs' | 'stubborn' | 'graceful'

/** A service whose lives behave one after the other as told; its clock stands still but for the pauses. */
function start(lives: readonly Behaviour[], { holdPauses = false } = {}) {
  const children: ChildProcess[] = []
  const ports: (number | undefined)[] = []
  const lines: string[] = []
  const events: string[] = []
  const pauses: number[] = []
  let unseen: string[] = []
  let wake = (): void => {}
  const clock: Clock & { nowMs: number } = {
    nowMs: 0,
    now: () => clock.nowMs,
    sleep: async (ms, signal) => {
      pauses.push(ms / 1000)
      clock.nowMs += ms
      if (holdPauses && !signal.aborted) await once(signal, 'abort')
    },
  }
  const service = supervise({
    name: 'gateway',
    spawn: (before) => {
      const port = before?.port
      const behaviour = lives[children.length]
      if (behaviour === undefined) throw new Error('more lives than the test has told of')
      // The test runner's own flags are not for this script.
      const child = fork(script, [behaviour, String(port ?? '')], {
        execArgv: [],
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      ports.push(port)
      children.push(child)
      return child
    },
    log: (line) => {
      lines.push(line)
      unseen.push(line)
      wake()
    },
    onEvent: (event) => events.push(event),
    clock,
  })
  running.push(service)
  return {
    service,
    children,
    ports,
    lines,
    events,
    pauses,
    clock,
    /** Resolves when this line is logged; a line is waited for once. */
    async line(wanted: string): Promise<void> {
      while (!unseen.includes(wanted)) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      unseen = unseen.slice(unseen.indexOf(wanted) + 1)
    },
  }
}
