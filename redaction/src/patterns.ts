/**
 * Secrets that are known by their form. Each detector is asked at a needle and looks at what is around it. A detector
 * reads on over a run of characters at most, and is not asked again within a run it read in vain: time grows with the
 * length of the text and with nothing else.
 */
import type { Needle } from './needles.ts'

/** Part of a text, and why it must not stay. */
export interface Match {
  readonly start: number
  readonly end: number
}

/** What was found at a needle, or up to where this rule need not be asked again. */
export type Detected = Match | { readonly quietUntil: number }

export interface PatternRule {
  readonly id: string
  /** Texts of which one stands in every match. */
  readonly needles: readonly Needle[]
  /** @param at where the needle starts; @param end where it ends */
  detect(text: string, at: number, end: number): Detected
}

/** Characters of a class, as a table by character code below 128. */
type CharClass = Uint8Array

const charClass = (pattern: RegExp): CharClass =>
  Uint8Array.from({ length: 128 }, (_, code) => Number(pattern.test(String.fromCharCode(code))))

const alphanumeric = charClass(/[A-Za-z0-9]/)
const upperOrDigit = charClass(/[A-Z0-9]/)
const base64Url = charClass(/[\w-]/)
const token68 = charClass(/[\w.~+/=-]/)
const userinfo = charClass(/[^\s/"'<>\\?#]/)
const pemContent = charClass(/[A-Za-z0-9+/=:,\s\\-]/)

function runEnd(text: string, from: number, within: CharClass): number {
  let at = from
  while (at < text.length && within[text.charCodeAt(at)] === 1) at++
  return at
}

/** Whether a word may begin here: not after a letter or digit, unless that is the end of an escape such as `\\n`. */
function beginsWord(text: string, at: number): boolean {
  if (!isIn(text, at - 1, alphanumeric)) return true
  return /[bfnrt]/.test(text[at - 1] as string) && text[at - 2] === '\\'
}

function isIn(text: string, at: number, chars: CharClass): boolean {
  return at >= 0 && at < text.length && chars[text.charCodeAt(at)] === 1
}

interface KeyForm {
  readonly prefix: string
  /** Characters after the prefix. */
  readonly chars: CharClass
  readonly min: number
  readonly max?: number
  /** Words with hyphens have the same form: a key has a digit. */
  readonly digit?: boolean
}

/** Keys with a prefix that says whose they are, as their issuers document them. */
const keyForms: Readonly<Record<string, readonly KeyForm[]>> = {
  agnes_key: [{ prefix: 'agn_', chars: base64Url, min: 24 }],
  aws_access_key: ['AKIA', 'ASIA'].map((prefix) => ({ prefix, chars: upperOrDigit, min: 16, max: 16 })),
  github_token: [
    ...['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_'].map((prefix) => ({ prefix, chars: base64Url, min: 30 })),
    { prefix: 'github_pat_', chars: base64Url, min: 22 },
  ],
  gitlab_token: [{ prefix: 'glpat-', chars: base64Url, min: 20 }],
  google_api_key: [{ prefix: 'AIza', chars: base64Url, min: 35, max: 35 }],
  // OpenAI's, Anthropic's and others': sk-…, sk-proj-…, sk-ant-….
  llm_api_key: [{ prefix: 'sk-', chars: base64Url, min: 20, digit: true }],
  npm_token: [{ prefix: 'npm_', chars: alphanumeric, min: 36 }],
  huggingface_token: [{ prefix: 'hf_', chars: alphanumeric, min: 30 }],
  slack_token: ['xoxa-', 'xoxb-', 'xoxe-', 'xoxp-', 'xoxr-', 'xoxs-', 'xapp-'].map((prefix) => ({
    prefix,
    chars: base64Url,
    min: 10,
    digit: true,
  })),
  stripe_key: ['sk_live_', 'rk_live_', 'sk_test_', 'rk_test_', 'whsec_'].map((prefix) => ({
    prefix,
    chars: alphanumeric,
    min: 16,
  })),
}

function prefixedKey(id: string, forms: readonly KeyForm[]): PatternRule {
  return {
    id,
    needles: forms.map(({ prefix }) => ({ text: prefix, exact: true })),
    detect(text, at, end) {
      const form = forms.find(({ prefix }) => text.startsWith(prefix, at))
      if (form === undefined || !beginsWord(text, at)) return { quietUntil: end }
      const stop = runEnd(text, end, form.chars)
      const length = stop - end
      const fits = length >= form.min && length <= (form.max ?? length)
      const isKey = fits && (!form.digit || /\d/.test(text.slice(end, stop)))
      return isKey ? { start: at, end: stop } : { quietUntil: stop }
    },
  }
}

/** RFC 6750, section 2.1: what follows the scheme is the secret. */
const bearer: PatternRule = {
  id: 'bearer_token',
  needles: [{ text: 'bearer', accepts: (bytes, _start, end) => [0x20, 0x09, 0x5c].includes(bytes[end] ?? 0) }],
  detect(text, at, end) {
    if (!beginsWord(text, at)) return { quietUntil: end }
    let start = end
    while (start < end + 8 && (text[start] === ' ' || text[start] === '\t')) start++
    if (start === end && text.startsWith('\\t', end)) start = end + 2
    const stop = runEnd(text, start, token68)
    return start > end && stop - start >= 8 ? { start, end: stop } : { quietUntil: Math.max(end, stop) }
  },
}

/** RFC 7519: base64url parts with dots between them; the first is a JSON object, `{"` is `eyJ`. */
const jwt: PatternRule = {
  id: 'jwt',
  needles: [{ text: 'eyJ', exact: true }],
  detect(text, at, end) {
    const header = runEnd(text, end, base64Url)
    if (header - at < 10 || text[header] !== '.') return { quietUntil: header }
    const payload = runEnd(text, header + 1, base64Url)
    // Encrypted ones with a key that was agreed on have an empty second part.
    const emptyKey = payload === header + 1
    if ((!emptyKey && payload - header < 5) || text[payload] !== '.') return { quietUntil: header }
    let stop = runEnd(text, payload + 1, base64Url)
    // Encrypted ones have five parts (RFC 7516).
    for (let parts = 3; parts < 5 && text[stop] === '.'; parts++) stop = runEnd(text, stop + 1, base64Url)
    return emptyKey && stop - payload < 16 ? { quietUntil: payload } : { start: at, end: stop }
  },
}

/** RFC 7468: from the first boundary to the last, or to the end of a text that was cut off. */
const pem: PatternRule = {
  id: 'private_key',
  needles: [{ text: '-----begin' }],
  detect(text, at, end) {
    const label = text.slice(end, end + 40)
    const boundary = /^[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----/.exec(label)
    if (boundary === null) return { quietUntil: end }
    const closing = text.indexOf('-----END', end + boundary[0].length)
    if (closing < 0) return cutKey(text, at, end + boundary[0].length)
    const last = text.indexOf('-----', closing + 8)
    return { start: at, end: last < 0 ? text.length : last + 5 }
  },
}

/** A key whose end was cut off: what can be base64 or a header line; the boundary alone is none. */
function cutKey(text: string, at: number, from: number): Detected {
  const end = runEnd(text, from, pemContent)
  const digits = text.slice(from, end).replace(/\\[rn]|[^A-Za-z0-9+/=]/g, '').length
  return digits < 8 ? { quietUntil: from } : { start: at, end }
}

/** Longer names and passwords than this do not occur in connection strings; it bounds the look ahead. */
const maxUserinfo = 512

/** The password in `scheme://user:password@host` (RFC 3986, section 3.2.1). */
const connectionString: PatternRule = {
  id: 'connection_password',
  needles: ['://', ':\\/\\/'].map((text) => ({
    text,
    accepts: (bytes: Uint8Array, _start: number, end: number) => passwordEnd((at) => bytes[at], end) > 0,
  })),
  detect(text, _at, end) {
    const stop = passwordEnd((at) => text.charCodeAt(at), end)
    return stop > 0 ? { start: text.indexOf(':', end) + 1, end: stop } : { quietUntil: end }
  },
}

/** Where the password ends whose user starts at `from`; 0 if there is none. */
function passwordEnd(codeAt: (at: number) => number | undefined, from: number): number {
  let colon = -1
  // The last @ before the host: a password that nobody encoded may hold one.
  let found = 0
  for (let at = from; at < from + maxUserinfo; at++) {
    const code = codeAt(at)
    // Beyond ASCII everything may stand in such a password.
    if (code === undefined || Number.isNaN(code) || (code < 128 && userinfo[code] !== 1)) break
    if (code === 0x3a && colon < 0) colon = at
    if (code === 0x40) {
      if (colon < 0) break
      if (at > colon + 1) found = at
    }
  }
  return found
}

/** `<bot id>:<35 characters>`, which so far always begin with AA. */
const telegram: PatternRule = {
  id: 'telegram_token',
  needles: [{ text: ':AA', exact: true }],
  detect(text, at, end) {
    let start = at
    while (start > at - 12 && /\d/.test(text[start - 1] ?? '')) start--
    const stop = runEnd(text, end, base64Url)
    if (at - start < 6 || stop - at !== 36) return { quietUntil: end }
    return { start, end: stop }
  },
}

export const builtinPatterns: readonly PatternRule[] = [
  pem,
  bearer,
  jwt,
  connectionString,
  telegram,
  ...Object.entries(keyForms).map(([id, forms]) => prefixedKey(id, forms)),
]

/** Off unless asked for: who did something is what an audit log is for. */
export const email: PatternRule = {
  id: 'email',
  needles: [{ text: '@' }],
  detect(text, at, end) {
    let start = at
    while (start > at - maxLocalPart && isIn(text, start - 1, localPart)) start--
    const stop = runEnd(text, end, domain)
    const isAddress =
      start < at && /^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}/.test(text.slice(end, end + maxDomain))
    return isAddress ? { start, end: stop } : { quietUntil: stop }
  },
}

const localPart = charClass(/[\w.!#$%&'*+/=?^`{|}~-]/)
const domain = charClass(/[A-Za-z0-9.-]/)
/** RFC 5321, section 4.5.3.1. */
const maxLocalPart = 64
const maxDomain = 255
