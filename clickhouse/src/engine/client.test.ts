/** What `@clickhouse/client` promises its users, against the embedded engine. */
import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'

let engine: TestEngine
let client: ClickHouseClient

beforeAll(async () => {
  engine = await startTestEngine({ empty: true })
  client = connect({ url: engine.url })
})
afterAll(async () => {
  await client.close()
  await engine.stop()
})

/** The client as everybody has it, but for its log of errors that a test provokes. */
function connect(options: Parameters<typeof createClient>[0]): ClickHouseClient {
  return createClient({ ...options, log: { level: ClickHouseLogLevel.OFF } })
}

async function json<T>(query: string, query_params: Record<string, unknown> = {}): Promise<T[]> {
  const result = await client.query({ query, query_params, format: 'JSONEachRow' })
  return result.json<T>()
}

async function table(columns: string): Promise<string> {
  const name = `t_${randomUUID().replaceAll('-', '')}`
  await client.command({ query: `CREATE TABLE ${name} (${columns}) ENGINE = MergeTree ORDER BY tuple()` })
  return name
}

describe('query', () => {
  test.each(['JSONEachRow', 'JSON', 'JSONCompact', 'JSONObjectEachRow', 'JSONCompactEachRowWithNames'] as const)(
    'answers in %s',
    async (format) => {
      const result = await client.query({ query: 'SELECT number AS n FROM numbers(3)', format })
      const text = await result.text()
      expect(text.match(/[012]/g)).toEqual(expect.arrayContaining(['0', '1', '2']))
    },
  )

  test('answers in CSV, with the type and names', async () => {
    const result = await client.query({ query: "SELECT 1 AS a, 'x,\"y' AS b", format: 'CSVWithNames' })
    expect(await result.text()).toBe('"a","b"\n1,"x,""y"\n')
  })

  test('streams a million rows in chunks', async () => {
    const result = await client.query({ query: 'SELECT number AS n FROM numbers(1000000)', format: 'JSONEachRow' })
    let rows = 0
    let chunks = 0
    for await (const chunk of result.stream<{ n: number }>()) {
      chunks++
      rows += chunk.length
    }
    expect(rows).toBe(1_000_000)
    expect(chunks).toBeGreaterThan(10)
  })

  test('an answer without rows is empty and no error', async () => {
    expect(await json('SELECT 1 AS a WHERE 0')).toEqual([])
  })

  test('binds parameters of every kind; none of them is SQL', async () => {
    const values = {
      text: "it's \\ \t \n %41 + & ? ; DROP TABLE x -- é 漢 🙂",
      number: -12.5,
      flag: true,
      missing: null,
      list: ["a'b", 'c\\d', ''],
      map: { "k'1": 'v"1' },
      when: new Date('2026-11-21T10:11:12.345Z'),
      id: randomUUID(),
    }
    const [row] = await json(
      `SELECT {text:String} AS text, {number:Float64} AS number, {flag:Bool} AS flag, {missing:Nullable(String)} AS missing,
        {list:Array(String)} AS list, {map:Map(String, String)} AS map,
        toUnixTimestamp64Milli({when:DateTime64(3)}) AS when, {id:UUID} AS id`,
      values,
    )
    expect(row).toEqual({ ...values, when: values.when.getTime() })
  })

  test('a parameter can name a table', async () => {
    const name = await table('a UInt8')
    expect(await json('SELECT count() AS n FROM {name:Identifier}', { name })).toEqual([{ n: 0 }])
  })

  test('settings hold for their request only', async () => {
    const setting = "SELECT value FROM system.settings WHERE name = 'max_result_rows'"
    const result = await client.query({
      query: setting,
      format: 'JSONEachRow',
      clickhouse_settings: { max_result_rows: '1234' },
    })
    expect(await result.json()).toEqual([{ value: '1234' }])
    expect(await json(setting)).toEqual([{ value: '0' }])
  })

  test('gives back the query id it was given', async () => {
    const query_id = randomUUID()
    const result = await client.query({ query: 'SELECT 1', format: 'JSONEachRow', query_id })
    expect(result.query_id).toBe(query_id)
  })

  test('compresses answers on demand', async () => {
    const compressed = connect({ url: engine.url, compression: { response: true, request: true } })
    const result = await compressed.query({ query: "SELECT repeat('x', 100000) AS x", format: 'JSONEachRow' })
    expect((await result.json<{ x: string }>())[0]?.x).toHaveLength(100_000)
    await compressed.close()
  })

  test('another database is chosen by the URL', async () => {
    const other = connect({ url: engine.url.replace(/\/agnes$/, '/system') })
    const result = await other.query({ query: 'SELECT currentDatabase() AS db', format: 'JSONEachRow' })
    expect(await result.json()).toEqual([{ db: 'system' }])
    await other.close()
  })
})

