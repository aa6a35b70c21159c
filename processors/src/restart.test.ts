/**
 * Processors may be killed anywhere, run twice at once, be paused and go on: what people read is all old or all new, and
 * in the end what a run from scratch would give (P34).
 */
import { randomUUID } from 'node:crypto'
import { type ClickHouseClient, insertSessionFiles, mainVersion } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { storeSession, transcript } from '../../tests/support/stored-sessions.ts'
import { createTestClock } from '../../tests/support/test-clock.ts'
import { realClock } from './clock.ts'
import type { Processor } from './processor.ts'
import { processors } from './registry.ts'
import { type RunTotals, runDue, type SessionRun } from './run.ts'
import { startScheduler } from './scheduler.ts'

// Each processes sessions several times, by some twenty questions to the engine.
vi.setConfig({ testTimeout: 120_000 })

let engine: TestEngine
let client: ClickHouseClient
beforeAll(async () => {
  engine = await startTestEngine()
  client = engine.client
})
afterAll(() => engine.stop())

const morning = new Date('2026-11-20T09:00:00Z')

const whole = transcript('s-1', morning)
  .prompt('why is the build red?')
  .says('m1', 'I will look.', 3)
  .calls('m1', 't1', 'Bash', { command: 'npm test' }, 9)
  .result('t1', '<tool_use_error>File does not exist.</tool_use_error>', true)
  .wait(86_400)
  .says('m2', 'It is another one.', 4)
  .calls('m3', 't2', 'Edit', { file_path: '/a.ts' }, 8)
  .result('t2', '<tool_use_error>String to replace not found in file.</tool_use_error>', true)
  .says('m4', 'Done.', 2).lines

async function run(
  processor: Processor,
  options: { client?: ClickHouseClient; fence?: bigint } = {},
): Promise<RunTotals> {
  return runDue(processor, {
    client: options.client ?? client,
    clock: realClock,
    fence: options.fence ?? 1n,
    log: () => {},
    mayGoOn: () => true,
  })
}

async function runAll(options: { client?: ClickHouseClient; fence?: bigint } = {}): Promise<void> {
  for (const processor of processors) await run(processor, options)
}

/** What people read of a tenant; nothing of when and by whom it was computed. */
async function read(tenant: string) {
  const select = async (query: string): Promise<unknown[]> => {
    const result = await client.query({ query, query_params: { tenant }, format: 'JSONEachRow' })
    return result.json()
  }
  return {
    turns: await select(
      'SELECT * EXCEPT (tenant, cwd_hash) FROM session_turns WHERE tenant = {tenant:String} ORDER BY session_file, turn_index',
    ),
    sessions: await select(`SELECT session_file, started_at, ended_at, turns, prompts, messages, tool_calls, errors,
  input_tokens, output_tokens, active_minutes, tools FROM sessions WHERE tenant = {tenant:String} ORDER BY session_file`),
    findings: await select(
      'SELECT * EXCEPT (tenant, scan_id, scanned_at) FROM session_findings WHERE tenant = {tenant:String} ORDER BY session_file, turn_index, type',
    ),
    usage: await select(
      'SELECT * EXCEPT tenant FROM usage_daily WHERE tenant = {tenant:String} ORDER BY user_name, day, dimension, name',
    ),
  }
}

const insertsApart = process.env.FAULT_ROUNDS === undefined ? 6 : 1

class Killed extends Error {}

/** A client whose process is killed after so many inserts: nothing it does later has any effect. */
function killedAfter(inserts: number): ClickHouseClient & { readonly made: () => number } {
  let made = 0
  const dead = (): boolean => made >= inserts
  return new Proxy(client, {
    get(target, property) {
      if (property === 'made') return () => made
      const value = Reflect.get(target, property) as unknown
      if (typeof value !== 'function') return value
      return async (...args: unknown[]) => {
        if (dead()) throw new Killed('killed')
        const answer = await (value as (...args: unknown[]) => Promise<unknown>).apply(target, args)
        if (property === 'insert') made++
        return answer
      }
    },
  }) as ClickHouseClient & { readonly made: () => number }
}

