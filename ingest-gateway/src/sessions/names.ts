/**
 * Names of users and files, from a URL or a directory. They become names in tables, pages and commands, so they are
 * brought into one form, Agnes' own; whatever tries to be a path is refused.
 */
import { UserError } from '@agnes/config'

const longestName = 128
const extension = '.jsonl'
const root = '/v1/sessions/'

export interface SessionName {
  readonly user: string
  /** Without `.jsonl`. */
  readonly file: string
}

/** Whether a request for this path is one for a session at all. */
export function isSessionPath(path: string): boolean {
  return path.startsWith(root)
}

/**
 * `/v1/sessions/{user}/{session}.jsonl`
 * @returns undefined if the path is of another form
 * @throws UserError (status 400) if a name can't be one
 */
export function sessionOfPath(path: string): SessionName | undefined {
  const [user, file, ...more] = path.slice(root.length).split('/')
  if (user === undefined || file === undefined || more.length > 0) return undefined
  return sessionName(decoded(user), decoded(file))
}

/** @throws UserError (status 400) if a name can't be one */
export function sessionName(user: string, fileName: string): SessionName {
  if (!fileName.endsWith(extension)) throw badName('the name of a session', 'must end in .jsonl')
  return {
    user: cleanName(user, 'the user'),
    file: cleanName(fileName.slice(0, -extension.length), 'the name of a session'),
  }
}

/** Letters, digits and `. _ @ + -` stay; any other character becomes `_`. */
function cleanName(name: string, what: string): string {
  if (name === '') throw badName(what, 'is empty')
  if (/[/\\\p{Cc}]/u.test(name)) throw badName(what, 'must not hold slashes, backslashes or control characters')
  if (name.startsWith('.')) throw badName(what, 'must not begin with a dot')
  const clean = name.replace(/[^A-Za-z0-9._@+-]/gu, '_')
  if (clean.length > longestName) throw badName(what, `must not be longer than ${longestName} characters`)
  return clean
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw badName('the path', 'is not valid percent-encoded UTF-8')
  }
}

function badName(what: string, problem: string): UserError {
  return new UserError(`${what} ${problem}`, { code: 'bad_name', status: 400 })
}
