/** The JSON API, as a program asks it, on the real engine. */

import { type Alert, createSilence, saveAlerts } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { insertEvents } from '../../../tests/support/events.ts'
import { startTestInbox, type TestInbox } from '../../../tests/support/inbox.ts'

let inbox: TestInbox
let reader: string
let admin: string
let adminId: string
let sender: string
let stranger: string

const now = Date.now()
const ago = (minutes: number): Date => new Date(now - minutes * 60_000)
const id = (n: number): string => `0193f0a0-0000-4000-8000-${String(n).padStart(12, '0')}`

beforeAll(async () => {
  inbox = await startTestInbox()
  ;[{ text: reader }, { text: admin, id: adminId }, { text: sender }, { text: stranger }] = await Promise.all([
    inbox.key(['read']),
    inbox.key(['admin']),
    inbox.key(['ingest']),
    inbox.key(['read'], 'acme'),
  ])
  const audit = (n: number, attributes: Readonly<Record<string, string>>, tenant = 'default') => ({
    tenant,
    at: ago(n),
    name: 'agnes.audit',
    attributes: { 'log.record.uid': id(n), ...attributes },
  })
  await insertEvents(inbox.client, [
    ...Array.from({ length: 25 }, (_, i) =>
      audit(i + 1, {
        'agnes.action': i % 2 === 0 ? 'query.local' : 'catalog.list',
        'agnes.result': i % 5 === 0 ? 'error.invalid_sql' : 'success',
        'user.id': i % 3 === 0 ? 'ada' : 'bob',
        ...(i % 2 === 0 ? { 'agnes.duration_ms': '20' } : {}),
      }),
    ),
    audit(30, {
      'agnes.action': 'query.hybrid',
      'agnes.params': JSON.stringify({ sql: "select * from users where mail = 'ada@example.org'", rows: 3 }),
    }),
    audit(31, {
      'agnes.action': '=HYPERLINK("http://x")',
      'agnes.resource': '+1',
      'user.id': '@SUM(A1)',
      'agnes.result': '-2',
    }),
    audit(32, { 'agnes.action': 'secret.plan', 'user.id': 'eve' }, 'acme'),
    ...[10, 25, 40, 55].map((minutes) => ({
      tenant: 'default',
      at: ago(minutes + 60),
      name: 'agnes.sync',
      attributes: {
        'agnes.sync.table_id': 'orders',
        'agnes.sync.status': 'ok',
        'agnes.sync.rows': `${minutes}`,
        'agnes.duration_ms': '1500',
      },
    })),
    {
      tenant: 'default',
      at: ago(61),
      name: 'agnes.sync',
      attributes: {
        'agnes.sync.table_id': 'users',
        'agnes.sync.status': 'error',
        'agnes.sync.error': 'no such column',
      },
    },
  ])
})
afterAll(() => inbox?.stop())

const json = async <T = Record<string, unknown>>(answer: Response | Promise<Response>): Promise<T> =>
  (await (await answer).json()) as T

interface Rows {
  readonly rows: readonly Record<string, unknown>[]
  readonly next_cursor: string | null
}