describe('killed after any insert', () => {
  test('readers see all old or all new, and the next run ends where one from scratch does', {
    timeout: 240_000,
  }, async () => {
    const scratch = randomUUID()
    await storeSession(client, { tenant: scratch, file: 's-1', lines: whole.slice(0, 4) })
    await runAll()
    const before = await read(scratch)
    await storeSession(client, { tenant: scratch, file: 's-1', lines: whole, fromLine: 5 })
    const alive = killedAfter(Number.POSITIVE_INFINITY)
    await runAll({ client: alive })
    const after = await read(scratch)
    expect(after.findings).toHaveLength(2)
    expect(after.usage.length).toBeGreaterThan(4)

    // Each insert when there is time (npm run test:faults), else every sixth; and one more than there are.
    const ends: { readonly inserts: number; readonly tenant: string }[] = []
    for (let inserts = 0; inserts < alive.made() + insertsApart; inserts += insertsApart) {
      ends.push({ inserts, tenant: randomUUID() })
    }
    for (const { tenant } of ends) await storeSession(client, { tenant, file: 's-1', lines: whole.slice(0, 4) })
    await runAll()
    const outcomes: string[] = []
    for (const { inserts, tenant } of ends) {
      await storeSession(client, { tenant, file: 's-1', lines: whole, fromLine: 5 })
      const killed = killedAfter(inserts)
      const outcome = await runAll({ client: killed }).then(
        () => 'ended' as const,
        (error: unknown) => error,
      )
      const seen = await read(tenant)
      for (const name of ['turns', 'findings'] as const) {
        expect([before[name], after[name]], `${name} after ${inserts} inserts`).toContainEqual(seen[name])
      }
      // A day is a result of its own.
      for (const row of seen.usage) expect([...before.usage, ...after.usage]).toContainEqual(row)
      outcomes.push(outcome === 'ended' ? outcome : 'killed')
      if (outcome === 'ended') expect(seen).toEqual(after)
      else {
        expect(outcome).toBeInstanceOf(Killed)
        expect(killed.made()).toBe(inserts)
        await runAll({ fence: 2n })
        expect(await read(tenant), `killed after ${inserts} inserts`).toEqual(after)
      }
    }
    expect(new Set(outcomes.slice(0, -1))).toEqual(new Set(['killed']))
    expect(outcomes.at(-1)).toBe('ended')
  })
})

test('growing bit by bit, in any order, ends where all at once does', { timeout: 120_000 }, async () => {
  // A resumed session begins with a copy of the other; both go on, and over midnight.
  const resumed = [
    ...whole.slice(0, 5),
    ...transcript('s-2', new Date('2026-11-20T23:59:58Z')).prompt('go on').says('m7', 'a', 1).says('m7', 'b', 6).lines,
  ]
  const [atOnce, bitByBit] = [randomUUID(), randomUUID()]
  await storeSession(client, { tenant: atOnce, file: 's-1', lines: whole })
  await storeSession(client, { tenant: atOnce, file: 's-2', lines: resumed })
  const steps: readonly [file: string, lines: readonly string[], from: number, to: number][] = [
    ['s-2', resumed, 1, 6],
    ['s-1', whole, 1, 2],
    ['s-1', whole, 3, whole.length],
    ['s-2', resumed, 7, resumed.length],
  ]
  for (const [file, lines, fromLine, to] of steps) {
    await storeSession(client, { tenant: bitByBit, file, lines: lines.slice(0, to), fromLine })
    await runAll()
  }
  expect(await read(bitByBit)).toEqual(await read(atOnce))
  const days = (await read(atOnce)).usage as {
    day: string
    dimension: string
    messages: number
    output_tokens: string
  }[]
  expect(
    days.flatMap((row) => (row.dimension === 'total' ? [[row.day, row.messages, Number(row.output_tokens)]] : [])),
  ).toEqual([
    ['2026-11-20', 2, 15],
    ['2026-11-21', 3, 14],
  ])
})

