/** The timeline's filter as options of `agnes activity`, in both directions: from what was typed, and to what to type. */
import type { TimelineFilter } from '@agnes/clickhouse'
import { exitCodes, UserError } from '@agnes/config'
import type { Command } from 'commander'
import { collect, tenant, time, wholeNumber } from '../arguments.ts'

export interface FilterOptions {
  readonly tenant?: string
  readonly since?: Date
  readonly until?: Date
  readonly user?: string
  readonly actionPrefix?: string
  readonly action?: readonly string[]
  readonly resource?: string
  readonly result?: string
  readonly correlationId?: string
  readonly q?: string
  readonly limit?: number
  readonly cursor?: string
  readonly includeReads?: boolean
  readonly includeHeartbeats?: boolean
}

/** Rows of a page unless told: what is looked at, not what can be. */
export const defaultLimit = 50

export function addFilterOptions(command: Command): Command {
  return command
    .option('--tenant <tenant>', 'of this tenant (default: default)', tenant)
    .option('--since <time>', 'from this time on: ISO 8601 (UTC), or ago: 30m, 2h, 7d', time)
    .option('--until <time>', 'before this time', time)
    .option('--user <id>', 'what this user did')
    .option('--action-prefix <prefix>', 'a family of actions: sync., query., run_')
    .option('--action <name>', 'exactly this action; may be repeated', collect)
    .option('--resource <resource>', 'what it was done to: table:orders')
    .option('--result <result>', 'success, error, denied, none, other; or as written: error.404')
    .option('--correlation-id <id>', 'what one request caused')
    .option('--q <text>', 'text in action, resource, result, message, params or body')
    .option('--limit <rows>', `rows of a page, 1 to 1000 (default: ${defaultLimit})`, wholeNumber(1, 1000))
    .option('--cursor <cursor>', 'the next page, as the one before printed it')
    .option('--include-reads', "also people's reading of activity, sessions, feedback")
    .option('--include-heartbeats', 'also the heartbeats of the services')
}

/** @throws UserError if the options contradict one another */
export function filterOf(options: FilterOptions): TimelineFilter {
  const { since, until, user, action, actionPrefix, resource, result, correlationId, q, cursor } = options
  if (since !== undefined && until !== undefined && since >= until) {
    throw new UserError('--since is not before --until', {
      code: 'usage',
      exitCode: exitCodes.usage,
      hint: `it asks for events from ${since.toISOString()} until ${until.toISOString()}`,
    })
  }
  return {
    limit: options.limit ?? defaultLimit,
    ...(options.tenant && { tenant: options.tenant }),
    ...(since && { since }),
    ...(until && { until }),
    ...(user && { userId: user }),
    ...(actionPrefix && { actionPrefix }),
    ...(action && { actionIn: action }),
    ...(resource && { resource }),
    ...(result && { result }),
    ...(correlationId && { correlationId }),
    ...(q && { q }),
    ...(cursor && { cursor }),
    ...(options.includeReads && { includeOwnReads: true }),
    ...(options.includeHeartbeats && { includeHeartbeats: true }),
  }
}

/** The command that shows what a filter selects, to be pasted into a shell. */
export function activityCommand(filter: Partial<TimelineFilter>): string {
  const words = ['agnes', 'activity']
  const add = (flag: string, value: string | undefined): void => {
    if (value) words.push(flag, quoted(value))
  }
  add('--tenant', filter.tenant)
  for (const action of filter.actionIn ?? []) add('--action', action)
  add('--action-prefix', filter.actionPrefix)
  add('--user', filter.userId)
  add('--resource', filter.resource)
  add('--result', filter.result)
  add('--correlation-id', filter.correlationId)
  add('--q', filter.q)
  add('--since', filter.since?.toISOString().replace('.000Z', 'Z'))
  add('--until', filter.until?.toISOString().replace('.000Z', 'Z'))
  if (filter.includeOwnReads) words.push('--include-reads')
  // Naming the heartbeat's action shows heartbeats anyway.
  if (filter.includeHeartbeats && !filter.actionIn?.includes('system.heartbeat')) words.push('--include-heartbeats')
  return words.join(' ')
}

function quoted(value: string): string {
  return /^[\w.:@/+-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`
}
