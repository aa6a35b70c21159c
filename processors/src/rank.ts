/**
 * Which of two results holds. A session file only grows, telemetry only comes in, and versions only go up, so the
 * result that knows more has the higher rank, whoever writes it and whenever: a process that was paused and goes on
 * with what it knew then does not undo anything. Equal ranks are equal results; there the younger lease counts.
 */
export interface RankParts {
  readonly lines: number
  readonly version: number
  readonly evidence?: number
  readonly fence: bigint
}

/** 128 bits: lines (32), version (16), evidence (32), fence (48). */
export function rankOf({ lines, version, evidence = 0, fence }: RankParts): bigint {
  return (part(lines, 32) << 96n) | (part(version, 16) << 80n) | (part(evidence, 32) << 48n) | part(fence, 48)
}

/** What does not fit counts as the most there is. */
function part(value: number | bigint, bits: number): bigint {
  const limit = (1n << BigInt(bits)) - 1n
  const whole = BigInt(value)
  return whole > limit ? limit : whole
}