describe('two at once', () => {
  test('a process that was paused before it wrote does not undo what came after it', { timeout: 120_000 }, async () => {
    const tenant = randomUUID()
    // Within the first day: the rest changes what that day counts.
    await storeSession(client, { tenant, file: 's-1', lines: whole.slice(0, 3) })
    const sleepers: { readonly wake: () => void; readonly ended: Promise<unknown> }[] = []
    for (const processor of processors) {
      // It has read the short session, and sleeps before each of its writes but that it begins.
      let wake = (): void => {}
      const woken = new Promise<void>((resolve) => {
        wake = resolve
      })
      let sleeps = (): void => {}
      const asleep = new Promise<void>((resolve) => {
        sleeps = resolve
      })
      const paused = new Proxy(client, {
        get(target, property) {
          const value = Reflect.get(target, property) as unknown
          if (property !== 'insert') return typeof value === 'function' ? value.bind(target) : value
          return async (params: { table: string }) => {
            if (params.table !== 'session_processor_failures') {
              sleeps()
              await woken
            }
            return (value as (params: unknown) => Promise<unknown>).call(target, params)
          }
        },
      })
      sleepers.push({ wake, ended: run(processor, { client: paused, fence: 1n }) })
      await asleep
      // Another process does what the next one builds on.
      await run(processor, { fence: 1n })
    }
    await storeSession(client, { tenant, file: 's-1', lines: whole, fromLine: 4 })
    await runAll({ fence: 2n })
    const newer = await read(tenant)
    expect(newer.sessions).toEqual([expect.objectContaining({ turns: 8 })])
    expect(newer.findings).toHaveLength(2)
    for (const { wake } of sleepers) wake()
    await Promise.all(sleepers.map(({ ended }) => ended))
    expect(await read(tenant)).toEqual(newer)
    await runAll({ fence: 3n })
    expect(await read(tenant)).toEqual(newer)
  })

  test('of two schedulers one runs everything once, and the other goes on when it ends', {
    timeout: 120_000,
  }, async () => {
    const tenant = randomUUID()
    const runs: { readonly who: string; readonly run: SessionRun }[] = []
    let waiting: { readonly count: number; readonly done: () => void } | undefined
    const ran = (count: number): Promise<void> =>
      new Promise((resolve) => {
        waiting = { count, done: resolve }
        if (runs.length >= count) resolve()
      })
    const start = (who: string) =>
      startScheduler({
        client,
        processors: processors.map((processor) => ({ processor, everyMs: 1_000 })),
        holder: who,
        log: () => {},
        leaseTtlMs: 4_000,
        onRun: (run) => {
          if (run.session.tenant !== tenant) return
          runs.push({ who, run })
          if (waiting !== undefined && runs.length >= waiting.count) waiting.done()
        },
      })
    const files = ['s-1', 's-2', 's-3']
    for (const file of files) await storeSession(client, { tenant, file, lines: whole.slice(0, 3) })
    const schedulers = [start('a'), start('b')] as const
    await ran(9)
    const first = runs[0]?.who
    expect(new Set(runs.map(({ who }) => who))).toEqual(new Set([first]))
    const leaving = schedulers[first === 'a' ? 0 : 1]
    const staying = schedulers[first === 'a' ? 1 : 0]
    expect(staying.fence()).toBeUndefined()
    await leaving.stop()
    for (const file of files) await storeSession(client, { tenant, file, lines: whole, fromLine: 4 })
    await ran(18)
    await staying.stop()
    expect(runs.slice(9).every(({ who }) => who !== first)).toBe(true)
    const each = runs.map(({ run }) => `${run.processor} ${run.session.file} ${run.session.lines}`)
    expect(new Set(each).size).toBe(18)
    expect(each).toHaveLength(18)
  })
})

