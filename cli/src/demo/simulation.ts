/**
 * An Agnes instance as it writes events: a scheduler that ticks, tables that sync (and sometimes do not), people who
 * query by day, a few changes with their state before, agents, models, and the errors that come with all of it.
 */
import type { Recorder } from '@agnes/instrumentation'
import { createRandom, type Random } from './random.ts'

/** An event that happens at a time. */
export interface Happening {
  readonly at: Date
  readonly emit: (recorder: Recorder) => void
}

export interface SimulationOptions {
  readonly seed: number
  readonly since: Date
  readonly until: Date
}

const people = [
  'anna',
  'boris',
  'chloe',
  'dmitri',
  'elif',
  'farid',
  'greta',
  'hugo',
  'ines',
  'jonas',
  'kirsi',
  'luca',
] as const
const tables = [
  'orders',
  'customers',
  'invoices',
  'payments',
  'products',
  'web_events',
  'support_tickets',
  'campaigns',
  'employees',
  'subscriptions',
  'shipments',
  'exchange_rates',
] as const
/** The table whose source is unreliable. */
const flaky = 'web_events'
const processors = ['verification', 'usage', 'corporate_memory'] as const
const syncErrors = [
  'Storage API: 503 Service Unavailable after 5 attempts',
  'column "utm_source": cannot convert STRING to BIGINT',
  'query timed out after 600 s',
] as const
const models = ['claude-sonnet-4-5', 'claude-opus-4-1', 'claude-haiku-4-5'] as const
const minuteMs = 60_000
const dayMs = 24 * 60 * minuteMs

/** A round of syncs takes up to 109 s: what began in the minute before may still go on. */
const reachMinutes = 1

/** Everything that happens in a span of time, in order. The same seed and span give the same events. */
export function simulate({ seed, since, until }: SimulationOptions): Happening[] {
  const happenings: Happening[] = []
  const first = Math.floor(since.getTime() / minuteMs) - reachMinutes
  for (let minute = first; minute * minuteMs < until.getTime(); minute++) {
    // Each minute has a generator of its own, so that --live goes on where the past ended.
    happenings.push(...minuteOf(createRandom(seed ^ Math.imul(minute, 2_654_435_761)), minute))
  }
  return happenings.filter(({ at }) => at >= since && at < until).sort((a, b) => a.at.getTime() - b.at.getTime())
}

function minuteOf(random: Random, minute: number): Happening[] {
  const at = (secondsLater = random.next() * 60): Date => new Date(minute * minuteMs + Math.floor(secondsLater * 1000))
  const happenings: Happening[] = []
  const add = (time: Date, emit: (recorder: Recorder) => void): void => {
    happenings.push({ at: time, emit })
  }
  if (minute % 15 === 0) syncRound(random, at, add)
  if (minute % 15 === 5) processorRound(random, at, add)
  if (minute % 60 === 20) {
    add(at(), (recorder) =>
      recorder.audit({
        ...scheduler,
        action: 'marketplace.sync_all',
        result: 'success',
        durationMs: random.between(900, 4_000),
      }),
    )
  }
  const visitors = activity(minute)
  for (let i = 0; i < 12; i++) if (random.chance(visitors / 12)) person(random, at, add)
  return happenings
}

type Add = (time: Date, emit: (recorder: Recorder) => void) => void
type At = (secondsLater?: number) => Date

const scheduler = { userId: 'scheduler', clientKind: 'scheduler' } as const

/** How many people do something in this minute: office hours on working days, a few at other times. */
function activity(minute: number): number {
  const time = new Date(minute * minuteMs)
  const weekend = time.getUTCDay() === 0 || time.getUTCDay() === 6
  const hour = time.getUTCHours() + time.getUTCMinutes() / 60
  const daytime = Math.exp(-(((hour - 13) / 4) ** 2))
  return 0.05 + 2.2 * daytime * (weekend ? 0.12 : 1)
}

function syncRound(random: Random, at: At, add: Add): void {
  const correlationId = `tick-${random.between(0, 2 ** 31)}`
  let later = 0
  for (const tableId of tables) {
    const durationMs = random.between(400, 9_000)
    later += durationMs / 1000
    const failed = random.chance(tableId === flaky ? 0.09 : 0.006)
    const error = random.pick(syncErrors)
    const rows = random.between(0, 40_000)
    add(at(later), (recorder) =>
      recorder.sync({
        tableId,
        status: failed ? 'error' : 'ok',
        ...(failed ? { error } : { rows }),
        durationMs,
        clientKind: 'scheduler',
        correlationId,
      }),
    )
  }
  add(at(later + 1), (recorder) =>
    recorder.audit({
      ...scheduler,
      action: 'run_data_refresh',
      result: 'success',
      durationMs: Math.round(later * 1000),
      correlationId,
    }),
  )
}

function processorRound(random: Random, at: At, add: Add): void {
  for (const processor of processors) {
    const failed = random.chance(0.01)
    const durationMs = random.between(50, 3_000)
    const user = random.pick(people)
    const sessionFile = `${user}/${uuid(random)}.jsonl`
    add(at(), (recorder) =>
      recorder.sessionProcessor({
        processor,
        sessionFile,
        items: failed ? 0 : random.between(0, 12),
        result: failed ? 'error' : 'success',
        ...(failed ? { error: 'JSONDecodeError: line 212 is cut off' } : {}),
        userId: user,
        clientKind: 'scheduler',
        durationMs,
      }),
    )
    add(at(), (recorder) =>
      recorder.audit({
        ...scheduler,
        action: `run_session_processor:${processor}`,
        result: failed ? 'error' : 'success',
        durationMs,
      }),
    )
  }
}

