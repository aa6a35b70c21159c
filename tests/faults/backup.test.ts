/** Backup and restore as an operator runs them: beside a running instance, while nothing runs, and when it must not be. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { createAgnesClient } from '@agnes/clickhouse'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { command, type Ran, run } from '../support/agnes.ts'
import { type Bench, startBench } from '../support/bench.ts'
import { invokeHere } from '../support/invoke.ts'
import { type LedgerClient, paramsOf } from '../support/ledger-client.ts'
import { freePort, startService } from '../support/processes.ts'

let bench: Bench
let directory: string
beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-backup-'))
  bench = await startBench()
}, 120_000)
afterEach(async () => {
  await bench.remove()
  rmSync(directory, { recursive: true })
})

const inDirectory = (name: string): string => path.join(directory, name)

const environment = (dataDir: string, clickhousePort: number): NodeJS.ProcessEnv => ({
  AGNES_DATA_DIR: dataDir,
  AGNES_CLICKHOUSE_PORT: String(clickhousePort),
  // Nobody is there: the audit event of the backup would be in the books otherwise.
  AGNES_OTLP_PORT: '1',
})

function agnes(dataDir: string, args: readonly string[], clickhousePort: number): Promise<Ran> {
  return invokeHere(args, { env: environment(dataDir, clickhousePort) })
}

/** The built command. */
function agnesProcess(dataDir: string, args: readonly string[], clickhousePort: number): Promise<Ran> {
  return run(process.execPath, [command, ...args], environment(dataDir, clickhousePort))
}

const portOf = (url: string): number => Number(new URL(url).port)

async function ask<Row>(url: string, query: string): Promise<Row[]> {
  const client = createAgnesClient({ url })
  try {
    return await (await client.query({ query, format: 'JSONEachRow' })).json<Row>()
  } finally {
    await client.close()
  }
}

const ledgerRows = (url: string) =>
  ask<{ id: string; params: string }>(
    url,
    "SELECT EventId AS id, LogAttributes['agnes.params'] AS params FROM otel_logs WHERE Action = 'ledger.entry'",
  )

const acknowledgedBy = (clients: readonly LedgerClient[]): string[] => clients.flatMap((one) => [...one.acknowledged])

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const giveUpAt = performance.now() + 120_000; !(await holds()); await pause(20)) {
    if (performance.now() > giveUpAt) throw new Error(`not within two minutes: ${what}`)
  }
}

/** Everything that is acknowledged now has left the spool; with clients that go on, or the last segment would stay open. */
async function storedByNow(): Promise<void> {
  const segments = (): string[] =>
    readdirSync(path.join(bench.dataDir, 'spool')).filter((name) => name.startsWith('seg-'))
  const now = segments()
  await until('all is stored', () => !segments().some((name) => now.includes(name)))
}

interface Way {
  readonly port: number
  close(): void
}

