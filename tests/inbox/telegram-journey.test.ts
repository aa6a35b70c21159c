/** From a report to the phone of an admin and back: the whole inbox, its page in a browser, the command, the webhook. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { revokeKey } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { command, run } from '../support/agnes.ts'
import { noChromium, screenshots, startBrowser, type TestBrowser } from '../support/browser.ts'
import { startTestInbox, type TestInbox } from '../support/inbox.ts'
import { type Phone, phoneOf, startTelegramServer, type TelegramServer } from '../support/telegram-server.ts'

const settings = { mode: 'polling', intervalSeconds: 0, digestAt: '08:00' } as const

let server: TelegramServer
let inbox: TestInbox
let browser: TestBrowser | undefined
let admin: { readonly id: string; readonly text: string }
beforeAll(async () => {
  server = await startTelegramServer()
  inbox = await startTestInbox({ telegram: { ...settings, token: server.token, apiRoot: server.url } })
  if (!noChromium) browser = await startBrowser()
  admin = await inbox.key(['admin'])
  await server.polled()
})
afterAll(async () => {
  await browser?.close()
  await inbox?.stop()
  await server?.stop()
})

async function post<T>(target: string, key: string, body?: unknown): Promise<{ status: number; body: T }> {
  const answer = await fetch(new URL(target, inbox.url), {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'Content-Type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  return { status: answer.status, body: (await answer.json()) as T }
}

async function linkedPhone(name: string, key = admin.text): Promise<Phone> {
  const phone = phoneOf(server, name)
  const { body } = await post<{ send: string }>('/api/admin/telegram/codes', key)
  await phone.ask(body.send)
  return phone
}

/** As `agnes report` sends it. */
async function report(message: string): Promise<{ id: string }> {
  const body = JSON.stringify({
    version: 1,
    reporter: 'ana',
    message,
    session: {
      turns: [{ role: 'user', kind: 'tool_result', tool: 'Bash', is_error: true, text: `Error: no table ${message}` }],
    },
  })
  const answer = await fetch(new URL('/api/feedback', inbox.url), {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${admin.text}`,
      'Content-Type': 'application/json',
      'Agnes-Preview-SHA256': createHash('sha256').update(body).digest('hex'),
    },
    body,
  })
  expect(answer.status).toBe(200)
  return (await answer.json()) as { id: string }
}

test('a report is on the phone within seconds, and its buttons act for the admin', async () => {
  const phone = await linkedPhone('Zoe')
  const hostile = '<b>stuck</b> &lt; </blockquote> \u202eevil AKIAIOSFODNN7EXAMPLE'
  const startedAt = performance.now()
  const { id } = await report(hostile)
  const message = await phone.message(2)
  expect(performance.now() - startedAt).toBeLessThan(3_000)
  expect(message.text).toContain('Feedback from ana')
  expect(message.text).toContain('<b>stuck</b> &lt; </blockquote> ⟨U+202E⟩evil')
  expect(message.text).not.toContain('AKIAIOSFODNN7EXAMPLE')
  expect(message.buttons.map(({ text }) => text)).toEqual(['Triage', 'Assign to me', 'Resolve'])

  expect(await phone.press(message, 'Triage')).toBe('Triaged.')
  expect(await phone.press(message, 'Triage')).toBe('Triaged.')
  expect(await phone.press(message, 'Assign to me')).toBe('Assigned to you.')
  expect(await phone.press(message, 'Resolve')).toBe('Resolved.')
  const events = await inbox.rows({ resource: `feedback:${id}`, actionPrefix: 'feedback.' }, 4)
  expect(events.map(({ action, userId }) => [action, userId])).toEqual([
    ['feedback.resolve', `key:${admin.id}`],
    ['feedback.assign', `key:${admin.id}`],
    ['feedback.triage', `key:${admin.id}`],
    ['feedback.report', 'ana'],
  ])
  expect(events[2]?.paramsBefore).toContain('"status":"open"')
  const [now] = phone.messages().slice(1)
  expect(now).toMatchObject({ edited: true, buttons: [], text: expect.stringMatching(/resolved.*Resolved from here/s) })
  expect(await phone.press(message, 'triage:nosuchreport')).toContain('there is no such report')
  expect(await phone.press(message, 'purge:x')).toContain('does nothing any more')

  // What it keeps of a delivery holds nothing a purge would not find.
  const kept = await inbox.client.query({ query: 'SELECT content FROM telegram_deliveries', format: 'TabSeparated' })
  expect(await kept.text()).not.toMatch(/stuck|ana/)
})

test('metrics tell what became of reports and of what Telegram was sent', async () => {
  const phone = await linkedPhone('Mia')
  const told = async (): Promise<(series: string) => number> => {
    const text = await (await inbox.get('/metrics')).text()
    return (series) =>
      Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${series} `))
          ?.slice(series.length + 1) ?? 0,
      )
  }
  const before = await told()
  server.fail({ kind: 'flood', retryAfterSeconds: 1 })
  await report('metrics')
  await phone.message(2)
  const refused = await fetch(`${inbox.url}/api/feedback`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${admin.text}`, 'Content-Type': 'application/json' },
    body: '{}',
  })
  expect(refused.status).toBeGreaterThanOrEqual(400)
  // The phone has a message a moment before its delivery is counted.
  await expect
    .poll(async () => (await told())('agnes_inbox_telegram_deliveries_total{outcome="sent"}'), { timeout: 20_000 })
    .toBeGreaterThan(before('agnes_inbox_telegram_deliveries_total{outcome="sent"}'))
  const after = await told()
  for (const series of [
    'agnes_inbox_reports_total{outcome="accepted"}',
    'agnes_inbox_reports_total{outcome="refused"}',
    'agnes_inbox_telegram_calls_total{method="sendMessage",status="429"}',
    'agnes_inbox_requests_total{route="/api/feedback",status="200"}',
  ]) {
    expect({ series, more: after(series) - before(series) }).toEqual({ series, more: 1 })
  }
})

test('the phone answers what is asked of it', async () => {
  const phone = await linkedPhone('Yuri')
  await report('cannot find the orders')
  await phone.message(2)
  const open = await phone.ask('/feedback')
  expect(open.text).toContain('ana (open): cannot find the orders')
  const before = phone.messages().length
  await phone.press(open, '1')
  expect((await phone.message(before + 1)).text).toContain('cause: Bash: Error: no table cannot find the orders')
  expect((await phone.ask('/health')).text).toMatch(/scheduler: .*pipeline: /s)
  expect((await phone.ask('/last 3')).text).toMatch(/^The last 3 events/)
  expect((await phone.ask('/last all')).text).toContain('/last 10')
  await inbox.rows({ actionIn: ['activity.read'], userId: `key:${admin.id}` }, 1)

  const question = await phone.ask('/unlink')
  await phone.press(question, 'Unlink')
  expect((await phone.ask('/health')).text).toContain('linked admins only')
})

test('a chat ends with the key it was linked with', async () => {
  const key = await inbox.key(['admin'])
  const phone = await linkedPhone('Xena', key.text)
  expect((await phone.ask('/health')).text).toContain('scheduler')
  await revokeKey(inbox.client, key.id)
  while ((await inbox.get('/api/admin/telegram', key.text)).status !== 401) await pause(20)
  expect((await phone.ask('/health')).text).toContain('linked admins only')
})

test('an alert of Grafana is told when it fires and when it is over, without the secret in it', async () => {
  const phone = await linkedPhone('Tom')
  const alert = {
    labels: { alertname: 'Syncs fail', severity: 'critical' },
    annotations: { description: 'password=hunter2-hunter2 <b>' },
    fingerprint: 'f1',
  }
  const fired = await post('/api/admin/alerts', admin.text, { alerts: [{ ...alert, status: 'firing' }] })
  expect(fired).toEqual({ status: 200, body: { taken: 1 } })
  const { text } = await phone.message(2)
  expect(text).toMatch(/Syncs fail.*<b>.*severity: critical/s)
  expect(text).not.toContain('hunter2')
  await post('/api/admin/alerts', admin.text, { alerts: [{ ...alert, status: 'resolved' }] })
  expect((await phone.message(3)).text).toContain('Over: Syncs fail')
  expect(await post('/api/admin/alerts', admin.text, { alerts: [{}] })).toMatchObject({
    status: 400,
    body: { code: 'bad_alerts', detail: expect.stringContaining('alerts.0.status') },
  })
})

test('a key that may only read makes no codes', async () => {
  const { text } = await inbox.key(['read'])
  expect(await post('/api/admin/telegram/codes', text)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
})

test('"agnes telegram link" prints what to send, and status who is linked', async () => {
  writeFileSync(path.join(inbox.dataDir, 'admin.key'), `${admin.text}\n`)
  const env = { AGNES_DATA_DIR: inbox.dataDir, AGNES_HTTP_PORT: new URL(inbox.url).port }
  const linked = await run(process.execPath, [command, 'telegram', 'link'], env)
  expect(linked).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\/start [2-9A-Z]{12}\n$/) })
  expect(linked.stderr).toContain('https://t.me/agnes_loopback_bot?start=')
  const phone = phoneOf(server, 'Walter')
  expect((await phone.ask(linked.stdout.trim())).text).toContain('is linked')
  const status = await run(process.execPath, [command, 'telegram', 'status'], env)
  expect(status.stdout).toContain('bot: listening as @agnes_loopback_bot')
  expect(status.stdout).toContain(`Walter acts as key:${admin.id}`)
})

if (noChromium) console.warn(noChromium)

describe.skipIf(noChromium)('in a browser', () => {
  test('an admin makes a code, links a phone, sees what was delivered, and unlinks it', async () => {
    if (browser === undefined) throw new Error('no browser')
    const { page, problems } = await browser.open()
    await page.goto(`${inbox.url}/login?next=/admin/telegram`)
    await page.getByLabel('Key').fill(admin.text)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${inbox.url}/admin/telegram`)
    await page.getByRole('button', { name: 'Link a chat to me' }).click()
    const code = (await page.getByText('/start ').textContent()) ?? ''
    const phone = phoneOf(server, '<script>alert(1)</script>\u202eUrsula')
    await phone.ask(code.trim())
    await report('from the page')
    await phone.message(2)
    await page.goto(`${inbox.url}/admin/telegram`)
    await page.getByText('<script>alert(1)</script>').first().waitFor()
    expect(await page.getByRole('cell', { name: 'sent' }).count()).toBeGreaterThan(0)
    await page.screenshot({ path: path.join(screenshots, 'telegram.png'), fullPage: true })
    await page.setViewportSize({ width: 390, height: 800 })
    await page.screenshot({ path: path.join(screenshots, 'telegram-phone.png'), fullPage: true })
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
    await page.getByRole('button', { name: /Unlink.*Ursula/ }).click()
    await page.waitForURL(`${inbox.url}/admin/telegram`)
    expect(await page.getByText('<script>alert(1)</script>').count()).toBe(0)
    expect((await phone.ask('/health')).text).toContain('linked admins only')
    expect(problems).toEqual([])
  })
})

test('Telegram calls the webhook, and nobody else does', async () => {
  let called = ''
  const other = await startTelegramServer({
    token: '515151:AAanother-bot-of-this-machine-0000',
    webhookVia: (url) => {
      called = url
      return new URL(new URL(url).pathname, inbox.url).href
    },
  })
  const telegram = { ...settings, mode: 'webhook', token: other.token, apiRoot: other.url } as const
  await inbox.restart({ publicUrl: 'https://agnes.example', telegram })
  try {
    const phone = phoneOf(other, 'Vera')
    await expect.poll(() => other.webhook).toBe('https://agnes.example/telegram/webhook')
    expect((await phone.ask('/health')).text).toContain('linked admins only')
    expect(called).toBe('https://agnes.example/telegram/webhook')
    const forged = await fetch(new URL('/telegram/webhook', inbox.url), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Telegram-Bot-Api-Secret-Token': 'guessed' },
      body: JSON.stringify({ update_id: 1 }),
    })
    expect(forged.status).toBe(404)
    expect(other.calls.filter(({ method }) => method === 'getUpdates')).toEqual([])
  } finally {
    await inbox.restart({ telegram: { ...settings, token: undefined, apiRoot: other.url } })
    await other.stop()
  }
})
