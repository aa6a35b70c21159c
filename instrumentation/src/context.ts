/** What is known about the request at hand, carried by AsyncLocalStorage so that no call has to pass it along. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { ClientKind } from '@agnes/events'

export interface EventContext {
  userId?: string
  clientKind?: ClientKind
  clientAddress?: string
  correlationId?: string
  sessionId?: string
  /** Parameters the request's audit event gets. */
  params?: unknown
  /** The state before a change. */
  paramsBefore?: unknown
  /** Overrides what the status code says. */
  result?: string
}

const storage = new AsyncLocalStorage<EventContext>()

/** Runs `work`, and all it awaits, within a context of its own; it inherits from the one around it. */
export function runWithContext<T>(context: EventContext, work: () => T): T {
  return storage.run({ ...storage.getStore(), ...context }, work)
}

/** Goes on within a context that was entered before: event emitters lose it on the way. */
export function resumeContext<T>(context: EventContext, work: () => T): T {
  return storage.run(context, work)
}

/** The context at hand; undefined outside of {@link runWithContext}. */
export function currentContext(): EventContext | undefined {
  return storage.getStore()
}

/** Adds to the context at hand, e.g. a handler its params; does nothing outside of one. */
export function setContext(fields: EventContext): void {
  const context = storage.getStore()
  if (context !== undefined) Object.assign(context, fields)
}
