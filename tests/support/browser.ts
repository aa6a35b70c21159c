/** A real Chromium, driven by playwright-core: one for a test file, a context of its own (cookies, cache) for each test. */
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { onTestFinished } from 'vitest'
import { repository } from './agnes.ts'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Where Chromium is; CHROMIUM_PATH comes first. */
export const chromiumPath = [process.env.CHROMIUM_PATH ?? '', ...places].find((file) => file !== '' && existsSync(file))

export const noChromium =
  chromiumPath === undefined && 'skipped: there is no Chromium; "apt-get install chromium", or set CHROMIUM_PATH'

/** Git-ignored; the pictures are for people. */
export const screenshots = path.join(repository, 'tests/screenshots')

export interface TestBrowser {
  /**
   * A page in a new context until the test is over, and what went wrong in it: errors of scripts, and what the page's
   * policy refused. Pages that stay open look again and again, and cost the next tests their time.
   */
  open(options?: BrowserContextOptions): Promise<{ readonly page: Page; readonly problems: string[] }>
  /** Cookies of somebody who logged in, for `storageState` of other contexts. */
  session(url: string, key: string): Promise<NonNullable<BrowserContextOptions['storageState']>>
  close(): Promise<void>
}

export async function startBrowser(): Promise<TestBrowser> {
  mkdirSync(screenshots, { recursive: true })
  const browser: Browser = await chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    // Containers run as root, and /dev/shm is small in them.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  })
  return {
    async open(options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options })
      // A busy machine is no reason to fail.
      context.setDefaultTimeout(30_000)
      onTestFinished(() => context.close())
      const page = await context.newPage()
      const problems: string[] = []
      page.on('pageerror', (error) => problems.push(error.message))
      page.on('dialog', (dialog) => {
        problems.push(`a dialog opened: ${dialog.message()}`)
        void dialog.dismiss()
      })
      page.on('console', (message) => {
        // An answer that is no 2xx is told there too; the tests look at those themselves.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
          problems.push(message.text())
      })
      return { page, problems }
    },
    async session(url, key) {
      const context = await browser.newContext()
      await logIn(await context.newPage(), url, key)
      const state = await context.storageState()
      await context.close()
      return state
    },
    close: () => browser.close(),
  }
}

export async function logIn(page: Page, url: string, key: string): Promise<void> {
  await page.goto(`${url}/login`)
  await page.getByLabel('Key').fill(key)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.waitForURL(`${url}/admin/activity`)
}
