/** Keys of ClickHouse, as clients of running gateways see them: created, revoked, rotated, expired, and while it is away. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createKey, revokeKey, rotateKey } from '@agnes/clickhouse'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { send } from '../../../tests/support/raw-http.ts'
import { type SpoolOnlyGateway, startSpoolOnlyGateway } from '../../../tests/support/spool-only-gateway.ts'
import { type Gateway, startGateway } from '../gateway.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'agnes-keys-'))
const config = {
  host: '127.0.0.1',
  otlpPort: 0,
  otlpGrpcPort: 0,
  maxBodyBytes: 8 * 1024 * 1024,
  maxDecodedBytes: 64 * 1024 * 1024,
  clickhouseUrl: undefined,
}
let engine: TestEngine
/** Two machines that share a ClickHouse and ask it for keys often; not more often, as each question costs the engine. */
const gateways: Gateway[] = []
const logged: string[] = []

beforeAll(async () => {
  engine = await startTestEngine()
  // Beyond loopback a gateway does not start without one.
  await createKey(engine.client, { tenant: 'default', scopes: ['ingest'] })
  for (const name of ['one', 'two']) {
    const gateway = await startGateway({
      config: { ...config, dataDir: path.join(directory, name) },
      clickhouseUrl: engine.url,
      // Each segment is an insert, and tests that wait for a key send all the while.
      sealAfterMs: 500,
      needsKeys: true,
      keysEveryMs: 300,
      heartbeatMs: 0, // a process has one telemetry, and the last test wants it
      log: (line) => logged.push(line),
    })
    gateways.push(gateway)
  }
})
afterAll(async () => {
  for (const gateway of gateways) await gateway.stop()
  await engine.stop()
  rmSync(directory, { recursive: true })
})

let events = 0
function record(attributes: Readonly<Record<string, string>> = {}, text = `event ${++events}`): string {
  const list = Object.entries(attributes).map(([key, value]) => ({ key, value: { stringValue: value } }))
  return JSON.stringify({
    resourceLogs: [
      {
        resource: { attributes: list },
        scopeLogs: [{ scope: { attributes: list }, logRecords: [{ body: { stringValue: text }, attributes: list }] }],
      },
    ],
  })
}

interface Sent {
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: string
  readonly body?: string
}

async function post({ port }: { port: number }, key: string, sent: Sent = {}): Promise<number> {
  const { status } = await send(port, {
    path: `/v1/logs${sent.query ?? ''}`,
    headers: { 'Content-Type': 'application/json', ...sent.headers, Authorization: `Bearer ${key}` },
    body: sent.body ?? record(),
  })
  return status
}

/** Within five seconds, on every gateway. */
async function everywhere(key: string, status: number): Promise<void> {
  const giveUpAt = performance.now() + 5_000
  for (const gateway of gateways) {
    while ((await post(gateway, key)) !== status) {
      if (performance.now() > giveUpAt) throw new Error(`not ${status} on every gateway within 5 s`)
      await pause(50)
    }
  }
}

const ingest = { tenant: 'acme', scopes: ['ingest'] } as const

test('a key works on every gateway within five seconds, and a revoked one stops within five', async () => {
  // With the interval of the product.
  const gateway = await startGateway({
    config: { ...config, dataDir: path.join(directory, 'three') },
    clickhouseUrl: engine.url,
    needsKeys: true,
    heartbeatMs: 0,
  })
  gateways.push(gateway)
  const { key, text } = await createKey(engine.client, ingest)
  await everywhere(text, 200)
  await revokeKey(engine.client, key.id)
  await everywhere(text, 401)
  gateways.pop()
  await gateway.stop()
})

test('of a right id with a wrong secret nothing is known', async () => {
  const { text } = await createKey(engine.client, ingest)
  await everywhere(text, 200)
  const last = text.at(-1) === 'x' ? 'y' : 'x'
  for (const gateway of gateways) expect(await post(gateway, text.slice(0, -1) + last)).toBe(401)
})