/** A way to the engine on which a request may wait before it goes on, and its answer before it comes back. */
async function wayToEngine(
  waitBefore: (statement: string) => Promise<void>,
  waitAfter: (statement: string) => Promise<void>,
): Promise<Way> {
  const proxy = createServer((incoming: IncomingMessage, outgoing) => {
    void (async () => {
      const body = await buffer(incoming)
      const statement = `${decodeURIComponent((incoming.url ?? '').replaceAll('+', ' '))} ${body.toString('latin1', 0, 2_000)}`
      await waitBefore(statement)
      const { method, url, headers } = incoming
      const forwarded = request(new URL(url ?? '/', bench.engineUrl), { method, headers }, (answer) => {
        void (async () => {
          const content = await buffer(answer)
          await waitAfter(statement)
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers).end(content)
        })()
      })
      forwarded.end(body)
    })()
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return { port: (proxy.address() as AddressInfo).port, close: () => proxy.close() }
}

/** Starts engine and gateway on what was restored. @returns what is stored when nothing waits any more */
async function openRestored(dataDir: string) {
  const env = {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  }
  const engine = await startService('engine', env)
  const gateway = await startService('gateway', env)
  try {
    // A new event: numbers that are taken are not given again.
    const fresh = { resourceLogs: [{ scopeLogs: [{ logRecords: [{ eventName: 'after.restore' }] }] }] }
    const headers = { 'Content-Type': 'application/json' }
    const answer = await fetch(`${gateway.url}/v1/logs`, { method: 'POST', headers, body: JSON.stringify(fresh) })
    expect(answer.status).toBe(200)
    await until('nothing waits', async () => {
      const health = (await (await fetch(`${gateway.url}/healthz`)).json()) as { backlogRecords: number }
      return health.backlogRecords === 0
    })
    const [totals] = await ask<{ rows: string; numbers: string; fresh: string }>(
      engine.url,
      "SELECT toString(count()) AS rows, toString(uniqExact(Seq)) AS numbers, toString(countIf(EventName = 'after.restore')) AS fresh FROM otel_logs",
    )
    return { ledger: await ledgerRows(engine.url), totals, logged: gateway.stderr() }
  } finally {
    await gateway.stop()
    await engine.stop()
  }
}

/** Held against what was acknowledged before the backup. */
function books(acknowledged: readonly string[], ledger: readonly { id: string; params: string }[]) {
  const counts = new Map<string, number>()
  for (const { id } of ledger) counts.set(id, (counts.get(id) ?? 0) + 1)
  return {
    lost: acknowledged.filter((id) => !counts.has(id)),
    doubled: [...counts].filter(([, count]) => count > 1).map(([id]) => id),
    changed: ledger.filter(({ id, params }) => params !== paramsOf(id)),
  }
}

const allWell = { lost: [], doubled: [], changed: [] }

const isBackup = (statement: string): boolean => statement.includes('BACKUP DATABASE')
const isInsert = (statement: string): boolean => statement.includes('INSERT INTO otel_logs')

/** When what is in the spool as the backup begins goes into the database. */
const moments = {
  'before the database is saved': () => {
    const before = (statement: string) => (isBackup(statement) ? storedByNow() : Promise.resolve())
    return { before, after: () => Promise.resolve() }
  },
  'only after the database is saved': () => {
    let saved = (): void => {}
    const untilSaved = new Promise<void>((resolve) => {
      saved = resolve
    })
    const before = (statement: string) => (isInsert(statement) ? untilSaved : Promise.resolve())
    const after = async (statement: string): Promise<void> => {
      // BACKUP goes on in the background; the next look at it finds it done.
      if (!statement.includes('FROM system.backups')) return
      const [{ status } = { status: '' }] = await ask<{ status: string }>(
        bench.engineUrl,
        'SELECT status FROM system.backups ORDER BY start_time DESC LIMIT 1',
      )
      if (status !== 'BACKUP_CREATED') return
      saved()
      await storedByNow()
    }
    return { before, after }
  },
} as const

test.each(Object.keys(moments) as (keyof typeof moments)[])(
  'P40: a backup while events come in brings back each acknowledged event once, stored %s',
  async (moment) => {
    const { before, after } = moments[moment]()
    const way = await wayToEngine(before, after)
    await bench.gateway.stop()
    await bench.startGateway({ env: { AGNES_CLICKHOUSE_PORT: String(way.port) } })
    const clients = ['a', 'b', 'c'].map((name) => bench.startClient(name, 50))
    await until('events came', () => acknowledgedBy(clients).length > 300)
    const acknowledged = acknowledgedBy(clients)
    const backup = await agnesProcess(bench.dataDir, ['backup', inDirectory('one'), '--json'], way.port)
    expect(backup).toMatchObject({ code: 0 })
    for (const client of clients) client.abandon()
    // Not through a way that is about to go.
    await bench.gateway.kill()
    way.close()

    const restored = inDirectory('restored')
    const restore = await agnesProcess(restored, ['restore', inDirectory('one')], 1)
    expect(restore).toMatchObject({ code: 0 })
    const { ledger, totals, logged } = await openRestored(restored)
    expect(books(acknowledged, ledger)).toEqual(allWell)
    expect(totals).toMatchObject({ numbers: totals?.rows, fresh: '1' })
    expect(logged).not.toMatch(/set aside|damaged/)
  },
  300_000,
)

test('P40: what waits in the spool of a stopped instance is in its backup, and comes back', async () => {
  await bench.engine.kill()
  const client = bench.startClient('a', 50)
  await until('events came', () => client.acknowledged.size > 100)
  await client.stop()
  await bench.gateway.stop()
  const backup = await agnes(bench.dataDir, ['backup', inDirectory('one'), '--with-keys'], 1)
  expect(backup).toMatchObject({ code: 0 })
  expect(readdirSync(inDirectory('one')).sort()).toEqual(['database', 'keys', 'manifest.json', 'spool'])
  expect(statSync(inDirectory('one')).mode & 0o777).toBe(0o700)

  const restored = inDirectory('restored')
  expect(await agnes(restored, ['restore', inDirectory('one')], 1)).toMatchObject({ code: 0 })
  expect(existsSync(path.join(restored, 'redaction.key'))).toBe(true)
  const { ledger } = await openRestored(restored)
  expect(books([...client.acknowledged], ledger)).toEqual(allWell)
  expect(ledger).toHaveLength(client.acknowledged.size)

  // What came back has moved on: it is not written over, unless told, and then it is kept.
  const again = await agnes(restored, ['restore', inDirectory('one')], 1)
  expect(again).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/nothing was changed\n.*--replace/),
  })
  const replaced = await agnes(restored, ['restore', inDirectory('one'), '--replace', '--json'], 1)
  expect(replaced).toMatchObject({ code: 0 })
  const { movedAside } = JSON.parse(replaced.stdout) as { movedAside: string[] }
  expect(movedAside.map((name) => path.basename(name).split('.before-restore-')[0])).toEqual(
    expect.arrayContaining(['clickhouse', 'redaction.key']),
  )
  for (const name of movedAside) expect(existsSync(name)).toBe(true)
}, 300_000)

