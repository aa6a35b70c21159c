/** Getting in and out, as a person at a browser. */
import path from 'node:path'
import { revokeKey } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  cookieHeader,
  noChromium,
  screenshots,
  sessionOf,
  startBrowser,
  type TestBrowser,
  tokenOf,
} from '../support/browser.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'

if (noChromium) console.warn(noChromium)

let inbox: TestInbox
let browser: TestBrowser
beforeAll(async () => {
  inbox = await startTestInbox()
  if (!noChromium) browser = await startBrowser()
})
afterAll(async () => {
  await browser?.close()
  await inbox?.stop()
})

describe.skipIf(noChromium)('in a browser', () => {
  test('who comes without a session logs in with the admin key and lands where they wanted to go', async () => {
    const { text } = await inbox.key(['admin'])
    const { page, problems } = await browser.open()
    await page.goto(`${inbox.url}/admin/activity?q=orders`)
    await page.waitForURL(/\/login\?next=/)
    await page.screenshot({ path: path.join(screenshots, 'login.png') })
    await page.getByLabel('Key').fill('agn_wrong000_0123456789012345678901234567890123456789')
    await page.getByRole('button', { name: 'Log in' }).click()
    await expect.poll(() => page.getByRole('alert').textContent()).toContain('the key is not known')
    await page.getByLabel('Key').fill(text)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${inbox.url}/admin/activity?q=orders`)
    expect(await page.getByRole('navigation').getByRole('link').first().textContent()).toBe('Activity')
    expect(await page.evaluate('document.cookie')).toBe('')
    const [cookie] = (await page.context().cookies()).filter(({ name }) => name === 'agnes_session')
    expect(cookie).toMatchObject({ httpOnly: true, sameSite: 'Strict' })
    expect(problems).toEqual([])
  })

  test('logging out ends the session, also for whoever has kept its cookie', async () => {
    const session = await browser.session(inbox.url, (await inbox.key(['read'])).text)
    const { page } = await browser.open({ storageState: session })
    await page.goto(`${inbox.url}/admin/activity`)
    const withCookie = () => inbox.get('/admin/activity/sync', undefined, { cookie: cookieHeader(session) })
    expect((await withCookie()).status).toBe(200)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.waitForURL(/\/login$/)
    expect((await withCookie()).status).toBe(303)
  })

  test('a link in a chat leads where it says, though the cookie does not come along from there', async () => {
    const session = await browser.session(inbox.url, (await inbox.key(['admin'])).text)
    const { page, problems } = await browser.open({ storageState: session })
    await page.route('http://chat.example/', (route) =>
      route.fulfill({ contentType: 'text/html', body: `<a href="${inbox.url}/admin/activity?q=orders">look</a>` }),
    )
    await page.goto('http://chat.example/')
    await page.getByText('look').click()
    await page.waitForURL(`${inbox.url}/admin/activity?q=orders`)
    await page.getByRole('search').waitFor()
    expect(problems).toEqual([])
  })
})

describe('whatever the browser', () => {
  test('a key that is revoked ends its sessions within seconds', async () => {
    const { id, text } = await inbox.key(['admin'])
    const cookie = cookieHeader(await sessionOf(inbox.url, text))
    // Whoever is logged in is led on.
    const isLoggedIn = async () => (await inbox.get('/login', undefined, { cookie })).status === 302
    expect(await isLoggedIn()).toBe(true)
    await revokeKey(inbox.client, id)
    await expect.poll(isLoggedIn, { timeout: 5_000 }).toBe(false)
    const answer = await inbox.get('/admin/activity', undefined, { cookie })
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toContain('/login?next=')
  })

  test('a form that is sent twice, or from elsewhere, does nothing and says so', async () => {
    const { text } = await inbox.key(['admin'])
    const cookie = cookieHeader(await sessionOf(inbox.url, text))
    const loggedIn = await inbox.get('/login', undefined, { cookie })
    expect([loggedIn.status, loggedIn.headers.get('location')]).toEqual([302, '/admin/activity'])
    const token = tokenOf(await (await inbox.get('/admin/activity/sync', undefined, { cookie })).text())
    const post = (token: string, headers: Readonly<Record<string, string>> = {}) =>
      fetch(`${inbox.url}/logout`, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie, 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body: new URLSearchParams({ token }),
      })
    for (const [name, value] of [
      ['origin', 'http://evil.example'],
      ['origin', 'null'],
      ['sec-fetch-site', 'cross-site'],
    ] as const) {
      const refused = await post(token, { [name]: value })
      expect(refused.status).toBe(403)
      expect(await refused.text()).toContain('sent from another site')
    }
    const stale = await post('')
    expect(stale.status).toBe(403)
    expect(await stale.text()).toContain('this form is too old')
    // None of them was the end of it, and the form still is good for its one time.
    expect((await inbox.get('/login', undefined, { cookie })).status).toBe(302)
    expect((await post(token)).status).toBe(303)
    expect((await inbox.get('/login', undefined, { cookie })).status).toBe(200)

    const form = await inbox.get('/login')
    const visit = form.headers.getSetCookie().map((one) => one.split(';', 1)[0])
    const loginToken = tokenOf(await form.text())
    const replay = () =>
      fetch(`${inbox.url}/login`, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie: visit.join('; '), 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ token: loginToken, key: text }),
      })
    expect((await replay()).status).toBe(303)
    const again = await replay()
    expect(again.status).toBe(409)
    expect(await again.text()).toContain('this form was sent already')
  })

  test('only a proxy that is believed says that somebody came by https', async () => {
    const areSecure = async () => {
      const answer = await inbox.get('/login', undefined, { 'x-forwarded-proto': 'https' })
      return answer.headers.getSetCookie().map((cookie) => cookie.includes('; Secure'))
    }
    expect(await areSecure()).toEqual([true])
    await inbox.restart({ trustedProxies: ['10.9.0.0/16', 'uniquelocal'] })
    expect(await areSecure()).toEqual([false])
    await inbox.restart({ trustedProxies: ['10.9.0.0/16', '127.0.0.1'] })
    expect(await areSecure()).toEqual([true])
  })

  test.each([['https://evil.example/'], ['//evil.example/'], ['/\\evil.example'], ['javascript:alert(1)'], ['/login']])(
    'after the login nobody is sent to %s',
    async (next) => {
      const answer = await inbox.get(`/login?next=${encodeURIComponent(next)}`)
      const page = await answer.text()
      expect(page).toMatch(/<form method="post" action="\/login">/)
    },
  )
})
