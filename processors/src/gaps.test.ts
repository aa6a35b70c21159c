/** What is stored of gaps is what the rules say, whatever came in when. The rules have tests of their own. */
import { randomUUID } from 'node:crypto'
import { type ClickHouseClient, fetchSessionGaps } from '@agnes/clickhouse'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { startTestEngine, type TestEngine } from '../../tests/support/engine.ts'
import { insertEvents, type TestEvent } from '../../tests/support/events.ts'
import { storeSession, transcript } from '../../tests/support/stored-sessions.ts'
import { realClock } from './clock.ts'
import { findGaps } from './gaps.ts'
import { runDue } from './run.ts'
import { transcripts } from './transcripts/processor.ts'

vi.setConfig({ testTimeout: 120_000 })

let engine: TestEngine
let client: ClickHouseClient
beforeAll(async () => {
  engine = await startTestEngine()
  client = engine.client
})
afterAll(() => engine.stop())

const mayGoOn = (): boolean => true
const start = Date.parse('2026-11-20T09:00:00Z')
const event = (tenant: string, session: string, sequence: number, more: Record<string, string> = {}): TestEvent => ({
  tenant,
  at: new Date(start + sequence * 1000),
  name: more.tool_use_id === undefined ? 'user_prompt' : 'tool_result',
  scope: 'com.anthropic.claude_code.events',
  attributes: { 'session.id': session, 'event.sequence': String(sequence), ...more },
})
const listed = async (tenant: string) =>
  (await fetchSessionGaps(client, { tenant })).map((gap) => [gap.sessionId, gap.kind, gap.firstMissing, gap.key])

test('gaps come, change and go with what arrives, of each tenant by itself', async () => {
  const [tenant, other] = [randomUUID(), randomUUID()]
  await insertEvents(client, [
    ...[0, 1, 4].map((sequence) => event(tenant, 'a', sequence)),
    ...[0, 1].map((sequence) => event(tenant, 'b', sequence)),
    ...[0, 9].map((sequence) => event(other, 'a', sequence)),
  ])
  expect(await listed(tenant)).toEqual([])
  expect(await findGaps({ client, fence: 1n, round: 0, mayGoOn: () => false })).toBe(0)
  expect(await listed(tenant)).toEqual([])
  expect(await findGaps({ client, fence: 1n, round: 1, mayGoOn })).toBe(3)
  expect(await listed(tenant)).toEqual([['a', 'sequence', 2, '']])
  expect(await listed(other)).toEqual([['a', 'sequence', 1, '']])

  // They were only late; and another session lost one.
  await insertEvents(client, [...[2, 3].map((sequence) => event(tenant, 'a', sequence)), event(tenant, 'b', 3)])
  // Of one session it is seen at once.
  expect(await fetchSessionGaps(client, { tenant, sessionId: 'a' })).toEqual([])
  await findGaps({ client, fence: 1n, round: 2, mayGoOn })
  expect(await listed(tenant)).toEqual([['b', 'sequence', 2, '']])
  expect(await fetchSessionGaps(client, { tenant, since: new Date(start + 4_000) })).toEqual([])
})

test('a transcript that is read later is compared then', async () => {
  const tenant = randomUUID()
  await insertEvents(client, [
    event(tenant, 's-1', 0),
    event(tenant, 's-1', 1, { tool_use_id: 't0', tool_name: 'Bash', success: 'true' }),
  ])
  await findGaps({ client, fence: 2n, round: 0, mayGoOn })
  expect(await listed(tenant)).toEqual([])
  const { lines } = transcript('s-1', new Date(start))
    .prompt('go')
    .calls('m1', 't1', 'Bash', { command: 'ls' })
    .result('t1', 'a')
    .says('m2', 'Done.')
  await storeSession(client, { tenant, file: 's-1', lines })
  await runDue(transcripts, { client, clock: realClock, fence: 2n, log: () => {}, mayGoOn })
  await findGaps({ client, fence: 2n, round: 1, mayGoOn })
  expect(await listed(tenant)).toContainEqual(['s-1', 'tool_result', null, 't1'])
})

test('a process that lost its lease does not undo what came after it', async () => {
  const tenant = randomUUID()
  await insertEvents(client, [event(tenant, 'a', 0), event(tenant, 'a', 2)])
  await findGaps({ client, fence: 4n, round: 0, mayGoOn })
  await insertEvents(client, [event(tenant, 'a', 5)])
  await findGaps({ client, fence: 3n, round: 99, mayGoOn })
  expect(await listed(tenant)).toEqual([['a', 'sequence', 1, '']])
})