test('a wrong secret takes as long to refuse as an id nobody has', async () => {
  const { key, text } = await createKey(engine.client, ingest)
  await everywhere(text, 200)
  const [gateway] = gateways as [Gateway]
  const took = { known: [] as number[], unknown: [] as number[] }
  // In turns, so that a machine that slows down slows both; the quick ones, because waiting says nothing.
  for (let i = 0; i < 120; i++) {
    for (const [whose, id] of [['known', key.id] as const, ['unknown', 'nobody00'] as const]) {
      const before = performance.now()
      await post(gateway, `agn_${id}_${'x'.repeat(36)}`)
      took[whose].push(performance.now() - before)
    }
  }
  const quickMs = (times: number[]): number => times.sort((a, b) => a - b)[20] ?? 0
  const [known, unknown] = [quickMs(took.known), quickMs(took.unknown)]
  expect(Math.max(known, unknown) / Math.min(known, unknown)).toBeLessThan(2)
})

test('a rotated key works with both secrets until its grace is over, however long the list stays the same', async () => {
  const { key, text } = await createKey(engine.client, ingest)
  const { text: next, after } = await rotateKey(engine.client, key.id, 4_000)
  await everywhere(next, 200)
  await everywhere(text, 200)
  const over = after.formerSecrets[0]?.validUntil.getTime() ?? 0
  await pause(over - Date.now())
  for (const gateway of gateways) {
    expect(await post(gateway, text)).toBe(401)
    expect(await post(gateway, next)).toBe(200)
  }
})

test('a key stops at the instant it expires', async () => {
  const expiresAt = new Date(Date.now() + 4_000)
  const { text } = await createKey(engine.client, { ...ingest, expiresAt })
  await everywhere(text, 200)
  await pause(expiresAt.getTime() - Date.now())
  for (const gateway of gateways) expect(await post(gateway, text)).toBe(401)
})

test('a key with a limit of its own is told to wait when it has sent more', async () => {
  const { text } = await createKey(engine.client, { ...ingest, bytesPerSecond: 1_000 })
  await everywhere(text, 200)
  const [gateway] = gateways as [Gateway]
  expect(await post(gateway, text, { body: record({}, `large ${'x'.repeat(100_000)}`) })).toBe(200)
  expect(await post(gateway, text)).toBe(429)
})

test('health says how many keys are known and how old the list is', async () => {
  for (const gateway of gateways) {
    expect(gateway.health().details).toMatchObject({ keys: expect.any(Number), keysAgeSeconds: expect.any(Number) })
    expect(Number(gateway.health().details.keysAgeSeconds)).toBeLessThanOrEqual(5)
  }
})

describe('while ClickHouse is away', () => {
  const dataDir = path.join(directory, 'away')
  let known = ''

  async function restart(): Promise<SpoolOnlyGateway> {
    return startSpoolOnlyGateway({ dataDir, needsKeys: true })
  }

  beforeAll(async () => {
    known = (await createKey(engine.client, ingest)).text
    const before = await startGateway({
      config: { ...config, dataDir },
      clickhouseUrl: engine.url,
      needsKeys: true,
      heartbeatMs: 0,
    })
    expect(await post(before, known)).toBe(200)
    await before.stop()
  })

  test('a gateway that starts knows the keys it knew, and says how old they are', async () => {
    const gateway = await restart()
    expect(await post(gateway, known)).toBe(200)
    expect(await post(gateway, known.replace(/.$/, '!'))).toBe(401)
    const { body } = await send(gateway.port, { method: 'GET', path: '/readyz' })
    expect(body.toString()).toBe('{"ready":true}')
    await gateway.stop()
  })

  test('what it keeps for that is for its owner only, and holds no secret', () => {
    const file = path.join(dataDir, 'keys-cache.json')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readFileSync(file, 'utf8')).toContain(known.split('_')[1])
    expect(readFileSync(file, 'utf8')).not.toContain(known.split('_')[2])
    expect(readdirSync(dataDir).filter((name) => name.startsWith('keys-cache.json.'))).toEqual([])
  })

  test('a gateway beyond loopback that knows no key does not start, and says what to do', async () => {
    await expect(
      startSpoolOnlyGateway({
        needsKeys: true,
        keys: [{ name: 'r', tenant: 'default', scopes: ['read'], secret: 'r'.repeat(32) }],
      }),
    ).rejects.toMatchObject({
      code: 'no_keys',
      exitCode: 2,
      message: expect.stringContaining('no key with scope ingest'),
      hint: expect.stringContaining('agnes keys create --scope ingest'),
    })
  })
})

