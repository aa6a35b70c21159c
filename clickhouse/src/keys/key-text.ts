/**
 * The text of a key: `agn_<id>_<secret>`. The id finds the key and is public; of the secret only a hash is kept. A plain
 * SHA-256 is enough for it: with 214 random bits there is nothing to guess, and a slow hash would be a way to keep the
 * gateway busy (OWASP ASVS 5.0, 6.5.2).
 */
import { createHash, randomInt } from 'node:crypto'

export interface KeyText {
  readonly id: string
  readonly secret: string
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const idLength = 8
/** 36 characters are 214 bits; without the four that lists show, 190. */
const secretLength = 36
const shownLength = 4
const pattern = /^agn_([A-Za-z0-9]{8})_([A-Za-z0-9]{32,128})$/

export function randomKey(): KeyText {
  return { id: randomText(idLength), secret: randomText(secretLength) }
}

export function keyTextOf({ id, secret }: KeyText): string {
  return `agn_${id}_${secret}`
}

/** undefined if the text is no key. */
export function parseKeyText(text: string): KeyText | undefined {
  const [, id, secret] = pattern.exec(text) ?? []
  return id === undefined || secret === undefined ? undefined : { id, secret }
}

/** SHA-256, hex. */
export function secretHash(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/** What lists show of a secret. */
export function secretEnd(secret: string): string {
  return secret.slice(-shownLength)
}

function randomText(length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('')
}
