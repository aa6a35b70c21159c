import { loadMigrations } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { splitStatements } from '../../clickhouse/src/migrate/split.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { deployedFiles, text } from './files.ts'

let engine: TestEngine
beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

const statements = splitStatements(text('clickhouse/users.sql'))

test('the engine reads every statement of users.sql', async () => {
  expect(statements.length).toBeGreaterThan(20)
  for (const sql of statements) {
    const result = await engine.client.query({
      query: 'SELECT formatQuery({sql:String}) AS sql',
      query_params: { sql },
      format: 'JSONEachRow',
    })
    expect(await result.json(), sql).toHaveLength(1)
  }
})

test('users.sql may run again, and names nothing that does not exist', async () => {
  const created = new Set<string>()
  for (const sql of statements) {
    const code = sql.replaceAll(/^--.*$/gm, '').trim()
    if (code.startsWith('CREATE')) expect(code).toMatch(/^CREATE (\w+ )+?(IF NOT EXISTS|OR REPLACE) /)
    for (const [, name = ''] of code.matchAll(
      /^CREATE (?:USER|ROLE|SETTINGS PROFILE|QUOTA) (?:IF NOT EXISTS|OR REPLACE) (\w+)/g,
    ))
      created.add(name)
    for (const [, name = ''] of code.matchAll(/(?:DEFAULT ROLE|PROFILE|TO|FROM) '?(agnes_\w+)'?/g))
      expect(created, code).toContain(name)
  }
  const tables = (await loadMigrations()).map(({ sql }) => sql).join('\n')
  for (const [, table] of text('clickhouse/users.sql').matchAll(/\bON agnes\.(\w+)/g)) {
    expect(tables).toContain(`CREATE TABLE IF NOT EXISTS agnes.${table}`)
  }
})

test('Grafana sees neither keys nor more than it may ask for', () => {
  const sql = text('clickhouse/users.sql')
  expect(sql).toContain('REVOKE SELECT ON agnes.api_keys FROM agnes_grafana_role')
  expect(sql).toMatch(
    /PROFILE OR REPLACE agnes_readonly SETTINGS\s+readonly = 1,\s+max_execution_time = 60 MIN 1 MAX 300 CHANGEABLE_IN_READONLY/,
  )
})

test.each(deployedFiles().filter((name) => name.endsWith('.xml')))(
  '%s is well-formed: each element is closed',
  (file) => {
    const open: string[] = []
    for (const [, closing, name = '', alone] of text(file)
      .replaceAll(/<!--[\s\S]*?-->/g, '')
      .matchAll(/<(\/?)([\w.-]+)[^<>]*?(\/?)>/g)) {
      if (closing === '/') expect(open.pop(), file).toBe(name)
      else if (alone !== '/') open.push(name)
    }
    expect(open).toEqual([])
  },
)
