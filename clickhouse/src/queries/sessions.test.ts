/** The list of sessions, their replay, and findings by week: filters, orders, pages. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { fetchFindingWeeks } from './session-findings.ts'
import { fetchReplay, fetchSessionNames } from './session-replay.ts'
import { fetchSessions, type SessionFilter, type SessionRow } from './sessions.ts'

let engine: TestEngine
const tenant = randomUUID()

interface Session {
  readonly file: string
  readonly user: string
  /** Days of November 2026. */
  readonly began: number
  readonly arrived: number
  readonly findings: readonly string[]
  readonly prompt: string
}

const sessions: readonly Session[] = [
  {
    file: 's-1',
    user: 'anna',
    began: 2,
    arrived: 20,
    findings: ['loop', 'tool_error'],
    prompt: 'Příliš žluťoučký kůň',
  },
  { file: 's-2', user: 'ben', began: 10, arrived: 10, findings: [], prompt: 'fix the 100% case' },
  { file: 's-3', user: 'anna', began: 11, arrived: 11, findings: ['tool_error'], prompt: 'hello' },
  { file: 's-4', user: 'ben', began: 12, arrived: 12, findings: ['tool_error', 'tool_error', 'loop'], prompt: 'hello' },
  // The same file of another user, arrived at the same instant.
  { file: 's-4', user: 'cleo', began: 12, arrived: 12, findings: [], prompt: 'hello' },
]

const on = (day: number): string => `2026-11-${String(day).padStart(2, '0')}T09:00:00.000Z`

