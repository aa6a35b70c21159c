/**
 * What the retry of a request is recognised by: 16 bytes for tenant, format and body.
 *
 * A keyed universal hash (GMAC, NIST SP 800-38D: GHASH in hardware) instead of SHA-256: 0.05 against 1.1 ms for 220 kB,
 * which was a quarter of all the gateway's work. Two different bodies share a hash with a chance below 2^-100, also when
 * somebody chooses them, because nobody outside knows the key and no hash leaves the data directory.
 */
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import path from 'node:path'

export type RequestHash = (body: Uint8Array, format: string, tenant: string) => Uint8Array

const keyBytes = 16

/** @param key 16 random bytes */
export function createRequestHash(key: Uint8Array): RequestHash {
  return (body, format, tenant) => {
    const nonce = createHash('sha256').update(`${tenant}\0${format}`).digest().subarray(0, 12)
    const mac = createCipheriv('aes-128-gcm', key, nonce)
    mac.setAAD(body)
    mac.final()
    return mac.getAuthTag()
  }
}

/**
 * The key of this spool, made on first use: frames on disk carry hashes made with it, and must be recognised again after
 * a restart. A key that was lost costs that recognition and nothing else.
 * @throws the file system's errors
 */
export function loadRequestHashKey(directory: string): Uint8Array {
  const file = path.join(directory, 'request-hash.key')
  try {
    const key = readFileSync(file)
    if (key.length === keyBytes) return key
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const key = randomBytes(keyBytes)
  const target = openSync(file, 'w', 0o600)
  try {
    writeSync(target, key)
    fsyncSync(target)
  } finally {
    closeSync(target)
  }
  return key
}
