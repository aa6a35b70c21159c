/**
 * How much a key and a tenant may send: token buckets in debt. A request is let in while there is something in the
 * bucket, and pays what it turned out to be: how many records a body holds is not known before it is decoded, and to
 * decode it in order to refuse it would cost more than to take it. So on average nobody gets more than the rate, and a
 * request that is larger than a whole second's worth gets in too.
 */
import type { KeyHolder } from '@agnes/clickhouse'

/** 0 = no limit. */
export interface Rates {
  readonly recordsPerSecond: number
  readonly bytesPerSecond: number
}

export interface Quotas {
  /** Seconds to wait, from 1 to 3; undefined if there is something left for this sender. */
  wait(holder: KeyHolder): number | undefined
  /** Takes from the buckets of the key and of its tenant. */
  charge(holder: KeyHolder, records: number, bytes: number): void
}

export interface QuotaOptions {
  /** Of every tenant. */
  readonly tenantRates: Rates
  /** Monotonic clock, milliseconds. */
  readonly nowMs: () => number
}

/** What may come at once after a pause, in seconds' worth. */
const burstSeconds = 2
/** SDKs for JavaScript and Python give up after about 10 s in total: more than a few seconds loses their data. */
const longestWaitSeconds = 3

interface Bucket {
  tokens: number
  atMs: number
}

export function createQuotas({ tenantRates, nowMs }: QuotaOptions): Quotas {
  /** One for each limit of a key or tenant that was ever used; senders without a valid key get none. */
  const buckets = new Map<string, Bucket>()

  /** The bucket as it is now. The rate is told each time: that of a key may change. */
  function filled(name: string, perSecond: number): Bucket {
    const now = nowMs()
    const full = perSecond * burstSeconds
    const bucket = buckets.get(name)
    if (bucket === undefined) {
      const fresh = { tokens: full, atMs: now }
      buckets.set(name, fresh)
      return fresh
    }
    bucket.tokens = Math.min(full, bucket.tokens + ((now - bucket.atMs) / 1000) * perSecond)
    bucket.atMs = now
    return bucket
  }

  function limitsOf({ keyId, tenant, recordsPerSecond, bytesPerSecond }: KeyHolder) {
    return [
      { name: `key records ${keyId}`, perSecond: recordsPerSecond, unit: 'records' },
      { name: `key bytes ${keyId}`, perSecond: bytesPerSecond, unit: 'bytes' },
      { name: `tenant records ${tenant}`, perSecond: tenantRates.recordsPerSecond, unit: 'records' },
      { name: `tenant bytes ${tenant}`, perSecond: tenantRates.bytesPerSecond, unit: 'bytes' },
    ].filter(({ perSecond }) => perSecond > 0)
  }

  return {
    wait(holder) {
      const waits = limitsOf(holder).flatMap(({ name, perSecond }) => {
        const { tokens } = filled(name, perSecond)
        return tokens > 0 ? [] : [Math.ceil(-tokens / perSecond)]
      })
      if (waits.length === 0) return undefined
      return Math.min(longestWaitSeconds, Math.max(1, ...waits))
    },
    charge(holder, records, bytes) {
      for (const { name, perSecond, unit } of limitsOf(holder)) {
        filled(name, perSecond).tokens -= unit === 'records' ? records : bytes
      }
    },
  }
}
