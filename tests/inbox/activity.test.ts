/** The activity pages in a browser: an admin's morning, and what strangers may have written into the events. */
import path from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import {
  cookieHeader,
  noChromium,
  type OpenPage,
  type Session,
  screenshots,
  startBrowser,
  type TestBrowser,
  tokenOf,
} from '../support/browser.ts'
import { insertEvents } from '../support/events.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'

if (noChromium) console.warn(noChromium)

const now = Date.now()
const ago = (minutes: number): Date => new Date(now - minutes * 60_000)
let inbox: TestInbox
let browser: TestBrowser
let admin: { readonly id: string; readonly text: string }
/** Cookies of somebody who logged in with the admin key. */
let session: Session
/** Theirs; each test begins with an address. */
let kept: OpenPage

beforeAll(async () => {
  if (noChromium) return
  inbox = await startTestInbox()
  ;[browser, admin] = await Promise.all([startBrowser(), inbox.key(['admin'])])
  await insertEvents(inbox.client, [
    ...Array.from({ length: 120 }, (_, i) => ({
      tenant: 'default',
      at: ago(5 + i * 3),
      name: 'agnes.audit',
      attributes: {
        'log.record.uid': `event-${i}`,
        'user.id': ['ada', 'bob', 'cleo'][i % 3] ?? '',
        'agnes.action': ['query.local', 'catalog.list', 'data.download', 'sync.trigger'][i % 4] ?? '',
        'agnes.resource': `table:orders_${i % 7}`,
        'agnes.result': i % 10 === 0 ? 'error.invalid_sql' : i % 17 === 0 ? 'denied' : 'success',
        'agnes.client_kind': 'web',
        ...(i % 2 === 0 ? { 'agnes.duration_ms': String(20 + i) } : {}),
        'agnes.params': JSON.stringify({ sql: `select * from orders_${i % 7} where mail = 'ada@example.org'` }),
      },
    })),
    {
      tenant: 'default',
      at: ago(2),
      name: 'agnes.audit',
      attributes: {
        'log.record.uid': 'the-change',
        'user.id': 'ada',
        'agnes.action': 'instance_config.update',
        'agnes.result': 'success',
        'agnes.params_before': JSON.stringify({ limits: { rows: 100, note: 'old' }, theme: 'light' }),
        'agnes.params': JSON.stringify({ limits: { rows: 250 }, theme: 'light', beta: true }),
      },
    },
    ...Array.from({ length: 16 }, (_, i) => ({
      tenant: 'default',
      at: ago(12 + i * 15),
      name: 'agnes.sync',
      attributes: {
        'log.record.uid': `sync-${i}`,
        'agnes.sync.table_id': 'orders',
        'agnes.sync.status': i % 6 === 5 ? 'error' : 'ok',
        'agnes.sync.rows': String(1000 + i),
        'agnes.duration_ms': '2100',
        ...(i % 6 === 5 ? { 'agnes.sync.error': 'could not set lock' } : {}),
      },
    })),
    {
      tenant: 'default',
      at: ago(30),
      name: 'agnes.sync',
      attributes: {
        'agnes.sync.table_id': 'invoices',
        'agnes.sync.status': 'error',
        'agnes.sync.error': 'no such column',
      },
    },
  ])
  session = await browser.session(inbox.url, admin.text)
  kept = await browser.keep({ storageState: session })
})
afterAll(async () => {
  await browser?.close()
  await inbox?.stop()
})

/** Rows of the timeline, and what the cards say. */
const rowsOf = (page: Page) => page.locator('.timeline tbody tr')
const figure = (page: Page, label: string): Promise<string | null> =>
  page.locator('.figure', { hasText: label }).locator('.figure-value').textContent()
const picture = (page: Page, name: string): Promise<Buffer> =>
  page.screenshot({ path: path.join(screenshots, `${name}.png`) })
