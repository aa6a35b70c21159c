/** What mutes alerts: a rule, perhaps certain labels, until when. A change is a new row with a higher version. */
import { randomInt } from 'node:crypto'
import { UserError } from '@agnes/config'
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from '../queries/rows.ts'
import { versionAfter } from '../telegram/version.ts'
import type { Alert } from './alerts.ts'

export interface AlertSilence {
  readonly id: string
  /** Uid of the rule. */
  readonly rule: string
  /** An alert must have all of them; empty: every alert of the rule. */
  readonly labels: Readonly<Record<string, string>>
  readonly startsAt: Date
  readonly endsAt: Date
  readonly createdBy: string
  readonly comment: string
}

/** The silence that mutes an alert at an instant, the one that ends last where there are several. */
export function silenceOf(
  { rule, labels }: Pick<Alert, 'rule' | 'labels'>,
  silences: readonly AlertSilence[],
  now: Date,
): AlertSilence | undefined {
  return silences
    .filter(
      (one) =>
        one.rule === rule &&
        one.startsAt <= now &&
        now < one.endsAt &&
        Object.entries(one.labels).every(([name, value]) => labels[name] === value),
    )
    .sort((a, b) => b.endsAt.getTime() - a.endsAt.getTime())[0]
}

/** Those that end after an instant, soonest first; all unless told. */
export async function fetchSilences(client: ClickHouseClient, endsAfter = new Date(0)): Promise<AlertSilence[]> {
  return (
    await select(client, 'ends_at > fromUnixTimestamp64Milli({after:Int64})', { after: String(endsAfter.getTime()) })
  ).map(silenceOfRow)
}

export async function createSilence(client: ClickHouseClient, wanted: Omit<AlertSilence, 'id'>): Promise<AlertSilence> {
  const silence = { ...wanted, id: randomId() }
  await insert(client, silence, 0n, wanted.startsAt)
  return silence
}

/**
 * Ends a silence now; one that has ended is left as it is.
 * @throws UserError if there is no such silence
 */
export async function endSilence(
  client: ClickHouseClient,
  id: string,
  now: Date,
): Promise<{ readonly before: AlertSilence; readonly after: AlertSilence }> {
  const [row] = await select(client, 'id = {id:String}', { id })
  if (row === undefined) {
    throw new UserError(`there is no silence ${id}`, {
      code: 'no_silence',
      hint: '"agnes alerts silences" shows the ids',
    })
  }
  const before = silenceOfRow(row)
  if (before.endsAt <= now) return { before, after: before }
  const after = { ...before, endsAt: now }
  await insert(client, after, BigInt(row.version), now)
  return { before, after }
}

interface SilenceRow {
  readonly id: string
  readonly version: string
  readonly rule: string
  readonly labels: Readonly<Record<string, string>>
  readonly starts_ms: string
  readonly ends_ms: string
  readonly created_by: string
  readonly comment: string
}

function select(client: ClickHouseClient, condition: string, params: Record<string, unknown>): Promise<SilenceRow[]> {
  return selectRows<SilenceRow>(
    client,
    `SELECT id, version, rule, labels, toUnixTimestamp64Milli(starts_at) AS starts_ms,
  toUnixTimestamp64Milli(ends_at) AS ends_ms, created_by, comment
FROM current_alert_silences
WHERE ${condition}
ORDER BY ends_at, id`,
    params,
  )
}

function silenceOfRow(row: SilenceRow): AlertSilence {
  return {
    id: row.id,
    rule: row.rule,
    labels: row.labels,
    startsAt: new Date(Number(row.starts_ms)),
    endsAt: new Date(Number(row.ends_ms)),
    createdBy: row.created_by,
    comment: row.comment,
  }
}

async function insert(client: ClickHouseClient, silence: AlertSilence, before: bigint, now: Date): Promise<void> {
  await client.insert({
    table: 'alert_silences',
    values: [
      {
        id: silence.id,
        version: String(versionAfter(before)),
        rule: silence.rule,
        labels: silence.labels,
        starts_at: silence.startsAt.toISOString(),
        ends_at: silence.endsAt.toISOString(),
        created_by: silence.createdBy,
        comment: silence.comment,
        changed_at: now.toISOString(),
      },
    ],
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort', insert_deduplicate: 0 },
  })
}

/** Without those that are mistaken for others. */
const alphabet = '23456789abcdefghjkmnpqrstuvwxyz'

function randomId(): string {
  return Array.from({ length: 8 }, () => alphabet[randomInt(alphabet.length)]).join('')
}
