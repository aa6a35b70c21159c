/** What can be done to a report, and what comes of it. */
import type { FeedbackReport, FeedbackStatus } from '@agnes/clickhouse'
import { exitCodes, UserError } from '@agnes/config'

export type FeedbackChange =
  | { readonly action: 'assign'; readonly assignee: string }
  | { readonly action: 'tag'; readonly tags: readonly string[] }
  | { readonly action: 'triage' | 'reopen' }
  | { readonly action: 'resolve' | 'wontfix'; readonly resolution: string }
  /** `reason` is kept in the tombstone. */
  | { readonly action: 'purge'; readonly reason: string }

export const changeActions = ['assign', 'tag', 'triage', 'resolve', 'wontfix', 'reopen', 'purge'] as const

const from: Readonly<Record<FeedbackChange['action'], readonly FeedbackStatus[]>> = {
  assign: ['open', 'triaged', 'resolved', 'wontfix'],
  tag: ['open', 'triaged', 'resolved', 'wontfix'],
  triage: ['open'],
  resolve: ['open', 'triaged'],
  wontfix: ['open', 'triaged'],
  reopen: ['resolved', 'wontfix'],
  purge: ['open', 'triaged', 'resolved', 'wontfix'],
}

/** Whether a report in that state can be changed like that. */
export function mayChange({ status }: Pick<FeedbackReport, 'status'>, action: FeedbackChange['action']): boolean {
  return from[action].includes(status)
}

/** @throws UserError (409) if the report's state does not allow it */
export function applyChange(before: FeedbackReport, change: FeedbackChange, actor: string, now: Date): FeedbackReport {
  const { action } = change
  if (!mayChange(before, action)) {
    throw new UserError(`a report that is ${before.status} cannot be changed by "${action}"`, {
      code: 'wrong_state',
      status: 409,
      hint: `that takes one that is ${from[action].join(' or ')}`,
    })
  }
  const version = before.version + 1
  const step = (detail: string) => [...before.history, { version, at: now, actor, action, detail }]
  const next = { ...before, version, changedAt: now }
  switch (change.action) {
    case 'assign':
      return { ...next, assignee: change.assignee, history: step(change.assignee) }
    case 'tag':
      return { ...next, tags: change.tags, history: step(change.tags.join(', ')) }
    case 'triage':
      return { ...next, status: 'triaged', history: step('') }
    case 'reopen':
      return { ...next, status: 'open', resolution: '', resolvedAt: undefined, resolvedBy: '', history: step('') }
    case 'resolve':
    case 'wontfix':
      return {
        ...next,
        status: change.action === 'resolve' ? 'resolved' : 'wontfix',
        resolution: change.resolution,
        resolvedAt: now,
        resolvedBy: actor,
        history: step(change.resolution),
      }
    case 'purge':
      return tombstone(before, change.reason, actor, now)
  }
}

/** What is left: that there was a report, when, and who removed it why. */
function tombstone(before: FeedbackReport, reason: string, actor: string, now: Date): FeedbackReport {
  const version = before.version + 1
  return {
    ...before,
    version,
    changedAt: now,
    writtenAt: undefined,
    reporterUser: '',
    message: '',
    sessionExcerpt: '',
    sessionFile: '',
    sessionId: '',
    environment: {},
    fingerprint: '',
    dupKey: '',
    causeKey: '',
    causeTool: '',
    causeClass: '',
    causeText: '',
    findingIds: [],
    redactions: [],
    tags: [],
    status: 'purged',
    resolution: reason,
    resolvedAt: now,
    resolvedBy: actor,
    history: [
      // The first actor is the reporter.
      ...before.history.map((step) => ({ ...step, actor: step.action === 'report' ? '' : step.actor, detail: '' })),
      { version, at: now, actor, action: 'purge', detail: reason },
    ],
  }
}

const longestTag = 40
const mostTags = 20
const longestName = 128
const longestText = 10_000

/** From a form or the API. @throws UserError (400) if it is no change */
export function parseChange(said: Readonly<Record<string, unknown>>): FeedbackChange {
  const { action } = said
  const text = (name: string, longest: number): string => {
    const value = said[name] ?? ''
    if (typeof value !== 'string') throw badChange(`${name} is no text`, 'send a string')
    const trimmed = value.toWellFormed().trim()
    if (trimmed.length > longest) throw badChange(`${name} has ${trimmed.length} characters`, `use at most ${longest}`)
    return trimmed
  }
  switch (action) {
    case 'assign':
      return { action, assignee: text('assignee', longestName) }
    case 'tag':
      return { action, tags: tagsOf(said.tags) }
    case 'triage':
    case 'reopen':
      return { action }
    case 'resolve':
    case 'wontfix': {
      const resolution = text('resolution', longestText)
      if (resolution === '') throw badChange('a resolution is missing', 'say what was done about it, or why nothing is')
      return { action, resolution }
    }
    case 'purge':
      return { action, reason: text('reason', 500) }
    default:
      throw badChange('there is no such action', `use one of ${changeActions.join(', ')}`)
  }
}

function tagsOf(said: unknown): string[] {
  const list = typeof said === 'string' ? said.split(',') : Array.isArray(said) ? (said as unknown[]) : undefined
  if (list === undefined || list.some((tag) => typeof tag !== 'string')) {
    throw badChange('tags are no list of texts', 'send ["one", "two"]')
  }
  const tags = [...new Set((list as string[]).map((tag) => tag.toWellFormed().trim().toLowerCase()))].filter(Boolean)
  const wrong = tags.find((tag) => !/^[\p{L}\p{N}][\p{L}\p{N} _.:/-]*$/u.test(tag) || tag.length > longestTag)
  if (wrong !== undefined) {
    throw badChange(
      `"${wrong.slice(0, longestTag)}" is no tag`,
      `a tag has 1 to ${longestTag} letters, digits, blanks and _ . : / -, beginning with a letter or digit`,
    )
  }
  if (tags.length > mostTags) throw badChange(`${tags.length} tags are too many`, `use at most ${mostTags}`)
  return tags
}

function badChange(message: string, hint: string): UserError {
  return new UserError(message, { code: 'bad_change', status: 400, exitCode: exitCodes.usage, hint })
}
