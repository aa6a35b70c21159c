/**
 * The wire itself: what curl, Grafana's ClickHouse plugin (clickhouse-go in HTTP mode) and an attacker send, byte by byte.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'

let engine: TestEngine
let secretDirectory: string
let secret: string
let written: string

beforeAll(async () => {
  engine = await startTestEngine({ empty: true })
  secretDirectory = mkdtempSync(path.join(tmpdir(), 'agnes-secret-'))
  secret = path.join(secretDirectory, 'secret.csv')
  written = path.join(secretDirectory, 'written.txt')
  writeFileSync(secret, 'CANARY1\nCANARY2\n')
  await post('CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a')
  await post("INSERT INTO t VALUES (1, 'x')")
})
afterAll(async () => {
  rmSync(secretDirectory, { recursive: true })
  await engine.stop()
})

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

interface Options {
  readonly method?: string
  readonly path?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly user?: string
}

function post(body: string | Buffer, options: Options = {}): Promise<Answer> {
  const url = new URL(engine.url)
  url.pathname = options.path ?? '/'
  url.search = new URLSearchParams({ database: 'agnes', ...options.query }).toString()
  const method = options.method ?? 'POST'
  const credentials = options.user === undefined ? {} : { Authorization: basic(options.user) }
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, { method, headers: { ...credentials, ...options.headers } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      )
    })
    request.on('error', reject)
    request.end(method === 'POST' ? body : undefined)
  })
}

function basic(user: string): string {
  return `Basic ${Buffer.from(`${user}:`).toString('base64')}`
}

const text = ({ body }: Answer): string => body.toString()

describe('curl', () => {
  test('GET /ping and GET / say Ok.', async () => {
    expect(text(await post('', { method: 'GET', path: '/ping' }))).toBe('Ok.\n')
    expect(text(await post('', { method: 'GET', query: {} }))).toBe('Ok.\n')
  })

  test('a query in the URL, in the body, or begun in one and ended in the other', async () => {
    expect(text(await post('', { method: 'GET', query: { query: 'SELECT 1' } }))).toBe('1\n')
    expect(text(await post('SELECT 2'))).toBe('2\n')
    expect(text(await post('3', { query: { query: 'SELECT' } }))).toBe('3\n')
  })

  test('FORMAT in the query, default_format and the header choose the format, in this order', async () => {
    expect(text(await post('SELECT 1 AS a FORMAT CSV', { query: { default_format: 'JSONEachRow' } }))).toBe('1\n')
    expect(text(await post('SELECT 1 AS a', { query: { default_format: 'JSONEachRow' } }))).toBe('{"a":1}\n')
    expect(text(await post('SELECT 1 AS a', { headers: { 'X-ClickHouse-Format': 'JSONEachRow' } }))).toBe('{"a":1}\n')
  })

  test('parameters and settings in the URL', async () => {
    expect(text(await post('SELECT {a:UInt8} + 1', { query: { param_a: '41' } }))).toBe('42\n')
    const failed = await post('SELECT number FROM numbers(10)', { query: { max_result_rows: '5' } })
    expect(failed.headers['x-clickhouse-exception-code']).toBe('396')
  })

  test('a POST with data behind INSERT … FORMAT, gzipped too', async () => {
    await post('CREATE TABLE curl (a UInt8) ENGINE = Memory')
    await post('INSERT INTO curl FORMAT CSV\n1\n2\n')
    await post(gzipSync('3\n'), {
      query: { query: 'INSERT INTO curl FORMAT CSV' },
      headers: { 'Content-Encoding': 'gzip' },
    })
    expect(text(await post('SELECT sum(a) FROM curl'))).toBe('6\n')
  })

  test('GET changes nothing', async () => {
    const answer = await post('', { method: 'GET', query: { query: 'CREATE TABLE g (a UInt8) ENGINE = Memory' } })
    expect(answer.headers['x-clickhouse-exception-code']).toBe('164')
    expect(text(await post('EXISTS TABLE g'))).toBe('0\n')
  })

  test('a backup, which writes files, is for a POST of the user agnes alone', async () => {
    const to = path.join(secretDirectory, 'backup')
    const backup = `/* as a tool writes it */ BACKUP TABLE t TO File('${to}')`
    const refused = [
      await post('', { method: 'GET', query: { query: backup } }),
      await post(backup, { user: 'grafana' }),
    ]
    expect(refused.map(({ headers }) => headers['x-clickhouse-exception-code'])).toEqual(['164', '164'])
    expect(existsSync(to)).toBe(false)
    expect(text(await post(backup))).toContain('BACKUP_CREATED')
    expect(existsSync(to)).toBe(true)
  })

  test('several statements in one request are refused', async () => {
    expect((await post('SELECT 1; SELECT 2')).headers['x-clickhouse-exception-code']).toBe('62')
    expect(text(await post('SELECT 1;'))).toBe('1\n')
  })
})

describe('errors', () => {
  test.each([
    ['SELECT * FROM nowhere', 404, '60'],
    ['SELECT FROM WHERE', 400, '62'],
    ["SELECT toUInt8('x')", 400, '6'],
    ['', 400, '62'],
  ])('%j answers %i with its code and one readable message', async (sql, status, code) => {
    const answer = await post(sql)
    expect(answer.status).toBe(status)
    expect(answer.headers['x-clickhouse-exception-code']).toBe(code)
    expect(text(answer)).toMatch(
      new RegExp(`^Code: ${code}\\. DB::Exception: .+ \\([A-Z_]+\\) \\(version .+\\)\n$`, 's'),
    )
    expect(text(answer)).not.toMatch(/\.(ts|js|cpp):\d+/)
  })

  test.each<[string, Options]>([
    ['a path we do not have', { path: '/play' }],
    ['a method we do not have', { method: 'DELETE' }],
    ['LZ4', { query: { compress: '1' } }],
    ['a user we do not have', { user: 'root' }],
    ['a body that is no gzip', { headers: { 'Content-Encoding': 'gzip' } }],
    ['a body in brotli', { headers: { 'Content-Encoding': 'br' } }],
    ['a parameter with a hostile name', { query: { "param_a = 1; DROP TABLE t; --'": '1' } }],
    ['a setting with a hostile name', { query: { 'a = 1, readonly': '0' } }],
    ['a setting that does not exist', { query: { no_such_setting: '1' } }],
    ['a database that does not exist', { query: { database: "x`; DROP TABLE t; --'" } }],
    ['a query id that is no header', { query: { query_id: 'a\r\nX-Injected: 1' } }],
  ])('%s is refused in one line, and the engine goes on', async (_what, options) => {
    const answer = await post('SELECT 1', options)
    if (options.query?.query_id === undefined) expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.headers['x-injected']).toBeUndefined()
    expect(text(await post('SELECT count() FROM t'))).toBe('1\n')
  })

  test('a web page from elsewhere cannot ask', async () => {
    const pages: readonly Record<string, string>[] = [
      { Origin: 'https://evil.example' },
      { 'Sec-Fetch-Site': 'cross-site' },
      { Host: 'rebound.example:8123' },
    ]
    for (const headers of pages) {
      const answer = await post('SELECT 1', { headers })
      expect(answer.headers['x-clickhouse-exception-code']).toBe('497')
    }
  })
})

