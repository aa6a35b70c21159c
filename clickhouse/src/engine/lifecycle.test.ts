/** The engine as a process: refusals at the start, crashes, orderly ends. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import { freePort, type Service, startService } from '../../../tests/support/processes.ts'
import { createAgnesClient } from '../client.ts'

const root = mkdtempSync(path.join(tmpdir(), 'agnes-lifecycle-'))
const running: Service[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((service) => service.kill()))
})
afterAll(() => rmSync(root, { recursive: true }))

let directories = 0
const newDirectory = (): string => path.join(root, `data-${++directories}`)

async function start(dataDir: string, port = 0, env: NodeJS.ProcessEnv = {}): Promise<Service> {
  const service = await startService('engine', { AGNES_DATA_DIR: dataDir, AGNES_CLICKHOUSE_PORT: String(port), ...env })
  running.push(service)
  return service
}

async function count(url: string): Promise<number> {
  const client = createAgnesClient({ url })
  try {
    const result = await client.query({ query: 'SELECT count() AS n FROM t', format: 'JSONEachRow' })
    return (await result.json<{ n: number }>())[0]?.n ?? -1
  } finally {
    await client.close()
  }
}

test('days begin at midnight UTC on a machine of another time zone, for clients that say nothing of it too', async () => {
  const { url } = await start(newDirectory(), 0, { TZ: 'America/New_York' })
  const ask = async (sql: string): Promise<string> => {
    const answer = await fetch(new URL('/', url), {
      method: 'POST',
      body: sql,
      headers: { 'X-ClickHouse-User': 'grafana' },
    })
    return (await answer.text()).trim()
  }
  expect(await ask('SELECT timezone(), toDateTime(0)')).toBe('UTC\t1970-01-01 00:00:00')
  expect(await ask("SELECT toUnixTimestamp(toDateTime64('2026-07-01 00:00:00', 3))")).toBe('1782864000')
})

test('kill -9 in the middle of an insert: it starts again in under 2 s with whole inserts only', async () => {
  const dataDir = newDirectory()
  const engine = await start(dataDir)
  const client = createAgnesClient({ url: engine.url })
  await client.command({
    query: 'CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n SETTINGS fsync_after_insert = 1',
  })
  const rows = 50_000
  let acknowledged = 0
  const inserting = (async () => {
    for (;;) {
      await client.command({ query: `INSERT INTO t SELECT number, repeat('x', 100) FROM numbers(${rows})` })
      acknowledged++
    }
  })().catch(() => {})
  await expect.poll(() => acknowledged, { interval: 5 }).toBeGreaterThanOrEqual(2)
  await engine.kill()
  await inserting
  await client.close()

  const before = performance.now()
  const again = await start(dataDir)
  expect(performance.now() - before).toBeLessThan(2_000)
  const stored = await count(again.url)
  expect(stored % rows).toBe(0)
  expect([acknowledged, acknowledged + 1]).toContain(stored / rows)
})

test('SIGTERM: what runs is finished and answered, then it ends with 0', async () => {
  const dataDir = newDirectory()
  const engine = await start(dataDir)
  const client = createAgnesClient({ url: engine.url })
  await client.command({ query: 'CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n' })
  const query_id = 'slow-insert'
  const insert = client.command({
    query: 'INSERT INTO t SELECT number + sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1',
    query_id,
  })
  const busy = async (): Promise<number> => {
    const result = await client.query({
      query: "SELECT count() AS n FROM system.processes WHERE query LIKE 'INSERT INTO t%'",
      format: 'JSONEachRow',
    })
    return (await result.json<{ n: number }>())[0]?.n ?? 0
  }
  await expect.poll(busy, { interval: 20 }).toBe(1)
  const ended = engine.stop()
  await insert
  expect(await ended).toBe(0)
  await client.close()
  expect(await count((await start(dataDir)).url)).toBe(10)
})

test('a second one on the same data directory is refused with the way out', async () => {
  const dataDir = newDirectory()
  await start(dataDir)
  await expect(start(dataDir)).rejects.toThrow(/data.*in use|another process/i)
})

test('a taken port is named, with the variable to change', async () => {
  const holder = createServer()
  const port = await freePort()
  await new Promise<void>((resolve) => holder.listen(port, '127.0.0.1', resolve))
  await expect(start(newDirectory(), port)).rejects.toThrow(new RegExp(`port ${port}.*AGNES_CLICKHOUSE_PORT`, 's'))
  await new Promise((resolve) => holder.close(resolve))
})

test.skipIf(process.getuid?.() === 0)(
  'a directory that is not writable is one clear line (skipped for root, who may write anywhere)',
  async () => {
    const dataDir = newDirectory()
    await (await start(dataDir)).stop()
    chmodSync(dataDir, 0o500)
    await expect(start(dataDir)).rejects.toThrow(/not writable|cannot/)
  },
)

test('a path that is a file is one clear line, whoever runs it', async () => {
  await expect(start(path.join(import.meta.dirname, 'lifecycle.test.ts', 'data'))).rejects.toThrow(/cannot .*data/)
})

test('without its package for this platform it says what to do instead', async () => {
  const module = (source: string): string => `data:text/javascript,${encodeURIComponent(source)}`
  const withoutChdb = module(`export async function resolve(specifier, context, next) {
    if (specifier === 'chdb') throw new Error('Cannot find package chdb')
    return next(specifier, context)
  }`)
  const hook = module(`import { register } from 'node:module'; register(${JSON.stringify(withoutChdb)})`)
  await expect(start(newDirectory(), 0, { NODE_OPTIONS: `--import ${hook}` })).rejects.toThrow(
    /the embedded engine cannot be loaded on \S+; hint: .*CLICKHOUSE_URL/,
  )
})
