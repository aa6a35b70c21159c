/** Alerts without Grafana, as an operator has them: on the phone, in the list, muted, in the timeline, and over. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type ClickHouseClient, createAgnesClient } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Ran, type RunningAgnes, startAgnes } from '../support/agnes.ts'
import { copyDatabase } from '../support/database.ts'
import { invokeHere } from '../support/invoke.ts'
import { type Phone, phoneOf, startTelegramServer, type TelegramServer } from '../support/telegram-server.ts'

const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-e2e-alerts-'))
const rule = 'agnes-feedback-waiting'
let server: TelegramServer
let instance: RunningAgnes
let client: ClickHouseClient
let phone: Phone

beforeAll(async () => {
  await copyDatabase(path.join(dataDir, 'clickhouse'))
  server = await startTelegramServer()
  instance = await startAgnes(dataDir, {
    // Each look asks some twenty questions.
    AGNES_PROCESSOR_ALERTS_INTERVAL: '3',
    ...telegram(),
    AGNES_TELEGRAM_INTERVAL_SECONDS: '0',
  })
  client = createAgnesClient({ url: instance.clickhouseUrl, application: 'test' })
  await server.polled()
  phone = phoneOf(server, 'Ana')
  await phone.ask((await agnes('telegram', 'link')).stdout.trim())
})
afterAll(async () => {
  await client?.close()
  await instance?.interrupt()
  await server?.stop()
  rmSync(dataDir, { recursive: true })
})

const telegram = () => ({ TELEGRAM_BOT_TOKEN: server.token, TELEGRAM_API_ROOT: server.url })
const agnes = (...args: string[]): Promise<Ran> => invokeHere(args, { env: { ...telegram(), AGNES_DATA_DIR: dataDir } })
const alerts = (...args: string[]): Promise<Ran> => agnes('alerts', ...args)

/** A report that has waited for two days, and its answer. */
async function report(version: number, status: string): Promise<void> {
  const created = new Date(Date.now() - 2 * 86_400_000).toISOString()
  await client.insert({
    table: 'feedback_reports',
    values: [{ tenant: 'default', id: 'waits', version, status, created_at: created }],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}

/** What the timeline says of alerts, newest first, once it has so many events. */
async function timeline(count: number): Promise<Record<string, unknown>[]> {
  const counted = async (): Promise<string> => {
    const query = "SELECT count() FROM otel_logs WHERE startsWith(Action, 'alert.')"
    return (await (await client.query({ query, format: 'TabSeparated' })).text()).trim()
  }
  while (Number(await counted()) < count) await pause(500)
  const { stdout } = await agnes('activity', '--json', '--action-prefix', 'alert.')
  return JSON.parse(stdout) as Record<string, unknown>[]
}

test('fires, is listed, muted, unmuted and over, and each of it is known afterwards', {
  timeout: 120_000,
}, async () => {
  await report(1, 'open')
  expect((await phone.message(2)).text).toMatch(/Feedback waits.*1 reports of default/s)

  const list = await alerts('list')
  expect(list.stdout).toMatch(/^firing +\d\d:\d\d +agnes-feedback-waiting +1 reports of default have been open/m)
  expect(list.stderr).toContain('docs/runbooks/feedback-waiting.md')

  const muted = await alerts(
    'mute',
    'feedback-waiting',
    '--for',
    '1h',
    '--label',
    'tenant=default',
    '--comment',
    'moving',
  )
  expect(muted).toMatchObject({ code: 0, stdout: expect.stringMatching(/^[a-z0-9]{8}\n$/) })
  const id = muted.stdout.trim()
  expect((await alerts('list')).stdout).toContain('firing, muted')
  expect((await alerts('silences')).stdout).toMatch(new RegExp(`${id} +${rule} +tenant=default .*moving`))

  expect(await alerts('unmute', id)).toMatchObject({ code: 0, stderr: expect.stringContaining('has ended') })
  expect(await alerts('unmute', id)).toMatchObject({ code: 0, stderr: expect.stringContaining('had ended') })
  expect((await alerts('silences')).stderr).toContain('nothing is muted')
  expect((await phone.message(3)).text).toContain('Still firing: Feedback waits')

  await report(2, 'resolved')
  expect((await phone.message(4)).text).toMatch(/Over after \d+ min: Feedback waits/)
  expect((await alerts('list')).stderr).toContain('no alert fires')
  expect(JSON.parse((await alerts('list', '--all', '--json')).stdout)).toMatchObject([{ rule, state: 'resolved' }])
  const [resolved, unmuted, silenced, fired] = await timeline(4)
  expect(fired).toMatchObject({ action: 'alert.fire', resource: `alert:${rule}`, userId: 'agnes-processors' })
  expect(silenced?.action).toBe('alert.mute')
  expect(JSON.stringify(silenced)).toContain(id)
  expect(unmuted?.action).toBe('alert.unmute')
  expect(JSON.stringify(unmuted?.paramsBefore)).toContain('ends_at')
  expect(resolved).toMatchObject({ action: 'alert.resolve', resource: `alert:${rule}` })
  const key = readFileSync(path.join(dataDir, 'admin.key'), 'utf8').trim()
  const answer = await fetch(new URL('/api/admin/alerts?state=resolved', instance.inboxUrl), {
    headers: { Authorization: `Bearer ${key}` },
  })
  expect(await answer.json()).toMatchObject({ alerts: [{ rule, state: 'resolved', muted_until: null }] })
})

test('what cannot be is refused with what can', async () => {
  expect(await alerts('mute', 'sync-failure', '--for', '1h')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('did you mean agnes-sync-failures?'),
  })
  expect(await alerts('mute', rule, '--for', '60d')).toMatchObject({ code: 2, stderr: expect.stringContaining('30d') })
  expect(await alerts('mute', rule, '--for', '1h', '--label', 'tenant')).toMatchObject({ code: 2 })
  expect(await alerts('unmute', 'nope')).toMatchObject({ code: 1, stderr: expect.stringContaining('no silence nope') })
  const rules = await alerts('rules')
  expect(rules.stdout.trim().split('\n')).toHaveLength(18)
  expect(rules.stdout).toContain('agnes-rule-failing')
})
