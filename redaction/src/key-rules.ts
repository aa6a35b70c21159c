/**
 * Which names stand for a secret: of an attribute, of a key inside JSON text, of a variable in `name=value`.
 * Names are compared without case and dividers, so `X-API-Key`, `apiKey` and `api_key` are one name.
 */
import { type Needle, shortestNeedle } from './needles.ts'

export interface KeyRule {
  readonly id: string
  /** Lower-case ASCII words with blanks between them: a name is matched if it contains one, whatever divides the words. */
  readonly names: readonly string[]
  /** The name must end it: `access_token` is a secret, `token_endpoint` is not. */
  readonly atEnd?: boolean
  /** A name whose last word is one of these says something about the secret, and is none. */
  readonly about?: ReadonlySet<string>
  /** Names that stand for no secret all the same, written without dividers. */
  readonly except?: RegExp
  /** Values of a name that are none: the shell's working directory. */
  readonly exceptValue?: { readonly name: RegExp; readonly value: RegExp }
  /** Outside quotes the value goes on to the end of the line, as a header's does. */
  readonly wholeLine?: boolean
}

const words = (text: string): readonly string[] => text.split(' ')

/** `password_changed_at`, `api_key_id`, `secret_name` */
const about: ReadonlySet<string> = new Set(
  words(
    'age at count created changed deleted enabled encrypted end expired expires expiry fingerprint format hint len length manager name policy prefix present provider required reset rotated rotation source status strategy strength suffix type until updated uri url valid version',
  ),
)

const keyOwners = words(
  'access account api auth encryption license master private service session shared signing ssh storage',
)

export const builtinKeyRules: readonly KeyRule[] = [
  { id: 'password', names: ['password', 'passwd', 'passphrase', 'passcode'], about },
  {
    id: 'password',
    names: ['pwd'],
    atEnd: true,
    except: /^oldpwd$/,
    exceptValue: { name: /^(?:PWD|pwd)$/, value: /^(?:\/|~|\.|[A-Za-z]:\\)/ },
  },
  { id: 'secret', names: ['secret', 'credential'], about, except: /secretar|credentialless/ },
  {
    id: 'token',
    names: ['token'],
    atEnd: true,
    except: /^(?:next|page|nextpage|continuation|sync|cancellation|stop)token$/,
  },
  { id: 'authorization', names: ['authorization'], about, wholeLine: true },
  {
    id: 'cookie',
    names: ['cookie'],
    about: new Set([...about, ...words('accepted banner consent domain path')]),
    wholeLine: true,
  },
  { id: 'api_key', names: keyOwners.map((owner) => `${owner} key`), about: new Set([...about, 'id']) },
]

/** Between the words of a name; more than these, and it is two names. */
const maxDividers = 8
const isAlphanumeric = (byte: number): boolean =>
  (byte >= 0x30 && byte <= 0x39) || ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a)

/** The texts of which one stands in every name that a rule matches: the last words of its names. */
export function needlesOf({ names, atEnd }: KeyRule): Needle[] {
  const before = new Map<string, Uint8Array[]>()
  for (const name of names) {
    const parts = name.split(' ')
    const last = parts.findLast((word) => word.length >= shortestNeedle) as string
    // Of other names than two words the needle alone counts; they are looked at more closely when it was found.
    const first = parts.length === 2 && last === parts[1] ? (parts[0] as string) : ''
    before.set(last, [...(before.get(last) ?? []), Buffer.from(first)])
  }
  return [...before].map(([text, firstWords]) => ({
    text,
    ...(atEnd ? { notBefore: 's_.-' } : {}),
    ...(firstWords.some((word) => word.length === 0)
      ? {}
      : { accepts: (bytes: Uint8Array, start: number) => oneStandsBefore(bytes, firstWords, start) }),
  }))
}

/** Whether one of the words ends at `end`, or some dividers before it. A quote divides no name: `{"key":…}` is quickly done. */
function oneStandsBefore(bytes: Uint8Array, words: readonly Uint8Array[], end: number): boolean {
  let at = end
  while (at > end - maxDividers && at > 0 && !isAlphanumeric(bytes[at - 1] as number) && bytes[at - 1] !== 0x22) at--
  if (at === 0 || !isAlphanumeric(bytes[at - 1] as number)) return false
  const last = (bytes[at - 1] as number) | 0x20
  for (const word of words) if (word[word.length - 1] === last && standsAt(bytes, word, at - word.length)) return true
  return false
}

function standsAt(bytes: Uint8Array, word: Uint8Array, from: number): boolean {
  if (from < 0) return false
  for (let i = 0; i < word.length; i++) if (((bytes[from + i] as number) | 0x20) !== word[i]) return false
  return true
}

/** A name as rules see it: without case and dividers. */
function bareName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '')
}

/** `at` of `passwordChangedAt` and `password_changed_at`. */
function lastWord(name: string): string {
  return /(?:[A-Z]+|[A-Z]?[a-z]+)\d*$/.exec(name.replace(/[^A-Za-z0-9]+$/, ''))?.[0].toLowerCase() ?? ''
}

/** The first rule that says a name stands for a secret. */
export function ruleOfName(rules: readonly KeyRule[], name: string): KeyRule | undefined {
  const bare = bareName(name)
  return rules.find(({ names, atEnd, about, except }) => {
    const match = names.some((text) => {
      const word = bareName(text)
      return atEnd ? bare.endsWith(word) : bare.includes(word)
    })
    return match && !about?.has(lastWord(name)) && !except?.test(bare)
  })
}

/** Whether a value says nothing, or is one the rule leaves alone. */
export function isNoSecret({ exceptValue }: KeyRule, name: string, value: string): boolean {
  return noSecret.test(value) || (exceptValue?.name.test(name) === true && exceptValue.value.test(value))
}

const noSecret = /^(?:true|false|null|undefined|none|nil|yes|no|\*+|)$/i
