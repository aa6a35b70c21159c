/** A number that is a link leads to what it counted: cells of the heatmap, sessions nobody reported, links of dashboards. */
import { randomUUID } from 'node:crypto'
import { dashboards } from '@agnes/grafana'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { aReport, failedCall, sendReport } from '../support/feedback.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'

let inbox: TestInbox
let admin: string
let reporter: string

interface Found {
  readonly type: string
  readonly at: string
  readonly excerpt: string
  readonly tool?: string
}

beforeAll(async () => {
  inbox = await startTestInbox()
  admin = (await inbox.key(['admin'])).text
  reporter = (await inbox.key(['feedback'])).text
})
afterAll(() => inbox?.stop())

/** As the processors leave one. */
async function store(user: string, file: string, startedAt: string, found: readonly Found[]): Promise<void> {
  const key = { tenant: 'default', user_name: user, session_file: file, version: 'main' }
  const at = '2026-11-20T12:00:00.000Z'
  const insert = (table: string, row: Record<string, unknown>): Promise<unknown> =>
    inbox.client.insert({
      table,
      values: [{ ...key, file_hash: 'aa', lines: 9, ...row }],
      format: 'JSONEachRow',
      clickhouse_settings: { date_time_input_format: 'best_effort' },
    })
  await insert('session_files', { first_received_at: at, received_at: at })
  await insert('session_summaries', { rank: '1', parser_version: 1, started_at: startedAt, ended_at: at })
  const each = (value: (one: Found, i: number) => unknown): unknown[] => found.map(value)
  await insert('session_scans', {
    rank: '1',
    'findings.finding_id': each((_, i) => `${file}-${i}`),
    'findings.type': each(({ type }) => type),
    'findings.class': each(() => 'other'),
    'findings.severity': each(() => 'info'),
    'findings.session_id': each(() => file),
    'findings.turn_index': each((_, i) => i),
    'findings.line': each(() => 1),
    'findings.uuid': each(() => ''),
    'findings.tool_use_id': each(() => ''),
    'findings.tool_name': each(({ tool = 'Bash' }) => tool),
    'findings.occurred_at': each((one) => one.at),
    'findings.excerpt': each(({ excerpt }) => excerpt),
    'findings.rule': each(() => 'r'),
    'findings.rule_version': each(() => 1),
    'findings.advice': each(() => ''),
  })
}

const page = async (path: string): Promise<string> => {
  const answer = await inbox.get(path, admin)
  const text = await answer.text()
  expect({ path, status: answer.status, text: answer.ok ? '' : text }).toEqual({ path, status: 200, text: '' })
  return text
}
const linksOf = (text: string, pattern: RegExp): RegExpMatchArray[] => [...text.matchAll(pattern)]
const sessionsIn = (text: string): number => linksOf(text, /<td class="what"><a href="\/admin\/sessions\//g).length

test('each cell of the heatmap leads to as many sessions as it counted, also of one that ran over the end of a week', async () => {
  const failed = (at: string) => ({ type: 'tool_error', at, excerpt: 'Error: x' })
  await store('anna', 'over-sunday', '2026-11-15T23:50:00Z', [
    failed('2026-11-15T23:59:59Z'),
    failed('2026-11-16T00:00:00Z'),
    { ...failed('2026-11-16T00:01:00Z'), type: 'loop' },
  ])
  await store('anna', 'before', '2026-11-10T10:00:00Z', [failed('2026-11-10T10:00:00Z')])
  await store('ben', 'after', '2026-11-17T10:00:00Z', [failed('2026-11-17T10:00:00Z')])
  for (const filter of ['', '?user=anna', '?since=2026-11-01&until=2026-11-30', '?anchor=start&since=2026-11-14']) {
    const text = await page(`/admin/sessions/heatmap${filter}`)
    const cells = linksOf(text, /<td class="heat-\d number"><a href="([^"]+)" title="\d+ in (\d+) sessions">/g)
    expect(cells.length, filter).toBeGreaterThanOrEqual(2)
    for (const [, href = '', sessions] of cells) {
      const list = await page(href.replaceAll('&amp;', '&'))
      expect({ href, sessions: sessionsIn(list) }).toEqual({ href, sessions: Number(sessions) })
    }
  }
})

