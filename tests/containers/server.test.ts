/** The product on a real ClickHouse server, and Grafana over it, as compose.yaml puts them together. */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createAgnesClient } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { splitStatements } from '../../clickhouse/src/migrate/split.ts'
import { deploy, text, yamlDocuments } from '../deploy/files.ts'
import { command, type Ran, repository, run } from '../support/agnes.ts'
import { type LedgerClient, startLedgerClient } from '../support/ledger-client.ts'
import { type Service, startService } from '../support/processes.ts'
import { type Container, createNetwork, noDocker, startContainer } from './docker.ts'

const missing = noDocker()
if (missing !== undefined) process.stderr.write(`containers: skipped: ${missing}\n`)

const { services } = yamlDocuments('compose.yaml')[0] as {
  services: Readonly<Record<string, { image: string; environment?: Readonly<Record<string, string>> }>>
}
const image = (service: string): string => services[service]?.image ?? ''
const passwords = { owner: 'o', gateway: 'g', processors: 'p', inbox: 'i', grafana: 'r' } as const

describe.skipIf(missing !== undefined)('with a ClickHouse server', () => {
  let directory: string
  let network: Awaited<ReturnType<typeof createNetwork>>
  let clickhouse: Container
  let gateway: Service | undefined
  let sender: LedgerClient | undefined

  const urlOf = (user: string, password: string): string => {
    const url = new URL('/agnes', clickhouse.url)
    url.username = user
    url.password = password
    return url.href
  }
  const agnes = (user: 'owner' | 'gateway', ...args: string[]): Promise<Ran> =>
    run(process.execPath, [command, ...args], {
      AGNES_DATA_DIR: path.join(directory, 'data'),
      CLICKHOUSE_URL: urlOf(`agnes_${user}`, passwords[user]),
      AGNES_OTLP_PORT: '1',
    })
  const ask = async <Row>(user: string, password: string, query: string): Promise<Row[]> => {
    const client = createAgnesClient({ url: urlOf(user, password) })
    try {
      return await (await client.query({ query, format: 'JSONEachRow' })).json<Row>()
    } finally {
      await client.close()
    }
  }
  const stored = async (): Promise<string[]> =>
    (
      await ask<{ id: string }>(
        'agnes_owner',
        passwords.owner,
        "SELECT EventId AS id FROM otel_logs WHERE Action = 'ledger.entry'",
      )
    ).map(({ id }) => id)

  beforeAll(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'agnes-containers-'))
    const backups = path.join(directory, 'backups')
    mkdirSync(backups)
    // The server is another user.
    chmodSync(backups, 0o777)
    network = await createNetwork()
    clickhouse = await startContainer({
      image: image('clickhouse'),
      env: { CLICKHOUSE_USER: 'admin', CLICKHOUSE_PASSWORD: 'admin', CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT: '1' },
      mounts: [
        `${deploy}/clickhouse/config.d/agnes.xml:/etc/clickhouse-server/config.d/agnes.xml:ro`,
        `${backups}:/backups`,
      ],
      port: 8123,
      readyPath: '/ping',
      network: network.name,
      alias: 'clickhouse',
    })
    const admin = createAgnesClient({ url: urlOf('admin', 'admin').replace('/agnes', '/default') })
    const hashes = Object.fromEntries(
      Object.entries(passwords).map(([user, password]) => [user, createHash('sha256').update(password).digest('hex')]),
    )
    for (const query of splitStatements(text('clickhouse/users.sql'))) {
      await admin.command({ query, query_params: hashes, http_headers: { 'X-ClickHouse-Database': 'default' } })
    }
    await admin.close()
  })
  afterAll(async () => {
    sender?.abandon()
    await gateway?.stop()
    await clickhouse?.stop()
    await network?.remove()
    rmSync(directory, { recursive: true, force: true })
  })

  test('the owner migrates, the gateway stores each acknowledged event once, Grafana reads and no more', async () => {
    expect(await agnes('owner', 'migrate')).toMatchObject({ code: 0 })
    gateway = await startService('gateway', {
      AGNES_DATA_DIR: path.join(directory, 'data'),
      AGNES_OTLP_PORT: '0',
      AGNES_OTLP_GRPC_PORT: '0',
      CLICKHOUSE_URL: urlOf('agnes_gateway', passwords.gateway),
    })
    sender = startLedgerClient({ url: gateway.url, name: 'a', recordsARequest: 50 })
    while (sender.acknowledged.size < 1_000) await pause(50)
    await sender.stop()
    const acknowledged = [...sender.acknowledged].sort()
    for (const giveUpAt = performance.now() + 60_000; (await stored()).length < acknowledged.length; await pause(100)) {
      if (performance.now() > giveUpAt) throw new Error('not stored within a minute')
    }
    expect((await stored()).sort()).toEqual(acknowledged)

    const asGrafana = (query: string) => ask<{ n: string }>('agnes_grafana', passwords.grafana, query)
    const counted = await asGrafana('SELECT count() AS n FROM otel_logs SETTINGS max_execution_time = 30')
    expect(Number(counted[0]?.n)).toBeGreaterThanOrEqual(acknowledged.length)
    await expect(asGrafana('SELECT count() AS n FROM api_keys')).rejects.toThrow(/Not enough privileges|ACCESS_DENIED/)
    await expect(asGrafana('SELECT 1 AS n SETTINGS max_memory_usage = 1')).rejects.toThrow(/readonly|READONLY/i)
  })

  test('P40: what was backed up on a server is there once after the database was lost', async () => {
    const before = (await stored()).sort()
    const backup = path.join(directory, 'backup')
    expect(await agnes('owner', 'backup', backup)).toMatchObject({ code: 0 })
    await gateway?.stop()
    gateway = undefined
    const admin = createAgnesClient({ url: urlOf('admin', 'admin').replace('/agnes', '/default') })
    await admin.command({
      query: 'DROP DATABASE agnes SYNC',
      http_headers: { 'X-ClickHouse-Database': 'default' },
    })
    await admin.close()
    expect(await agnes('owner', 'restore', backup, '--replace')).toMatchObject({ code: 0 })
    expect((await stored()).sort()).toEqual(before)
    const again = await agnes('owner', 'restore', backup)
    expect(again).toMatchObject({ code: 3, stderr: expect.stringContaining('nothing was changed') })
  })

  test('Grafana reads it by its plugin, and takes every dashboard', async () => {
    const grafana = await startContainer({
      image: image('grafana'),
      env: {
        GF_PLUGINS_PREINSTALL_SYNC: services.grafana?.environment?.GF_PLUGINS_PREINSTALL_SYNC ?? '',
        GF_SECURITY_ADMIN_PASSWORD: 'admin',
      },
      port: 3000,
      readyPath: '/api/health',
      network: network.name,
      alias: 'grafana',
    })
    try {
      const headers = {
        Authorization: `Basic ${Buffer.from('admin:admin').toString('base64')}`,
        'Content-Type': 'application/json',
      }
      const call = async (method: string, where: string, body?: unknown) => {
        const answer = await fetch(`${grafana.url}${where}`, {
          method,
          headers,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        })
        return { status: answer.status, body: await answer.json() }
      }
      const datasource = {
        name: 'ClickHouse',
        uid: 'agnes-clickhouse',
        type: 'grafana-clickhouse-datasource',
        access: 'proxy',
        jsonData: {
          host: 'clickhouse',
          port: 8123,
          protocol: 'http',
          username: 'agnes_grafana',
          defaultDatabase: 'agnes',
        },
        secureJsonData: { password: passwords.grafana },
      }
      expect(await call('POST', '/api/datasources', datasource)).toMatchObject({ status: 200 })
      const health = await call('GET', `/api/datasources/uid/${datasource.uid}/health`)
      expect(health).toMatchObject({ status: 200, body: { status: 'OK' } })
      const rawSql = 'SELECT count() AS n FROM otel_logs'
      const asked = await call('POST', '/api/ds/query', {
        queries: [
          { refId: 'A', datasource: { uid: datasource.uid }, editorType: 'sql', queryType: 'table', format: 1, rawSql },
        ],
        from: 'now-1h',
        to: 'now',
      })
      expect(asked).toMatchObject({ status: 200, body: { results: { A: { status: 200 } } } })
      const folder = path.join(repository, 'grafana/dashboards')
      for (const name of existsSync(folder) ? readdirSync(folder) : []) {
        const dashboard = JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as object
        const taken = await call('POST', '/api/dashboards/db', { dashboard, overwrite: true })
        expect(taken, name).toMatchObject({ status: 200 })
      }
    } finally {
      await grafana.stop()
    }
  })
})
