/** The pages of reports and sessions, as an admin walks through them in a browser; every text in them is hostile. */
import path from 'node:path'
import { processorOf, runChosen } from '@agnes/processors'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  cookieHeader,
  noChromium,
  type OpenPage,
  type Session,
  screenshots,
  sessionOf,
  startBrowser,
  type TestBrowser,
  tokenOf,
} from '../support/browser.ts'
import { aReport, failedCall, sendReport } from '../support/feedback.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'

if (noChromium) console.warn(noChromium)

const hostile = `"><script>window.pwned=1</script><img src=x onerror="window.pwned=1"> \u202egnp.exe\u200b ' javascript:alert(1)`

let inbox: TestInbox
let browser: TestBrowser
let key: string
let admin: string
let session: Session
/** The admin's; each test begins with an address. */
let kept: OpenPage
/** A session that was sent, and processed. */
const file = 'c0ffee00-1111-2222-3333-444444444444'

beforeAll(async () => {
  if (noChromium) return
  inbox = await startTestInbox()
  browser = await startBrowser()
  key = (await inbox.key(['feedback'])).text
  admin = (await inbox.key(['admin'])).text
  session = await sessionOf(inbox.url, admin)
  kept = await browser.keep({ storageState: session })
  await sendSession('ann', file, hostileSession())
}, 120_000)
afterAll(async () => {
  await browser?.close()
  await inbox?.stop()
})

function hostileSession(): unknown[] {
  const at = (second: number) => new Date(Date.UTC(2026, 10, 18, 9, 0, second)).toISOString()
  const common = (i: number) => ({
    sessionId: file,
    uuid: `u${i}`,
    timestamp: at(i),
    version: '2.1.7',
    gitBranch: hostile,
  })
  const say = (i: number, text: string) => ({ ...common(i), type: 'user', message: { role: 'user', content: text } })
  const call = (i: number, id: string, input: unknown) => ({
    ...common(i),
    type: 'assistant',
    message: { id: `m${i}`, role: 'assistant', model: 'm', content: [{ type: 'tool_use', id, name: 'Bash', input }] },
  })
  const answer = (i: number, id: string, content: string, is_error: boolean) => ({
    ...common(i),
    type: 'user',
    message: { role: 'user', content: [{ type: 'tool_result', tool_use_id: id, content, is_error }] },
  })
  return [
    say(0, `${hostile} please build it`),
    ...Array.from({ length: 130 }, (_, i) =>
      say(i + 1, `turn ${i + 1} ${i === 1 ? '"of"\ntwo lines' : 'long '.repeat(i === 0 ? 500 : 1)}`),
    ),
    call(140, 'toolu_a', { command: `make ${hostile}` }),
    answer(141, 'toolu_a', `Exit code 2\n${hostile}\n${'output '.repeat(400)}`, true),
    call(142, 'toolu_b', { command: 'make' }),
    answer(143, 'toolu_b', '<tool_use_error>File does not exist.</tool_use_error>', true),
  ]
}

async function sendSession(user: string, name: string, lines: readonly unknown[]): Promise<void> {
  const sent = await fetch(`${inbox.gateway.url}/v1/sessions/${user}/${name}.jsonl`, {
    method: 'POST',
    body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
  })
  expect(sent.status, await sent.text()).toBeLessThan(300)
  for (const processor of ['transcripts', 'failure_scan']) {
    await runChosen(processorOf(processor), { client: inbox.client, choice: undefined, dryRun: false, log: () => {} })
  }
}

async function visit(path: string): Promise<OpenPage> {
  await kept.page.goto(`${inbox.url}${path}`)
  return kept
}

const picture = (page: Page, name: string) =>
  page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true })
/** Nothing of what strangers wrote has run, and no element came of it. */
async function isHarmless(page: Page, problems: readonly string[]): Promise<void> {
  expect(await page.evaluate('window.pwned')).toBeUndefined()
  expect(await page.locator('main script, main img, main iframe, a[href^="javascript:"]').count()).toBe(0)
  expect(problems).toEqual([])
}

async function report(changes: Readonly<Record<string, unknown>>): Promise<string> {
  const { status, body } = await sendReport(inbox, key, aReport(changes))
  expect({ status, body }).toMatchObject({ status: 200 })
  return String(body.id)
}

