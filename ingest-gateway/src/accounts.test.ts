/** Each tenant's records add up, from `/metrics` alone: stored, refused by ClickHouse, and left to the next process (P37). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Account, expectAccountsClose } from '../../tests/support/accounts.ts'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { freePort } from '../../tests/support/processes.ts'
import { type Gateway, startGateway } from './gateway.ts'

const tenants = ['acme', 'globex', 'default'] as const
const keyOf = (tenant: string): string => `${tenant}-secret-of-thirty-two-letters-00`

let engine: TestEngine
let dataDir: string
let gateway: Gateway | undefined
beforeAll(async () => {
  engine = await startTestEngine()
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-accounts-'))
})
afterAll(async () => {
  await gateway?.stop()
  await engine.stop()
  rmSync(dataDir, { recursive: true })
})

async function start(clickhouseUrl: string): Promise<Gateway> {
  return startGateway({
    config: {
      dataDir,
      host: '127.0.0.1',
      otlpPort: 0,
      otlpGrpcPort: 0,
      maxBodyBytes: 8 * 1024 * 1024,
      maxDecodedBytes: 64 * 1024 * 1024,
      clickhouseUrl: undefined,
      keys: tenants.map((tenant) => ({ name: tenant, tenant, scopes: ['ingest', 'read'], secret: keyOf(tenant) })),
    },
    // As beyond loopback: what a caller sees depends on its key.
    needsKeys: true,
    clickhouseUrl,
    sealAfterMs: 20,
    heartbeatMs: 0,
    log: () => {},
  })
}

/** @param bodies of one request; `true` is no body, so that the record is rejected */
async function send({ url }: Gateway, tenant: string, bodies: readonly (string | true)[]): Promise<void> {
  const logRecords = bodies.map((body) => ({ body: body === true ? body : { stringValue: body } }))
  const answer = await fetch(`${url}/v1/logs`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${keyOf(tenant)}` },
    body: JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }),
  })
  expect(answer.status).toBe(200)
}

async function accounts({ url }: Gateway, asTenant = 'default'): Promise<Record<string, Account>> {
  const page = await fetch(`${url}/metrics`, { headers: { Authorization: `Bearer ${keyOf(asTenant)}` } })
  expect(page.status).toBe(200)
  return expectAccountsClose(await page.text())
}

const nothing: Account = { received: 0, recovered: 0, stored: 0, duplicate: 0, rejected: 0, quarantined: 0, spool: 0 }

test('each account closes: with ClickHouse away, after a restart, and when some of it is refused', async () => {
  gateway = await start(`http://127.0.0.1:${await freePort()}/agnes`)
  await send(gateway, 'acme', ['a', 'b', 'poison'])
  await send(gateway, 'acme', ['a', 'b', 'poison'])
  await send(gateway, 'globex', ['a', true])
  await send(gateway, 'acme', ['c'])
  expect(await accounts(gateway)).toEqual({
    acme: { ...nothing, received: 7, duplicate: 3, spool: 4 },
    globex: { ...nothing, received: 2, rejected: 1, spool: 1 },
  })
  await gateway.stop()

  await engine.client.command({ query: "ALTER TABLE otel_logs ADD CONSTRAINT tame CHECK Body NOT LIKE '%poison%'" })
  gateway = await start(engine.url)
  await send(gateway, 'globex', ['d'])
  await expect.poll(async () => (await accounts(gateway as Gateway)).globex?.stored, { timeout: 20_000 }).toBe(2)
  await expect.poll(async () => (await accounts(gateway as Gateway)).acme?.spool, { timeout: 20_000 }).toBe(0)
  expect(await accounts(gateway)).toEqual({
    acme: { ...nothing, recovered: 4, stored: 1, quarantined: 3 },
    globex: { ...nothing, received: 1, recovered: 1, stored: 2 },
  })
})

test('a tenant sees its own account and no other', async () => {
  if (gateway === undefined) throw new Error('no gateway')
  await send(gateway, 'default', ['e'])
  expect(Object.keys(await accounts(gateway, 'acme'))).toEqual(['acme'])
  expect(Object.keys(await accounts(gateway, 'globex'))).toEqual(['globex'])
  expect(Object.keys(await accounts(gateway, 'default')).sort()).toEqual(['acme', 'default', 'globex'])
})