const fits = async (page: Page): Promise<void> =>
  expect(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')).toBe(0)

/** Pictures of a page in the light and in the dark, and nothing to scroll sideways in either. */
async function pictures(page: Page, name: string, nameInTheDark: string): Promise<void> {
  await fits(page)
  await picture(page, name)
  await page.emulateMedia({ colorScheme: 'dark' })
  await fits(page)
  await picture(page, `in-the-dark-${nameInTheDark}`)
  await page.emulateMedia({ colorScheme: 'light' })
}

describe.skipIf(noChromium)('an admin', () => {
  test('sees what is wrong, follows it to the rows behind it, narrows it down and starts over', async () => {
    const { page, problems } = kept
    await page.goto(`${inbox.url}/admin/activity`)
    await expect.poll(() => page.locator('.tile').count()).toBe(6)
    await page.locator('.figures').waitFor()
    // Logins are among them.
    expect(Number(await figure(page, 'Events'))).toBeGreaterThanOrEqual(138)
    expect(await page.locator('.figures').textContent()).toMatch(/76 of 1\d\d rows carry one/)
    await pictures(page, 'activity', 'admin-activity')

    await page.locator('.tile', { hasText: 'Syncs' }).click()
    await expect.poll(() => rowsOf(page).count()).toBe(17)
    expect(await figure(page, 'Events')).toBe('17')

    await page.getByRole('link', { name: 'Reset' }).click()
    await page.waitForURL(`${inbox.url}/admin/activity`)
    await page.locator('.facet', { hasText: 'error' }).click()
    expect(await figure(page, 'Events')).toBe('15')
    await page.locator('.facet', { hasText: 'ada' }).click()
    const narrowed = Number(await figure(page, 'Events'))
    expect(narrowed).toBe(await rowsOf(page).count())
    expect(await page.locator('.chip').count()).toBe(2)

    await page.getByLabel('Text').fill('orders_6')
    await page.keyboard.press('Enter')
    await page.waitForURL(/q=orders_6/)
    expect(new URL(page.url()).searchParams.get('result')).toBe('error')
    expect(new URL(page.url()).searchParams.get('user_id')).toBe('ada')
    await page.locator('.chip', { hasText: 'text' }).click()
    expect(Number(await figure(page, 'Events'))).toBe(narrowed)
    await page.getByRole('link', { name: 'Reset' }).click()
    await page.waitForURL(`${inbox.url}/admin/activity`)
    expect(await page.locator('.chip').count()).toBe(0)
    expect(Number(await figure(page, 'Events'))).toBeGreaterThanOrEqual(138)
    expect(problems).toEqual([])
  })

  test('reads on, and takes along what they see', async () => {
    const { page } = kept
    await page.goto(`${inbox.url}/admin/activity`)
    const seen = new Set<string | null>()
    for (;;) {
      for (const key of await rowsOf(page).evaluateAll((rows) => rows.map((row) => row.getAttribute('data-key')))) {
        seen.add(key)
      }
      const older = page.getByRole('link', { name: 'Older' })
      if ((await older.count()) === 0) break
      await older.click()
      await page.waitForURL(/cursor=/)
    }
    // Reads of this page and heartbeats are left out; logins are not.
    const logins = (await inbox.rows({ actionIn: ['inbox.login'] }, 1)).length
    expect(seen.size).toBeGreaterThanOrEqual(138)
    expect(seen.size).toBeLessThanOrEqual(138 + logins)
    await page.goto(`${inbox.url}/admin/activity?result=denied`)
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'CSV' }).click(),
    ])
    expect(download.suggestedFilename()).toMatch(/^activity-.*\.csv$/)
    const lines = (await text(await download.createReadStream())).trim().split('\r\n')
    expect(lines).toHaveLength(1 + (await rowsOf(page).count()))
    expect(lines[0]).toMatch(/^id,timestamp,/)
  })

  test('opens an event beside the list by keyboard, goes back by Esc, and the address of the event is a page', async () => {
    const { page, problems } = kept
    await page.goto(`${inbox.url}/admin/activity?user_id=ada&action_prefix=query.`)
    await page.keyboard.press('j')
    await page.keyboard.press('Enter')
    const drawer = page.getByRole('dialog')
    await drawer.getByRole('heading', { name: /query\.local/ }).waitFor()
    expect(await drawer.textContent()).toContain('select * from orders_0 where mail = ?')
    expect(await drawer.textContent()).not.toContain('example.org')
    await picture(page, 'event')
    await page.keyboard.press('Escape')
    await expect.poll(() => drawer.count()).toBe(0)
    expect(await page.evaluate('document.activeElement.className')).toBe('time-link')
    await page.keyboard.press('Enter')
    await drawer.getByRole('link', { name: 'Open as a page' }).click()
    await page.waitForURL(/\/admin\/activity\/event-0\?/)
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toContain('query.local')
    expect(problems).toEqual([])
  })

  test('sees what a change replaced', async () => {
    const { page } = kept
    await page.goto(`${inbox.url}/admin/activity/the-change`)
    const rows = page.locator('.changes tbody tr')
    const changes: (string | null)[][] = []
    for (const row of await rows.all()) {
      changes.push([await row.getAttribute('class'), ...(await row.locator('th, td').allTextContents())])
    }
    expect(changes).toEqual([
      ['changed', 'limits.rows', '100', '250'],
      ['added', 'beta', '–', 'true'],
      ['removed', 'limits.note', 'old', '–'],
    ])
    expect(await page.getByText('1 unchanged').count()).toBe(1)
    await pictures(page, 'change', 'admin-activity-the-change')
  })

  test('is shown an event raw when it is written down, and not by the same form again', async () => {
    const { page, problems } = kept
    await page.goto(`${inbox.url}/admin/activity/event-4`)
    expect(await page.content()).not.toContain('example.org')
    await page.getByRole('button', { name: 'Show raw' }).click()
    await expect.poll(() => page.locator('pre').textContent()).toContain("mail = 'ada@example.org'")
    const [row] = await inbox.rows({ actionIn: ['audit.reveal_raw'], resource: 'event:event-4' }, 1)
    expect(row).toMatchObject({ userId: `key:${admin.id}`, clientKind: 'web' })
    await page.reload()
    await expect.poll(() => page.getByRole('heading').textContent()).toBe('this form was sent already')
    expect(problems).toEqual([])
  })

  test('with a key that only reads is not offered it, and cannot have it', async () => {
    const reader = await inbox.key(['read'])
    const theirs = { cookie: cookieHeader(await browser.session(inbox.url, reader.text)) }
    const event = '/admin/activity/event-4'
    const offered = await inbox.get(event, undefined, { cookie: cookieHeader(session) })
    expect(await offered.text()).toContain('Show raw')
    const shown = await (await inbox.get(event, undefined, theirs)).text()
    expect(shown).toContain('query.local')
    expect(shown).not.toContain('Show raw')
    const form = new URLSearchParams({ token: 'x' })
    const answer = await fetch(`${inbox.url}${event}/raw`, { method: 'POST', headers: theirs, body: form })
    expect(answer.status).toBe(403)
  })

  test('sees each table, those that need somebody first, and goes on to its runs', async () => {
    const { page, problems } = kept
    await page.goto(`${inbox.url}/admin/activity`)
    await page.getByRole('link', { name: 'Syncs', exact: true }).click()
    await page.waitForURL(/\/sync$/)
    expect(await page.locator('.sentence').textContent()).toContain('2 tables in seven days: 1 failing, 0 late.')
    const first = page.locator('.grid tbody tr').first()
    expect(await first.textContent()).toContain('invoices')
    expect(await first.textContent()).toContain('no such column')
    const orders = page.locator('.grid tbody tr', { hasText: 'orders' })
    expect(await orders.locator('td').nth(5).textContent()).toBe('1,000')
    expect(await orders.locator('.run').count()).toBe(12)
    expect(await orders.locator('.run.failed').count()).toBe(2)
    await pictures(page, 'syncs', 'admin-activity-sync')
    await orders.getByRole('link').click()
    await expect.poll(() => rowsOf(page).count()).toBe(16)
    await rowsOf(page).first().locator('.time-link').click()
    await page
      .getByRole('dialog')
      .getByRole('heading', { name: /Syncs of this table/ })
      .waitFor()
    expect(problems).toEqual([])
  })

  test('sees new events come in without losing the place', async () => {
    const { page, problems } = await browser.open({ storageState: session })
    await page.clock.install()
    await page.goto(`${inbox.url}/admin/activity`)
    await rowsOf(page).nth(30).scrollIntoViewIfNeeded()
    const place = rowsOf(page).nth(30)
    const key = await place.getAttribute('data-key')
    const marked = page.locator(`tr[data-key="${key}"]`)
    await marked.locator('.time-link').focus()
    const before = (await marked.boundingBox())?.y ?? 0
    await insertEvents(inbox.client, [
      {
        tenant: 'default',
        at: new Date(),
        name: 'agnes.audit',
        attributes: { 'log.record.uid': 'fresh-1', 'agnes.action': 'fresh.one', 'agnes.result': 'success' },
      },
    ])
    await page.clock.runFor(31_000)
    await page.locator('tr.fresh', { hasText: 'fresh.one' }).waitFor({ state: 'attached' })
    expect(Math.abs(((await marked.boundingBox())?.y ?? 0) - before)).toBeLessThan(2)
    expect(await marked.locator('.time-link:focus').count()).toBe(1)
    await page.getByRole('button', { name: 'Pause' }).click()
    expect(await page.getByRole('button', { name: 'Go on' }).count()).toBe(1)
    expect(problems).toEqual([])
  })

  test('finds their own reading when they ask for it, and not before', async () => {
    const { page } = kept
    await inbox.get('/admin/activity', admin.text)
    await inbox.rows({ actionIn: ['activity.read'] }, 1)
    await page.goto(`${inbox.url}/admin/activity?q=activity.read`)
    expect(await rowsOf(page).count()).toBe(0)
    await page.getByLabel('Reading of these pages').check()
    await page.getByRole('button', { name: 'Filter' }).click()
    await page.waitForURL(/include_reads=true/)
    expect(await rowsOf(page).count()).toBeGreaterThan(0)
  })

  test('on a phone can read it all without scrolling sideways', async () => {
    const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }
    const { page, problems } = await browser.open({ ...phone, storageState: session })
    for (const address of ['/admin/activity', '/admin/activity/the-change', '/admin/activity/sync']) {
      await page.goto(inbox.url + address)
      await fits(page)
      await picture(page, `on-a-phone${address.replaceAll('/', '-')}`)
    }
    expect(problems).toEqual([])
  })

  test('without JavaScript reads, filters, opens an event and sees it raw', async () => {
    const { page } = await browser.open({ javaScriptEnabled: false, storageState: session })
    await page.goto(`${inbox.url}/admin/activity`)
    await page.locator('.facet', { hasText: 'query.local' }).click()
    await page.waitForURL(/action_in=query.local/)
    await rowsOf(page).first().locator('.time-link').click()
    await page.waitForURL(/\/admin\/activity\/event-/)
    await page.getByRole('button', { name: 'Show raw' }).click()
    expect(await page.locator('pre').textContent()).toContain('ada@example.org')
  })

  test('gets every page in at most 100 KiB, and nothing from elsewhere', async () => {
    const { page } = kept
    const network = await page.context().newCDPSession(page)
    await network.send('Network.enable')
    await network.send('Network.setCacheDisabled', { cacheDisabled: true })
    let bytes = 0
    const hosts = new Set<string>()
    onTestFinished(() => network.detach())
    network.on('Network.loadingFinished', ({ encodedDataLength }) => {
      bytes += encodedDataLength
    })
    page.on('request', (request) => hosts.add(new URL(request.url()).origin))
    for (const address of [
      '/login',
      '/admin/activity',
      '/admin/activity/event-0',
      '/admin/activity/sync',
      '/nowhere',
    ]) {
      bytes = 0
      await page.goto(inbox.url + address, { waitUntil: 'load' })
      await expect.poll(() => bytes, { message: address, timeout: 10_000 }).toBeGreaterThan(500)
      expect(bytes, address).toBeLessThan(100 * 1024)
    }
    expect([...hosts]).toEqual([inbox.url])
  })
})

