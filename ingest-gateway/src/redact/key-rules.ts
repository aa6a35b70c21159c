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
  /** Names that stand for no secret all the same, written without dividers. */
  readonly except?: RegExp
  /** Values that are none. */
  readonly exceptValue?: RegExp
  /** Outside quotes the value goes on to the end of the line, as a header's does. */
  readonly wholeLine?: boolean
}

/** What is said about a secret is not the secret: `password_changed_at`, `api_key_id`, `secret_name`. */
const about =
  /(at|age|count|created|changed|deleted|enabled|encrypted|end|expired|expires|expiry|expiresin|fingerprint|format|hint|len|length|manager|name|policy|prefix|present|provider|required|reset|rotated|rotation|source|status|strategy|strength|suffix|type|until|updated|url|uri|valid|version)$/

const keyOwners = [
  'access',
  'account',
  'api',
  'auth',
  'encryption',
  'license',
  'master',
  'private',
  'service',
  'session',
  'shared',
  'signing',
  'ssh',
  'storage',
]

export const builtinKeyRules: readonly KeyRule[] = [
  { id: 'password', names: ['password', 'passwd', 'passphrase', 'passcode'], except: about },
  {
    id: 'password',
    names: ['pwd'],
    atEnd: true,
    // The shell's working directories.
    except: /^oldpwd$/,
    exceptValue: /^(\/|~|\.|[A-Za-z]:\\)/,
  },
  { id: 'secret', names: ['secret', 'credential'], except: new RegExp(`${about.source}|secretar|credentialless`) },
  {
    id: 'token',
    names: ['token'],
    atEnd: true,
    except: /^(next|page|nextpage|continuation|sync|cancellation|stop)token$/,
  },
  { id: 'authorization', names: ['authorization'], except: about, wholeLine: true },
  {
    id: 'cookie',
    names: ['cookie'],
    except: new RegExp(`${about.source}|(accepted|banner|consent|domain|path)$`),
    wholeLine: true,
  },
  {
    id: 'api_key',
    names: keyOwners.map((owner) => `${owner} key`),
    except: new RegExp(`${about.source}|keyid$`),
  },
]

const isDivider = (byte: number | undefined): boolean =>
  byte !== undefined && ' _-.'.includes(String.fromCharCode(byte))

/** The texts of which one stands in every name that a rule matches: the last words of its names. */
export function needlesOf({ names, atEnd }: KeyRule): Needle[] {
  const before = new Map<string, Uint8Array[]>()
  for (const name of names) {
    const words = name.split(' ')
    const last = words.findLast((word) => word.length >= shortestNeedle) as string
    // Of other names than two words the needle alone counts; they are looked at more closely when it was found.
    const first = words.length === 2 && last === words[1] ? (words[0] as string) : ''
    before.set(last, [...(before.get(last) ?? []), Buffer.from(first)])
  }
  return [...before].map(([text, firstWords]) => ({
    text,
    ...(atEnd ? { notBefore: 's_.-' } : {}),
    ...(firstWords.some((word) => word.length === 0)
      ? {}
      : { accepts: (bytes: Uint8Array, start: number) => firstWords.some((word) => standsBefore(bytes, word, start)) }),
  }))
}

/** Whether the word ends at `end`, or one divider before it. */
function standsBefore(bytes: Uint8Array, word: Uint8Array, end: number): boolean {
  const from = (isDivider(bytes[end - 1]) ? end - 1 : end) - word.length
  if (from < 0) return false
  for (let i = 0; i < word.length; i++) if (((bytes[from + i] as number) | 0x20) !== word[i]) return false
  return true
}

/** A name as rules see it: without case and dividers. */
function bareName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '')
}

/** The first rule that says a name stands for a secret. */
export function ruleOfName(rules: readonly KeyRule[], name: string): KeyRule | undefined {
  const bare = bareName(name)
  return rules.find(({ names, atEnd, except }) => {
    const match = names.some((text) => {
      const word = bareName(text)
      return atEnd ? bare.endsWith(word) : bare.includes(word)
    })
    return match && !except?.test(bare)
  })
}
