/** Asks ClickHouse what a rule asks: its rows at an instant, within a time and a number of rows. */
import type { ClickHouseClient } from '@agnes/clickhouse'
import { type AlertRule, expandMacros } from '@agnes/grafana'
import type { Row } from './machine.ts'

export interface Asked {
  readonly rows: readonly Row[]
  /** Whether these are all of them: of too many the worst come. */
  readonly complete: boolean
}

const mostRows = 2_000

/** @param mostSeconds that it may take @throws the client's errors; Error where the rows are none of a rule's */
export async function ask(
  client: ClickHouseClient,
  rule: AlertRule,
  at: Date,
  { signal, mostSeconds }: { readonly signal: AbortSignal; readonly mostSeconds: number },
): Promise<Asked> {
  const range = {
    from: new Date(at.getTime() - rule.fromSeconds * 1000),
    to: new Date(at.getTime() - rule.toSeconds * 1000),
    intervalMs: 60_000,
  }
  const result = await client.query({
    query: `SELECT * FROM (
${expandMacros(rule.sql, range)}
) ORDER BY value ${rule.condition.op === 'gt' ? 'DESC' : 'ASC'} LIMIT ${mostRows + 1}`,
    format: 'JSONEachRow',
    clickhouse_settings: {
      max_execution_time: mostSeconds,
      // Not a number and infinity are no JSON otherwise.
      output_format_json_quote_denormals: 1,
      output_format_json_quote_64bit_integers: 1,
    },
    abort_signal: AbortSignal.any([signal, AbortSignal.timeout((mostSeconds + 10) * 1000)]),
  })
  const found = await result.json<Readonly<Record<string, unknown>>>()
  return { rows: found.slice(0, mostRows).map(rowOf), complete: found.length <= mostRows }
}

function rowOf({ value, ...labels }: Readonly<Record<string, unknown>>): Row {
  if (value === undefined) throw new Error('a row of the rule has no value')
  return {
    value: value === null ? Number.NaN : numberOf(value),
    labels: Object.fromEntries(Object.entries(labels).map(([name, label]) => [name, String(label)])),
  }
}

/** `inf`, `-inf` and `nan` as ClickHouse writes them. */
function numberOf(value: unknown): number {
  return value === 'inf' ? Infinity : value === '-inf' ? -Infinity : Number(value)
}
