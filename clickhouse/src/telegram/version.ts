/** Versions of rows that are replaced by later ones. */
import { randomInt } from 'node:crypto'

/** Two changes never get the same version, and a clock that was set back does not lose one. */
export function versionAfter(before: bigint): bigint {
  const now = BigInt(Date.now()) * 1_000_000n + BigInt(randomInt(1_000_000))
  return now > before ? now : before + 1n
}
