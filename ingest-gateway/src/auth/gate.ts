/**
 * Who may come in and how much of it, judged from the headers alone, before a byte of the body is read. Whether a key is needed goes by the
 * address the gateway binds to, never by the peer's: behind a reverse proxy on this host every peer looks local.
 */
import { bearerOf, createFailureLimit, type KeyHolder, type KeyRing } from '@agnes/clickhouse'
import type { Scope } from '@agnes/config'
import type { Quotas } from './quota.ts'

/** The request is refused for who sent it; `status` is the HTTP status of the answer. The message never has a key in it. */
export class RefusedError extends Error {
  readonly status: 401 | 403 | 429 | 503
  readonly reason: 'unauthenticated' | 'forbidden' | 'guessing' | 'keys_unknown' | 'rate'
  /** From 1 to 3 where the same request may succeed then. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    status: RefusedError['status'],
    reason: RefusedError['reason'],
    message: string,
    retryAfterSeconds?: number,
  ) {
    super(message)
    this.name = 'RefusedError'
    this.status = status
    this.reason = reason
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** A request that was let in. It has paid for what it declared; each call settles that with what it turned out to be. */
export interface Admission {
  readonly tenant: string
  /**
   * The body has this many bytes, decoded; for one that is not taken, what was read of it. The last call counts.
   * Every request must come here: until then it holds what it declared against its key and its tenant.
   */
  tookBytes(bytes: number): void
  /** The body holds this many records. */
  tookRecords(records: number): void
}

export interface Gate {
  /**
   * Whose events these are.
   * @param credentials all values of the header Authorization, as sent
   * @param address of the peer
   * @param declaredBytes length of the body as sent, where the headers say it
   * @param scope what the key must allow; `ingest` unless told
   * @throws RefusedError
   */
  ingest(credentials: readonly string[], address: string, declaredBytes?: number, scope?: Scope): Admission
  /** Whether the caller may see more than whether the gateway is ready. @throws RefusedError for a key that may not */
  seesDetails(credentials: readonly string[], address: string): boolean
  /**
   * Like {@link seesDetails}, where there is nothing to see without.
   * @returns the one tenant whose figures the caller may see; undefined for all: on this machine, and with a key of the
   *   gateway's own tenant
   * @throws RefusedError
   */
  read(credentials: readonly string[], address: string): string | undefined
}

export interface GateOptions {
  readonly ring: KeyRing
  /** Nobody but this machine can reach us: no key is needed. */
  readonly open: boolean
  readonly quotas: Quotas
  readonly log: (line: string) => void
  /** Monotonic clock, milliseconds. */
  readonly nowMs?: () => number
}

/** Whose events are that come without a key, and the gateway's own. */
export const defaultTenant = 'default'

/** Whoever needs no key. */
const anybody: KeyHolder = {
  keyId: '',
  tenant: defaultTenant,
  scopes: ['ingest'],
  recordsPerSecond: 0,
  bytesPerSecond: 0,
}

/** A sender with a wrong key tries again and again: one line a minute is enough. */
const tellEveryMs = 60_000
/** What a body counts for until it is read, where its length is not declared. */
const usualBytes = 64 * 1024

export function createGate({ ring, open, quotas, log, nowMs = () => performance.now() }: GateOptions): Gate {
  const failures = createFailureLimit(nowMs)
  /** Wrong keys since the last line about them. */
  let wrongKeys = 0
  let toldAtMs = Number.NEGATIVE_INFINITY

  /** undefined: no key was sent. */
  function identify(credentials: readonly string[], address: string): KeyHolder | undefined {
    if (credentials.length === 0) return undefined
    const bearer = credentials.length === 1 ? bearerOf(credentials[0] ?? '') : undefined
    const found = bearer === undefined ? undefined : ring.find(bearer)
    switch (found?.kind) {
      case 'valid':
        return found.holder
      case 'undecided':
        throw new RefusedError(503, 'keys_unknown', 'keys could not be read from ClickHouse yet: try again', 1)
      case 'expired':
        throw unauthenticated(address, 'the key has expired: create or rotate one with "agnes keys"')
      case 'unknown':
        throw unauthenticated(address, 'the key is not known: it is mistyped, revoked, or was created seconds ago')
      case undefined:
        throw unauthenticated(address, 'Authorization must be one header of the form "Bearer <key>"')
    }
  }

  function unauthenticated(address: string, message: string): RefusedError {
    tell(address)
    if (!failures.tooMany(address)) return new RefusedError(401, 'unauthenticated', message)
    return new RefusedError(429, 'guessing', 'too many wrong keys from this address: wait', 1)
  }

  function tell(address: string): void {
    wrongKeys++
    if (nowMs() - toldAtMs < tellEveryMs) return
    log(`gateway: wrong keys: ${wrongKeys} since the last such line, now one from ${address}`)
    wrongKeys = 0
    toldAtMs = nowMs()
  }

  function demand(holder: KeyHolder | undefined, ...oneOf: readonly Scope[]): KeyHolder {
    if (holder === undefined) {
      throw new RefusedError(
        401,
        'unauthenticated',
        'a key is needed: send "Authorization: Bearer <key>"; "agnes keys create" makes one',
      )
    }
    if ([...oneOf, 'admin' as const].some((scope) => holder.scopes.includes(scope))) return holder
    throw new RefusedError(403, 'forbidden', `the key lacks the scope ${oneOf[0]}`)
  }

  return {
    ingest(credentials, address, declaredBytes = usualBytes, scope = 'ingest') {
      const known = identify(credentials, address)
      const holder = known === undefined && open ? anybody : demand(known, scope)
      const seconds = quotas.wait(holder)
      if (seconds !== undefined) {
        throw new RefusedError(429, 'rate', `this key or tenant sends more than it may: wait ${seconds} s`, seconds)
      }
      // Paid in advance, or all that come at the same instant would find the same bucket full.
      quotas.charge(holder, 1, declaredBytes)
      let charged = declaredBytes
      return {
        tenant: holder.tenant,
        tookBytes(bytes) {
          quotas.charge(holder, 0, bytes - charged)
          charged = bytes
        },
        tookRecords: (records) => quotas.charge(holder, records - 1, 0),
      }
    },
    seesDetails(credentials, address) {
      if (open) return true
      if (credentials.length === 0) return false
      demand(identify(credentials, address), 'read')
      return true
    },
    read(credentials, address) {
      if (open) return undefined
      const { tenant } = demand(identify(credentials, address), 'read')
      return tenant === defaultTenant ? undefined : tenant
    },
  }
}
