/**
 * The timeline's filter as it stands in a URL, in both directions. Pages, their links, the API and exports all go through
 * here, and from here through the one where-builder, so what is counted is what is listed.
 */
import type { TimelineFilter } from '@agnes/clickhouse'
import { exitCodes, nearest, parseTime, UserError } from '@agnes/config'

/** A filter, and the times as they were typed: `24h` stays 24 hours when the page is looked at again. */
export interface UrlFilter {
  readonly filter: TimelineFilter
  /** What the URL says of the filter, in the order of {@link filterNames}; values as typed. */
  readonly said: ReadonlyMap<FilterName, string>
}

export const filterNames = [
  'since',
  'until',
  'user_id',
  'action_prefix',
  'action_in',
  'resource',
  'result',
  'correlation_id',
  'q',
  'include_reads',
  'include_heartbeats',
] as const

export type FilterName = (typeof filterNames)[number]

/**
 * @param others names of parameters that may stand beside the filter
 * @throws UserError (400) for a parameter we do not know, one given twice, or a value that is none
 */
export function parseFilter(
  params: URLSearchParams,
  tenant: string,
  now: Date,
  others: readonly string[] = [],
): UrlFilter {
  const said = new Map<FilterName, string>()
  const known: readonly string[] = [...filterNames, ...others]
  for (const name of new Set(params.keys())) {
    if (!known.includes(name)) {
      const near = nearest(name, known)
      const hint = near === undefined ? `there are ${known.join(', ')}` : `did you mean ${near}?`
      throw badParameter(`${name.slice(0, 60)} is not a parameter of this page`, hint)
    }
  }
  for (const name of filterNames) {
    const values = params.getAll(name).filter((value) => value !== '')
    if (values.length > 1 && name !== 'action_in') {
      throw badParameter(`${name} is given ${values.length} times`, 'give it once')
    }
    if (values.length > 0) said.set(name, values.join(','))
  }
  const text = (name: FilterName): string | undefined => said.get(name)
  const flag = (name: FilterName): boolean => {
    const value = text(name)
    if (value === undefined || ['0', 'false'].includes(value)) return false
    if (['1', 'true', 'on'].includes(value)) return true
    throw badParameter(`${name} cannot be "${value.slice(0, 60)}"`, 'use true or false')
  }
  const time = (name: 'since' | 'until'): Date | undefined => {
    const value = text(name)
    if (value === undefined) return undefined
    const parsed = parseTime(value, now)
    if (parsed !== undefined) return parsed
    throw badParameter(`${name} cannot be "${value.slice(0, 60)}"`, 'use 2026-11-21T06:00:00Z, or ago: 30m, 2h, 7d')
  }
  const since = time('since')
  const until = time('until')
  if (since !== undefined && until !== undefined && since >= until) {
    throw badParameter('since is not before until', `it asks for events from ${since.toISOString()} on`)
  }
  const actionIn = text('action_in')
    ?.split(',')
    .map((action) => action.trim())
    .filter((action) => action !== '')
  return {
    said,
    filter: {
      tenant,
      ...(since && { since }),
      ...(until && { until }),
      ...given('userId', text('user_id')),
      ...given('actionPrefix', text('action_prefix')),
      ...(actionIn && actionIn.length > 0 && { actionIn }),
      ...given('resource', text('resource')),
      ...given('result', text('result')),
      ...given('correlationId', text('correlation_id')),
      ...given('q', text('q')),
      includeOwnReads: flag('include_reads'),
      includeHeartbeats: flag('include_heartbeats'),
    },
  }
}

/** The query string of a filter, with its question mark; empty for none. */
export function queryOf(said: ReadonlyMap<string, string>): string {
  const params = new URLSearchParams()
  for (const [name, value] of said) if (value !== '') params.set(name, value)
  const query = params.toString()
  return query === '' ? '' : `?${query}`
}

/** What was said, with some of it said otherwise; `undefined` takes it back. */
export function saying(
  said: ReadonlyMap<string, string>,
  changes: Readonly<Record<string, string | undefined>>,
): Map<string, string> {
  const changed = new Map(said)
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) changed.delete(name)
    else changed.set(name, value)
  }
  return changed
}

/** A filter that code made, as a URL says it. */
export function sayFilter(filter: Partial<TimelineFilter>): Map<FilterName, string> {
  const said = new Map<FilterName, string>()
  const add = (name: FilterName, value: string | undefined): void => {
    if (value) said.set(name, value)
  }
  add('since', filter.since?.toISOString())
  add('until', filter.until?.toISOString())
  add('user_id', filter.userId)
  add('action_prefix', filter.actionPrefix)
  add('action_in', filter.actionIn?.join(','))
  add('resource', filter.resource)
  add('result', filter.result)
  add('correlation_id', filter.correlationId)
  add('q', filter.q)
  if (filter.includeOwnReads) said.set('include_reads', 'true')
  if (filter.includeHeartbeats) said.set('include_heartbeats', 'true')
  return said
}

export function badParameter(message: string, hint: string): UserError {
  return new UserError(message, { code: 'bad_parameter', status: 400, exitCode: exitCodes.usage, hint })
}

function given<N extends string>(name: N, value: string | undefined): { [K in N]?: string } {
  return value === undefined ? {} : ({ [name]: value } as { [K in N]: string })
}