function person(random: Random, at: At, add: Add): void {
  const userId = random.pick(people)
  const who = {
    userId,
    clientKind: random.chance(0.7) ? ('cli' as const) : ('web' as const),
    clientAddress: `10.20.${people.indexOf(userId)}.${random.between(2, 250)}`,
    correlationId: uuid(random),
    sessionId: uuid(random),
  }
  const table = random.pick(tables)
  const durationMs = random.between(4, 2_500)
  const kind = random.next()
  if (kind < 0.5) {
    const result = random.chance(0.05) ? 'error.invalid_sql' : random.chance(0.03) ? 'denied' : 'success'
    add(at(), (recorder) =>
      recorder.audit({
        ...who,
        action: random.pick(['query.local', 'query.hybrid', 'query.internal']),
        resource: `table:${table}`,
        result,
        durationMs,
        params: { sql: `SELECT count(*) FROM ${table} WHERE created_at > ?`, rows: random.between(0, 5_000) },
      }),
    )
  } else if (kind < 0.66) {
    add(at(), (recorder) => recorder.audit({ ...who, action: 'catalog.list', result: 'success', durationMs }))
  } else if (kind < 0.76) {
    const result = random.chance(0.06) ? 'denied' : 'success'
    add(at(), (recorder) =>
      recorder.audit({
        ...who,
        action: 'data.download',
        resource: `table:${table}`,
        result,
        durationMs,
        params: { format: 'parquet' },
      }),
    )
  } else if (kind < 0.83) {
    const result = random.chance(0.12) ? 'invalid_password' : 'success'
    add(at(), (recorder) => recorder.audit({ ...who, action: 'cli_auth.token_minted', result, durationMs: 30 }))
  } else if (kind < 0.88) agentRun(random, at, add, who)
  else if (kind < 0.94) {
    add(at(), (recorder) =>
      recorder.audit({
        ...who,
        action: 'session.upload',
        resource: `session:${who.sessionId}`,
        result: 'success',
        durationMs,
      }),
    )
  } else if (kind < 0.97) change(random, at, add, who, table)
  else if (kind < 0.985) {
    add(at(), (recorder) =>
      recorder.audit({
        ...who,
        action: 'agent.memory.write',
        resource: `memory:${table}`,
        result: 'success',
        durationMs,
      }),
    )
  } else if (kind < 0.99) {
    add(at(), (recorder) =>
      recorder.exception({
        ...who,
        type: 'duckdb.IOException',
        message: `Could not set lock on file "${table}.duckdb"`,
        action: 'query.local',
      }),
    )
  } else add(at(), (recorder) => recorder.audit({ ...who, action: 'activity.read', result: 'success', durationMs }))
}

type Who = {
  readonly userId: string
  readonly clientKind: 'cli' | 'web'
  readonly correlationId: string
  readonly sessionId: string
}

/** A change carries what was there before, so that the difference can be shown. */
function change(random: Random, at: At, add: Add, who: Who, table: string): void {
  const member = random.pick(people)
  if (random.chance(0.5)) {
    add(at(), (recorder) =>
      recorder.audit({
        ...who,
        action: 'resource_grants.update',
        resource: `table:${table}`,
        result: 'success',
        durationMs: 18,
        paramsBefore: { table, group: 'analysts', access: 'none' },
        params: { table, group: 'analysts', access: 'read' },
      }),
    )
  } else {
    add(at(), (recorder) =>
      recorder.audit({
        ...who,
        action: 'user_group_members.add',
        resource: `group:analysts`,
        result: 'success',
        durationMs: 12,
        paramsBefore: { members: ['anna'] },
        params: { members: ['anna', member] },
      }),
    )
  }
}

function agentRun(random: Random, at: At, add: Add, who: Who): void {
  const runId = uuid(random)
  const agentName = random.pick(['revenue-analyst', 'data-steward', 'report-writer'])
  const started = random.next() * 20
  const failed = random.chance(0.08)
  const seconds = random.between(3, 40)
  add(at(started), (recorder) => recorder.agentRunStart({ ...who, runId, agentName, clientKind: 'agent' }))
  for (let step = 0; step < 3; step++) {
    const inputTokens = random.between(800, 12_000)
    const outputTokens = random.between(50, 1_500)
    add(at(started + step + 1), (recorder) =>
      recorder.llmGeneration({
        ...who,
        clientKind: 'agent',
        runId,
        provider: 'anthropic',
        operation: 'chat',
        model: random.pick(models),
        inputTokens,
        outputTokens,
        cacheReadTokens: Math.floor(inputTokens * 0.6),
        costUsdMicros: inputTokens * 3 + outputTokens * 15,
        durationMs: random.between(600, 8_000),
        result: 'success',
      }),
    )
  }
  add(at(started + seconds), (recorder) =>
    recorder.agentRunFinish({
      ...who,
      runId,
      agentName,
      clientKind: 'agent',
      status: failed ? 'failed' : 'succeeded',
      result: failed ? 'error' : 'success',
      durationMs: seconds * 1000,
    }),
  )
}

function uuid(random: Random): string {
  const hex = Array.from({ length: 32 }, () => random.between(0, 15).toString(16)).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`
}

/** The span of a whole number of days before a time. */
export function daysBefore(until: Date, days: number): Date {
  return new Date(until.getTime() - days * dayMs)
}
