/** The harness against gateways that break their promise: each must turn it red, and the same copy unbroken must not. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type Books, startBench } from '../../support/bench.ts'
import { type Fault, startFaultProxy } from '../../support/fault-proxy.ts'
import {
  type AnswersOnRecord,
  answersOnRecord,
  cutPower,
  killRounds,
  noStrace,
  onRecord,
} from '../../support/faults.ts'
import { startLedgerClient } from '../../support/ledger-client.ts'
import { createLoopDisk, noLoopDisk } from '../../support/loop-disk.ts'
import { buildMutant, type Mutation } from '../../support/mutant.ts'
import { freePort, startService } from '../../support/processes.ts'

const sync = 'await active.file.datasync();'
const mutations = {
  none: [],
  'acknowledges before fdatasync': [
    { file: 'spool/spool.js', from: sync, to: 'void active.file.datasync().catch(() => {});' },
  ],
  'never syncs': [{ file: 'spool/spool.js', from: sync, to: 'await Promise.resolve();' }],
  'has a random token and no look-up': [
    { file: 'writer/insert.js', from: 'const [first] = ranges;', to: 'return globalThis.crypto.randomUUID();' },
    { file: 'writer/writer.js', from: 'let uncertain = taken.recovered;', to: 'let uncertain = false;' },
    { file: 'writer/writer.js', from: "uncertain ||= outcome.kind !== 'refused';", to: '' },
  ],
  'forgets a segment before it is inserted': [
    {
      file: 'writer/writer.js',
      from: 'const settled = await store(segment, inserter);',
      to: 'await spool.remove(segment); const settled = await store(segment, inserter);',
    },
  ],
} as const satisfies Record<string, readonly Mutation[]>

type Name = keyof typeof mutations

async function withMutant<T>(name: Name, work: (main: string) => Promise<T>): Promise<T> {
  const mutant = buildMutant(mutations[name])
  try {
    return await work(mutant.main)
  } finally {
    mutant.remove()
  }
}

/** Under strace, without faults. */
async function recorded(main: string): Promise<AnswersOnRecord> {
  const traces = mkdtempSync(path.join(tmpdir(), 'agnes-traces-'))
  const bench = await startBench({ main, ...onRecord(path.join(traces, 'trace')) })
  try {
    const client = bench.startClient('traced')
    await expect.poll(() => client.acknowledged.size, { timeout: 30_000 }).toBeGreaterThan(500)
    client.abandon()
    await bench.gateway.kill()
    return answersOnRecord(path.join(traces, 'trace'))
  } finally {
    await bench.remove()
    rmSync(traces, { recursive: true })
  }
}

/** Answers of ClickHouse get lost. */
async function withLostAnswers(main: string): Promise<Books> {
  const bench = await startBench({ main })
  const proxy = await startFaultProxy(bench.engineUrl)
  try {
    const fault: Fault = 'lose-answer'
    proxy.inject(fault, 'INSERT INTO otel_logs', 5)
    await bench.gateway.stop()
    await bench.startGateway({ main, env: { CLICKHOUSE_URL: proxy.url } })
    bench.startClient('retried')
    await expect.poll(() => proxy.met(), { timeout: 30_000 }).toBe(5)
    return await bench.closeBooks({ withinMs: 15_000 })
  } finally {
    await bench.remove()
    await proxy.stop()
  }
}

async function killed(main: string): Promise<Books> {
  const bench = await startBench({ main })
  try {
    for (const name of ['a', 'b', 'c']) bench.startClient(name)
    await killRounds(bench, 6, { main })
    return await bench.closeBooks({ withinMs: 10_000 })
  } finally {
    await bench.remove()
  }
}

/** @returns requests lost in a power cut */
async function powerless(main: string): Promise<number> {
  const disk = createLoopDisk({ mib: 128 })
  const env = {
    AGNES_DATA_DIR: path.join(disk.directory, 'data'),
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  }
  const gateway = await startService('gateway', env, { main })
  const client = startLedgerClient({ url: gateway.url, name: 'cut', recordsARequest: 20 })
  try {
    await pause(1_500)
    return (await cutPower(disk, gateway, [client], env)).lost
  } finally {
    client.abandon()
    await gateway.kill()
    disk.remove()
  }
}

describe.skipIf(noStrace !== undefined)('P1: the record of system calls', () => {
  test('is clean without a mutation', async () => {
    expect(await withMutant('none', recorded)).toMatchObject({ tooEarly: 0 })
  })
  test.each<Name>(['acknowledges before fdatasync', 'never syncs'])('shows a gateway that %s', async (name) => {
    expect((await withMutant(name, recorded)).tooEarly).toBeGreaterThan(0)
  })
})

describe.skipIf(noLoopDisk !== undefined)('P3: a power cut', () => {
  test('costs nothing without a mutation', async () => {
    expect(await withMutant('none', powerless)).toBe(0)
  })
  test('shows a gateway that never syncs', async () => {
    expect(await withMutant('never syncs', powerless)).toBeGreaterThan(0)
  })
})

describe('P8 P10: lost answers', () => {
  test('double nothing without a mutation', async () => {
    expect(await withMutant('none', withLostAnswers)).toMatchObject({ lost: [], doubled: [] })
  })
  test('show a gateway that has a random token and no look-up', async () => {
    const { doubled } = await withMutant('has a random token and no look-up', withLostAnswers)
    expect(doubled.length).toBeGreaterThan(0)
  })
})

describe('P2: kill -9', () => {
  test('loses nothing without a mutation', async () => {
    expect(await withMutant('none', killed)).toMatchObject({ lost: [], doubled: [] })
  })
  test('shows a gateway that forgets a segment before it is inserted', async () => {
    const { lost } = await withMutant('forgets a segment before it is inserted', killed)
    expect(lost.length).toBeGreaterThan(0)
  })
})
