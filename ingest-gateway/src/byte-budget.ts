/**
 * How much of what clients send may be in memory at once, over all connections. A request that finds no room is refused
 * for now: clients try again, and the host keeps its memory.
 */
/** Nothing is wrong with the request, but there is no room for it right now. */
export class BusyError extends Error {
  constructor() {
    super('more is arriving than the gateway can hold: try again')
    this.name = 'BusyError'
  }
}

export interface ByteBudget {
  /** @returns whether there was room; if so it is taken */
  take(bytes: number): boolean
  give(bytes: number): void
}

export function createByteBudget(limit: number): ByteBudget {
  let taken = 0
  return {
    take(bytes) {
      // One request alone always fits: its own limits have been checked.
      if (taken > 0 && (taken + bytes > limit || taken >= limit)) return false
      taken += bytes
      return true
    },
    give(bytes) {
      taken -= bytes
    },
  }
}
