/**
 * How many wrong keys an address may try. A right key always passes, so nobody can lock out others behind the same
 * address; and there is nothing to guess in 190 bits: this keeps answers, logs and metrics of a runaway client small.
 */
import { isIP } from 'node:net'

const perSecond = 100
/** Addresses remembered within one second; who comes when it is full is not limited. */
const maxAddresses = 10_000

export interface FailureLimit {
  /** Counts a failure. @returns whether the address has had too many within this second */
  tooMany(address: string): boolean
}

/** @param nowMs monotonic clock, milliseconds */
export function createFailureLimit(nowMs: () => number): FailureLimit {
  const failures = new Map<string, number>()
  let second = 0
  return {
    tooMany(address) {
      const now = Math.floor(nowMs() / 1000)
      if (now !== second) failures.clear()
      second = now
      const network = networkOf(address)
      const count = (failures.get(network) ?? 0) + 1
      if (count > 1 || failures.size < maxAddresses) failures.set(network, count)
      return count > perSecond
    },
  }
}

/** One customer has a /64 of IPv6 addresses, 2^64 of them. */
function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/, '')
  if (isIP(plain) !== 6) return plain
  const [head = '', tail = ''] = plain.split('%', 1)[0]?.split('::') ?? []
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const zeros = plain.includes('::')
    ? Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0')
    : []
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}