describe("Grafana's ClickHouse plugin", () => {
  const plugin = (sql: string, more: Options = {}): Promise<Answer> =>
    post(sql, {
      user: 'grafana',
      query: { default_format: 'Native', client_protocol_version: '54460', max_execution_time: '64' },
      headers: { 'Accept-Encoding': 'gzip', 'User-Agent': 'grafana/13.0.2 clickhouse-go/2.47.0' },
      ...more,
    })
  const native = (answer: Answer): Buffer =>
    answer.headers['content-encoding'] === 'gzip' ? gunzipSync(answer.body) : answer.body

  test('the handshake: one block at revision 54460 that says revision 0', async () => {
    const bytes = native(await plugin('SELECT displayName(), version(), revision(), timezone()'))
    const version = text(await post('SELECT version()')).trim()
    const string = (value: string): number[] => [value.length, ...Buffer.from(value)]
    const column = (name: string, type: string, value: number[]): number[] => [
      ...string(name),
      ...string(type),
      0,
      ...value,
    ]
    expect([...bytes]).toEqual([
      ...[1, 0, 2, 255, 255, 255, 255, 0, 4, 1],
      ...column('displayName()', 'String', string('agnes')),
      ...column('version()', 'String', string(version)),
      ...column('revision()', 'UInt32', [0, 0, 0, 0]),
      ...column('timezone()', 'String', string('UTC')),
    ])
  })

  test('SELECT 1 is a block of one column named 1', async () => {
    const answer = await plugin('SELECT 1')
    expect(answer.headers['content-encoding']).toBe('gzip')
    expect([...native(answer)]).toEqual([1, 1, 1, 0x31, 5, ...Buffer.from('UInt8'), 1])
  })

  test('no rows are a block with the columns', async () => {
    const bytes = native(await plugin("SELECT 1 AS a, 'x' AS b WHERE 0"))
    expect([...bytes]).toEqual([2, 0, 1, 0x61, 5, ...Buffer.from('UInt8'), 1, 0x62, 6, ...Buffer.from('String')])
  })

  test('an error has its status, code and text', async () => {
    const answer = await plugin('SELECT * FROM nowhere')
    expect(answer.status).toBe(404)
    expect(answer.headers['x-clickhouse-exception-code']).toBe('60')
    expect(native(answer).toString()).toContain('DB::Exception')
  })

  test.each([
    'SHOW DATABASES',
    'SHOW TABLES FROM "agnes"',
    'DESC TABLE "agnes"."t"',
    'SELECT name FROM system.functions LIMIT 10000',
  ])('%s works for a user who may only read', async (sql) => {
    const answer = await plugin(sql)
    expect(answer.status).toBe(200)
    expect(native(answer).length).toBeGreaterThan(10)
  })

  test('max_execution_time may be changed, and ends a query', async () => {
    const answer = await plugin('SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))', {
      query: { default_format: 'Native', max_execution_time: '1' },
    })
    expect(answer.headers['x-clickhouse-exception-code']).toBe('159')
  })
})

