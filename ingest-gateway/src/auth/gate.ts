/**
 * Who may come in, judged from the headers alone, before a byte of the body is read. Whether a key is needed goes by the
 * address the gateway binds to, never by the peer's: behind a reverse proxy on this host every peer looks local.
 */
import type { Scope } from '@agnes/config'
import { createFailureLimit } from './failure-limit.ts'
import type { KeyHolder, KeyRing } from './key-ring.ts'

/** The request is refused for who sent it; `status` is the HTTP status of the answer. The message never has a key in it. */
export class AuthError extends Error {
  readonly status: 401 | 403 | 429 | 503
  readonly reason: RefusalReason

  constructor(status: AuthError['status'], reason: RefusalReason, message: string) {
    super(message)
    this.name = 'AuthError'
    this.status = status
    this.reason = reason
  }
}

export type RefusalReason = 'unauthenticated' | 'forbidden' | 'guessing' | 'keys_unknown'

export interface Gate {
  /**
   * Whose events these are.
   * @param credentials all values of the header Authorization, as sent
   * @param address of the peer
   * @throws AuthError
   */
  ingest(credentials: readonly string[], address: string): KeyHolder
  /** Whether the caller may see more than whether the gateway is ready. @throws AuthError for a key that may not */
  seesDetails(credentials: readonly string[], address: string): boolean
  /** Like {@link seesDetails}, where there is nothing to see without. @throws AuthError */
  read(credentials: readonly string[], address: string): void
}

export interface GateOptions {
  readonly ring: KeyRing
  /** Nobody but this machine can reach us: no key is needed. */
  readonly open: boolean
  /** Monotonic clock, milliseconds. */
  readonly nowMs?: () => number
}

/** Whoever needs no key. */
const anybody: KeyHolder = {
  keyId: '',
  tenant: 'default',
  scopes: ['ingest'],
  recordsPerSecond: 0,
  bytesPerSecond: 0,
}

/** No key of ours is longer; more is not even hashed. */
const longestBearer = 256

export function createGate({ ring, open, nowMs = () => performance.now() }: GateOptions): Gate {
  const failures = createFailureLimit(nowMs)

  /** undefined: no key was sent. */
  function identify(credentials: readonly string[], address: string): KeyHolder | undefined {
    if (credentials.length === 0) return undefined
    const bearer = credentials.length === 1 ? bearerOf(credentials[0] ?? '') : undefined
    const found = bearer === undefined ? undefined : ring.find(bearer)
    switch (found?.kind) {
      case 'valid':
        return found.holder
      case 'undecided':
        throw new AuthError(503, 'keys_unknown', 'keys could not be read from ClickHouse yet: try again')
      case 'expired':
        throw unauthenticated(address, 'the key has expired: create or rotate one with "agnes keys"')
      case 'unknown':
        throw unauthenticated(address, 'the key is not known: it is mistyped, revoked, or was created seconds ago')
      case undefined:
        throw unauthenticated(address, 'Authorization must be one header of the form "Bearer <key>"')
    }
  }

  function unauthenticated(address: string, message: string): AuthError {
    if (!failures.tooMany(address)) return new AuthError(401, 'unauthenticated', message)
    return new AuthError(429, 'guessing', 'too many wrong keys from this address: wait')
  }

  function demand(holder: KeyHolder | undefined, ...oneOf: readonly Scope[]): KeyHolder {
    if (holder === undefined) {
      throw new AuthError(
        401,
        'unauthenticated',
        'a key is needed: send "Authorization: Bearer <key>"; "agnes keys create" makes one',
      )
    }
    if ([...oneOf, 'admin' as const].some((scope) => holder.scopes.includes(scope))) return holder
    throw new AuthError(403, 'forbidden', `the key lacks the scope ${oneOf[0]}`)
  }

  return {
    ingest(credentials, address) {
      const holder = identify(credentials, address)
      return holder === undefined && open ? anybody : demand(holder, 'ingest')
    },
    seesDetails(credentials, address) {
      if (open) return true
      if (credentials.length === 0) return false
      demand(identify(credentials, address), 'read')
      return true
    },
    read(credentials, address) {
      if (!open) demand(identify(credentials, address), 'read')
    },
  }
}

/** The scheme is case-insensitive (RFC 9110, section 11.1). undefined for what is no bearer. */
function bearerOf(header: string): string | undefined {
  if (header.length > longestBearer + 16) return undefined
  return /^bearer +([^\s,]{1,256})$/i.exec(header.trim())?.[1]
}

const keyParameters = new Set(['api_key', 'apikey', 'key', 'token', 'access_token'])

/** A key in a URL is in every access log on its way. */
export function keyParameter(target: string): string | undefined {
  const at = target.indexOf('?')
  if (at < 0) return undefined
  return [...new URLSearchParams(target.slice(at + 1)).keys()].find((name) => keyParameters.has(name.toLowerCase()))
}