test('a report tells of the sessions that fail the same way and were not reported, and leads to them', async () => {
  const error = (i: number) => `Exit code 1\nError: no such column: price_${i} in /srv/${i}/q.sql`
  const at = '2026-11-18T10:00:00Z'
  await store('ann', 'reported', at, [{ type: 'tool_error', at, excerpt: error(1) }])
  await store('bea', 'silent-1', at, [{ type: 'tool_error', at, excerpt: error(2) }])
  await store('cem', 'silent-2', at, [
    { type: 'tool_error', at, excerpt: error(3) },
    { type: 'tool_error', at, excerpt: error(44) },
  ])
  await store('dan', 'other-tool', at, [{ type: 'tool_error', at, excerpt: error(5), tool: 'WebFetch' }])
  await store('eva', 'other-error', at, [{ type: 'tool_error', at, excerpt: 'Error: no such column' }])
  await store('fay', 'no-failure', at, [{ type: 'loop', at, excerpt: error(6) }])
  const turns = [failedCall('toolu_1', error(7))]
  const { body } = await sendReport(inbox, reporter, aReport({ reporter: 'ann', session: { file: 'reported', turns } }))

  const link = /<a href="(\/admin\/sessions\?silent=\w+)">2 sessions<\/a> with the same, not reported/
  // A page does not wait for it longer than for what it is about.
  const shown = async (path: string): Promise<string | undefined> => link.exec(await page(path))?.[1]
  await expect.poll(() => shown(`/admin/feedback/${body.id}`), { timeout: 20_000 }).toBeDefined()
  const href = (await shown(`/admin/feedback/${body.id}`)) ?? ''
  const list = await page(href)
  expect(linksOf(list, /<td class="what"><a href="\/admin\/sessions\/\w+\/([\w-]+)"/g).map(([, file]) => file)).toEqual(
    expect.arrayContaining(['silent-1', 'silent-2']),
  )
  expect(sessionsIn(list)).toBe(2)
  expect(await shown('/admin/feedback')).toBe(href)
  const api = (await (await inbox.get('/api/admin/feedback/causes', admin)).json()) as {
    causes: { silent_sessions: number }[]
  }
  expect(api.causes.map(({ silent_sessions }) => silent_sessions)).toEqual([2])
  // Of a cause nobody reported there is nothing to compare with.
  expect(sessionsIn(await page('/admin/sessions?silent=0123456789abcdef'))).toBe(0)
})

test('what dashboards of Grafana link to is there', async () => {
  await store('dr/w', 'with space', '2026-11-18T10:00:00Z', [])
  const { body } = await sendReport(inbox, reporter, aReport({ id: randomUUID(), reporter: 'gil' }))
  const [event] = await inbox.rows({ actionIn: ['feedback.report'] }, 1)
  const values: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    '/admin/sessions': { user: 'dr/w', session: 'with space', version: 'main' },
    '/admin/activity': { id: event?.id ?? '' },
    '/admin/feedback': { id: String(body.id) },
  }
  const links = new Set(
    dashboards.flatMap((one) => linksOf(JSON.stringify(one), /\$\{inbox:raw\}((?:[^"\\]|\\.)+)"/g).map(([, to]) => to)),
  )
  expect(links.size).toBeGreaterThanOrEqual(3)
  for (const link of links) {
    const template = JSON.parse(`"${link}"`) as string
    const place = Object.keys(values).find((one) => template.startsWith(`${one}/`)) ?? ''
    const path = template.replace(/\$\{__data\.fields\["(\w+)"\]:percentencode\}/g, (_, name: string) =>
      encodeURIComponent(values[place]?.[name] ?? ''),
    )
    expect(path).not.toContain('$')
    await page(path)
  }
})
