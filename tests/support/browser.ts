/** A real Chromium, driven by playwright-core: one for a test file, a context of its own (cookies, cache) for each test. */
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { onTestFinished } from 'vitest'
import { repository } from './agnes.ts'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Where Chromium is; CHROMIUM_PATH comes first. */
export const chromiumPath = [process.env.CHROMIUM_PATH ?? '', ...places].find((file) => file !== '' && existsSync(file))

export const noChromium =
  chromiumPath === undefined && 'skipped: there is no Chromium; "apt-get install chromium", or set CHROMIUM_PATH'

/** Git-ignored; the pictures are for people. */
export const screenshots = path.join(repository, 'tests/screenshots')

export type Session = Awaited<ReturnType<BrowserContext['storageState']>>

export interface OpenPage {
  readonly page: Page
  readonly problems: string[]
}

export interface TestBrowser {
  /**
   * A page in a new context until the test is over, and what went wrong in it: errors of scripts, and what the page's
   * policy refused. Pages that stay open look again and again, and cost the next tests their time.
   */
  open(options?: BrowserContextOptions): Promise<OpenPage>
  /** The same, until the browser is closed: a new context costs as much as two or three visits of a page. */
  keep(options?: BrowserContextOptions): Promise<OpenPage>
  /** Cookies of somebody who logged in, for `storageState` of contexts. */
  session(url: string, key: string): Promise<Session>
  close(): Promise<void>
}

export async function startBrowser(): Promise<TestBrowser> {
  mkdirSync(screenshots, { recursive: true })
  const browser: Browser = await chromium.launch({
    ...(chromiumPath === undefined ? {} : { executablePath: chromiumPath }),
    // Containers run as root, and /dev/shm is small in them.
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  })
  async function keep(options: BrowserContextOptions = {}): Promise<OpenPage> {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options })
    // A busy machine is no reason to fail.
    context.setDefaultTimeout(30_000)
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
  }
  return {
    keep,
    async open(options) {
      const opened = await keep(options)
      onTestFinished(() => opened.page.context().close())
      return opened
    },
    session: sessionOf,
    close: () => browser.close(),
  }
}

/** The login form, filled in without a browser: how that looks in one is a test of its own. */
export async function sessionOf(url: string, key: string): Promise<Session> {
  const form = await fetch(`${url}/login`)
  const token = tokenOf(await form.text())
  const answer = await fetch(`${url}/login`, {
    method: 'POST',
    redirect: 'manual',
    headers: {
      cookie: form.headers
        .getSetCookie()
        .map((one) => one.split(';', 1)[0])
        .join('; '),
    },
    body: new URLSearchParams({ token, key }),
  })
  const value = answer.headers.getSetCookie().map((one) => /^agnes_session=([^;]+)/.exec(one)?.[1])
  const [session] = value.filter((one) => one !== undefined)
  if (session === undefined) throw new Error(`no session: ${answer.status} ${await answer.text()}`)
  const cookie = { name: 'agnes_session', value: session, domain: new URL(url).hostname, path: '/', expires: -1 }
  return { cookies: [{ ...cookie, httpOnly: true, secure: false, sameSite: 'Strict' }], origins: [] }
}

/** Of the first form of a page. */
export function tokenOf(page: string): string {
  return /name="token" value="([^"]+)"/.exec(page)?.[1] ?? ''
}

/** As a request carries them. */
export function cookieHeader({ cookies }: Session): string {
  return cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
}
