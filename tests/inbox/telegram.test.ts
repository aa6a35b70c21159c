/** P35: what admins get on their phones, when, and what becomes of it while Telegram or the bot is not well. */
import type { HealthPulse } from '@agnes/clickhouse'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Notification } from '../../feedback-inbox/src/telegram/notification.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { phoneOf, startTestBot, type TestBot } from '../support/telegram-server.ts'

const minute = 60_000
const hour = 60 * minute

let engine: TestEngine
let bot: TestBot
beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

beforeEach(async () => {
  bot = await startTestBot(engine.url)
})
afterEach(async () => {
  await bot.stop()
  for (const table of ['telegram_links', 'telegram_deliveries']) {
    await engine.client.command({ query: `TRUNCATE TABLE ${table}` })
  }
})

function about(incident: string, more: Partial<Notification> = {}): Notification {
  return { kind: 'alert', tenant: 'default', incident, title: `Alert ${incident}`, ...more }
}

async function rows<T>(query: string): Promise<T[]> {
  const result = await engine.client.query({ query, format: 'JSONEachRow' })
  return result.json<T>()
}

interface Row {
  readonly incident: string
  readonly state: string
  readonly occurrences: number
  readonly attempts: number
  readonly uncertain_attempts: number
  readonly error: string
}

function deliveries(): Promise<Row[]> {
  return rows(
    'SELECT incident, state, occurrences, attempts, uncertain_attempts, error FROM current_telegram_deliveries ORDER BY incident',
  )
}

/** Texts a phone got after the answer to /start. */
function told(phone: { messages(): readonly { readonly text: string }[] }): string[] {
  return phone
    .messages()
    .slice(1)
    .map(({ text }) => text)
}

test('a code links one chat, once, within ten minutes', async () => {
  const ana = await bot.linkedPhone()
  expect(ana.messages()[0]?.text).toMatch(/linked to key:env:admin.*\/health/s)
  expect(bot.audited).toContainEqual(expect.objectContaining({ action: 'telegram.link', userId: 'key:env:admin' }))

  const [owner] = bot.telegram.links.all()
  if (owner === undefined) throw new Error('nobody is linked')
  const { code } = await bot.telegram.links.createCode(owner)
  const mallory = phoneOf(bot.server, 'Mallory')
  const bert = phoneOf(bot.server, 'Bert')
  expect((await bert.ask(`/start ${code.toLowerCase()}`)).text).toContain('linked')
  expect((await mallory.ask(`/start ${code}`)).text).toContain('was used already')

  const late = await bot.telegram.links.createCode(owner)
  await bot.clock.advance(10 * minute)
  expect((await mallory.ask(`/start ${late.code}`)).text).toContain('has expired')
  expect(bot.telegram.links.all()).toHaveLength(2)
  expect(await rows(`SELECT 1 FROM telegram_link_codes WHERE position(code_hash, '${code}') > 0`)).toEqual([])
})

test('a chat that guesses codes is not answered after five, and a right one does not help it then', async () => {
  await bot.linkedPhone()
  const [owner] = bot.telegram.links.all()
  if (owner === undefined) throw new Error('nobody is linked')
  const mallory = phoneOf(bot.server, 'Mallory')
  for (let i = 0; i < 5; i++) expect((await mallory.ask('/start AAAABBBBCCCC')).text).toContain('do not know this code')
  const { code } = await bot.telegram.links.createCode(owner)
  mallory.say(`/start ${code}`)
  const bert = phoneOf(bot.server, 'Bert')
  expect((await bert.ask('/start ZZZZ')).text).toContain('do not know') // answered after Mallory's would have been
  expect(mallory.messages()).toHaveLength(5)
  await bot.clock.advance(10 * minute)
  expect(bot.telegram.links.all()).toHaveLength(1)
})

test('strangers get one line how to link, and no second one; groups get nothing', async () => {
  const ana = await bot.linkedPhone()
  const stranger = phoneOf(bot.server)
  expect((await stranger.ask('/health')).text).toMatch(/linked admins only.*agnes telegram link/)
  for (const text of ['/last', '/feedback', '/mute 2h', '/unlink', 'hello']) stranger.say(text)
  bot.server.say(ana.account, '/health', -4_000)
  await ana.ask('/health') // comes after all of these
  expect(stranger.messages()).toHaveLength(1)
  expect(bot.server.messages(-4_000)).toEqual([])
})