describe.skipIf(noChromium)('in a browser', () => {
  test('reports stand together by what failed; one is opened, looked at and resolved, with all of its history', async () => {
    for (const [i, reporter] of ['ann', 'ben', 'cyd'].entries()) {
      const turns = [failedCall('toolu_a', `Exit code 1\nError: no table orders_${i} in /home/${reporter}/x.py`)]
      await report({ reporter, message: `broken for ${reporter}`, session: { file, turns } })
    }
    await report({
      reporter: 'dan',
      message: `${hostile}\nand a second line`,
      environment: { [hostile.slice(0, 50)]: hostile, agnes: '0.1.0' },
      session: {
        file,
        session_id: hostile,
        turns: [
          { role: hostile.slice(0, 40), kind: hostile.slice(0, 40), tool: hostile, text: hostile },
          { role: 'user', kind: 'prompt', text: `${hostile} please` },
          { role: 'assistant', kind: 'tool_use', tool: 'Bash', tool_use_id: 'toolu_a', text: 'command: make' },
          failedCall('toolu_a', `${hostile}\n${'output '.repeat(400)}`),
        ],
      },
    })
    for (const reporter of ['eve', 'fay'])
      await report({ reporter, message: `a question of ${reporter}`, session: undefined })
    const { page, problems } = await visit('/admin/feedback')
    const groups = page.locator('.cause')
    // Questions that nothing failed for stand together.
    expect(await groups.count()).toBe(3)
    expect(await groups.filter({ hasText: 'a question of' }).locator('tbody tr').count()).toBe(2)
    const group = groups.filter({ hasText: 'no table' })
    expect(await group.locator('.cause-facts').textContent()).toMatch(
      /3 reports of 3 people,\s+3 open · first .* · last .*UTC/,
    )
    expect(await group.locator('tbody tr').count()).toBe(3)
    await picture(page, 'feedback-list')
    await page.getByRole('searchbox').fill('second line')
    await page.keyboard.press('Enter')
    await page.waitForURL(/q=second\+line/)
    expect(await page.locator('.reports tbody tr').count()).toBe(1)
    await isHarmless(page, problems)

    await page.locator('.reports .what a').first().click()
    await page.waitForURL(/\/admin\/feedback\/\w+$/)
    expect(await page.locator('h1').textContent()).toContain('<script>')
    expect(await page.locator('.hidden-character').first().textContent()).toMatch(/U\+(202E|200B)/)
    // The transcript was sent too: what was found in it stands at the turn of the report.
    expect(await page.locator('.turn.failed .marker-note').first().textContent()).toContain('tool error')
    await page.locator('.marker-list a').first().click()
    expect(page.url()).toMatch(/#turn-3$/)
    expect(await page.locator('#turn-3:target').count()).toBe(1)
    await page.getByText('Show all').first().click()
    expect(await page.locator('.rest-text').first().isVisible()).toBe(true)
    const issue = new URL((await page.getByRole('link', { name: 'Create GitHub issue' }).getAttribute('href')) ?? '')
    expect(issue.origin + issue.pathname).toBe('https://github.com/keboola/agnes-the-ai-analyst/issues/new')
    expect(issue.searchParams.get('title')).toContain('<script>')
    expect(issue.searchParams.get('body')).toContain(new URL(page.url()).pathname)
    await picture(page, 'feedback-report')
    await isHarmless(page, problems)

    await page.getByRole('button', { name: 'Assign to me' }).click()
    await expect.poll(() => page.locator('.facts').textContent()).toContain('key:')
    await page.getByLabel('Tags').fill('cli, sync')
    await page.getByRole('button', { name: 'Tag', exact: true }).click()
    await expect.poll(() => page.locator('h1 .tag').allTextContents()).toEqual(['cli', 'sync'])
    await page.getByLabel('What was done').fill(`fixed ${hostile}`)
    await page.getByRole('button', { name: 'Resolve' }).click()
    await expect.poll(() => page.locator('h1 .status-tag').textContent()).toBe('resolved')
    expect(await page.getByRole('button', { name: 'Reopen' }).count()).toBe(1)
    expect(await page.locator('section', { hasText: 'History' }).last().locator('tr').count()).toBe(4)
    await page.getByText('Purge', { exact: true }).click()
    await page.getByLabel('Why', { exact: true }).fill('asked for')
    await page.getByRole('button', { name: 'Purge for good' }).click()
    await expect.poll(() => page.locator('h1').textContent()).toContain('Purged report')
    expect(await page.content()).not.toContain('second line')
    await picture(page, 'feedback-tombstone')
    await isHarmless(page, problems)
  })

  test('two admins at once: who comes second sees what the first did, and what they typed is still there', async () => {
    const id = await report({ reporter: 'eva', message: 'who is first' })
    const { page, problems } = await visit(`/admin/feedback/${id}`)
    const resolved = await fetch(`${inbox.url}/api/admin/feedback/${id}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json' },
      body: JSON.stringify({ expected_version: 1, action: 'resolve', resolution: 'restarted it' }),
    })
    expect(resolved.status).toBe(200)
    await page.getByLabel('Tags').fill('mine')
    await page.getByRole('button', { name: 'Tag', exact: true }).click()
    await expect.poll(() => page.getByRole('alert').textContent()).toMatch(/key:\w+ resolved: restarted it/)
    expect(await page.getByLabel('Tags').inputValue()).toBe('mine')
    expect(await page.locator('h1 .tag').count()).toBe(0)
    await picture(page, 'feedback-conflict')
    await page.getByRole('button', { name: 'Tag', exact: true }).click()
    await expect.poll(() => page.locator('h1 .tag').allTextContents()).toEqual(['mine'])
    expect(problems).toEqual([])
  })

  test('a form that was sent before, comes from elsewhere, or from who may only read, changes nothing', async () => {
    const id = await report({ reporter: 'fay', message: 'forms' })
    const cookie = cookieHeader(session)
    const shown = await (await inbox.get(`/admin/feedback/${id}`, undefined, { cookie })).text()
    const forms = shown.split('<form class="action"').slice(1)
    const token = tokenOf(forms.find((form) => form.includes('Triage')) ?? '')
    const body = new URLSearchParams({ token, expected_version: '1', action: 'triage' })
    const send = (said: URLSearchParams, headers: Record<string, string> = {}) =>
      fetch(`${inbox.url}/admin/feedback/${id}`, {
        method: 'POST',
        body: said,
        redirect: 'manual',
        headers: { cookie, ...headers },
      })
    expect((await send(new URLSearchParams({ ...Object.fromEntries(body), token: 'x' }))).status).toBe(403)
    expect((await send(body, { origin: 'https://evil.example' })).status).toBe(403)
    expect((await send(body)).status).toBe(303)
    const again = await send(body)
    expect(again.status).toBe(409)
    expect(await again.text()).toContain('this form was sent already')
    const detail = (await (await inbox.get(`/api/admin/feedback/${id}`, admin)).json()) as { version: number }
    expect(detail.version).toBe(2)
    const reader = cookieHeader(await sessionOf(inbox.url, (await inbox.key(['read'])).text))
    const offered = await (await inbox.get(`/admin/feedback/${id}`, undefined, { cookie: reader })).text()
    expect(offered).toContain('forms')
    expect(offered).not.toContain('<form class="action"')
  })

  test('sessions: from the list to the turn where it went wrong, folded and cut, and marked', async () => {
    const { page, problems } = await visit('/admin/sessions')
    const row = page.locator('.sessions tbody tr', { hasText: 'ann' })
    expect(await row.locator('.marker').allTextContents()).toEqual(
      expect.arrayContaining([expect.stringContaining('tool error')]),
    )
    await picture(page, 'sessions-list')
    await page.getByLabel('Finding').selectOption('loop')
    await page.getByRole('button', { name: 'Show' }).click()
    await page.waitForURL(/finding=loop/)
    expect(await page.locator('.sessions tbody tr').count()).toBe(0)
    await page.getByRole('link', { name: 'Reset' }).click()
    await row.locator('.what a').click()
    await page.waitForURL(new RegExp(`/admin/sessions/ann/${file}$`))
    expect(await page.locator('.turn').count()).toBe(100)
    expect(await page.locator('#turn-2').textContent()).toMatch(/"of"\s+two lines/)
    expect(await page.locator('#turn-2').getByText('Show all').count()).toBe(0)
    await page.locator('#turn-1').getByText('Show all 2,507 bytes').click()
    expect((await page.locator('.whole-turn').textContent())?.trim()).toBe(`turn 1 ${'long '.repeat(500)}`.trim())
    await page.getByRole('link', { name: 'Back to the session' }).click()
    await page.waitForURL(/from=0#turn-1$/)
    // The finding is on a later page of the replay.
    await page.locator('.found .marker-list a').first().click()
    await page.waitForURL(/from=\d+#turn-132$/)
    const turn = page.locator('#turn-132')
    expect(await page.locator('#turn-132:target').count()).toBe(1)
    expect(await turn.locator('.marker-note').textContent()).toContain('tool error')
    expect(await page.locator('#turn-131 details[open]').count()).toBe(0)
    expect(await page.locator('#turn-132 details[open]').count()).toBe(1)
    await picture(page, 'session-replay')
    await isHarmless(page, problems)
    await page.goto(`${inbox.url}/admin/sessions/heatmap`)
    expect(await page.locator('.heatmap tbody tr').first().textContent()).toContain('tool error')
    await picture(page, 'sessions-heatmap')
    await page.locator('.heatmap td a').first().click()
    await page.waitForURL(/finding=tool_error/)
    expect(await page.locator('.sessions tbody tr').count()).toBe(1)
    await page.goto(`${inbox.url}/admin/sessions/gaps`)
    // The page comes at once, and what was compared meanwhile stands in it soon after.
    await page.getByText('Nothing is missing').waitFor()
    await isHarmless(page, problems)
    const rows = await inbox.rows({ actionIn: ['sessions.read'], includeOwnReads: true }, 5)
    expect(rows.some(({ resource }) => resource === `session:${file}`)).toBe(true)
  })

  test('can be read without a script, on a phone, in the dark', async () => {
    const small = { javaScriptEnabled: false, colorScheme: 'dark', viewport: { width: 390, height: 800 } } as const
    const { page } = await browser.open({ ...small, storageState: session })
    await page.goto(`${inbox.url}/admin/sessions/ann/${file}?from=128`)
    expect(await page.locator('.turn').count()).toBeGreaterThan(5)
    await picture(page, 'session-phone')
    await page.goto(`${inbox.url}/admin/feedback`)
    await picture(page, 'feedback-phone')
    const width = await page.evaluate('document.documentElement.scrollWidth').catch(() => 390)
    expect(width).toBeLessThanOrEqual(390)
  })

  test('what is not there, or another tenant has, is not found; a wrong filter says what is right', async () => {
    const theirs = (await inbox.key(['admin'], 'acme')).text
    for (const target of [`/admin/sessions/ann/${file}`, '/admin/sessions/..%2f..%2fx/y', '/admin/feedback/nothing']) {
      expect((await inbox.get(target, target.includes('ann') ? theirs : admin)).status).toBe(404)
    }
    for (const target of [
      '/admin/sessions?sort=mood',
      '/admin/sessions?fnding=loop',
      '/admin/sessions?since=soon',
      '/admin/feedback?status=sad',
    ]) {
      const answer = await inbox.get(target, admin)
      expect({ target, status: answer.status }).toEqual({ target, status: 400 })
    }
    const api = (await (await inbox.get('/api/admin/sessions?finding=tool_error', admin)).json()) as {
      sessions: { file: string }[]
    }
    expect(api.sessions.map((one) => one.file)).toEqual([file])
    const replayed = (await (await inbox.get(`/api/admin/sessions/ann/${file}?from=132&limit=1`, admin)).json()) as {
      turns: { findings: { type: string }[] }[]
    }
    expect(replayed.turns[0]?.findings[0]?.type).toBe('tool_error')
    expect((await inbox.get(`/api/admin/sessions/ann/${file}`, theirs)).status).toBe(404)
    const described = (await (await inbox.get('/openapi.json')).json()) as { paths: Record<string, unknown> }
    expect(Object.keys(described.paths)).toEqual(
      expect.arrayContaining(['/api/feedback', '/api/admin/feedback/{id}', '/api/admin/sessions/{user}/{file}']),
    )
  })
})
