/** The rules file: what is redacted, checked when the gateway starts. Built-in rules hold unless the file says otherwise. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { UserError } from '@agnes/config'
import { z } from 'zod'
import { builtinKeyRules, type KeyRule, needlesOf } from './key-rules.ts'
import { createNeedleScan, type NeedleScan, shortestNeedle } from './needles.ts'
import { builtinPatterns, email, type Match, type PatternRule } from './patterns.ts'

export interface RuleSet {
  readonly keys: readonly KeyRule[]
  readonly patterns: readonly PatternRule[]
  /** Of the rules file. */
  readonly searches: readonly SearchRule[]
  /** Payment card numbers have no needle; they are looked for on their own. */
  readonly cards: boolean
  /** undefined: a rule without needles is among them, so every text is searched. */
  readonly scan: NeedleScan | undefined
  /** Number of rules; 0 when redaction is off. */
  readonly size: number
  /** What it was made of, for another thread to make its own; undefined when redaction is off. */
  readonly source: RulesFile | undefined
  /** First 8 bytes of the SHA-256 of the effective rules, stored with each frame; zeros when redaction is off. */
  readonly hash: Uint8Array
}

/** A pattern that is searched for in a whole text. */
export interface SearchRule {
  readonly id: string
  /** Lower-case; only texts with one of these are searched. Empty: all are. */
  readonly contains: readonly string[]
  /** The first matches; one more than `most` at most. */
  findAll(text: string, most: number): Match[]
}

export const cardRule = 'card_number'

/** Counts up when a built-in rule changes what it finds, so that the hash tells. */
const builtinVersion = 1
const maxRulesFileBytes = 1024 * 1024
const maxPatternLength = 1_000

const ruleId = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,31}$/, { error: 'an id has 1 to 32 of a-z, 0-9 and _, and begins with a letter' })

const name = z
  .string()
  .regex(/^[A-Za-z0-9]+(?:[ _.-][A-Za-z0-9]+)*$/, { error: 'a name is words of ASCII letters and digits' })
  .min(shortestNeedle, { error: `a name has at least ${shortestNeedle} characters` })
  .transform((text) => text.toLowerCase().replace(/[_.-]/g, ' '))
  .refine((text) => text.split(' ').some((word) => word.length >= shortestNeedle), {
    error: `a name has a word of at least ${shortestNeedle} characters`,
  })
const literal = z
  .string()
  .regex(/^[\x20-\x7e]+$/, { error: 'must be printable ASCII' })
  .min(shortestNeedle, { error: `needs at least ${shortestNeedle} characters` })
  .transform((text) => text.toLowerCase())

const rulesFile = z.strictObject({
  /** Built-in rules that do not hold. */
  disable: z.array(z.string()).default([]),
  /** Built-in rules that are off by default. */
  enable: z.array(z.enum(['email'])).default([]),
  keys: z
    .array(
      z.strictObject({
        id: ruleId,
        names: z.array(name).min(1),
      }),
    )
    .default([]),
  patterns: z
    .array(
      z.strictObject({
        id: ruleId,
        pattern: z.string().min(1).max(maxPatternLength),
        contains: z.array(literal).default([]),
      }),
    )
    .default([]),
})

export type RulesFile = z.input<typeof rulesFile>

const builtinIds = [
  ...new Set([...builtinKeyRules.map(({ id }) => id), ...builtinPatterns.map(({ id }) => id), cardRule]),
]

/**
 * Reads and checks a rules file, YAML or JSON.
 * @throws UserError that names the file, the place and the way out
 */