test('a restore refuses a running instance, a backup that is damaged, newer or unfinished; a backup refuses a place that is taken', async () => {
  const backup = inDirectory('one')
  const enginePort = portOf(bench.engineUrl)
  expect(await agnes(bench.dataDir, ['backup', backup], enginePort)).toMatchObject({ code: 0 })
  const restored = inDirectory('restored')
  const refusals: readonly [string, () => Promise<Ran>, number, RegExp][] = [
    [
      'into what runs',
      () => agnes(bench.dataDir, ['restore', backup, '--replace'], enginePort),
      1,
      /already uses .*\n.*stop the instance/,
    ],
    ['onto another', () => agnes(bench.dataDir, ['backup', backup], enginePort), 2, /is not empty\n.*new directory/],
    [
      'into the data',
      () => agnes(bench.dataDir, ['backup', path.join(bench.dataDir, 'b')], enginePort),
      2,
      /in the data directory/,
    ],
    ['no backup', () => agnes(restored, ['restore', directory], 1), 3, /no finished backup/],
    ['of nothing', () => agnes(inDirectory('none'), ['backup', inDirectory('two')], 1), 1, /there is no spool/],
  ]
  for (const [what, attempt, code, message] of refusals) {
    expect(await attempt(), what).toMatchObject({ code, stderr: expect.stringMatching(message) })
  }
  // What did not become a backup leaves nothing that looks like one.
  expect(readdirSync(inDirectory('two'))).toEqual([])

  expect(await agnes(restored, ['restore', backup, '--check'], 1)).toMatchObject({ code: 0 })
  mkdirSync(path.join(backup, 'spool'), { recursive: true })
  const [segment = ''] = readdirSync(path.join(backup, 'spool')).filter((name) => name.startsWith('seg-'))
  appendFileSync(path.join(backup, 'spool', segment), 'x')
  const damaged = await agnes(restored, ['restore', backup], 1)
  expect(damaged).toMatchObject({ code: 3, stderr: expect.stringContaining(`spool/${segment} has`) })

  const newer = inDirectory('newer')
  mkdirSync(newer)
  const manifest = {
    format: 1,
    agnes: '9',
    createdAt: '',
    files: [],
    database: { name: 'agnes', storage: 'here', migrations: ['9999'], rows: [] },
  }
  writeFileSync(path.join(newer, 'manifest.json'), JSON.stringify(manifest))
  expect(await agnes(restored, ['restore', newer], 1)).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('no migration 9999'),
  })
  expect(existsSync(path.join(restored, 'clickhouse'))).toBe(false)
}, 300_000)
