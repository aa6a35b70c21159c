/** Reports over the wire: taken once, whatever happens to their answers; refused with a reason; changed by one at a time. */
import { createHash } from 'node:crypto'
import { fetchReport } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { aReport, failedCall, sendReport } from '../support/feedback.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'

let inbox: TestInbox
let key: string
let admin: string
let people = 0
/** Nobody else's reports count against theirs. */
const somebody = (): string => `person${++people}`

beforeAll(async () => {
  inbox = await startTestInbox()
  key = (await inbox.key(['feedback'])).text
  admin = (await inbox.key(['admin'])).text
})
afterAll(() => inbox?.stop())

const stored = (id: unknown, tenant = 'default') => fetchReport(inbox.client, { tenant, id: String(id) })

async function change(id: unknown, body: unknown, as = admin) {
  const answer = await fetch(`${inbox.url}/api/admin/feedback/${id}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${as}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

describe('a report', () => {
  test('is in the database when its sender is told so, with what was shown and who sent it', async () => {
    const report = aReport({ reporter: somebody() })
    const text = JSON.stringify(report, null, 2)
    const { status, body } = await sendReport(inbox, key, text, { 'agnes-preview-answer': 'asked' })
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { status: 'open', already_known: false, redacted: [] },
    })
    expect(await stored(body.id)).toMatchObject({
      reporterUser: report.reporter,
      message: report.message,
      sessionFile: 'b7e1c2d3',
      environment: { agnes: '0.1.0', os: 'linux' },
      previewSha256: createHash('sha256').update(text).digest('hex'),
      previewBytes: Buffer.byteLength(text),
      previewAnswer: 'asked',
      causeTool: 'Bash',
      causeClass: 'shell_exit',
      causeText: 'Error: no such table: orders_<n>',
      version: 1,
    })
    const [event] = await inbox.rows({ actionIn: ['feedback.report'], resource: `feedback:${body.id}` }, 1)
    expect(event).toMatchObject({ userId: report.reporter, result: 'success' })
    expect(JSON.parse(event?.params ?? '')).toMatchObject({ preview: { acknowledged: true, answer: 'asked' } })
    expect(event?.params).not.toContain('nightly')
  })

  test('that is sent again, ten times at once and after a restart, is one report with one event', async () => {
    const report = aReport({ reporter: somebody() })
    const answers = await Promise.all(Array.from({ length: 10 }, () => sendReport(inbox, key, report)))
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
    expect(answers.filter(({ body }) => body.already_known === false)).toHaveLength(1)
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
    await inbox.restart()
    const { body } = await sendReport(inbox, key, report)
    expect(body).toMatchObject({ id: answers[0]?.body.id, already_known: true, version: 1 })
    const rows = await inbox.rows({ actionIn: ['feedback.report'], resource: `feedback:${body.id}` }, 1)
    expect(rows).toHaveLength(1)
  })

  test('that says something else under the id of another is refused, and the other one stays', async () => {
    const report = aReport({ reporter: somebody() })
    const first = await sendReport(inbox, key, report)
    const second = await sendReport(inbox, key, { ...report, message: 'something else' })
    expect(second).toMatchObject({ status: 409, body: { code: 'id_reused' } })
    expect((await stored(first.body.id))?.message).toBe(report.message)
  })

  test('without an id is known by the key its request carries, or else by its content', async () => {
    const { id: _, ...report } = aReport({ reporter: somebody() })
    const one = await sendReport(inbox, key, report)
    expect((await sendReport(inbox, key, report)).body).toMatchObject({ id: one.body.id, already_known: true })
    const other = await sendReport(inbox, key, report, { 'idempotency-key': 'another' })
    expect(other.body).toMatchObject({ already_known: false })
  })

  test('is redacted here too, and its sender is told what was', async () => {
    const report = aReport({
      reporter: somebody(),
      message: 'it says password=hunter2hunter2 and stops',
      environment: { shell: '/bin/bash', API_TOKEN: 'f3c9a1b2c3d4e5f6' },
      session: { turns: [failedCall('toolu_2', 'Authorization: Bearer abcdefghijklmnop123456')] },
    })
    const { status, body } = await sendReport(inbox, key, report)
    expect(status).toBe(200)
    expect(body.redacted).toEqual(
      expect.arrayContaining([
        { path: 'message', rule: 'password' },
        { path: 'environment.API_TOKEN', rule: 'token' },
        { path: 'session.turns.0.text', rule: 'authorization' },
      ]),
    )
    const kept = JSON.stringify(await stored(body.id))
    for (const secret of ['hunter2hunter2', 'f3c9a1b2c3d4e5f6', 'abcdefghijklmnop123456'])
      expect(kept).not.toContain(secret)
  })

  test('tells its sender how many others hit the same, whatever numbers and paths their errors have', async () => {
    const hit = (line: number) =>
      aReport({
        reporter: somebody(),
        message: `words of number ${line}`,
        session: {
          turns: [failedCall(`t${line}`, `Exit code 1\nTypeError: cannot read /home/u${line}/job.py:${line}`)],
        },
      })
    for (const before of [0, 1, 2]) {
      expect((await sendReport(inbox, key, hit(before + 10))).body.others_hit_this).toBe(before)
    }
  })

  test('of another version of the client is taken, and what is not known is left out', async () => {
    const report = aReport({ reporter: somebody(), version: 7, mood: 'bad', environment: { agnes: '9.0.0' } })
    const { status, body } = await sendReport(inbox, key, report)
    expect(status).toBe(200)
    expect(await stored(body.id)).toMatchObject({ bundleVersion: 7 })
  })
})

describe('refused, with what is wrong and nothing stored:', () => {
  const anonymous = { reporter: undefined }
  const long = 'x'.repeat(2_000)
  test.each<[string, unknown, Record<string, string>, number, RegExp]>([
    [
      'no hash of what was shown',
      aReport(),
      { 'agnes-preview-sha256': '' },
      400,
      /does not say what its sender was shown/,
    ],
    ['another hash', aReport(), { 'agnes-preview-sha256': 'a'.repeat(64) }, 422, /not what its sender was shown/],
    ['no JSON', '{"version": 1,', {}, 400, /not JSON/],
    ['binary', new Uint8Array([0xff, 0xfe, 0x00, 0x80]), {}, 400, /not UTF-8/],
    ['an array', [1, 2], {}, 400, /the report: /],
    ['nothing', '', {}, 400, /empty|not JSON/],
    ['no version', aReport({ version: undefined }), {}, 400, /^version: /],
    ['an empty message', aReport({ message: '' }), {}, 400, /no message/],
    ['a message nobody can see', aReport({ message: '\u200b\u202e\u2066 \n\u00ad' }), {}, 400, /no message/],
    ['a message that is too long', aReport({ message: 'é'.repeat(10_001) }), {}, 413, /has 10001 characters.*10000/],
    ['a reporter with a path', aReport({ reporter: '../../etc/passwd' }), {}, 400, /^reporter: /],
    ['turns that are none', aReport({ session: { turns: [{ role: 'user' }] } }), {}, 400, /^session\.turns\.0\.kind: /],
    [
      'an excerpt that is too large',
      aReport({ session: { turns: Array.from({ length: 131 }, (_, i) => failedCall(`t${i}`, long)) } }),
      {},
      413,
      /excerpt has 2\d{5} bytes, and may have 262144/,
    ],
    ['a bundle that is too large', aReport({ padding: 'x'.repeat(1024 * 1024) }), {}, 413, /more than 1048576 bytes/],
    ['another type of content', aReport(anonymous), { 'content-type': 'text/plain' }, 415, /not sent as JSON/],
  ])('%s', async (_, report, headers, status, detail) => {
    const before = await count()
    const answer = await sendReport(inbox, key, report, headers)
    expect(answer).toMatchObject({ status, body: { detail: expect.stringMatching(detail), hint: expect.any(String) } })
    expect(await count()).toBe(before)
  })

  test('no key, or one that may do other things', async () => {
    expect((await sendReport(inbox, 'nonsense', aReport())).status).toBe(401)
    const { text } = await inbox.key(['ingest', 'read'])
    expect(await sendReport(inbox, text, aReport())).toMatchObject({
      status: 403,
      body: { detail: expect.stringMatching(/scope feedback/) },
    })
  })

  test('the eleventh of one person within an hour; others, and what is sent again, go on', async () => {
    const reporter = somebody()
    const first = aReport({ reporter })
    const answers = await Promise.all(
      [first, ...Array.from({ length: 11 }, () => aReport({ reporter }))].map((r) => sendReport(inbox, key, r)),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10)
    const refused = answers.find(({ status }) => status === 429)
    expect(refused?.body.detail).toMatch(/10 reports in an hour/)
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(3500)
    expect((await sendReport(inbox, key, first)).body).toMatchObject({ already_known: true })
    expect((await sendReport(inbox, key, aReport({ reporter: somebody() }))).status).toBe(200)
  })

  /** Rows, which no change of a report takes away. */
  async function count(): Promise<string> {
    const query = 'SELECT count() FROM feedback_reports'
    return (await inbox.client.query({ query, format: 'TabSeparated' })).text()
  }
})

describe('whoever looks after reports', () => {
  test('changes them step by step; each leaves an event with what was before', async () => {
    const { body } = await sendReport(inbox, key, aReport({ reporter: somebody() }))
    const { id } = body
    const steps = [
      [{ action: 'assign', assignee: 'key:me' }, { assignee: 'key:me' }],
      [{ action: 'tag', tags: ['CLI', 'sync'] }, { tags: ['cli', 'sync'] }],
      [{ action: 'triage' }, { status: 'triaged' }],
      [
        { action: 'resolve', resolution: 'fixed in 1.2' },
        { status: 'resolved', resolution: 'fixed in 1.2' },
      ],
      [{ action: 'reopen' }, { status: 'open', resolution: '', resolved_at: null }],
      [
        { action: 'wontfix', resolution: 'as meant' },
        { status: 'wontfix', resolution: 'as meant' },
      ],
    ] as const
    for (const [i, [said, expected]] of steps.entries()) {
      const answer = await change(id, { expected_version: i + 1, ...said })
      expect(answer).toMatchObject({ status: 200, body: { version: i + 2, ...expected } })
    }
    const detail = (await (await inbox.get(`/api/admin/feedback/${id}`, admin)).json()) as {
      history: { action: string }[]
    }
    expect(detail.history.map(({ action }) => action)).toEqual([
      'report',
      'assign',
      'tag',
      'triage',
      'resolve',
      'reopen',
      'wontfix',
    ])
    const rows = await inbox.rows({ actionPrefix: 'feedback.', resource: `feedback:${id}` }, 7)
    const triage = rows.find(({ action }) => action === 'feedback.triage')
    expect(JSON.parse(triage?.paramsBefore ?? '')).toMatchObject({ status: 'open', version: 3 })
    expect(JSON.parse(triage?.params ?? '')).toMatchObject({ status: 'triaged', version: 4 })
  })

  test('is told what somebody else did meanwhile, and overwrites nothing, also at the very same time', async () => {
    const { body } = await sendReport(inbox, key, aReport({ reporter: somebody() }))
    const attempts = await Promise.all(
      ['one', 'two', 'three', 'four'].map((name) =>
        change(body.id, { expected_version: 1, action: 'assign', assignee: name }),
      ),
    )
    expect(attempts.map(({ status }) => status).sort()).toEqual([200, 409, 409, 409])
    const winner = attempts.find(({ status }) => status === 200)?.body.assignee
    const loser = attempts.find(({ status }) => status === 409)?.body
    expect(loser).toMatchObject({
      code: 'changed_meanwhile',
      changes: [{ version: 2, action: 'assign', detail: winner }],
      report: { assignee: winner, version: 2 },
    })
    expect((await stored(body.id))?.history).toHaveLength(2)
  })

  test('purges one for good: a tombstone is left, no byte of what it said, and it cannot come back', async () => {
    const report = aReport({ reporter: somebody(), message: 'my name is Rumpelstiltskin' })
    const { body } = await sendReport(inbox, key, report)
    await change(body.id, { expected_version: 1, action: 'tag', tags: ['private'] })
    expect((await change(body.id, { expected_version: 2, action: 'purge', reason: 'asked for' })).status).toBe(200)
    expect(await stored(body.id)).toMatchObject({
      status: 'purged',
      message: '',
      reporterUser: '',
      sessionExcerpt: '',
      resolution: 'asked for',
    })
    const left = await inbox.client.query({
      query: 'SELECT count() AS rows FROM feedback_reports WHERE id = {id:String}',
      query_params: { id: body.id },
      format: 'JSONEachRow',
    })
    expect(await left.json()).toEqual([{ rows: expect.toSatisfy((rows) => Number(rows) === 1) }])
    expect((await sendReport(inbox, key, report)).body).toMatchObject({
      id: body.id,
      status: 'purged',
      already_known: true,
    })
    expect((await stored(body.id))?.message).toBe('')
    expect(await change(body.id, { expected_version: 3, action: 'reopen' })).toMatchObject({
      status: 409,
      body: { code: 'wrong_state' },
    })
  })

  test('sees the tenant of their key only, and no path leads out', async () => {
    const { text: theirs } = await inbox.key(['admin'], 'acme')
    const { body } = await sendReport(inbox, key, aReport({ reporter: somebody() }))
    expect((await inbox.get(`/api/admin/feedback/${body.id}`, theirs)).status).toBe(404)
    expect((await change(body.id, { expected_version: 1, action: 'triage' }, theirs)).status).toBe(404)
    for (const id of ['..%2f..%2fetc', "x'%20OR%201=1", '%00', 'a'.repeat(300)]) {
      expect((await inbox.get(`/api/admin/feedback/${id}`, admin)).status).toBe(404)
    }
    const list = (await (await inbox.get('/api/admin/feedback', theirs)).json()) as { reports: unknown[] }
    expect(list.reports).toEqual([])
  })

  test('finds reports by status, user, tag, cause and text, page by page, each once', async () => {
    const reporter = somebody()
    const ids: string[] = []
    for (const word of ['apple', 'pear', 'plum', 'fig', 'grape']) {
      const { body } = await sendReport(inbox, key, aReport({ reporter, message: `about ${word} 100%` }))
      ids.push(String(body.id))
    }
    await change(ids[1], { expected_version: 1, action: 'tag', tags: ['fruit'] })
    await change(ids[2], { expected_version: 1, action: 'resolve', resolution: 'eaten' })
    const find = async (query: string) => {
      const answer = await inbox.get(`/api/admin/feedback?user=${reporter}&${query}`, admin)
      return (await answer.json()) as { reports: { id: string }[]; next_cursor: string | null }
    }
    const found = async (query: string) => (await find(query)).reports.map(({ id }) => id).sort()
    expect(await found('tag=fruit')).toEqual([ids[1]])
    expect(await found('status=resolved')).toEqual([ids[2]])
    expect(await found('q=APPLE')).toEqual([ids[0]])
    expect(await found('q=100%25')).toEqual([...ids].sort())
    expect(await found('status=open,triaged')).toHaveLength(4)
    const seen: string[] = []
    for (let cursor = ''; ; ) {
      const page = await find(`limit=2${cursor}`)
      seen.push(...page.reports.map(({ id }) => id))
      if (page.next_cursor === null) break
      cursor = `&cursor=${page.next_cursor}`
    }
    expect(seen).toEqual([...ids].reverse())
    for (const bad of ['cursor=abc', 'limit=0', 'status=sad', 'stattus=open', 'q=a&q=b']) {
      expect((await inbox.get(`/api/admin/feedback?${bad}`, admin)).status).toBe(400)
    }
  })

  test('sees reports of one cause together, page by page, with how many it hit', async () => {
    const failing = (reporter: string, text: string) =>
      sendReport(
        inbox,
        key,
        aReport({ reporter, message: 'a grouped one', session: { turns: [failedCall('t', text)] } }),
      )
    const [one, other] = [somebody(), somebody()]
    await failing(one, 'Error: disk 1 is full')
    await failing(other, 'Error: disk 2 is full')
    await failing(one, 'Error: disk 3 is full')
    await failing(other, 'Error: no route to host')
    const find = async (cursor: string) => {
      const answer = await inbox.get(`/api/admin/feedback/causes?q=a+grouped&limit=1${cursor}`, admin)
      return (await answer.json()) as {
        causes: { cause: { text: string }; reports: number; reporters: number; open: number; latest: unknown[] }[]
        next_cursor: string | null
      }
    }
    const first = await find('')
    const second = await find(`&cursor=${first.next_cursor}`)
    expect(first.causes).toMatchObject([{ cause: { text: 'Error: no route to host' }, reports: 1, reporters: 1 }])
    expect(second.causes).toMatchObject([
      { cause: { text: 'Error: disk <n> is full' }, reports: 3, reporters: 2, open: 3, latest: [{}, {}, {}] },
    ])
    expect(second.next_cursor).toBeNull()
  })

  test('leaves one event of reading for the same question within a minute', async () => {
    const query = `q=${crypto.randomUUID()}`
    for (let i = 0; i < 3; i++) await inbox.get(`/api/admin/feedback?${query}`, admin)
    await inbox.get(`/api/admin/feedback?${query}&status=open`, admin)
    const rows = await inbox.rows({ actionIn: ['feedback.read'], q: query.slice(2) }, 2)
    expect(rows).toHaveLength(2)
  })
})