describe('tenants', () => {
  const texts: Record<string, string> = {}
  beforeAll(async () => {
    for (const tenant of ['acme', 'beta']) {
      texts[tenant] = (await createKey(engine.client, { tenant, scopes: ['ingest'] })).text
      await everywhere(texts[tenant], 200)
    }
  })

  async function tenantsOf(bodies: readonly string[]): Promise<Record<string, string[]>> {
    const giveUpAt = performance.now() + 10_000
    for (;;) {
      const result = await engine.client.query({
        query:
          'SELECT Body AS body, arraySort(groupArray(toString(TenantId))) AS tenants FROM otel_logs WHERE Body IN {bodies:Array(String)} GROUP BY body',
        query_params: { bodies },
        format: 'JSONEachRow',
      })
      const rows = await result.json<{ body: string; tenants: string[] }>()
      if (rows.length >= new Set(bodies).size)
        return Object.fromEntries(rows.map(({ body, tenants }) => [body, tenants]))
      if (performance.now() > giveUpAt) throw new Error(`${rows.length} of ${bodies.length} are stored`)
      await pause(200)
    }
  }

  test('P13: that send the same bytes keep an event each', async () => {
    const body = record({}, 'the same bytes')
    const [gateway] = gateways as [Gateway]
    for (const tenant of ['acme', 'beta', 'acme']) expect(await post(gateway, texts[tenant] ?? '', { body })).toBe(200)
    await expect
      .poll(() => tenantsOf(['the same bytes']), { timeout: 10_000 })
      .toEqual({ 'the same bytes': ['acme', 'beta'] })
  })

  test("P22: nothing a client sends makes an event another tenant's", async () => {
    const word = fc.constantFrom('acme', 'beta', 'default', 'admin', '*', '')
    const name = fc.constantFrom(
      'tenant',
      'tenant.id',
      'TenantId',
      'agnes.tenant',
      'agnes.tenant.id',
      'tenant_id',
      'project',
    )
    const header = fc.constantFrom(
      'X-Tenant',
      'X-Scope-OrgID',
      'TenantId',
      'X-Agnes-Tenant',
      'Baggage',
      'X-ClickHouse-User',
    )
    const sent: { tenant: string; body: string }[] = []
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('acme', 'beta'),
        fc.dictionary(name, word, { minKeys: 1 }),
        fc.dictionary(header, word),
        fc.dictionary(name, word),
        async (tenant, attributes, headers, query) => {
          const [gateway] = gateways as [Gateway]
          const text = `claimed ${++events}`
          const status = await post(gateway, texts[tenant] ?? '', {
            headers,
            query: `?${new URLSearchParams(query)}`,
            body: record(attributes, text),
          })
          expect(status).toBe(200)
          sent.push({ tenant, body: text })
        },
      ),
      { numRuns: 60 },
    )
    const stored = await tenantsOf(sent.map(({ body }) => body))
    for (const { tenant, body } of sent) expect(stored[body]).toEqual([tenant])
  })
})

test("the gateway's own heartbeat comes in though everybody needs a key, and no key was logged", async () => {
  const gateway = await startGateway({
    config: { ...config, dataDir: path.join(directory, 'pulse') },
    clickhouseUrl: engine.url,
    sealAfterMs: 50,
    needsKeys: true,
  })
  const giveUpAt = performance.now() + 10_000
  while (Number(gateway.health().details.received) === 0) {
    if (performance.now() > giveUpAt) throw new Error('no heartbeat within 10 s')
    await pause(50)
  }
  await gateway.stop()
  expect(logged.join('\n')).not.toMatch(/agn_|own_/)
})
