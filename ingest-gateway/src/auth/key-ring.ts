/**
 * The keys this gateway knows: those of the environment, and those of ClickHouse, which it asks again and again
 * so that a new key works and a revoked one stops within seconds, on every machine. The last answer (hashes, never
 * secrets) is kept beside the spool: a gateway that starts while ClickHouse is away knows its clients all the same.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { type ApiKey, type ClickHouseClient, fetchLiveKeys, parseKeyText } from '@agnes/clickhouse'
import type { ConfiguredKey, Scope } from '@agnes/config'
import { readKeyCache, writeKeyCache } from './key-cache.ts'

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
  | { readonly kind: 'valid'; readonly holder: KeyHolder }
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
  /** Whether a key that names this scope is known. */
  has(scope: Scope): boolean
  /** Resolves when ClickHouse was asked once, with or without an answer. */
  readonly asked: Promise<void>
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
      if (failures >= tellAfter) log(`gateway: keys are read from ClickHouse again (${keys.length})`)
      failures = 0
      failure = undefined
      await keep(keys, readAtMs).catch(onKeepFailure)
    } catch (error) {
      failures++
      failure = (error as Error).message.split('\n', 1)[0] ?? ''
      if (failures !== tellAfter || stopped) return
      const known = readAtMs === undefined ? 'none is known yet' : `going on with the ${listed.size} known ones`
      log(`gateway: cannot read the keys (${failure}): ${known}`)
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
    if (!cacheFailing) log(`gateway: cannot write ${cacheFile}: ${(error as Error).message}`)
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
    if (holder !== undefined) return { kind: 'valid', holder }
    const text = parseKeyText(bearer)
    if (text === undefined) return { kind: 'unknown' }
    if (readAtMs === undefined) return { kind: 'undecided' }
    return judge(listed.get(text.id), sha256(text.secret), Date.now())
  }

  return {
    find,
    has: (scope) =>
      fixed.some(({ holder }) => holder.scopes.includes(scope)) ||
      [...listed.values()].some((key) => key.scopes.includes(scope) && isLive(key, Date.now())),
    asked: running,
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
function judge(key: ApiKey | undefined, digest: Buffer, nowMs: number): Found {
  const hashes = [
    { hash: key?.secretHash ?? noHash, untilMs: Number.POSITIVE_INFINITY },
    ...(key?.formerSecrets ?? []).map(({ hash, validUntil }) => ({ hash, untilMs: validUntil.getTime() })),
  ]
  let untilMs: number | undefined
  for (const one of hashes) {
    const expected = Buffer.from(one.hash, 'hex')
    if (expected.length === digest.length && timingSafeEqual(expected, digest)) untilMs = one.untilMs
  }
  if (key === undefined || untilMs === undefined || key.revokedAt !== undefined) return { kind: 'unknown' }
  if (untilMs <= nowMs || !isLive(key, nowMs)) return { kind: 'expired' }
  return { kind: 'valid', holder: holderOf(key) }
}

function isLive({ expiresAt, revokedAt }: ApiKey, nowMs: number): boolean {
  return revokedAt === undefined && (expiresAt === undefined || expiresAt.getTime() > nowMs)
}

/** Of no secret anybody has. */
const noHash = randomBytes(32).toString('hex')

function holderOf({ id, tenant, scopes, recordsPerSecond, bytesPerSecond }: ApiKey): KeyHolder {
  return { keyId: id, tenant, scopes, recordsPerSecond, bytesPerSecond }
}

interface Fixed {
  readonly digest: Buffer
  readonly holder: KeyHolder
}

function holderOfConfigured({ name, tenant, scopes, secret }: ConfiguredKey): Fixed {
  const holder = { keyId: `env:${name}`, tenant, scopes, recordsPerSecond: 0, bytesPerSecond: 0 }
  return { digest: sha256(secret), holder }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

function byId(keys: readonly ApiKey[]): ReadonlyMap<string, ApiKey> {
  return new Map(keys.map((key) => [key.id, key]))
}