test('of what happens within five minutes one message tells, and the digest at 08:00 of the rest, by cause', async () => {
  const ana = await bot.linkedPhone()
  const { clock, telegram } = bot
  telegram.notify(about('a'))
  await clock.advance(0)
  expect(told(ana)).toEqual([expect.stringContaining('Alert a')])
  telegram.notify([about('b'), about('a'), about('b'), about('c')])
  await clock.advance(4 * minute)
  telegram.notify(about('b', { title: '<b>Alert b</b> & more' }))
  expect(told(ana)).toHaveLength(1)

  await clock.advance(2 * minute)
  telegram.notify(about('d'))
  await clock.advance(0)
  expect(told(ana)).toHaveLength(2)
  expect(told(ana)[1]).toMatch(/Alert d.*3 other causes in the digest at 08:00 UTC/s)

  await clock.advance(19 * hour + 53 * minute)
  expect(told(ana)).toHaveLength(2)
  await clock.advance(minute + 1)
  expect(told(ana)).toHaveLength(3)
  expect(told(ana)[2]).toMatch(/^5 notifications, 3 causes/)
  expect(told(ana)[2]).toContain('<b>Alert b</b> & more ×3 (11-21 12:00 to 11-21 12:04)')
  await clock.advance(48 * hour)
  expect(told(ana)).toHaveLength(3)
  expect(await deliveries()).toEqual(
    ['a', 'a', 'b', 'c', 'd'].map((incident) => expect.objectContaining({ incident, state: 'sent', attempts: 1 })),
  )
})

test('what is urgent waits for the end of the interval, not for the digest', async () => {
  const ana = await bot.linkedPhone()
  bot.telegram.notify(about('a'))
  await bot.clock.advance(minute)
  bot.telegram.notify([about('b', { urgent: true }), about('c')])
  await bot.clock.advance(4 * minute - 1)
  expect(told(ana)).toHaveLength(1)
  await bot.clock.advance(1)
  expect(told(ana)).toHaveLength(2)
  expect(told(ana)[1]).toMatch(/Alert b.*1 other cause in the digest/s)
})

test('a chat that is muted gets nothing, and afterwards what was urgent; the others get theirs', async () => {
  const ana = await bot.linkedPhone('Ana')
  const bert = await bot.linkedPhone('Bert')
  expect((await ana.ask('/mute for ever')).text).toContain('/mute 2h')
  expect((await ana.ask('/mute 2h')).text).toContain('Muted until 2026-11-21 14:00 UTC')
  expect(bot.audited).toContainEqual(expect.objectContaining({ action: 'telegram.mute', userId: 'key:env:admin' }))
  bot.telegram.notify([about('a', { urgent: true })])
  await bot.clock.advance(2 * hour - 1)
  expect(told(bert)).toHaveLength(1)
  expect(told(ana).filter((text) => text.includes('Alert'))).toEqual([])
  await bot.clock.advance(1)
  expect(told(ana).at(-1)).toContain('Alert a')
})

test('half an hour without Telegram loses nothing: each incident is told once, in as few messages as the rule says', async () => {
  const ana = await bot.linkedPhone()
  const { clock, server, telegram } = bot
  server.away()
  for (let i = 0; i < 6; i++) {
    telegram.notify([about(`cause-${i % 4}`), about('red', { urgent: true })])
    await clock.advance(5 * minute)
  }
  expect(told(ana)).toEqual([])
  const tried = server.calls.length
  server.away(false)
  await clock.advance(2 * minute)
  expect(told(ana)).toHaveLength(1)
  await clock.advance(24 * hour)
  expect(told(ana)).toHaveLength(2)
  const all = told(ana).join('\n')
  for (const incident of ['cause-0', 'cause-1', 'cause-2', 'cause-3', 'red']) {
    expect(all.split(`Alert ${incident}`)).toHaveLength(2)
  }
  const stored = await deliveries()
  expect(stored.map(({ state }) => state)).toEqual(['sent', 'sent', 'sent', 'sent', 'sent'])
  expect(stored.reduce((sum, { occurrences }) => sum + occurrences, 0)).toBe(12)
  // It tries again and again, but ever more seldom.
  expect(Math.max(...stored.map(({ attempts }) => attempts))).toBeGreaterThan(15)
  expect(Math.max(...stored.map(({ attempts }) => attempts))).toBeLessThan(50)
  expect(tried).toBeLessThan(200)
  expect(bot.logged.filter((line) => line.includes('messages wait'))).toHaveLength(1)
  expect(bot.logged).toContainEqual(expect.stringContaining('messages go out again'))
})

