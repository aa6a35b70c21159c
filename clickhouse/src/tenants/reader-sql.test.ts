/** The SQL of a tenant's user: it covers every table, and ClickHouse's own parser takes it. What it does needs a server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { migrate } from '../migrate/migrate.ts'
import { readableViews, readerSql, tenantTables } from './reader-sql.ts'

let engine: TestEngine
beforeAll(async () => {
  engine = await startTestEngine()
  await migrate(engine.client)
})
afterAll(() => engine.stop())

const options = { tenant: 'acme', passwordHash: 'ab'.repeat(32), fullAccess: ['default', 'agnes'] }

async function names(query: string): Promise<string[]> {
  const result = await engine.client.query({ query, format: 'JSONEachRow' })
  return (await result.json<{ name: string }>()).map(({ name }) => name)
}

test('no table with rows of tenants is forgotten', async () => {
  const found = await names(`SELECT concat(table, '.', c.name) AS name FROM system.columns AS c
    WHERE database = 'agnes' AND lower(c.name) IN ('tenant', 'tenantid', 'tenant_id')
    AND table IN (SELECT name FROM system.tables WHERE database = 'agnes' AND engine != 'View')`)
  expect(tenantTables.map(({ name, column }) => `${name}.${column}`).sort()).toEqual(found.sort())
})

test('every view is open to tenants but those of the keys, of silences and of the Telegram bot', async () => {
  const found = await names("SELECT name FROM system.tables WHERE database = 'agnes' AND engine = 'View'")
  const closed = ['current_alert_silences', 'current_api_keys', 'current_telegram_deliveries', 'current_telegram_links']
  expect([...readableViews, ...closed].sort()).toEqual(found.sort())
})

describe.each([['a server', undefined] as const, ['a cluster', 'main'] as const])('for %s', (_, cluster) => {
  const statements = readerSql({ ...options, ...(cluster === undefined ? {} : { cluster }) })

  test('ClickHouse can parse each statement', async () => {
    for (const sql of statements) {
      const [parsed] = await names(`SELECT formatQuerySingleLine('${sql.replaceAll("'", "\\'")}') AS name`)
      expect(parsed).toBeTruthy()
      if (cluster !== undefined) expect(parsed).toContain(`ON CLUSTER ${cluster}`)
    }
  })

  test('each table keeps its full users before it shuts everybody else out, and opens to the tenant its own rows', () => {
    const tables = cluster === undefined ? ['otel_logs', 'api_keys'] : ['otel_logs', 'otel_logs_local', 'api_keys']
    for (const table of tables) {
      const policies = statements.filter((sql) => sql.includes(`ROW POLICY`) && sql.includes(`.\`${table}\` `))
      expect(policies).toEqual([
        expect.stringMatching(/ USING 1 TO `default`, `agnes`$/),
        expect.stringMatching(/ USING 0 TO ALL EXCEPT `default`, `agnes`$/),
        expect.stringMatching(/ USING (TenantId|tenant) = 'acme' TO `agnes_tenant_acme`$/),
      ])
    }
  })

  test('its user may read the views, neither keys nor migrations, and may only change what clients must', () => {
    const granted = statements.filter((sql) => sql.startsWith('GRANT') && sql.includes('SELECT')).join('\n')
    expect(granted).toContain('.`timeline` TO')
    expect(granted).not.toMatch(/api_keys|schema_migrations|\*/)
    expect(statements[0]).toMatch(/readonly = 1, max_execution_time = 60 MIN 1 MAX 300 CHANGEABLE_IN_READONLY/)
  })
})

test('a name that is none never gets into the text', () => {
  const bad = "a' OR 1"
  for (const wrong of [
    { tenant: bad },
    { passwordHash: bad },
    { fullAccess: [bad] },
    { cluster: bad },
    { database: bad },
  ]) {
    expect(() => readerSql({ ...options, ...wrong })).toThrow(/^not a /)
  }
})