export async function loadRules(file: string | undefined): Promise<RuleSet> {
  if (file === undefined) return compileRules({})
  const where = `AGNES_REDACTION_RULES=${file}`
  // Without a rules file, which is the rule, starting need not wait for a parser.
  const { parse: parseYaml, YAMLParseError } = await import('yaml')
  let content: unknown
  try {
    const bytes = readFileSync(file)
    if (bytes.length > maxRulesFileBytes) throw badRules(where, `is larger than ${maxRulesFileBytes} bytes`)
    // Aliases could unfold a small file into a huge one.
    content = parseYaml(bytes.toString('utf8'), { maxAliasCount: 0 }) ?? {}
  } catch (error) {
    if (error instanceof UserError) throw error
    const cause =
      error instanceof YAMLParseError ? `is not YAML or JSON: ${error.message.split('\n', 1)[0]}` : undefined
    throw badRules(where, cause ?? `cannot be read: ${(error as Error).message}`)
  }
  const parsed = rulesFile.safeParse(content)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw badRules(where, `${issue?.path.join('.') || 'the file'}: ${issue?.message ?? 'is not valid'}`)
  }
  const rules = await compileRules(parsed.data).catch((error: Error) => {
    throw badRules(where, error.message)
  })
  if (rules.size === 0) throw badRules(where, 'leaves no rule', 'set AGNES_REDACTION=off if nothing is to be redacted')
  return rules
}

/** @throws Error if an id is unknown or a pattern cannot be compiled */
export async function compileRules(input: RulesFile): Promise<RuleSet> {
  const file = rulesFile.parse(input)
  for (const id of file.disable) {
    if (!builtinIds.includes(id))
      throw new Error(`disable: there is no built-in rule "${id}"; there is ${builtinIds.join(', ')}`)
  }
  const holds = ({ id }: { readonly id: string }): boolean => !file.disable.includes(id)
  const keys: readonly KeyRule[] = [...builtinKeyRules.filter(holds), ...file.keys]
  const patterns = [...builtinPatterns.filter(holds), ...(file.enable.includes('email') ? [email] : [])]
  const searches = await compileSearches(file.patterns)
  const cards = holds({ id: cardRule })
  const everywhere = patterns.includes(email) || searches.some(({ contains }) => contains.length === 0)
  const needles = [
    ...keys.flatMap(needlesOf),
    ...patterns.flatMap((pattern) => pattern.needles),
    ...searches.flatMap(({ contains }) => contains.map((text) => ({ text }))),
    ...escapedAscii,
  ]
  const canonical = JSON.stringify([builtinVersion, file.disable.toSorted(), file.enable, file.keys, file.patterns])
  return {
    keys,
    patterns,
    searches,
    cards,
    scan: everywhere ? undefined : createNeedleScan(needles, cards),
    source: input,
    size: keys.length + patterns.length + searches.length + Number(cards),
    hash: createHash('sha256').update(canonical).digest().subarray(0, 8),
  }
}

/** In JSON within a text any character may be written as an escape; of those that rules are made of few senders do so. */
const escapedAscii = ['2', '3', '4', '5', '6', '7'].map((digit) => ({ text: `\\u00${digit}`, exact: true }))

export const noRules: RuleSet = {
  keys: [],
  patterns: [],
  searches: [],
  cards: false,
  scan: createNeedleScan([], false),
  source: undefined,
  size: 0,
  hash: new Uint8Array(8),
}

/** Users' patterns run on RE2's algorithm: linear time for any pattern, without backreferences and look-around. */
async function compileSearches(patterns: z.output<typeof rulesFile>['patterns']): Promise<SearchRule[]> {
  if (patterns.length === 0) return []
  const { RE2JS } = await import('re2js')
  return patterns.map(({ id, pattern, contains }) => {
    let compiled: ReturnType<typeof RE2JS.compile>
    try {
      compiled = RE2JS.compile(pattern)
    } catch (error) {
      throw new Error(`patterns.${id}: ${(error as Error).message} (RE2 syntax: no look-around, no backreferences)`)
    }
    if (compiled.matcher('').find()) throw new Error(`patterns.${id}: the pattern matches the empty text`)
    return {
      id,
      contains,
      findAll(text, most) {
        const matcher = compiled.matcher(text)
        const matches: Match[] = []
        while (matches.length <= most && matcher.find()) matches.push({ start: matcher.start(), end: matcher.end() })
        return matches
      },
    }
  })
}

function badRules(where: string, problem: string, hint = 'docs/redaction.md shows the format'): UserError {
  return new UserError(`${where}: ${problem}`, { code: 'bad_config', exitCode: 2, hint })
}
