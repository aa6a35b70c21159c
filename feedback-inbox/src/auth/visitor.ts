/** Who asks: a key in the request, or the session of somebody who logged in with one. */
import { bearerOf, createFailureLimit, type Found, type KeyHolder, type KeyRing } from '@agnes/clickhouse'
import { type Scope, UserError } from '@agnes/config'
import type { FastifyRequest } from 'fastify'
import { readCookie } from '../http/cookies.ts'
import { type Session, type Sessions, sessionCookie } from './session.ts'

export interface Visitor {
  readonly keyId: string
  readonly tenant: string
  readonly scopes: readonly Scope[]
  /** As it stands in audit events. */
  readonly userId: string
  /** undefined for whoever sent the key itself. */
  readonly session: Session | undefined
}

export interface Gate {
  /** Who asks; undefined if nobody said. @throws UserError (401, 429, 503) for a key that is not valid */
  identify(request: FastifyRequest): Visitor | undefined
  /** The holder of a key typed into the form. @throws UserError likewise */
  check(key: string, request: FastifyRequest): Extract<Found, { kind: 'valid' }>
}

export interface GateOptions {
  readonly ring: Pick<KeyRing, 'find'>
  readonly sessions: Sessions
  readonly onWrongKey: (request: FastifyRequest) => void
  /** Monotonic clock, milliseconds. */
  readonly nowMs?: () => number
}

export function createGate({ ring, sessions, onWrongKey, nowMs = () => performance.now() }: GateOptions): Gate {
  const failures = createFailureLimit(nowMs)

  function check(key: string, request: FastifyRequest): Extract<Found, { kind: 'valid' }> {
    const found = ring.find(key)
    if (found.kind === 'valid') return found
    throw refusal(found, request)
  }

  function refusal(found: Exclude<Found, { kind: 'valid' }> | undefined, request: FastifyRequest): UserError {
    if (found?.kind === 'undecided') return keysUnread()
    if (failures.tooMany(request.ip)) {
      return new UserError('too many wrong keys from this address', { code: 'guessing', status: 429, hint: 'wait' })
    }
    onWrongKey(request)
    if (found?.kind === 'expired') {
      return unauthenticated('the key has expired', 'create or rotate one with "agnes keys"')
    }
    if (found === undefined) return unauthenticated('Authorization is no key', 'send one header "Bearer <key>"')
    return unauthenticated('the key is not known', 'it is mistyped, revoked, or was created seconds ago')
  }

  return {
    check,
    identify(request) {
      const credentials = request.raw.headersDistinct.authorization ?? []
      if (credentials.length > 0) {
        const bearer = credentials.length === 1 ? bearerOf(credentials[0] ?? '') : undefined
        if (bearer === undefined) throw refusal(undefined, request)
        return visitorOf(check(bearer, request).holder, undefined)
      }
      const cookie = readCookie(request, sessionCookie)
      const opened = cookie === undefined ? undefined : sessions.read(cookie)
      if (opened === undefined) return undefined
      if (opened.found.kind === 'undecided') throw keysUnread()
      return opened.found.kind === 'valid' ? visitorOf(opened.found.holder, opened.session) : undefined
    },
  }
}

/** @throws UserError (403) if none of the visitor's scopes allows it; `admin` allows everything */
export function demand(visitor: Pick<Visitor, 'scopes'>, scope: Scope): void {
  if (mayDo(visitor, scope)) return
  throw new UserError(`the key lacks the scope ${scope}`, {
    code: 'forbidden',
    status: 403,
    hint: `use one made with "agnes keys create --scope ${scope}"`,
  })
}

export function mayDo({ scopes }: Pick<Visitor, 'scopes'>, scope: Scope): boolean {
  return scopes.includes(scope) || scopes.includes('admin')
}

export function unauthenticated(message: string, hint: string): UserError {
  return new UserError(message, { code: 'unauthenticated', status: 401, hint })
}

function visitorOf({ keyId, tenant, scopes }: KeyHolder, session: Session | undefined): Visitor {
  return { keyId, tenant, scopes, userId: `key:${keyId}`, session }
}

function keysUnread(): UserError {
  return new UserError('keys could not be read from ClickHouse yet', {
    code: 'keys_unknown',
    status: 503,
    hint: 'try again in a moment',
  })
}
