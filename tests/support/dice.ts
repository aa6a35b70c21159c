/** Chance that can be repeated: the same seed, the same throws. */

/** @returns the next number from 0 up to `limit`, which it does not reach */
export type Dice = (limit: number) => number

/** @see mulberry32, a 32-bit generator whose every bit is good enough for tests */
export function dice(seed: number): Dice {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }
}

export function pick<T>(items: readonly T[], roll: Dice): T {
  return items[roll(items.length)] as T
}
