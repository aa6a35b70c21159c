/**
 * The keys a service knows: those of the environment, and those of ClickHouse, which it asks again and again
 * so that a new key works and a revoked one stops within seconds, on every machine. The last answer (hashes, never
 * secrets) is kept in the data directory: a service that starts while ClickHouse is away knows its clients all the same.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { ConfiguredKey, Scope } from '@agnes/config'
import type { ClickHouseClient } from '@clickhouse/client'
import { type ApiKey, fetchLiveKeys } from './api-keys.ts'
import { readKeyCache, writeKeyCache } from './key-cache.ts'
import { parseKeyText } from './key-text.ts'

/** Whom a key stands for. */
export interface KeyHolder {
  /** Id of the key; `env:<name>` for one of AGNES_KEYS. */
  readonly keyId: string
  readonly tenant: string
  readonly scopes: readonly Scope[]
  /** Limits of the key itself; 0 = none. */
  readonly recordsPerSecond: number
  readonly bytesPerSecond: number
}

export type Found =
  | {
      readonly kind: 'valid'
      readonly holder: KeyHolder
      /** SHA-256 of the secret that was right, hex. */
      readonly secretHash: string
    }
  /** The secret was right, but its time is over. */
  | { readonly kind: 'expired' }
  | { readonly kind: 'unknown' }
  /** The key looks like one of ClickHouse's, whose list was never read. */
  | { readonly kind: 'undecided' }

export interface KeyRingStats {
  readonly keys: number
  /** Since the list was last read from ClickHouse; undefined if it never was. */
  readonly ageSeconds: number | undefined
  /** Why the last attempt to read it failed. */
  readonly failure: string | undefined
}

export interface KeyRing {
  /** @param bearer what stands behind `Bearer` */
  find(bearer: string): Found
  /**
   * The key with this id, for a session that was opened with it earlier: while the secret of then still opens it.
   * @param isSecret whether this is the SHA-256, hex, of the secret of then
   */
  findAgain(keyId: string, isSecret: (secretHash: string) => boolean): Found
  /** Whether a key that names this scope is known. */
  has(scope: Scope): boolean
  /** Resolves when ClickHouse was asked once, with or without an answer. */
  readonly asked: Promise<void>
  /** Asks ClickHouse now: resolves when the keys of this moment are known, or there was no answer. */
  askNow(): Promise<void>
  stats(): KeyRingStats
  stop(): Promise<void>
}

export interface KeyRingOptions {
  readonly client: ClickHouseClient
  readonly cacheFile: string
  readonly configured: readonly ConfiguredKey[]
  /** Milliseconds between two questions. */
  readonly everyMs?: number
  readonly log: (line: string) => void
}

/** A change takes effect after this long and the time of a query, so well within five seconds. */
const defaultEveryMs = 2_000
/** A ClickHouse that restarts, or comes up after the gateway, is nothing to tell of. */
const tellAfter = 3
/** The age of the list survives a restart with this precision. */
const rewriteCacheMs = 60_000

