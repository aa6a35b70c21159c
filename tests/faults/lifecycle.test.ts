/** Starts and stops of the gateway while ClickHouse is away: what is acknowledged stays where it can be counted. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type LedgerClient, startLedgerClient } from '../support/ledger-client.ts'
import { freePort, startService } from '../support/processes.ts'
import { framesInSpool } from '../support/spool-directory.ts'

let dataDir: string
let env: NodeJS.ProcessEnv
beforeEach(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-lifecycle-'))
  env = {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  }
})
afterEach(() => rmSync(dataDir, { recursive: true }))

/** How often the client's requests lie in the spool; a request's ids end in its number and the record's. */
function requestsOf({ acknowledged }: LedgerClient): number[] {
  const frames = framesInSpool(dataDir)
  return [...acknowledged]
    .filter((id) => id.endsWith('-0'))
    .map((id) => frames.filter(({ payload }) => payload.includes(`"${id}"`)).length)
}

test('P17: SIGTERM under load: ends within ten seconds, and all that was acknowledged is on disk, once', async () => {
  const gateway = await startService('gateway', env)
  const clients = ['one', 'two'].map((name) => startLedgerClient({ url: gateway.url, name, recordsARequest: 3 }))
  await expect.poll(() => clients[0]?.acknowledged.size, { timeout: 10_000 }).toBeGreaterThan(30)
  const before = performance.now()
  expect(await gateway.stop()).toBe(0)
  expect(performance.now() - before).toBeLessThan(10_000)
  for (const client of clients) {
    client.abandon()
    const counts = requestsOf(client)
    expect(counts.length).toBeGreaterThan(5)
    expect(counts.filter((count) => count !== 1)).toEqual([])
  }
}, 60_000)

test('P14: a second gateway on the same spool refuses to start; after kill -9 of the first one it starts', async () => {
  const first = await startService('gateway', env)
  await expect(startService('gateway', env)).rejects.toThrow(/another process already uses the spool directory.*hint/)
  await first.kill()
  const second = await startService('gateway', env)
  await second.kill()
}, 60_000)
