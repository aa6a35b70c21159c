/**
 * How two sides agree that files begin alike without sending them: a hash of all lines up to one. Each comes from the one
 * before it, so whoever knows it for a prefix can go on from there and needs no more of the prefix.
 *
 *   H(0) = 32 zero bytes, H(n) = SHA-256(H(n-1) ‖ line n without its line break)
 *
 * It is made of lines as they are, secrets among them: where it is stored, it is keyed first.
 */
import { createHash, createHmac, type Hash } from 'node:crypto'
import { hashBytes, type SessionKey } from './types.ts'

export const emptyPrefix: Uint8Array = new Uint8Array(32)

/** The hash of a prefix and the line behind it. */
export function extendPrefix(prefix: Uint8Array, line: Uint8Array): Buffer {
  return startLine(prefix).update(line).digest()
}

/** The same for a line that comes in pieces. */
export function startLine(prefix: Uint8Array): Hash {
  return createHash('sha256').update(prefix)
}

/**
 * What is stored of a prefix's hash: without the key nobody can try out whether a guessed secret stood in a line.
 * @param key the same on every gateway that writes to this database, or equal files look different to them
 */
export function createKeyedHash(key: Uint8Array, { tenant, user, file }: SessionKey): (prefix: Uint8Array) => Buffer {
  const ofSession = createHmac('sha256', key).update(`${tenant}\0${user}\0${file}`).digest()
  return (prefix) => createHmac('sha256', ofSession).update(prefix).digest().subarray(0, hashBytes)
}

/**
 * The hashes of a file's prefixes.
 * @param chunks the file from its beginning
 * @param offsets where a side believes that lines end; each line counts with a line break, the last one too if it has none
 * @returns by offset, those of `offsets` at which a line of this file ends
 */
export async function prefixesAt(
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  offsets: readonly number[],
): Promise<ReadonlyMap<number, Buffer>> {
  const wanted = new Set(offsets)
  const last = Math.max(0, ...offsets)
  const found = new Map<number, Buffer>()
  let prefix: Uint8Array = emptyPrefix
  let line = startLine(prefix)
  let bytes = 0
  let begun = false
  const finish = (): void => {
    prefix = line.digest()
    bytes++
    if (wanted.has(bytes)) found.set(bytes, prefix as Buffer)
    line = startLine(prefix)
    begun = false
  }
  for await (const chunk of chunks) {
    let at = 0
    while (at < chunk.length && bytes < last) {
      const lineBreak = chunk.indexOf(0x0a, at)
      const end = lineBreak < 0 ? chunk.length : lineBreak
      line.update(chunk.subarray(at, end))
      bytes += end - at
      begun ||= end > at
      if (lineBreak >= 0) finish()
      at = end + 1
    }
    if (bytes >= last) return found
  }
  if (begun) finish()
  return found
}