test('a chat is left alone for as long as Telegram says, and the message comes once', async () => {
  const ana = await bot.linkedPhone()
  bot.server.fail({ kind: 'flood', retryAfterSeconds: 30 })
  bot.telegram.notify(about('a'))
  await bot.clock.advance(29_999)
  expect(bot.server.calls.filter(({ method, status }) => method === 'sendMessage' && status === 429)).toHaveLength(1)
  expect(told(ana)).toEqual([])
  await bot.clock.advance(1)
  expect(told(ana)).toHaveLength(1)
  expect(await deliveries()).toMatchObject([{ state: 'sent', attempts: 2, uncertain_attempts: 0, error: '' }])
})

test('a wait of a second is waited in place', async () => {
  const ana = await bot.linkedPhone()
  bot.server.fail({ kind: 'flood', retryAfterSeconds: 1 })
  bot.telegram.notify(about('a'))
  await bot.clock.advance(0)
  expect(told(ana)).toHaveLength(1)
  expect(await deliveries()).toMatchObject([{ attempts: 1 }])
})

test.each([
  ['a server error', { kind: 'error', status: 500, description: 'Internal Server Error' }, 1],
  ['an answer of a proxy', { kind: 'gateway', status: 502 }, 1],
  ['an answer that is lost', { kind: 'lost' }, 2],
] as const)('after %s the message goes again, and says that it may be a second one', async (_, fault, arrives) => {
  const ana = await bot.linkedPhone()
  bot.server.fail(fault)
  bot.telegram.notify(about('a'))
  await bot.clock.advance(0)
  expect(await deliveries()).toMatchObject([{ state: 'waiting', attempts: 1, uncertain_attempts: 1 }])
  await bot.clock.advance(1_000)
  expect(told(ana)).toHaveLength(arrives)
  expect(told(ana).at(-1)).toContain('Sent again: Telegram did not say')
  expect(await deliveries()).toMatchObject([{ state: 'sent', attempts: 2, uncertain_attempts: 1, error: '' }])
})

test('an answer that does not come in time is one that was lost', async () => {
  const ana = await bot.linkedPhone()
  bot = await bot.restart({ callSeconds: 1 })
  let release = (): void => {}
  bot.server.fail({ kind: 'held', until: new Promise<void>((resolve) => (release = resolve)) })
  bot.telegram.notify(about('a'))
  await bot.clock.advance(0)
  expect(await deliveries()).toMatchObject([{ state: 'waiting', attempts: 1, uncertain_attempts: 1 }])
  release()
  expect((await ana.message(2)).text).not.toContain('Sent again')
  while (told(ana).length < 2) await bot.clock.advance(1_000)
  expect(told(ana)[1]).toContain('Sent again')
})

test('what waits when the bot ends is sent by the next one, and who is linked stays linked', async () => {
  const ana = await bot.linkedPhone()
  bot.server.fail({ kind: 'error', status: 503, description: 'Service Unavailable' })
  bot.telegram.notify([about('a'), about('b')])
  await bot.clock.advance(0)
  expect(told(ana)).toEqual([])
  bot = await bot.restart()
  expect((await ana.message(2)).text).toMatch(/Alert a/)
  expect((await ana.ask('/health')).text).toContain('All nominal')
  await bot.clock.advance(24 * hour)
  expect(told(ana).at(-1)).toContain('Alert b')
})

