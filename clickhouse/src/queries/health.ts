/** "Is my instance healthy?": the pulse. All judgement is in the view `health_pulse`; here it only gets its words. */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from './rows.ts'
import type { HealthColor, HealthField, HealthFieldName, HealthPulse, TimelineFilter } from './types.ts'
import { defaultTenant } from './where.ts'

export interface HealthOptions {
  /** The instant to judge at; the present unless told. */
  readonly now?: Date
  /** `default` unless told. */
  readonly tenant?: string
}

interface PulseRow {
  readonly name: HealthFieldName
  readonly color: HealthColor
  /** Decimal: seconds or a count, as the explanation says. */
  readonly value: string
  readonly detail: string
  readonly explanation: string
  /** JSON: a timeline filter. */
  readonly filter: string
  readonly filter_seconds: string
}

/** Judges the instance at one instant. @throws ClickHouse's errors, and those of the connection */
export async function fetchHealth(
  client: ClickHouseClient,
  { now = new Date(), tenant = defaultTenant }: HealthOptions = {},
): Promise<HealthPulse> {
  const rows = await selectRows<PulseRow>(
    client,
    `SELECT name, color, toString(value) AS value, detail, explanation, filter, toString(filter_seconds) AS filter_seconds
FROM health_pulse(now = {now:DateTime64(9, 'UTC')}, tenant = {tenant:String})`,
    { now: now.toISOString().replace('T', ' ').replace('Z', ''), tenant },
  )
  return {
    status: worst(rows),
    sentence: sentenceOf(rows),
    generatedAt: now.toISOString(),
    fields: rows.map((row) => fieldOf(row, now, tenant)),
  }
}

function fieldOf(row: PulseRow, now: Date, tenant: string): HealthField {
  return {
    name: row.name,
    value: words[row.name].value(Number(row.value), row.detail),
    color: row.color,
    explanation: row.explanation,
    filter: {
      ...(tenant === defaultTenant ? {} : { tenant }),
      ...(JSON.parse(row.filter) as Partial<TimelineFilter>),
      since: new Date(now.getTime() - Number(row.filter_seconds) * 1000),
    },
  }
}

function worst(rows: readonly PulseRow[]): HealthColor {
  const has = (color: HealthColor): boolean => rows.some((row) => row.color === color)
  return has('red') ? 'red' : has('yellow') ? 'yellow' : 'green'
}

/** `All nominal: 12 active users, last sync 3 min ago`, or `Degraded: …` with what is worst first. */
function sentenceOf(rows: readonly PulseRow[]): string {
  const phrase = ({ name, value, detail }: PulseRow): string => words[name].phrase(Number(value), detail)
  const bad = (color: HealthColor): string[] => rows.filter((row) => row.color === color).map(phrase)
  const degraded = [...bad('red'), ...bad('yellow')]
  if (degraded.length > 0) return `Degraded: ${degraded.join(', ')}`
  const nominal = (['active_users_today', 'sync_24h'] as const).map((name) => rows.find((row) => row.name === name))
  return `All nominal: ${nominal.flatMap((row) => (row === undefined ? [] : [phrase(row)])).join(', ')}`
}

interface Words {
  /** As a tile shows it. */
  value(value: number, detail: string): string
  /** As part of the sentence. */
  phrase(value: number, detail: string): string
}

/** The pulse reads one day back: anything older was not seen. */
const daySeconds = 86_400

const words: Readonly<Record<HealthFieldName, Words>> = {
  scheduler: {
    value: (age) => (age > daySeconds ? 'no tick in 24 h' : ago(age)),
    phrase: (age) => (age > daySeconds ? 'no scheduler tick in 24 h' : `last scheduler tick ${ago(age)}`),
  },
  sync_24h: {
    value: (_age, detail) => detail,
    phrase: (age, detail) => {
      const last = age > daySeconds ? 'no successful sync in 24 h' : `last sync ${ago(age)}`
      return detail.endsWith(', 0 failed') ? last : `syncs ${detail}`
    },
  },
  active_users_today: { value: String, phrase: (users) => counted(users, 'active user') },
  memory_pipeline: {
    value: (age) => (age > daySeconds ? 'no run in 24 h' : ago(age)),
    phrase: (age) =>
      age > daySeconds ? 'memory pipeline did not run in 24 h' : `memory pipeline last ran ${ago(age)}`,
  },
  diagnose_warnings: {
    value: (warnings, detail) => detail || String(warnings),
    phrase: (warnings) => counted(warnings, 'diagnose warning'),
  },
  pipeline: {
    value: (age, detail) => (age > daySeconds ? 'no gateway in 24 h' : detail),
    phrase: (age, detail) => {
      if (age > daySeconds) return 'no ingest gateway in 24 h'
      return age > aliveSeconds ? `ingest gateway last heard of ${ago(age)}` : `ingest pipeline ${detail}`
    },
  },
}

/** A gateway's heartbeats come every thirty seconds; the view takes one that was silent for longer for dead. */
const aliveSeconds = 120

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function ago(seconds: number): string {
  if (seconds < 60) return `${seconds} s ago`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`
  return `${Math.floor(seconds / 3600)} h ago`
}