describe.skipIf(noChromium)('whatever strangers wrote into an event', () => {
  const script = '<script>window.hacked = true</script><img src=x onerror="window.hacked = true">'
  /** In one place alone more than a page may have. */
  const long = 'x'.repeat(150_000)
  const quote = `"><svg onload='window.hacked = true'>`
  const hostile = [
    ['script', script],
    ['attribute', quote],
    ['javascript', 'javascript:window.hacked=true//\'"`;{{7*7}}'],
    ['rtl', '\u202egnp.exe\u202c \u200bzero\u200bwidth\u2066\ufeff'],
    ['terminal', '\u001b[31mred\u0007\u0000nul'],
    ['length', long],
    ['markup', '</title></textarea></style>-->]]>&lt;b&gt;'],
  ] as const

  test('is shown as text, wherever it stands', async () => {
    await insertEvents(inbox.client, [
      ...hostile.map(([name, text]) => ({
        tenant: 'default',
        at: ago(1),
        name: `agnes.audit`,
        scope: text,
        body: text,
        attributes: {
          'log.record.uid': `hostile-${name}`,
          'user.id': text,
          'agnes.action': `hostile ${text}`,
          'agnes.resource': text,
          'agnes.result': `error ${text}`,
          'agnes.client_kind': text,
          'client.address': text,
          'agnes.correlation_id': text,
          'session.id': text,
          'agnes.run.id': text,
          'agnes.params': JSON.stringify({ [text.slice(0, 300)]: text, list: [text] }),
          'agnes.params_before': JSON.stringify({ list: [`${text}!`] }),
          [text.slice(0, 300)]: text,
        },
      })),
      ...hostile.map(([, text]) => ({
        tenant: 'default',
        at: ago(1),
        name: 'agnes.sync',
        attributes: { 'agnes.sync.table_id': text, 'agnes.sync.status': 'error', 'agnes.sync.error': text },
      })),
    ])
    const { page, problems } = kept
    const hacked = () =>
      page.evaluate(
        'window.hacked === undefined && document.querySelectorAll("main script, main img, main iframe").length === 0',
      )
    await page.goto(`${inbox.url}/admin/activity?since=30m`)
    await expect.poll(() => rowsOf(page).count()).toBeGreaterThan(12)
    expect(await hacked()).toBe(true)
    expect(await page.locator('.timeline').textContent()).toContain(`hostile ${script.slice(0, 20)}`)
    expect(await page.locator('.timeline').textContent()).toContain('U+202Egnp.exeU+202C')
    await fits(page)
    await page.screenshot({ path: path.join(screenshots, 'hostile.png'), fullPage: true })
    for (const [name] of hostile) {
      const event = await page.request.get(`${inbox.url}/admin/activity/hostile-${name}`)
      expect(event.status(), name).toBe(200)
      expect((await event.body()).length, name).toBeLessThan(100 * 1024)
    }
    for (const name of ['attribute', 'javascript', 'markup', 'script']) {
      await page.goto(`${inbox.url}/admin/activity/hostile-${name}`)
      expect(await hacked(), name).toBe(true)
    }
    await page.screenshot({ path: path.join(screenshots, 'hostile-event.png'), fullPage: true })
    await page.getByRole('button', { name: 'Show raw' }).click()
    await page.locator('pre.raw-text').waitFor()
    expect(await hacked()).toBe(true)
    expect(await rawOf('hostile-length')).toContain(long)
    await page.goto(`${inbox.url}/admin/activity/sync`)
    expect(await hacked()).toBe(true)
    await page.goto(
      `${inbox.url}/admin/activity?${new URLSearchParams({ q: script, user_id: quote, resource: script })}`,
    )
    expect(await hacked()).toBe(true)
    expect(await page.getByLabel('Text').inputValue()).toBe(script)
    expect(await page.locator('input[name=user_id]').inputValue()).toBe(quote)
    await page.goto(`${inbox.url}/admin/${encodeURIComponent(script)}`)
    expect(await hacked()).toBe(true)
    expect(problems).toEqual([])
  }, 120_000)
})

/** What the form of the event's page leads to, without a browser that would have to draw it. */
async function rawOf(id: string): Promise<string> {
  const { request } = kept.page
  const event = await (await request.get(`${inbox.url}/admin/activity/${id}`)).text()
  const [, action = ''] = /action="([^"]*\/raw[^"]*)"/.exec(event) ?? []
  const token = tokenOf(event.slice(event.indexOf(action)))
  return (await request.post(inbox.url + action, { form: { token } })).text()
}

async function text(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