describe('who may ask', () => {
  test.each([
    ['/api/admin/activity'],
    ['/api/admin/activity/summary'],
    ['/api/admin/activity/health'],
    ['/api/admin/sync'],
    [`/api/admin/events/${id(1)}`],
  ])('%s takes a key that may read', async (path) => {
    const refused = await inbox.get(path)
    expect(refused.status).toBe(401)
    expect(refused.headers.get('www-authenticate')).toBe('Bearer')
    expect(await json(refused)).toMatchObject({ status: 401, code: 'unauthenticated', hint: expect.any(String) })
    expect((await inbox.get(path, 'agn_abcdefgh_0123456789012345678901234567890123456789')).status).toBe(401)
    expect((await inbox.get(path, sender)).status).toBe(403)
    expect((await inbox.get(path, reader)).status).toBe(200)
    expect((await inbox.get(path, admin)).status).toBe(200)
  })

  test('metrics need no key on this machine and one through a proxy; one that is sent must be right', async () => {
    const open = await inbox.get('/metrics')
    expect({ status: open.status, type: open.headers.get('content-type') }).toMatchObject({
      status: 200,
      type: expect.stringContaining('text/plain'),
    })
    expect(await open.text()).toMatch(
      /^agnes_inbox_requests_total\{route="\/api\/admin\/activity",status="401"\} \d+$/m,
    )
    const proxied = { 'x-forwarded-for': '203.0.113.9' }
    expect((await inbox.get('/metrics', undefined, proxied)).status).toBe(401)
    expect((await inbox.get('/metrics', reader, proxied)).status).toBe(200)
    expect((await inbox.get('/metrics', 'agn_abcdefgh_0123456789012345678901234567890123456789')).status).toBe(401)
    expect((await inbox.get('/metrics', sender)).status).toBe(403)
  })

  test('what another tenant did is not there, whatever is asked for', async () => {
    for (const query of ['', '?since=all', '?q=secret', '?user_id=eve', `?correlation_id=${id(32)}`]) {
      const { rows } = await json<Rows>(inbox.get(`/api/admin/activity${query}`, reader))
      expect(rows.filter(({ user_id }) => user_id === 'eve')).toEqual([])
    }
    expect((await inbox.get(`/api/admin/events/${id(32)}`, reader)).status).toBe(404)
    const own = await json<Rows>(inbox.get('/api/admin/activity', stranger))
    expect(own.rows.map(({ user_id }) => user_id)).toEqual(['eve'])
    expect((await inbox.get('/api/admin/activity?tenant=default', stranger)).status).toBe(400)
    expect(await (await inbox.get('/api/admin/activity?format=ndjson', stranger)).text()).not.toContain('query.local')
    expect((await json(inbox.get('/api/admin/sync', stranger))).tables).toEqual([])
  })

  test('a hundred wrong keys in a second are enough, and a right one passes all the same', async () => {
    const answers = await Promise.all(Array.from({ length: 400 }, () => inbox.get('/api/admin/sync', 'x'.repeat(40))))
    const statuses = answers.map(({ status }) => status)
    expect(new Set(statuses)).toEqual(new Set([401, 429]))
    expect(answers.find(({ status }) => status === 429)?.headers.get('retry-after')).toBe('1')
    expect((await inbox.get('/api/admin/sync', reader)).status).toBe(200)
  })

  test('alive and ready need no key; every answer forbids scripts, frames and caches', async () => {
    for (const path of [
      '/healthz',
      '/readyz',
      '/openapi.json',
      '/login',
      '/admin/activity',
      '/nowhere',
      '/api/admin/sync',
    ]) {
      const { headers } = await inbox.get(path)
      expect(headers.get('content-security-policy')).toContain("default-src 'none'; script-src 'self'")
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('cache-control')).toBe('no-store')
    }
    expect(await json(inbox.get('/readyz'))).toEqual({ status: 'ready' })
  })
})

