/** Alerts of the built-in evaluator on the phones of admins: once, also over restarts; muted ones when the mute ends. */
import { type Alert, createSilence, endSilence, saveAlerts } from '@agnes/clickhouse'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { type Phone, startTestBot, type TestBot } from '../support/telegram-server.ts'

const minute = 60_000

let engine: TestEngine
let bot: TestBot
beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())
beforeEach(async () => {
  bot = await startTestBot(engine.url, {
    alertsEveryMs: minute,
    publicUrl: 'https://agnes.example',
    config: { intervalSeconds: 0 },
  })
})
afterEach(async () => {
  await bot.stop()
  for (const table of ['telegram_links', 'telegram_deliveries', 'alert_states', 'alert_silences']) {
    await engine.client.command({ query: `TRUNCATE TABLE ${table}` })
  }
})

let rank = 0n

/** Writes an alert as the evaluator does. */
async function write(more: Partial<Alert> = {}): Promise<Alert> {
  const now = bot.clock.now()
  const alert: Alert = {
    fingerprint: 'f00d',
    rule: 'agnes-sync-failures',
    labels: { tenant: 'default' },
    tenant: 'default',
    title: 'Syncs fail',
    severity: 'warning',
    summary: '0.3 of the syncs failed',
    firstStep: 'Open Sync.',
    runbook: 'sync-failures',
    state: 'firing',
    value: 0.3,
    activeSince: now,
    firedAt: now,
    wellSince: undefined,
    resolvedAt: undefined,
    changedAt: now,
    ...more,
  }
  await saveAlerts(engine.client, [alert], ++rank)
  return alert
}

const end = (alert: Alert): Promise<Alert> => write({ ...alert, state: 'resolved', resolvedAt: bot.clock.now() })

/** Texts a phone got after the answer to /start. */
function told(phone: Phone): string[] {
  return phone
    .messages()
    .slice(1)
    .map(({ text }) => text)
}

test('an alert is told when it fires and when it is over, once each, with what to do', async () => {
  const ana = await bot.linkedPhone()
  const alert = await write()
  await bot.clock.advance(minute)
  expect(told(ana)).toHaveLength(1)
  expect(told(ana)[0]).toMatch(
    /Syncs fail.*0\.3 of the syncs failed.*Open Sync\..*severity: warning.*runbook: docs\/runbooks\/sync-failures\.md.*agnes alerts mute agnes-sync-failures --for 2h/s,
  )
  expect(JSON.stringify(bot.server.calls)).toContain(
    'https://agnes.example/admin/activity?since=7d&amp;action_prefix=alert.&amp;resource=alert%3Aagnes-sync-failures',
  )
  await bot.clock.advance(3 * minute)
  expect(told(ana)).toHaveLength(1)
  await end(alert)
  await bot.clock.advance(minute)
  expect(told(ana).slice(1)).toEqual([expect.stringContaining('Over after 4 min: Syncs fail')])
  // The next time is another one.
  await write()
  await bot.clock.advance(minute)
  expect(told(ana)).toHaveLength(3)
})

test('a restart tells nothing again, and what came and went meanwhile once', async () => {
  const ana = await bot.linkedPhone()
  const alert = await write()
  await bot.clock.advance(minute)
  bot = await bot.restart()
  await bot.clock.advance(minute)
  expect(told(ana)).toHaveLength(1)
  await end(alert)
  const brief = await write({ fingerprint: 'beef', title: 'Came and went' })
  await end(brief)
  bot = await bot.restart()
  await bot.clock.advance(minute)
  expect(told(ana).slice(1).join('\n')).toMatch(/Over after .*Syncs fail/)
  expect(told(ana).slice(1).join('\n')).toMatch(/Over after .*Came and went/)
  const count = told(ana).length
  bot = await bot.restart()
  await bot.clock.advance(minute)
  expect(told(ana)).toHaveLength(count)
})

test('health that is red is told by the watch over health alone', async () => {
  const ana = await bot.linkedPhone()
  await write({ rule: 'agnes-health-red', title: 'Health pulse is red' })
  await bot.clock.advance(minute)
  expect(told(ana)).toEqual([])
})

test('alerts of another tenant are not told, those of the whole installation are', async () => {
  const ana = await bot.linkedPhone()
  await write({ fingerprint: 'a', tenant: 'acme', labels: { tenant: 'acme' }, title: 'Not hers' })
  await write({ fingerprint: 'b', tenant: '', labels: {}, title: 'Ingest stopped' })
  await bot.clock.advance(minute)
  expect(told(ana)).toEqual([expect.stringContaining('Ingest stopped')])
})

test('a muted alert is told when the mute ends while it fires, and never when it was over by then', async () => {
  const ana = await bot.linkedPhone()
  const now = bot.clock.now()
  const silence = {
    rule: 'agnes-sync-failures',
    startsAt: now,
    endsAt: new Date(now.getTime() + 10 * minute),
    createdBy: 'me',
    comment: '',
  }
  await createSilence(engine.client, { ...silence, labels: { tenant: 'default' } })
  await write()
  const brief = await write({ fingerprint: 'beef', title: 'Brief' })
  await write({
    fingerprint: 'cafe',
    labels: { tenant: 'default', table: 'x' },
    rule: 'agnes-sync-stale',
    title: 'Stale',
  })
  await bot.clock.advance(5 * minute)
  // Another rule is not muted.
  expect(told(ana)).toEqual([expect.stringContaining('Stale')])
  expect((await ana.ask('/alerts')).text).toMatch(/3 firing alerts.*Syncs fail.*muted until 11-21 12:10/s)
  await end(brief)
  await bot.clock.advance(6 * minute)
  expect(told(ana).slice(2)).toEqual([expect.stringMatching(/Syncs fail/)])
  expect(told(ana).slice(2).join('\n')).not.toContain('Brief')

  // One that was told of before is told of again, when somebody ends the mute.
  const { id } = await createSilence(engine.client, {
    ...silence,
    labels: {},
    startsAt: bot.clock.now(),
    endsAt: new Date(bot.clock.now().getTime() + 10 * minute),
  })
  await bot.clock.advance(minute)
  await endSilence(engine.client, id, bot.clock.now())
  await bot.clock.advance(minute)
  expect(told(ana).slice(3)).toEqual([expect.stringContaining('Still firing: Syncs fail')])
  await bot.clock.advance(11 * minute)
  expect(told(ana)).toHaveLength(4)
})

test('a chat that is linked while something fires is told of it; labels do not mute what they do not match', async () => {
  await createSilence(engine.client, {
    rule: 'agnes-sync-failures',
    labels: { tenant: 'acme' },
    startsAt: bot.clock.now(),
    endsAt: new Date(bot.clock.now().getTime() + 10 * minute),
    createdBy: 'me',
    comment: '',
  })
  await write()
  await bot.clock.advance(minute)
  const ana = await bot.linkedPhone()
  await bot.clock.advance(minute)
  expect(told(ana)).toEqual([expect.stringContaining('Syncs fail')])
})
