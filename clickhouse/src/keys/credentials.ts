/** Keys as they come with a request. */

/** No key of ours is longer; more is not even hashed. */
const longestBearer = 256

/**
 * What stands behind `Bearer` in a header Authorization; undefined for what is no bearer.
 * The scheme is case-insensitive (RFC 9110, section 11.1).
 */
export function bearerOf(header: string): string | undefined {
  if (header.length > longestBearer + 16) return undefined
  return /^bearer +([^\s,]{1,256})$/i.exec(header.trim())?.[1]
}

const keyParameters = new Set(['api_key', 'apikey', 'key', 'token', 'access_token'])

/** A key in a URL is in every access log on its way. */
export function keyParameter(target: string): string | undefined {
  const at = target.indexOf('?')
  if (at < 0) return undefined
  return [...new URLSearchParams(target.slice(at + 1)).keys()].find((name) => keyParameters.has(name.toLowerCase()))
}
