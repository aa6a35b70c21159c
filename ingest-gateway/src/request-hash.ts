/**
 * What the retry of a request is recognised by: 16 bytes for tenant, format and body.
 *
 * A keyed universal hash (GMAC, NIST SP 800-38D: GHASH in hardware) instead of SHA-256: 0.05 against 1.1 ms for 220 kB,
 * which was a quarter of all the gateway's work. Two different bodies share a hash with a chance below 2^-100, also when
 * somebody chooses them, because nobody outside knows the key and no hash leaves the data directory.
 */
import { createCipheriv, createHash } from 'node:crypto'

export type RequestHash = (body: Uint8Array, format: string, tenant: string) => Uint8Array

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