describe('errors', () => {
  test.each([
    ['SELECT nonsense(1)', '46', 'UNKNOWN_FUNCTION'],
    ['SELECT * FROM no_such_table', '60', 'UNKNOWN_TABLE'],
    ['SELEC 1', '62', 'SYNTAX_ERROR'],
    ["SELECT toUInt8('x')", '6', 'CANNOT_PARSE_TEXT'],
    ['SELECT throwIf(1)', '395', 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'],
  ])('%s is error %s', async (query, code, type) => {
    const failed = client.query({ query, format: 'JSONEachRow' })
    await expect(failed).rejects.toBeInstanceOf(ClickHouseError)
    await expect(failed).rejects.toMatchObject({ code, type })
  })

  test('an error in the middle of a stream fails the stream, and the rows before it are no complete answer', async () => {
    const result = await client.query({
      query: "SELECT throwIf(number = 900000, 'late') AS a FROM numbers(1000000)",
      format: 'JSONEachRow',
      clickhouse_settings: { max_block_size: '1000', max_threads: 1 },
    })
    const read = async (): Promise<void> => {
      for await (const _ of result.stream()) {
        // to its end
      }
    }
    await expect(read()).rejects.toThrow(/late/)
  })

  test('the engine goes on after an error', async () => {
    await expect(json('SELECT broken')).rejects.toThrow()
    expect(await json('SELECT 1 AS a')).toEqual([{ a: 1 }])
  })
})

describe('insert', () => {
  test('takes arrays of objects and gives them back', async () => {
    const name = await table('id UInt64, name String, tags Array(String)')
    const values = [
      { id: 1, name: "it's", tags: ['a', 'b'] },
      { id: 2, name: 'SELECT 1; DROP TABLE x', tags: [] },
    ]
    await client.insert({ table: name, values, format: 'JSONEachRow' })
    expect(await json(`SELECT * FROM ${name} ORDER BY id`)).toEqual(values)
  })

  test('takes a stream', async () => {
    const name = await table('n UInt32')
    const values = Readable.from(
      (function* () {
        for (let n = 0; n < 10_000; n++) yield { n }
      })(),
    )
    await client.insert({ table: name, values, format: 'JSONEachRow' })
    expect(await json(`SELECT count() AS rows, sum(n) AS total FROM ${name}`)).toEqual([
      { rows: 10_000, total: 49_995_000 },
    ])
  })

  test('takes CSV and only some columns', async () => {
    const name = await table("a UInt8, b String DEFAULT 'none'")
    await client.insert({
      table: name,
      values: Readable.from(['1\n2\n'], { objectMode: false }),
      format: 'CSV',
      columns: ['a'],
    })
    expect(await json(`SELECT * FROM ${name} ORDER BY a`)).toEqual([
      { a: 1, b: 'none' },
      { a: 2, b: 'none' },
    ])
  })

  test('data is data: what looks like a statement in it is stored', async () => {
    const name = await table('s String')
    const values = ["'); DROP TABLE x; --", '\\', '`', '{a:String}', '--', '/*'].map((s) => ({ s }))
    await client.insert({ table: name, values, format: 'JSONEachRow' })
    expect(await json(`SELECT s FROM ${name}`)).toEqual(values)
  })

  test('a bad row fails the whole insert', async () => {
    const name = await table('a UInt8')
    const failed = client.insert({ table: name, values: [{ a: 1 }, { a: 'x' }], format: 'JSONEachRow' })
    await expect(failed).rejects.toBeInstanceOf(ClickHouseError)
    expect(await json(`SELECT count() AS n FROM ${name}`)).toEqual([{ n: 0 }])
  })

  test('INSERT … VALUES and INSERT … SELECT run as commands', async () => {
    const name = await table('a UInt8, s String')
    await client.command({ query: `INSERT INTO ${name} VALUES (1, 'x;y'), (2, 'z')` })
    await client.command({ query: `INSERT INTO ${name} SELECT a + 10, s FROM ${name}` })
    expect(await json(`SELECT * FROM ${name} ORDER BY a`)).toEqual([
      { a: 1, s: 'x;y' },
      { a: 2, s: 'z' },
      { a: 11, s: 'x;y' },
      { a: 12, s: 'z' },
    ])
  })

  test('the same deduplication token is stored once', async () => {
    const name = `t_${randomUUID().replaceAll('-', '')}`
    await client.command({
      query: `CREATE TABLE ${name} (a UInt8) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100`,
    })
    for (let i = 0; i < 3; i++) {
      await client.insert({
        table: name,
        values: [{ a: 1 }],
        format: 'JSONEachRow',
        clickhouse_settings: { insert_deduplicate: 1, insert_deduplication_token: 'once' },
      })
    }
    expect(await json(`SELECT count() AS n FROM ${name}`)).toEqual([{ n: 1 }])
  })
})

describe('side by side', () => {
  test('a slow query holds up neither other queries nor inserts, and stops when its reader goes away', async () => {
    const name = await table('a UInt8')
    const abort = new AbortController()
    const stays = new AbortController()
    const ask = (signal: AbortSignal) =>
      client.query({
        query: 'SELECT count() AS slow FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number))',
        format: 'JSONEachRow',
        abort_signal: signal,
        clickhouse_settings: { max_threads: 1, log_comment: 'slow' },
      })
    const ended = Promise.allSettled([ask(abort.signal), ask(abort.signal)])
    const other = ask(stays.signal).catch(() => 'aborted')
    const running = async (): Promise<number> => {
      const rows = await json<{ n: number }>(
        "SELECT count() AS n FROM system.processes WHERE startsWith(Settings['log_comment'], 'slow ') AND NOT is_cancelled",
      )
      return rows[0]?.n ?? -1
    }
    await expect.poll(running).toBe(3)
    expect(await json('SELECT 1 AS a')).toEqual([{ a: 1 }])
    await client.insert({ table: name, values: [{ a: 1 }], format: 'JSONEachRow' })
    abort.abort()
    expect((await ended).every(({ status }) => status === 'rejected')).toBe(true)
    // One that shares their comment has a reader still.
    await expect.poll(running, { timeout: 10_000 }).toBe(1)
    stays.abort()
    expect(await other).toBe('aborted')
    await expect.poll(running, { timeout: 10_000 }).toBe(0)
  })

  test('a hundred queries at once are all answered', async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) => json<{ n: number }>('SELECT {n:UInt32} AS n', { n })),
    )
    expect(answers.map(([row]) => row?.n)).toEqual(Array.from({ length: 100 }, (_, n) => n))
  })
})

test('a session keeps its settings and temporary tables between requests, and no other has them', async () => {
  const session = connect({ url: engine.url, session_id: randomUUID() })
  await session.command({ query: 'CREATE TEMPORARY TABLE mine (a UInt8)' })
  await session.command({ query: 'INSERT INTO mine VALUES (7)' })
  const result = await session.query({ query: 'SELECT a FROM mine', format: 'JSONEachRow' })
  expect(await result.json()).toEqual([{ a: 7 }])
  await expect(json('SELECT a FROM mine')).rejects.toMatchObject({ type: 'UNKNOWN_TABLE' })
  await session.close()
})

test('ping', async () => {
  expect(await client.ping()).toMatchObject({ success: true })
})