async function insert(table: string, values: readonly Record<string, unknown>[]): Promise<void> {
  await engine.client.insert({
    table,
    values: [...values],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}

beforeAll(async () => {
  engine = await startTestEngine()
  const key = ({ file, user }: Session) => ({ tenant, user_name: user, session_file: file, version: 'main' })
  await insert(
    'session_files',
    sessions.map((one) => ({
      ...key(one),
      lines: 9,
      file_hash: 'aa',
      first_received_at: on(one.arrived),
      received_at: on(one.arrived),
    })),
  )
  await insert(
    'session_summaries',
    sessions.map((one) => ({
      ...key(one),
      rank: '1',
      parser_version: 1,
      file_hash: 'aa',
      lines: 9,
      turn_rows: 250,
      started_at: on(one.began),
      ended_at: on(one.began),
      prompts_text: one.prompt,
      first_received_at: on(one.arrived),
    })),
  )
  await insert(
    'session_scans',
    sessions.map(({ findings, ...one }) => ({
      ...key({ ...one, findings }),
      rank: '1',
      file_hash: 'aa',
      'findings.finding_id': findings.map((_, i) => `${one.file}-${i}`),
      'findings.type': findings,
      'findings.class': findings.map(() => 'other'),
      'findings.severity': findings.map((type) => (type === 'loop' ? 'warning' : 'info')),
      'findings.session_id': findings.map(() => one.file),
      'findings.turn_index': findings.map((_, i) => i * 120),
      'findings.line': findings.map(() => 1),
      'findings.uuid': findings.map(() => ''),
      'findings.tool_use_id': findings.map(() => ''),
      'findings.tool_name': findings.map(() => 'Bash'),
      'findings.occurred_at': findings.map(() => on(one.began)),
      'findings.excerpt': findings.map((type) => `EXCERPT of ${type}`),
      'findings.rule': findings.map(() => 'r'),
      'findings.rule_version': findings.map(() => 1),
      'findings.advice': findings.map(() => ''),
    })),
  )
  const [first] = sessions
  if (first === undefined) return
  const turns = Array.from({ length: 260 }, (_, i) => ({
    ...key(first),
    parser_version: 1,
    turn_index: i,
    line: i + 1,
    kind: 'text',
    text: `turn ${i}`,
    first_received_at: on(first.arrived),
  }))
  await insert('session_turn_rows', turns)
  // As a crash leaves them: some stand there twice, and ten that no summary counts.
  await insert('session_turn_rows', turns.slice(100, 150))
})
afterAll(() => engine.stop())

const list = (filter: SessionFilter) => fetchSessions(engine.client, { tenant, ...filter })
const names = (rows: readonly SessionRow[]): string[] => rows.map(({ user, file }) => `${user}/${file}`)
async function found(filter: SessionFilter): Promise<string[]> {
  return names((await list(filter)).rows)
}

describe('list', () => {
  test('newest arrival first; a late upload is new', async () => {
    expect(await found({})).toEqual(['anna/s-1', 'cleo/s-4', 'ben/s-4', 'anna/s-3', 'ben/s-2'])
  })

  test.each([
    [{ anchor: 'start' }, ['cleo/s-4', 'ben/s-4', 'anna/s-3', 'ben/s-2', 'anna/s-1']],
    [{ sort: 'findings' }, ['ben/s-4', 'anna/s-1', 'anna/s-3', 'cleo/s-4', 'ben/s-2']],
    [{ sort: 'user' }, ['anna/s-1', 'anna/s-3', 'ben/s-2', 'ben/s-4', 'cleo/s-4']],
    [{ user: 'anna' }, ['anna/s-1', 'anna/s-3']],
    [{ finding: 'loop' }, ['anna/s-1', 'ben/s-4']],
    [{ finding: 'any', user: 'anna' }, ['anna/s-1', 'anna/s-3']],
    [{ finding: 'api_error' }, []],
    [{ since: new Date(on(12)) }, ['anna/s-1', 'cleo/s-4', 'ben/s-4']],
    [{ since: new Date(on(2)), until: new Date(on(10)), anchor: 'start' }, ['anna/s-1']],
    [{ q: 'ŽLUŤOUČKÝ' }, ['anna/s-1']],
    [{ q: '100%' }, ['ben/s-2']],
    [{ q: 'excerpt of loop' }, ['anna/s-1', 'ben/s-4']],
    [{ q: 'S-3' }, ['anna/s-3']],
    [{ q: "' OR 1 = 1 --" }, []],
    [{ tenant: 'other' }, []],
  ] as const)('%o', async (filter, expected) => {
    expect(await found(filter)).toEqual(expected)
  })

  test.each(['recent', 'findings', 'user'] as const)(
    'pages by %s have every session once, also those of one instant',
    async (sort) => {
      const whole = await found({ sort })
      for (const limit of [1, 2, 3]) {
        const pages: string[] = []
        let cursor: string | null = null
        do {
          const page: Awaited<ReturnType<typeof list>> = await list({
            sort,
            limit,
            ...(cursor === null ? {} : { cursor }),
          })
          pages.push(...names(page.rows))
          cursor = page.nextCursor
        } while (cursor !== null)
        expect(pages).toEqual(whole)
      }
    },
  )

  test('the longest page of files with long names comes as a whole', async () => {
    const many = randomUUID()
    await insert(
      'session_files',
      Array.from({ length: 501 }, (_, i) => ({
        tenant: many,
        user_name: 'anna',
        session_file: `${String(i).padStart(3, '0')}-${'name'.repeat(12)}`,
        version: 'main',
        lines: 1,
        file_hash: 'aa',
        first_received_at: on(1),
        received_at: on(1),
      })),
    )
    const { rows, nextCursor } = await list({ tenant: many, limit: 500 })
    expect(rows).toHaveLength(500)
    expect((await list({ tenant: many, limit: 500, cursor: nextCursor ?? '' })).rows).toHaveLength(1)
  })

  test('a row has what was found, by type', async () => {
    const [row] = (await list({ sort: 'findings', limit: 1 })).rows
    expect(row).toMatchObject({ findings: 3, warnings: 1, findingTypes: { tool_error: 2, loop: 1 }, isProcessed: true })
  })

  test.each([
    [{ cursor: 'x' }, 'cursor'],
    [{ cursor: Buffer.from('["recent","1; DROP","a","b","c"]').toString('base64url') }, 'cursor'],
    [{ cursor: Buffer.from('["user","a","a","b","c"]').toString('base64url') }, 'cursor'],
    [{ limit: 0 }, '0 rows'],
    [{ limit: 501 }, '501 rows'],
    [{ q: 'x'.repeat(1001) }, 'q has 1001'],
    [{ since: new Date(Number.NaN) }, 'since'],
    [{ sort: 'size' as 'user' }, 'sort'],
  ])('%o is refused', async (filter, message) => {
    await expect(list(filter)).rejects.toMatchObject({ status: 400, message: expect.stringContaining(message) })
  })
})

describe('replay', () => {
  const replay = (more: Record<string, unknown>) =>
    fetchReplay(engine.client, { tenant, user: 'anna', file: 's-1', ...more })

  test('has each turn once and none that does not count, page by page, with its findings', async () => {
    const seen: number[] = []
    const marked: number[] = []
    let cursor: string | null = null
    do {
      const page: Awaited<ReturnType<typeof replay>> = await replay(cursor === null ? {} : { cursor })
      for (const turn of page?.turns ?? []) {
        seen.push(turn.index)
        if (turn.findings.length > 0) marked.push(turn.index)
      }
      cursor = page?.nextCursor ?? null
    } while (cursor !== null)
    expect(seen).toEqual(Array.from({ length: 250 }, (_, i) => i))
    expect(marked).toEqual([0, 120])
  })

  test('begins at a finding', async () => {
    const page = await replay({ fromTurn: 120, limit: 2 })
    expect(page?.turns.map(({ index, text }) => [index, text])).toEqual([
      [120, 'turn 120'],
      [121, 'turn 121'],
    ])
    expect(page?.turns[0]?.findings).toEqual([expect.objectContaining({ type: 'tool_error' })])
    expect(page?.session).toMatchObject({ user: 'anna', file: 's-1' })
  })

  test('of what is not there is nothing', async () => {
    expect(await replay({ file: 'nope' })).toBeUndefined()
    expect(await replay({ tenant: 'other' })).toBeUndefined()
  })

  test.each([{ cursor: 'x' }, { limit: 0 }, { fromTurn: -1 }, { fromTurn: 1.5 }])('%o is refused', async (bad) => {
    await expect(replay(bad)).rejects.toMatchObject({ status: 400 })
  })

  test('a name leads to everybody who has such a file', async () => {
    expect(await fetchSessionNames(engine.client, 's-4', tenant)).toEqual([
      { user: 'ben', version: 'main' },
      { user: 'cleo', version: 'main' },
    ])
  })
})

test('findings by week and type, of the sessions a filter lets through', async () => {
  expect(await fetchFindingWeeks(engine.client, { tenant })).toEqual([
    { week: '2026-11-09', type: 'tool_error', findings: 3, warnings: 0, sessions: 2 },
    { week: '2026-11-09', type: 'loop', findings: 1, warnings: 1, sessions: 1 },
    { week: '2026-11-02', type: 'loop', findings: 1, warnings: 1, sessions: 1 },
    { week: '2026-11-02', type: 'tool_error', findings: 1, warnings: 0, sessions: 1 },
  ])
  expect(await fetchFindingWeeks(engine.client, { tenant, user: 'anna', since: new Date(on(15)) })).toEqual([
    { week: '2026-11-02', type: 'loop', findings: 1, warnings: 1, sessions: 1 },
    { week: '2026-11-02', type: 'tool_error', findings: 1, warnings: 0, sessions: 1 },
  ])
})
