/** The filter of sessions as it stands in a URL: list, heatmap and API go through here. */
import { type SessionFilter, sessionAnchors, sessionSorts } from '@agnes/clickhouse'
import { nearest, parseTime } from '@agnes/config'
import { z } from 'zod'
import type { Inbox } from '../inbox.ts'
import { badParameter } from './filter.ts'

const text = (description: string) => z.string().optional().describe(description)
const time = 'ISO 8601 (UTC where it names no zone), or so long ago: 30m, 2h, 7d'

/** The parameters, in the order links have them. */
export const sessionQuery = z.object({
  q: text('Text in user, file, session id, branch, prompts or findings, in any case.'),
  session_id: text('The session with this id.'),
  user: text('Of this user.'),
  since: text(`From this time on. ${time}.`),
  until: text(`Before this time. ${time}.`),
  anchor: text('What the times mean: `arrival` (when it grew last) or `start` (when it began); arrival unless told.'),
  finding: text('With a finding of this type: `tool_error`, `loop`, …; `any`.'),
  found_since: text(`That finding, or any, happened from this time on. ${time}.`),
  found_until: text(`Before this time. ${time}.`),
  silent: text('Fails as reports of this cause say, and none of them is about it. The key of the cause.'),
  sort: text('`recent` (unless told), `findings` or `user`.'),
})

const names = Object.keys(sessionQuery.shape) as readonly (keyof typeof sessionQuery.shape)[]

export interface SaidSessionFilter {
  readonly filter: SessionFilter & { readonly tenant: string }
  /** What the URL says of it, as typed. */
  readonly said: ReadonlyMap<string, string>
}

/**
 * @param others names of parameters that may stand beside the filter
 * @throws UserError (400) for a parameter there is not, one given twice, or a value that is none
 */
export async function parseSessionFilter(
  params: URLSearchParams,
  tenant: string,
  { now, silent: silentSessions }: Pick<Inbox, 'now' | 'silent'>,
  others: readonly string[] = [],
): Promise<SaidSessionFilter> {
  const known: readonly string[] = [...names, ...others]
  for (const name of new Set(params.keys())) {
    if (known.includes(name)) continue
    const near = nearest(name, known)
    const hint = near === undefined ? `there are ${known.join(', ')}` : `did you mean ${near}?`
    throw badParameter(`${name.slice(0, 60)} is not a parameter of this page`, hint)
  }
  const said = new Map<string, string>()
  for (const name of names) {
    const values = params.getAll(name).filter((value) => value !== '')
    if (values.length > 1) throw badParameter(`${name} is given ${values.length} times`, 'give it once')
    if (values[0] !== undefined) said.set(name, values[0])
  }
  const timeOf = (name: 'since' | 'until' | 'found_since' | 'found_until'): Date | undefined => {
    const value = said.get(name)
    if (value === undefined || value === 'all') return undefined
    const parsed = parseTime(value, now())
    if (parsed !== undefined) return parsed
    throw badParameter(`${name} cannot be "${value.slice(0, 60)}"`, 'use 2026-11-21T06:00:00Z, or ago: 30m, 2h, 7d')
  }
  const oneOf = <T extends string>(name: string, values: readonly T[]): T | undefined => {
    const value = said.get(name)
    const found = values.find((one) => one === value)
    if (value === undefined || found !== undefined) return found
    throw badParameter(`${name} cannot be "${value.slice(0, 60)}"`, `use ${values.join(', ')}`)
  }
  const since = timeOf('since')
  const until = timeOf('until')
  const foundSince = timeOf('found_since')
  const foundUntil = timeOf('found_until')
  const anchor = oneOf('anchor', sessionAnchors)
  const sort = oneOf('sort', sessionSorts)
  const causeKey = said.get('silent')
  const silent = causeKey === undefined ? undefined : await silentSessions.filter(tenant, causeKey)
  return {
    said,
    filter: {
      tenant,
      q: said.get('q') ?? said.get('session_id') ?? '',
      user: said.get('user') ?? '',
      finding: said.get('finding') ?? '',
      ...(since && { since }),
      ...(until && { until }),
      ...(foundSince && { foundSince }),
      ...(foundUntil && { foundUntil }),
      ...(silent && { silent }),
      ...(anchor && { anchor }),
      ...(sort && { sort }),
    },
  }
}
