/** Words that real Agnes writes, and how they are read. */

/** Who or what called. `system` is ours: an event without a user. */
export const clientKinds = ['cli', 'scheduler', 'web', 'agent', 'external', 'system'] as const
export type ClientKind = (typeof clientKinds)[number]

export const resultClasses = ['success', 'error', 'denied', 'none', 'other'] as const
export type ResultClass = (typeof resultClasses)[number]

const successes = new Set(['success', 'succeeded', 'ok'])
const denials = new Set(['denied', 'blocked', 'invalid_password', 'deactivated'])

/**
 * The class of a raw result. The raw value is kept beside it; filters use the class, because a filter on `success` and
 * `error` alone misses a third of the rows (old rows carry no result).
 */
export function resultClass(raw: string | null | undefined): ResultClass {
  if (raw === null || raw === undefined || raw === '') return 'none'
  if (successes.has(raw)) return 'success'
  if (raw.startsWith('error') || raw === 'failed') return 'error'
  if (denials.has(raw)) return 'denied'
  return 'other'
}

/** The client kind of an event that may not carry one: a tick is the scheduler's, an event without a user the system's. */
export function effectiveClientKind(event: {
  readonly clientKind?: string | undefined
  readonly action?: string | undefined
  readonly userId?: string | undefined
}): string {
  if (event.clientKind) return event.clientKind
  if (event.action?.startsWith('run_') || event.action === 'marketplace.sync_all') return 'scheduler'
  return event.userId ? 'other' : 'system'
}

/** Reads by people, written by the pages themselves: left out of a timeline unless asked for. */
export const ownReadActions = ['activity.read', 'sessions.read', 'feedback.read'] as const

/** Families of actions Agnes writes today, with an example each. The action is free text: this list is for people. */
export const actionFamilies: Readonly<Record<string, string>> = {
  sync: 'sync.trigger',
  query: 'query.local',
  data: 'data.download',
  catalog: 'catalog.list',
  snapshot: 'snapshot.create',
  manifest: 'manifest.fetch',
  session: 'session.upload',
  run_: 'run_session_processor:verification',
  script_runner: 'script_runner.tick',
  agent_schedules: 'agent_schedules.run_due.tick',
  marketplace: 'marketplace.sync_all',
  token: 'token.create',
  cli_auth: 'cli_auth.token_minted',
  instance_config: 'instance_config.update',
  access_policy: 'access_policy.preview',
  initial_workspace: 'initial_workspace.sync',
  store: 'store.submission.approved',
  memory_item: 'memory_item.set_required',
  corporate_memory: 'corporate_memory.update',
  agent: 'agent.memory.write',
  chat: 'chat.tool_call',
  usage: 'usage.summary',
  knowledge: 'knowledge.pdf_download',
  registry: 'registry.update',
  resource_grants: 'resource_grants.create',
  user_groups: 'user_groups.update',
  users: 'users.create',
  activity: 'activity.read',
}