export function openKeyRing({ client, cacheFile, configured, everyMs = defaultEveryMs, log }: KeyRingOptions): KeyRing {
  const fixed = configured.map(holderOfConfigured)
  let listed: ReadonlyMap<string, ApiKey> = new Map()
  let readAtMs: number | undefined
  let cached = ''
  let cachedAtMs = Number.NEGATIVE_INFINITY
  /** Attempts that failed, one after the other. */
  let failures = 0
  let failure: string | undefined
  let cacheFailing = false
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  const cache = readKeyCache(cacheFile)
  if (cache !== undefined) {
    listed = byId(cache.keys)
    readAtMs = cache.readAtMs
  }

  async function refresh(): Promise<void> {
    try {
      const keys = await fetchLiveKeys(client)
      listed = byId(keys)
      readAtMs = Date.now()
      if (failures >= tellAfter) log(`keys are read from ClickHouse again (${keys.length})`)
      failures = 0
      failure = undefined
      await keep(keys, readAtMs).catch(onKeepFailure)
    } catch (error) {
      failures++
      failure = (error as Error).message.split('\n', 1)[0] ?? ''
      if (failures !== tellAfter || stopped) return
      const known = readAtMs === undefined ? 'none is known yet' : `going on with the ${listed.size} known ones`
      log(`cannot read the keys (${failure}): ${known}`)
    }
  }

  async function keep(keys: readonly ApiKey[], nowMs: number): Promise<void> {
    const content = JSON.stringify(keys)
    if (content === cached && nowMs - cachedAtMs < rewriteCacheMs) return
    await writeKeyCache(cacheFile, { keys, readAtMs: nowMs })
    cached = content
    cachedAtMs = nowMs
  }

  /** The list counts all the same; only a start without ClickHouse would miss it. */
  function onKeepFailure(error: unknown): void {
    if (!cacheFailing) log(`cannot write ${cacheFile}: ${(error as Error).message}`)
    cacheFailing = true
  }

  async function run(): Promise<void> {
    await refresh()
    if (stopped) return
    timer = setTimeout(() => {
      running = run()
    }, everyMs).unref()
  }
  let running = run()

  function find(bearer: string): Found {
    const digest = sha256(bearer)
    let holder: KeyHolder | undefined
    // All of them, whichever fits: how long it takes tells nothing.
    for (const one of fixed) if (timingSafeEqual(one.digest, digest)) holder = one.holder
    if (holder !== undefined) return { kind: 'valid', holder, secretHash: digest.toString('hex') }
    const text = parseKeyText(bearer)
    if (text === undefined) return { kind: 'unknown' }
    if (readAtMs === undefined) return { kind: 'undecided' }
    const secret = sha256(text.secret)
    return judge(listed.get(text.id), (hash) => sameHash(hash, secret), Date.now())
  }

  function findAgain(keyId: string, isSecret: (secretHash: string) => boolean): Found {
    for (const { holder, digest } of fixed) {
      const secretHash = digest.toString('hex')
      if (holder.keyId === keyId && isSecret(secretHash)) return { kind: 'valid', holder, secretHash }
    }
    if (keyId.startsWith(configuredPrefix)) return { kind: 'unknown' }
    if (readAtMs === undefined) return { kind: 'undecided' }
    return judge(listed.get(keyId), isSecret, Date.now())
  }

  return {
    find,
    findAgain,
    has: (scope) =>
      fixed.some(({ holder }) => holder.scopes.includes(scope)) ||
      [...listed.values()].some((key) => key.scopes.includes(scope) && isLive(key, Date.now())),
    asked: running,
    async askNow() {
      // A question under way may have an older answer, and would overwrite ours.
      await running
      await refresh()
    },
    stats: () => ({
      keys: configured.length + listed.size,
      ageSeconds: readAtMs === undefined ? undefined : Math.max(0, Math.round((Date.now() - readAtMs) / 1000)),
      failure,
    }),
    async stop() {
      stopped = true
      clearTimeout(timer)
      await client.close()
      await running
    },
  }
}

/** The secret is compared first, with something of the same length where there is no such key. */
function judge(key: ApiKey | undefined, isSecret: (secretHash: string) => boolean, nowMs: number): Found {
  const hashes = [
    { hash: key?.secretHash ?? noHash, untilMs: Number.POSITIVE_INFINITY },
    ...(key?.formerSecrets ?? []).map(({ hash, validUntil }) => ({ hash, untilMs: validUntil.getTime() })),
  ]
  let found: (typeof hashes)[number] | undefined
  for (const one of hashes) if (isSecret(one.hash)) found = one
  if (key === undefined || found === undefined || key.revokedAt !== undefined) return { kind: 'unknown' }
  if (found.untilMs <= nowMs || !isLive(key, nowMs)) return { kind: 'expired' }
  return { kind: 'valid', holder: holderOf(key), secretHash: found.hash }
}

function sameHash(hash: string, digest: Buffer): boolean {
  const expected = Buffer.from(hash, 'hex')
  return expected.length === digest.length && timingSafeEqual(expected, digest)
}

function isLive({ expiresAt, revokedAt }: ApiKey, nowMs: number): boolean {
  return revokedAt === undefined && (expiresAt === undefined || expiresAt.getTime() > nowMs)
}

/** Of no secret anybody has. */
const noHash = randomBytes(32).toString('hex')

function holderOf({ id, tenant, scopes, recordsPerSecond, bytesPerSecond }: ApiKey): KeyHolder {
  return { keyId: id, tenant, scopes, recordsPerSecond, bytesPerSecond }
}

/** No id of ClickHouse's has a colon. */
const configuredPrefix = 'env:'

interface Fixed {
  readonly digest: Buffer
  readonly holder: KeyHolder
}

function holderOfConfigured({ name, tenant, scopes, secret }: ConfiguredKey): Fixed {
  const holder = { keyId: `${configuredPrefix}${name}`, tenant, scopes, recordsPerSecond: 0, bytesPerSecond: 0 }
  return { digest: sha256(secret), holder }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function byId(keys: readonly ApiKey[]): ReadonlyMap<string, ApiKey> {
  return new Map(keys.map((key) => [key.id, key]))
}
