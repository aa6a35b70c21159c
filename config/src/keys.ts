/** Keys given by the environment: `AGNES_KEYS=name:scope+scope:secret,…`, and the words keys are made of. */

/** What a key allows. `admin` stands for all of them. */
export const scopes = ['ingest', 'runs', 'feedback', 'sessions', 'read', 'admin'] as const
export type Scope = (typeof scopes)[number]

export interface ConfiguredKey {
  readonly name: string
  readonly tenant: string
  readonly scopes: readonly Scope[]
  /** What clients send as `Authorization: Bearer`, as it stands in the variable. */
  readonly secret: string
}

/** A tenant's name ends up in frames on disk, in rows and in names of roles. */
export const tenantPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/
export const tenantRule = '1 to 63 letters, digits, "_", "." and "-", beginning with a letter or digit'

/** 32 characters of hexadecimal digits are 128 bits: `openssl rand -hex 32` gives twice that. */
const shortestSecret = 32
const longestSecret = 200
const secretPattern = /^[A-Za-z0-9_.~+/=-]+$/
// Shorter than a secret may be, so that one in the wrong place is not taken for a name and repeated.
const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,30}$/

/** @returns what is wrong, never with a secret in it, if the text is not a list of keys */
export function parseKeys(text: string): readonly ConfiguredKey[] | { readonly problem: string } {
  const keys: ConfiguredKey[] = []
  for (const [i, entry] of text.split(',').entries()) {
    const key = parseKey(entry.trim())
    if (typeof key === 'string') return { problem: `key ${i + 1} ${key}` }
    if (keys.some(({ name }) => name === key.name)) return { problem: `the name ${key.name} is given twice` }
    if (keys.some(({ secret }) => secret === key.secret)) {
      return { problem: `key ${i + 1} (${key.name}) has the secret of another one` }
    }
    keys.push(key)
  }
  return keys
}

function parseKey(entry: string): ConfiguredKey | string {
  const [who = '', allowed, secret, ...rest] = entry.split(':')
  if (allowed === undefined || secret === undefined || rest.length > 0)
    return 'is not of the form name:scope+scope:secret'
  const [name = '', tenant = 'default', ...more] = who.split('@')
  if (!namePattern.test(name) || more.length > 0) return 'has no good name: use letters, digits, "_", "." and "-"'
  if (!tenantPattern.test(tenant)) return `(${name}) has no good tenant: use ${tenantRule}`
  const words = allowed.split('+')
  const unknown = words.find((word) => !isScope(word))
  // A word that is no scope may be a secret in the wrong place, so it is not repeated.
  if (unknown !== undefined) return `(${name}) has an unknown scope: there are ${scopes.join(', ')}`
  if (secret.length < shortestSecret || secret.length > longestSecret || !secretPattern.test(secret)) {
    return `(${name}) needs a secret of ${shortestSecret} to ${longestSecret} characters without blanks: openssl rand -hex 32`
  }
  return { name, tenant, scopes: [...new Set(words.filter(isScope))], secret }
}

export function isScope(word: string): word is Scope {
  return (scopes as readonly string[]).includes(word)
}

/** As `agnes doctor` prints it. */
export function showKeys(text: string): string {
  const keys = parseKeys(text)
  if ('problem' in keys) return '***'
  return keys.map(({ name, tenant, scopes }) => `${name}@${tenant}:${scopes.join('+')}:***`).join(',')
}
