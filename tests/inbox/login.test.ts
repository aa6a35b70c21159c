/** Getting in and out, as a person at a browser. */
import path from 'node:path'
import { revokeKey } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { noChromium, screenshots, startBrowser, type TestBrowser } from '../support/browser.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'

if (noChromium) console.warn(noChromium)

let inbox: TestInbox
let browser: TestBrowser
beforeAll(async () => {
  if (noChromium) return
  inbox = await startTestInbox()
  browser = await startBrowser()
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
    const { text } = await inbox.key(['read'])
    const { page } = await browser.open()
    await logIn(page, text)
    const kept = (await page.context().cookies()).find(({ name }) => name === 'agnes_session')?.value ?? ''
    const withCookie = () => inbox.get('/admin/activity', undefined, { cookie: `agnes_session=${kept}` })
    expect((await withCookie()).status).toBe(200)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.waitForURL(/\/login$/)
    expect((await withCookie()).status).toBe(303)
  })

  test('a key that is revoked ends its sessions within seconds', async () => {
    const { id, text } = await inbox.key(['admin'])
    const { page } = await browser.open()
    await logIn(page, text)
    await revokeKey(inbox.client, id)
    await expect
      .poll(async () => {
        await page.goto(`${inbox.url}/admin/activity`)
        return page.url()
      })
      .toContain('/login')
  })
})

async function logIn(page: Awaited<ReturnType<TestBrowser['open']>>['page'], key: string): Promise<void> {
  await page.goto(`${inbox.url}/login`)
  await page.getByLabel('Key').fill(key)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.waitForURL(`${inbox.url}/admin/activity`)
}
