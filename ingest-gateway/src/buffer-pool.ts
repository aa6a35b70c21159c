/**
 * Memory for bodies and rows that is used again. What each request takes anew lies outside V8's heap, but counts towards
 * its next mark-compact: at 80,000 records a second there was one every 130 ms, and a quarter of the gateway's CPU went
 * there.
 *
 * A buffer goes to one owner at a time. Whoever took it may give it back once nobody reads it any more; one that is not
 * given back is garbage like any other.
 */

/** Two to this power is the smallest size. */
const smallest = 10
/** Requests that become more than a mebibyte are few, and decoded on threads, which hand their memory over. */
const largest = 20
/** What lies here unused, of all sizes together. */
const maxFreeBytes = 16 * 1024 * 1024

/** Free buffers by the exponent of their size. */
const free: Buffer[][] = Array.from({ length: largest + 1 }, () => [])
let freeBytes = 0
const ours = new WeakSet<ArrayBufferLike>()

/** @returns at least so many bytes, with whatever was in them before */
export function takeBuffer(bytes: number): Buffer {
  const exponent = Math.max(smallest, 32 - Math.clz32(bytes - 1))
  if (exponent > largest) return Buffer.allocUnsafeSlow(bytes)
  const buffer = free[exponent]?.pop()
  if (buffer !== undefined) {
    freeBytes -= buffer.length
    return buffer
  }
  // Not from Node.js' own pool: the memory lives until its fsync and is handed to the kernel as it is.
  const made = Buffer.allocUnsafeSlow(2 ** exponent)
  ours.add(made.buffer)
  return made
}

/**
 * The memory that `bytes` are a part of is used again from now on. Nothing happens to memory that was not taken here, or
 * lies here already.
 */
export function giveBack({ buffer }: Uint8Array): void {
  const size = buffer.byteLength
  // Memory that a thread was given has no bytes any more.
  const same = size === 0 ? undefined : free[31 - Math.clz32(size)]
  if (same === undefined || !ours.has(buffer) || freeBytes + size > maxFreeBytes) return
  if (same.some((other) => other.buffer === buffer)) return
  same.push(Buffer.from(buffer))
  freeBytes += size
}

/** The parts in one piece, in memory that {@link giveBack} takes. */
export function join(parts: readonly Buffer[], bytes: number): Buffer {
  if (parts.length === 1) return parts[0] as Buffer
  const whole = takeBuffer(bytes).subarray(0, bytes)
  let at = 0
  for (const part of parts) at += part.copy(whole, at)
  return whole
}
