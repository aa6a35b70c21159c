/** The one place where a filter becomes SQL. Rows, counts and cards all use it, so they cannot disagree. */
import { exitCodes, UserError } from '@agnes/config'
import { ownReadActions, resultClasses } from '@agnes/events'
import type { TimelineFilter } from './types.ts'

export const heartbeatAction = 'system.heartbeat'
export const defaultTenant = 'default'

export interface Where {
  /** Conditions over the columns of `agnes.otel_logs`, joined by AND. Values are bound, never written into it. */
  readonly sql: string
  readonly params: Readonly<Record<string, unknown>>
}

/** @throws UserError (status 400, exit code 2) for values that cannot be a filter. */
export function whereOf(filter: TimelineFilter): Where {
  refuseBadFilter(filter)
  const { actionIn = [] } = filter
  const conditions = ['TenantId = {tenant:String}', "EventName != ''"]
  const params: Record<string, unknown> = { tenant: filter.tenant ?? defaultTenant }
  const add = (condition: string, name: string, value: unknown) => {
    if (value === undefined || value === '') return
    conditions.push(condition)
    params[name] = value
  }

  add('Timestamp >= fromUnixTimestamp64Nano({since:Int64})', 'since', nanosOf(filter.since))
  add('Timestamp < fromUnixTimestamp64Nano({until:Int64})', 'until', nanosOf(filter.until))
  add('UserId = {userId:String}', 'userId', filter.userId)
  add('startsWith(Action, {actionPrefix:String})', 'actionPrefix', filter.actionPrefix)
  add('Action IN {actionIn:Array(String)}', 'actionIn', actionIn.length === 0 ? undefined : actionIn)
  add('Resource = {resource:String}', 'resource', filter.resource)
  add(
    isResultClass(filter.result) ? 'ResultClass = {result:String}' : 'Result = {result:String}',
    'result',
    filter.result,
  )
  add('CorrelationId = {correlationId:String}', 'correlationId', filter.correlationId)
  add('ClientKind = {clientKind:String}', 'clientKind', filter.clientKind)
  add(searchCondition, 'q', filter.q)

  const hidden = [
    ...(filter.includeOwnReads ? [] : ownReadActions),
    ...(filter.includeHeartbeats ? [] : [heartbeatAction]),
  ].filter((action) => !actionIn.includes(action))
  add('Action NOT IN {hidden:Array(String)}', 'hidden', hidden.length === 0 ? undefined : hidden)
  return { sql: conditions.join('\n  AND '), params }
}

// Cheap columns first: OR stops at the first that matches. A summary is made of the first four.
const searchCondition = `(${['Action', 'Resource', 'Result', 'Message', 'Params', 'Body']
  .map((column) => `positionCaseInsensitiveUTF8(${column}, {q:String}) > 0`)
  .join(' OR ')})`

function isResultClass(result: string | undefined): boolean {
  return (resultClasses as readonly (string | undefined)[]).includes(result)
}

/** Nanoseconds since 1970 as text, the form Int64 parameters are bound in. */
function nanosOf(date: Date | undefined): string | undefined {
  return date === undefined ? undefined : String(BigInt(date.getTime()) * 1_000_000n)
}

// Parameters travel in the URL, which servers cap.
const longestText = 1000
const longestList = 200

/** @throws UserError (status 400, exit code 2) for values that cannot be a filter. */
export function refuseBadFilter(filter: TimelineFilter): void {
  for (const name of ['since', 'until'] as const) {
    const time = filter[name]?.getTime()
    // DateTime64(9) counts nanoseconds in 64 bits: 1677 to 2262.
    if (time !== undefined && !(Math.abs(time) <= 9_223_372_036_854)) {
      throw badFilter(`${name} is not a time we can store`, 'use a time like 2026-11-21T06:00:00Z')
    }
  }
  for (const name of [
    'tenant',
    'userId',
    'actionPrefix',
    'resource',
    'result',
    'correlationId',
    'clientKind',
    'q',
  ] as const) {
    const length = filter[name]?.length ?? 0
    if (length > longestText) {
      throw badFilter(`${name} has ${length} characters`, `use at most ${longestText}`)
    }
  }
  const texts = [filter.userId, filter.actionPrefix, filter.resource, filter.result, filter.correlationId, filter.q]
  if ([...texts, filter.clientKind, ...(filter.actionIn ?? [])].some((text) => text?.includes('\0'))) {
    throw badFilter('a filter cannot have a NUL character', 'leave it out, and search for what stands beside it')
  }
  const actions = filter.actionIn ?? []
  if (actions.length > longestList || actions.some((action) => action.length > longestText)) {
    throw badFilter('action_in is too long', `use at most ${longestList} actions of ${longestText} characters`)
  }
}

export function badFilter(message: string, hint: string): UserError {
  return new UserError(message, { code: 'bad_filter', status: 400, exitCode: exitCodes.usage, hint })
}