describe('the timeline', () => {
  test('pages follow one another without a gap or a row twice', async () => {
    const ids: unknown[] = []
    let cursor: string | null = ''
    do {
      const page: Rows = await json<Rows>(
        inbox.get(`/api/admin/activity?action_in=query.local,catalog.list&limit=7&cursor=${cursor}`, reader),
      )
      ids.push(...page.rows.map((row) => row.id))
      cursor = page.next_cursor
    } while (cursor !== null)
    expect(ids).toEqual(Array.from({ length: 25 }, (_, i) => id(i + 1)))
  })

  test.each([
    ['user_id=ada', 9],
    ['action_prefix=catalog.', 12],
    ['action_in=query.local', 13],
    ['result=error', 6],
    ['result=error.invalid_sql', 5],
    ['action_prefix=query.&user_id=ada&result=error', 1],
    ['q=EXAMPLE.org', 1],
    [`since=${ago(5.5).toISOString()}&action_in=query.local,catalog.list`, 5],
    [`since=1h&until=${encodeURIComponent(ago(20.5).toISOString())}&action_in=query.local,catalog.list`, 5],
    ['client_kind=system&action_prefix=query.hybrid', 1],
  ])('%s: rows, counts and export agree', async (query, count) => {
    const { rows } = await json<Rows>(inbox.get(`/api/admin/activity?${query}`, reader))
    expect(rows).toHaveLength(count)
    const summary = await json<{ total: number; by_result: Record<string, number>; bars: { total: number }[] }>(
      inbox.get(`/api/admin/activity/summary?${query}`, reader),
    )
    expect(summary.total).toBe(count)
    expect(Object.values(summary.by_result).reduce((sum, one) => sum + one, 0)).toBe(count)
    expect(summary.bars.reduce((sum, { total }) => sum + total, 0)).toBe(count)
    const lines = (await (await inbox.get(`/api/admin/activity?${query}&format=ndjson`, reader)).text())
      .trim()
      .split('\n')
    expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(rows.map((row) => row.id))
  })

  test('counts say how many rows carry a duration', async () => {
    expect(
      await json(inbox.get('/api/admin/activity/summary?action_in=query.local,catalog.list', reader)),
    ).toMatchObject({
      total: 25,
      users: 2,
      with_duration: 13,
      mean_duration_ms: 20,
      top_users: [
        { value: 'bob', count: 16 },
        { value: 'ada', count: 9 },
      ],
    })
  })

  test('SQL literals in params are masked, in every format', async () => {
    for (const format of ['json', 'csv', 'ndjson']) {
      const text = await (
        await inbox.get(`/api/admin/activity?action_prefix=query.hybrid&format=${format}`, reader)
      ).text()
      expect(text).toContain('where mail = ?')
      expect(text).not.toContain('example.org')
    }
  })

  test('a spreadsheet takes nothing in the CSV for a formula', async () => {
    const answer = await inbox.get(`/api/admin/activity?since=all&format=csv`, reader)
    expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(answer.headers.get('content-disposition')).toMatch(/^attachment; filename="activity-[\dT-]+\.csv"$/)
    const text = await answer.text()
    expect(text).toContain(`"'=HYPERLINK(""http://x"")"`)
    expect(text).toContain(`,'@SUM(A1),`)
    expect(text).toContain(`,'+1,`)
    expect(text).not.toMatch(/(^|,)"?[=+@]/m)
  })

  test('limit holds for exports too', async () => {
    const text = await (await inbox.get('/api/admin/activity?format=ndjson&limit=3', reader)).text()
    expect(text.trim().split('\n')).toHaveLength(3)
  })

  test.each([
    ['user-id=ada', 'did you mean user_id?'],
    ['since=yesterday', 'use 2026-11-21T06:00:00Z'],
    ['since=1h&until=2h', 'it asks for events from'],
    ['limit=0', '/openapi.json'],
    ['limit=1001', 'csv and ndjson take more'],
    ['format=xml', '/openapi.json'],
    ['cursor=abc', 'next_cursor'],
    ['cursor=abc&format=csv', 'next_cursor'],
    ['q=a%00b', 'NUL'],
    ['include_reads=maybe', 'true or false'],
    ['q=a&q=b', 'once'],
    [`q=${'x'.repeat(1001)}`, 'at most 1000'],
  ])('%s is refused, and the answer says what to do', async (query, hint) => {
    const answer = await inbox.get(`/api/admin/activity?${query}`, reader)
    expect(answer.status).toBe(400)
    expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8')
    const problem = await json<{ detail: string; hint: string }>(answer)
    expect(`${problem.detail} ${problem.hint}`).toContain(hint)
  })
})

describe('one event', () => {
  test('is found by its id, with or without its time', async () => {
    for (const query of ['', `?at=${ago(30).toISOString()}`]) {
      const event = await json(inbox.get(`/api/admin/events/${id(30)}${query}`, reader))
      expect(event).toMatchObject({
        id: id(30),
        action: 'query.hybrid',
        params: { sql: 'select * from users where mail = ?', rows: 3 },
        attributes: { 'agnes.params': '{"sql":"select * from users where mail = ?","rows":3}' },
      })
    }
  })

  test('is shown raw to an admin only, and that is written down first', async () => {
    const path = `/api/admin/events/${id(30)}/reveal`
    const post = (key: string) =>
      fetch(new URL(path, inbox.url), { method: 'POST', headers: { Authorization: `Bearer ${key}` } })
    expect((await post(reader)).status).toBe(403)
    const raw = await post(admin)
    expect(await json(raw)).toMatchObject({ params: { sql: "select * from users where mail = 'ada@example.org'" } })
    const [row] = await inbox.rows({ actionIn: ['audit.reveal_raw'] }, 1)
    expect(row).toMatchObject({
      userId: `key:${adminId}`,
      resource: `event:${id(30)}`,
      result: 'success',
      clientKind: 'external',
    })
  })

  test.each([['nobody'], ['..%2f..%2fetc%2fpasswd'], ["' OR 1=1 --"], ['%00'], ['x'.repeat(1_900)], ['{id:String}']])(
    'with the id %s is not there',
    async (strange) => {
      const answer = await inbox.get(
        `/api/admin/events/${strange.includes('%') ? strange : encodeURIComponent(strange)}`,
        reader,
      )
      expect(answer.status).toBe(404)
      expect((await json<{ code: string }>(answer)).code).toBe('not_found')
    },
  )
})

describe('syncs and health', () => {
  test('the grid tells each table, failing ones first', async () => {
    const { tables } = await json<{ tables: Record<string, unknown>[] }>(inbox.get('/api/admin/sync', reader))
    expect(tables).toMatchObject([
      {
        table: 'users',
        last_ok: null,
        last_error: 'no such column',
        failed_24h: 1,
        runs_7d: 1,
        due_seconds: null,
        runs: [{ outcome: 'failed' }],
      },
      {
        table: 'orders',
        last_ok: ago(70).toISOString(),
        last_rows: 10,
        last_error: '',
        every_seconds: 900,
        failed_7d: 0,
        runs_7d: 4,
        median_duration_ms: 1500,
      },
    ])
    const orders = tables[1] as { age_seconds: number; due_seconds: number }
    expect(orders.age_seconds).toBeGreaterThanOrEqual(4_200)
    expect(orders.due_seconds).toBe(900 - orders.age_seconds)
  })

  test('the pulse is kept for half a minute, and each field leads to the rows behind it', async () => {
    const ask = () =>
      json<{ generated_at: string; fields: { name: string; query: string }[] }>(
        inbox.get('/api/admin/activity/health', reader),
      )
    const first = await ask()
    expect((await ask()).generated_at).toBe(first.generated_at)
    expect(first.fields.map(({ name }) => name)).toContain('sync_24h')
    const { query } = first.fields.find(({ name }) => name === 'sync_24h') ?? { query: '' }
    const { rows } = await json<Rows>(inbox.get(`/api/admin/activity${query}`, reader))
    expect(rows).toHaveLength(5)
  })
})

describe('reading', () => {
  test('leaves one event for an actor and a question, none for health, and is not in the way by default', async () => {
    const { text, id: keyId } = await inbox.key(['read'])
    for (let i = 0; i < 3; i++) await inbox.get('/api/admin/activity?user_id=ada&since=1h', text)
    await inbox.get('/api/admin/activity?user_id=bob', text)
    await inbox.get('/api/admin/activity/health', text)
    const mine = { userId: `key:${keyId}`, actionIn: ['activity.read'] }
    const rows = await inbox.rows(mine, 2)
    expect(rows.map(({ params }) => JSON.parse(params))).toEqual(
      expect.arrayContaining([{ filter: { since: '1h', user_id: 'ada' } }, { filter: { user_id: 'bob' } }]),
    )
    expect(rows).toHaveLength(2)
    expect(rows[0]).toMatchObject({ clientKind: 'external', clientAddress: '127.0.0.1', serviceName: 'agnes-inbox' })
    const visible = await json<Rows>(inbox.get(`/api/admin/activity?user_id=key:${keyId}`, reader))
    expect(visible.rows).toEqual([])
    const shown = await json<Rows>(inbox.get(`/api/admin/activity?user_id=key:${keyId}&include_reads=true`, reader))
    expect(shown.rows).toHaveLength(2)
  })
})

describe('alerts', () => {
  const alert = (fingerprint: string, more: Partial<Alert> = {}): Alert => ({
    fingerprint,
    rule: 'agnes-sync-failures',
    labels: { tenant: 'default' },
    tenant: 'default',
    title: 'Syncs fail',
    severity: 'warning',
    summary: '0.3 of the syncs of <default> failed',
    firstStep: 'Open Sync.',
    runbook: 'sync-failures',
    state: 'firing',
    value: 0.3,
    activeSince: ago(20),
    firedAt: ago(10),
    wellSince: undefined,
    resolvedAt: undefined,
    changedAt: ago(10),
    ...more,
  })
  interface Answer {
    readonly alerts: readonly { fingerprint: string; muted_until: string | null; resolved_at: string | null }[]
    readonly more: boolean
  }
  const ask = (query: string, key = reader) => json<Answer>(inbox.get(`/api/admin/alerts${query}`, key))

  beforeAll(async () => {
    await saveAlerts(
      inbox.client,
      [
        alert('pending', { state: 'pending', firedAt: undefined }),
        alert('firing'),
        alert('everybodys', { rule: 'agnes-ingest-stopped', title: 'Ingest stopped', tenant: '', labels: {} }),
        alert('over', { state: 'resolved', resolvedAt: ago(5) }),
        alert('never', { state: 'ok' }),
        alert('acmes', { tenant: 'acme', labels: { tenant: 'acme' } }),
      ],
      1n,
    )
    await createSilence(inbox.client, {
      rule: 'agnes-sync-failures',
      labels: { tenant: 'default' },
      startsAt: ago(1),
      endsAt: new Date(now + 3_600_000),
      createdBy: 'me',
      comment: '',
    })
  })

  test('what fires of the tenant and of the whole installation comes first; muted ones say until when', async () => {
    const { alerts, more } = await ask('')
    expect(alerts.map(({ fingerprint }) => fingerprint)).toEqual(['everybodys', 'firing', 'pending'])
    expect(alerts.map(({ muted_until }) => muted_until !== null)).toEqual([false, true, true])
    expect(more).toBe(false)
    expect((await ask('', stranger)).alerts.map(({ fingerprint }) => fingerprint).sort()).toEqual([
      'acmes',
      'everybodys',
    ])
  })

  test('states are chosen, and a limit says that there is more', async () => {
    expect((await ask('?state=resolved')).alerts).toMatchObject([
      { fingerprint: 'over', resolved_at: ago(5).toISOString() },
    ])
    expect(await ask('?limit=1')).toMatchObject({ more: true, alerts: [{ fingerprint: 'everybodys' }] })
    for (const query of ['state=ok', 'limit=0', 'limit=1001'])
      expect((await inbox.get(`/api/admin/alerts?${query}`, reader)).status, query).toBe(400)
    expect((await inbox.get('/api/admin/alerts', sender)).status).toBe(403)
  })

  test('the activity page has a line of what fires', async () => {
    const page = await (await inbox.get('/admin/activity', reader)).text()
    expect(page).toContain('2 alerts fire')
    expect(page).toContain('resource=alert%3Aagnes-sync-failures')
    expect(page).toContain('0.3 of the syncs of &lt;default&gt; failed')
    expect(page).toMatch(/Ingest stopped.*docs\/runbooks|docs\/runbooks.*Ingest stopped/s)
    expect(page).toContain('muted until')
  })
})

test('the description names every route of the API, and each answers as it says', async () => {
  const description = await json<{ openapi: string; paths: Record<string, { get?: Operation }> }>(
    inbox.get('/openapi.json'),
  )
  expect(description.openapi).toBe('3.1.0')
  // Reports, sessions and the bot have tests of their own.
  const ofActivity = Object.entries(description.paths).filter(([path]) =>
    /^.api.admin.(activity|alerts|events|sync)/.test(path),
  )
  expect(ofActivity.map(([path]) => path).sort()).toEqual([
    '/api/admin/activity',
    '/api/admin/activity/health',
    '/api/admin/activity/summary',
    '/api/admin/alerts',
    '/api/admin/events/{id}',
    '/api/admin/events/{id}/reveal',
    '/api/admin/sync',
  ])
  for (const [path, { get }] of ofActivity) {
    if (get === undefined) continue
    const schema = z.fromJSONSchema(get.responses[200].content['application/json'].schema)
    const answer = await json(inbox.get(path.replace('{id}', id(30)), reader))
    expect(schema.safeParse(answer).error, path).toBeUndefined()
  }
})

interface Operation {
  readonly responses: Record<200, { content: Record<'application/json', { schema: Record<string, unknown> }> }>
}