describe('a session that fails', () => {
  function faulty(name: string, fails: (file: string) => boolean): Processor {
    return {
      name,
      version: 1,
      everySeconds: 60,
      description: '',
      process: async (session) => {
        if (fails(session.file)) throw new Error(`cannot read ${session.file}`)
        return { items: 1 }
      },
    }
  }

  async function account(processor: string) {
    const result = await client.query({
      query: `SELECT session_file, attempts, error, parked FROM session_processor_failures FINAL
        WHERE processor = {processor:String} AND error != '' ORDER BY session_file`,
      query_params: { processor },
      format: 'JSONEachRow',
    })
    return result.json<{ session_file: string; attempts: number; error: string; parked: boolean }>()
  }

  test('holds nobody up, is tried again after growing pauses, and is parked in the end', {
    timeout: 60_000,
  }, async () => {
    const tenant = randomUUID()
    for (const file of ['good-1', 'bad', 'good-2'])
      await storeSession(client, { tenant, file, lines: whole.slice(0, 1) })
    const clock = createTestClock()
    const tried: string[] = []
    const processor = faulty(`faulty_${tenant.slice(0, 8)}`, (file) => file === 'bad')
    const round = () =>
      runDue(processor, {
        client,
        clock,
        fence: 1n,
        log: () => {},
        mayGoOn: () => true,
        onRun: (one) => one.session.tenant === tenant && tried.push(one.session.file),
      })
    await round()
    expect([...tried].sort()).toEqual(['bad', 'good-1', 'good-2'])
    tried.length = 0
    await round()
    expect(tried).toEqual([])
    const minutes = [1, 2, 4, 8, 16, 32, 64]
    for (const [i, pause] of minutes.entries()) {
      clock.pass(pause * 60_000 - 1)
      await round()
      expect(tried, `before attempt ${i + 2}`).toEqual([])
      clock.pass(1)
      await round()
      expect(tried, `attempt ${i + 2}`).toEqual(['bad'])
      tried.length = 0
    }
    expect(await account(processor.name)).toEqual([
      { session_file: 'bad', attempts: 8, error: 'cannot read bad', parked: true },
    ])
    clock.pass(30 * 86_400_000)
    await round()
    expect(tried).toEqual([])
    // It grew: that is another session.
    await storeSession(client, { tenant, file: 'bad', lines: whole.slice(0, 2), fromLine: 2 })
    await round()
    expect(tried).toEqual(['bad'])
  })

  test('more of them than are looked at together are all done in one run', async () => {
    const tenant = randomUUID()
    const files = Array.from({ length: 40 }, (_, i) => `many-${String(i).padStart(2, '0')}`)
    await insertSessionFiles(
      client,
      files.map((file) => ({
        tenant,
        user: 'anna',
        file,
        version: mainVersion,
        lines: 1,
        bytes: 10,
        fileHash: '00'.repeat(16),
        parentLines: 0,
        parentHash: '',
        firstReceivedAt: morning,
        receivedAt: morning,
        redactions: 0,
        source: 'upload',
      })),
    )
    const tried: string[] = []
    await runDue(
      faulty(`many_${tenant.slice(0, 8)}`, (file) => file === 'many-07'),
      {
        client,
        clock: realClock,
        fence: 1n,
        log: () => {},
        mayGoOn: () => true,
        onRun: (one) => one.session.tenant === tenant && tried.push(one.session.file),
      },
    )
    expect(tried.sort()).toEqual(files)
  })

  test('a wall clock that was set back does not make it wait for days', async () => {
    const tenant = randomUUID()
    await storeSession(client, { tenant, file: 'bad', lines: whole.slice(0, 1) })
    const clock = createTestClock()
    let tried = 0
    const processor = faulty(`faulty_${tenant.slice(0, 8)}`, (file) => file === 'bad')
    const round = () =>
      runDue(processor, {
        client,
        clock,
        fence: 1n,
        log: () => {},
        mayGoOn: () => true,
        onRun: (one) => {
          if (one.session.tenant === tenant) tried++
        },
      })
    await round()
    expect(tried).toBe(1)
    clock.setWall(clock.wall() - 172_800_000)
    await round()
    expect(tried).toBe(2)
  })

  test('one that never comes back is given up after its time', async () => {
    const tenant = randomUUID()
    await storeSession(client, { tenant, file: 'endless', lines: whole.slice(0, 1) })
    const processor: Processor = {
      ...faulty(`endless_${tenant.slice(0, 8)}`, () => false),
      process: (session) => (session.tenant === tenant ? new Promise(() => {}) : Promise.resolve({ items: 0 })),
    }
    await runDue(processor, {
      client,
      clock: realClock,
      fence: 1n,
      log: () => {},
      mayGoOn: () => true,
      sessionLimitMs: 50,
    })
    expect(await account(processor.name)).toEqual([expect.objectContaining({ error: 'not done within 0.05 s' })])
  })

  test('one that takes the process with it is not tried first again, and others come to their turn', async () => {
    const tenant = randomUUID()
    for (const file of ['a-deadly', 'b', 'c']) await storeSession(client, { tenant, file, lines: whole.slice(0, 1) })
    const done: string[] = []
    let alive = true
    const processor: Processor = {
      ...faulty(`deadly_${tenant.slice(0, 8)}`, () => false),
      process: async (session) => {
        if (session.file === 'a-deadly') {
          alive = false
          throw new Killed()
        }
        if (session.tenant === tenant) done.push(session.file)
        return { items: 1 }
      },
    }
    const life = async (): Promise<void> => {
      alive = true
      const mortal = new Proxy(client, {
        get(target, property) {
          const value = Reflect.get(target, property) as unknown
          if (typeof value !== 'function') return value
          return (...args: unknown[]) =>
            alive ? (value as (...args: unknown[]) => unknown).apply(target, args) : Promise.reject(new Killed())
        },
      })
      await runDue(processor, {
        client: mortal,
        clock: realClock,
        fence: 1n,
        log: () => {},
        mayGoOn: () => true,
      }).catch(() => {})
    }
    await life()
    await life()
    await life()
    expect([...new Set(done)].sort()).toEqual(['b', 'c'])
  })
})