describe('a user who may only read', () => {
  const attack = (sql: string, query: Readonly<Record<string, string>> = {}): Promise<Answer> =>
    post(sql, { user: 'grafana', query })
  const [S, W] = ['{secret}', '{written}']
  const attacks: readonly [sql: string, query?: Readonly<Record<string, string>>][] = [
    ["INSERT INTO t VALUES (2, 'y')"],
    ["INSERT INTO t VALUES (2, 'y')", { readonly: '0' }],
    ['SELECT 1 SETTINGS readonly = 0'],
    ['SET readonly = 0'],
    ['DROP TABLE t'],
    ['TRUNCATE TABLE t'],
    ['ALTER TABLE t DELETE WHERE 1'],
    ['CREATE TABLE z (a Int8) ENGINE = Memory'],
    ['CREATE TEMPORARY TABLE z (a Int8)'],
    ['SELECT 1; DROP TABLE t'],
    ["WITH 1 AS x INSERT INTO t SELECT x, 'z'"],
    ["EXPLAIN INSERT INTO t SELECT 3, 'z'"],
    [`INSERT INTO FUNCTION file('${W}', 'CSV') SELECT 1`],
    [`SELECT 1 INTO OUTFILE '${W}'`],
    [`EXPLAIN SELECT 1 INTO OUTFILE '${W}'`],
    ['SYSTEM STOP MERGES'],
    ['KILL QUERY WHERE 1'],
    ['SELECT 1', { session_id: 'mine' }],
    [`SELECT * FROM file('${S}', 'LineAsString')`],
    [`SELECT * FROM \`file\`('${S}', 'LineAsString')`],
    [`SELECT * FROM "FiLe"('${S}', 'LineAsString')`],
    [`SELECT * FROM file/**/('${S}', 'LineAsString')`],
    [`SELECT file('${S}')`],
    [`SELECT * FROM \`${S}\``, { database: 'default' }],
    [`SELECT * FROM '${S}'`],
    [`SELECT * FROM default.\`${S}\``],
    [`SELECT * FROM \`def\\x61ult\`.\`${S}\``],
    ['SELECT * FROM {d:Identifier}.{t:Identifier}', { param_d: 'default', param_t: S }],
    ['SELECT * FROM {t:Identifier}', { param_t: `default.${S}` }],
    ["SELECT * FROM merge('default', 'secret')"],
    [`SELECT 'CANARY1' IN default.\`${S}\``],
    [`SELECT 1 FORMAT Template SETTINGS format_template_resultset = '${S}'`],
    ['SELECT 1 AS a FORMAT Template', { format_template_row: S }],
    ['SELECT * FROM t', { additional_result_filter: `toUInt8(file('${S}'))` }],
    ['SELECT *', { implicit_table_at_top_level: `default.\`${S}\`` }],
    [`SELECT 1 FORMAT CapnProto SETTINGS format_schema = '${S}:X'`],
    ["SELECT * FROM executable('id', 'TSV', 'a String')"],
  ]

  test.each(attacks)('%s %j', async (sql, query = {}) => {
    const fill = (value: string): string => value.replaceAll(S, secret).replaceAll(W, written)
    const filled = Object.fromEntries(Object.entries(query).map(([name, value]) => [name, fill(value)]))
    const answer = await attack(fill(sql), filled)
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(text(answer)).not.toContain('CANARY2')
    expect(existsSync(written)).toBe(false)
    expect(text(await post('SELECT count(), sum(a) FROM t'))).toBe('1\t1\n')
  })

  test('is not refused what only looks like writing', async () => {
    expect(text(await attack("SELECT 'DROP TABLE t; INSERT INTO' AS a -- SET readonly"))).toBe(
      'DROP TABLE t; INSERT INTO\n',
    )
    expect(text(await attack('WITH (SELECT max(a) FROM t) AS m SELECT m FROM t WHERE a = m'))).toBe('1\n')
  })

  test('the secret was there to be found', () => {
    expect(readFileSync(secret, 'utf8')).toContain('CANARY2')
  })
})
