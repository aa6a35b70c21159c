/**
 * Sessions of people who logged in with a key: a signed cookie that names the key, never holds it. It is worth something
 * only while that key, with the secret it was opened with, is valid: a key that is revoked ends its sessions within
 * seconds. Nothing of a session is kept here but the ids of those that were ended by logging out.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import type { Found, KeyRing } from '@agnes/clickhouse'

export const sessionCookie = 'agnes_session'
export const sessionSeconds = 12 * 3600

export interface Session {
  readonly id: string
  /** Seconds since 1970. */
  readonly expiresAt: number
}

export interface Opened {
  readonly session: Session
  readonly found: Found
}

export interface Sessions {
  /** @returns the value of the cookie for a key that was found valid just now */
  open(key: Extract<Found, { kind: 'valid' }>): string
  /** @returns undefined for a cookie that is not ours, has expired or was logged out */
  read(cookie: string): Opened | undefined
  /** Ends it for good. */
  end(session: Session): Promise<void>
}

export interface SessionsOptions {
  /** 32 bytes; whoever has them can log in as anybody. */
  readonly secret: Uint8Array
  readonly ring: Pick<KeyRing, 'findAgain'>
  /** Where the sessions that were ended are kept, so that a restart does not revive them. */
  readonly endedFile: string
  /** Milliseconds since 1970. */
  readonly nowMs?: () => number
}

/** What the cookie says; short names, it travels with every request. */
interface Claims {
  readonly k: string
  /** Of the key's secret, see {@link markOf}. */
  readonly m: string
  readonly s: string
  readonly e: number
}

const longestCookie = 1024

export function createSessions({ secret, ring, endedFile, nowMs = Date.now }: SessionsOptions): Sessions {
  const ended = readEnded(endedFile)
  let writing: Promise<void> = Promise.resolve()
  const sign = (text: string): string => createHmac('sha256', secret).update(`session:${text}`).digest('base64url')
  /** Tells secrets of one key apart, and says nothing about them. */
  const markOf = (secretHash: string): string =>
    createHmac('sha256', secret).update(`secret:${secretHash}`).digest('base64url').slice(0, 22)
  const nowSeconds = (): number => Math.floor(nowMs() / 1000)

  return {
    open({ holder, secretHash }) {
      const claims: Claims = {
        k: holder.keyId,
        m: markOf(secretHash),
        s: randomBytes(16).toString('base64url'),
        e: nowSeconds() + sessionSeconds,
      }
      const body = Buffer.from(JSON.stringify(claims)).toString('base64url')
      return `${body}.${sign(body)}`
    },
    read(cookie) {
      const claims = claimsOf(cookie, sign)
      if (claims === undefined || claims.e <= nowSeconds() || ended.has(claims.s)) return undefined
      const found = ring.findAgain(claims.k, (secretHash) => sameText(markOf(secretHash), claims.m))
      return { session: { id: claims.s, expiresAt: claims.e }, found }
    },
    end({ id, expiresAt }) {
      for (const [old, until] of ended) if (until <= nowSeconds()) ended.delete(old)
      ended.set(id, expiresAt)
      writing = writing.then(() => writeEnded(endedFile, ended)).catch(() => {})
      return writing
    },
  }
}

function claimsOf(cookie: string, sign: (text: string) => string): Claims | undefined {
  if (cookie.length > longestCookie) return undefined
  const [body = '', signature = '', ...rest] = cookie.split('.')
  if (rest.length > 0 || !sameText(sign(body), signature)) return undefined
  return JSON.parse(Buffer.from(body, 'base64url').toString()) as Claims
}

function sameText(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function readEnded(file: string): Map<string, number> {
  try {
    const entries = JSON.parse(readFileSync(file, 'utf8')) as [string, number][]
    return new Map(entries.filter(([id, until]) => typeof id === 'string' && typeof until === 'number'))
  } catch {
    return new Map()
  }
}

async function writeEnded(file: string, ended: ReadonlyMap<string, number>): Promise<void> {
  await writeFile(`${file}.${process.pid}`, JSON.stringify([...ended]), { mode: 0o600 })
  await rename(`${file}.${process.pid}`, file)
}