test('a process that ends between the call and its record sends it again, and the row tells', async () => {
  const ana = await bot.linkedPhone()
  let release = (): void => {}
  bot.server.fail({ kind: 'held', until: new Promise<void>((resolve) => (release = resolve)) })
  bot.telegram.notify(about('a'))
  await expect.poll(deliveries).toMatchObject([{ state: 'sending' }])
  // The old one is as good as gone: it hears nothing until the new one has sent what it left.
  const next = await startTestBot(engine.url, { clock: bot.clock, server: bot.server })
  try {
    expect((await ana.message(2)).text).toContain('Sent again')
    await next.telegram.idle()
    expect(await deliveries()).toMatchObject([{ state: 'sent', uncertain_attempts: 1 }])
  } finally {
    release()
    await ana.message(3)
    await next.telegram.stop()
  }
  await expect
    .poll(() => bot.logged)
    .toContainEqual(expect.stringContaining('another process asks for the messages of this bot'))
})

test('who blocked the bot is not linked any more', async () => {
  const ana = await bot.linkedPhone()
  bot.server.block(ana.account.id)
  bot.telegram.notify(about('a'))
  await bot.clock.advance(0)
  expect(await deliveries()).toMatchObject([{ state: 'failed', error: expect.stringContaining('blocked by the user') }])
  expect(bot.telegram.links.all()).toEqual([])
  bot.telegram.notify(about('b'))
  await bot.clock.advance(hour)
  expect(await deliveries()).toHaveLength(1)
})

const red: HealthPulse = {
  status: 'red',
  sentence: 'Degraded',
  generatedAt: '2026-11-21T12:00:00.000Z',
  fields: [
    { name: 'pipeline', value: 'no heartbeat in 10 min', color: 'red', explanation: 'Red over 2 min.', filter: {} },
    { name: 'scheduler', value: '3 min ago', color: 'green', explanation: '', filter: {} },
  ],
}
const well: HealthPulse = {
  ...red,
  status: 'green',
  fields: red.fields.map((field) => ({ ...field, color: 'green' as const })),
}

test('health that turns red is told once, also over a restart, and once that it is well again', async () => {
  const ana = await bot.linkedPhone()
  bot.health(red)
  await bot.clock.advance(minute)
  expect(told(ana)).toEqual([expect.stringMatching(/Health is red: pipeline, no heartbeat in 10 min.*Red over 2 min/s)])
  await bot.clock.advance(30 * minute)
  bot = await bot.restart()
  bot.health(red)
  await bot.clock.advance(30 * minute)
  expect(told(ana)).toHaveLength(1)
  bot.health(well)
  await bot.clock.advance(2 * minute)
  await bot.clock.advance(hour)
  expect(told(ana)).toHaveLength(2)
  expect(told(ana)[1]).toMatch(/Well again after 6\d min: pipeline/)
  bot = await bot.restart()
  bot.health(well)
  await bot.clock.advance(hour)
  expect(told(ana)).toHaveLength(2)
  bot.health(red)
  await bot.clock.advance(minute)
  expect(told(ana)).toHaveLength(3)
})

test('that ClickHouse does not answer is told after two minutes', async () => {
  const ana = await bot.linkedPhone()
  bot.health(new Error('connect ECONNREFUSED'))
  await bot.clock.advance(minute)
  expect(told(ana)).toEqual([])
  await bot.clock.advance(minute)
  expect(told(ana)).toEqual([expect.stringContaining('ClickHouse does not answer')])
})

test('a wrong token is said in the log, and the token stands nowhere', async () => {
  await bot.linkedPhone()
  const other = '111111:AAthis-token-was-revoked-yesterday-0'
  for (const fault of [{ kind: 'cut' }, { kind: 'gateway', status: 502 }, { kind: 'lost' }] as const) {
    bot.server.fail(fault, { methods: ['sendMessage', 'getUpdates'] })
    bot.telegram.notify(about(fault.kind, { urgent: true }))
    await bot.clock.advance(10 * minute)
  }
  const wrong = await startTestBot(engine.url, { token: other, server: bot.server, config: { mode: 'webhook' } })
  await expect.poll(() => wrong.logged.join('\n')).toContain('the token is not valid')
  expect(wrong.telegram.state).toEqual({ kind: 'failing', problem: 'getMe: 401 Unauthorized' })
  await wrong.telegram.stop()
  const stored = await rows('SELECT * FROM telegram_deliveries')
  expect(stored.length).toBeGreaterThan(3)
  const everything = JSON.stringify([bot.logged, wrong.logged, bot.audited, stored, bot.telegram.state])
  for (const token of [bot.server.token, other]) {
    expect(everything).not.toContain(token)
    expect(everything).not.toContain(token.split(':')[1])
  }
})
