/**
 * Takes secrets out of texts before they are written anywhere. What stands in their place names the rule and an HMAC of
 * what was there: `[redacted password x1f2e3d4c5b6a7988]`. Two equal marks were equal secrets of one tenant; without the
 * key nobody can tell which.
 */
import { createHmac } from 'node:crypto'
import { assignedSecret } from './assignment.ts'
import { findCard } from './cards.ts'
import { type JsonRules, redactJson } from './json-text.ts'
import { isNoSecret, needlesOf, ruleOfName } from './key-rules.ts'
import type { Match, PatternRule } from './patterns.ts'
import { cardRule, type RuleSet } from './rules.ts'

/** Redacts the texts of one request. */
export interface Redactor {
  /** Where something could need redacting (needles.ts); undefined: everywhere. */
  candidates(bytes: Uint8Array): Int32Array | undefined
  /**
   * @param path where the text stands, e.g. `attributes.agnes.params`
   * @returns the text without its secrets; the very same if there are none
   */
  text(text: string, path: string): string
  /**
   * What stands in place of a value whose name says that it is a secret; undefined if it does not.
   * @param readable gives the value as text
   */
  named(name: string, readable: () => string, path: string): string | undefined
  /** Bytes, by the text they may hold. @returns what stands in place of all of them; undefined if they may stay */
  bytes(bytes: Uint8Array, path: string): string | undefined
  /** `<path> <rule> <hmac>` of everything redacted since the last call. */
  take(): readonly string[]
}

export type StartRedaction = (tenant: string) => Redactor

interface Found extends Match {
  readonly rule: string
  readonly quote: string
}

type Detector = PatternRule | 'name'

/** More secrets in a text, and the whole text is taken out: it bounds the work. */
const maxInText = 256
/** More in a request, and texts are taken out whole without an HMAC, which costs two microseconds. */
const maxInRequest = 50_000
const maxPathLength = 200
const maxPasses = 8
/** JSON within strings of JSON is looked into this deep; deeper it is text like any other. */
const maxJsonDepth = 8
/** What an earlier gateway, or an application that redacts as we do, left in place of a secret. */
const mark = /^\[redacted [a-z][a-z0-9_]{0,31}(?: x[0-9a-f]{16})?\]$/
const nothing: readonly string[] = []

/** @param key at least 16 random bytes: equal secrets get equal marks wherever the same key is used */
export function createRedaction(rules: RuleSet, key: Uint8Array): StartRedaction {
  const detectors = detectorsByNeedle(rules)
  const anchors = new RegExp([...detectors.keys()].map(escapeRegExp).join('|') || '(?!)', 'gi')

  /** Secrets of a text, ascending, without overlaps. @returns undefined if there are more than `maxInText` */
  function find(text: string): Found[] | undefined {
    const found = findAtAnchors(text)
    if (rules.cards) {
      for (let card = findCard(text, 0); card !== undefined; card = findCard(text, card.end)) {
        found.push({ ...card, rule: cardRule, quote: quoteOfNumber(text, card) })
        if (found.length > maxInText) return undefined
      }
    }
    for (const { id, contains, findAll } of rules.searches) {
      if (contains.length > 0 && !contains.some((part) => text.toLowerCase().includes(part))) continue
      for (const match of findAll(text, maxInText)) found.push({ ...match, rule: id, quote: '' })
    }
    return found.length > maxInText ? undefined : withoutOverlaps(found)
  }

  function findAtAnchors(text: string): Found[] {
    const found: Found[] = []
    const quiet = new Map<Detector, number>()
    anchors.lastIndex = 0
    for (let anchor = anchors.exec(text); anchor !== null; anchor = anchors.exec(text)) {
      const at = anchor.index
      const end = at + anchor[0].length
      anchors.lastIndex = at + 1
      for (const detector of detectors.get(anchor[0].toLowerCase()) ?? []) {
        if (at < (quiet.get(detector) ?? 0)) continue
        const match = detectAt(detector, text, at, end)
        if ('quietUntil' in match) {
          quiet.set(detector, match.quietUntil)
          continue
        }
        if (!mark.test(text.slice(match.start, match.end))) found.push(match)
        anchors.lastIndex = Math.max(match.end, end)
        break
      }
      if (found.length > maxInText) break
    }
    return found
  }

  function detectAt(detector: Detector, text: string, at: number, end: number): Found | { quietUntil: number } {
    if (detector !== 'name') {
      const detected = detector.detect(text, at, end)
      return 'quietUntil' in detected ? detected : { ...detected, rule: detector.id, quote: '' }
    }
    const assigned = assignedSecret(text, at, end, rules.keys)
    if ('quietUntil' in assigned) return assigned
    const { rule, ...value } = assigned
    return { ...value, rule: rule.id }
  }

  function ruleOf(name: string): ReturnType<typeof ruleOfName> {
    anchors.lastIndex = 0
    return anchors.test(name) ? ruleOfName(rules.keys, name) : undefined
  }

  return function start(tenant) {
    let left = maxInRequest
    let redactions: string[] = []

    function redact(secret: string, rule: string, path: string): string {
      if (--left < 0) return remove('limit', path)
      const hmac = createHmac('sha256', key).update(`${tenant}\0${secret}`).digest('hex').slice(0, 16)
      redactions.push(`${path.slice(0, maxPathLength)} ${rule} x${hmac}`)
      return `[redacted ${rule} x${hmac}]`
    }

    /** Takes a text out whole where no rule can be named. */
    function remove(why: 'limit' | 'error', path: string): string {
      redactions.push(`${path.slice(0, maxPathLength)} ${why} -`)
      return `[redacted ${why}]`
    }

    function replaceAll(text: string, path: string, depth = 0): string {
      const json = depth > maxJsonDepth ? undefined : redactJson(text, jsonRules(path, depth))
      return json ?? replaceInText(text, path)
    }

    const jsonRules = (path: string, depth: number): JsonRules => ({
      text: (text) => replaceAll(text, path, depth + 1),
      named: (name, readable) => named(name, readable, path),
    })

    /** Again on what came of it: a mark is a boundary, where before there was a letter. */
    function replaceInText(text: string, path: string): string {
      let result = replaceOnce(text, path)
      for (let pass = 0, before = text; pass < maxPasses && result !== before; pass++) {
        before = result
        result = replaceOnce(before, path)
      }
      return result
    }

    function replaceOnce(text: string, path: string): string {
      const found = find(text)
      if (found === undefined || (found.length > 0 && left <= 0)) return remove('limit', path)
      if (found.length === 0) return text
      let result = ''
      let at = 0
      for (const { start, end, rule, quote } of found) {
        result += `${text.slice(at, start)}${quote}${redact(text.slice(start, end), rule, path)}${quote}`
        at = end
      }
      return result + text.slice(at)
    }

    function named(name: string, readable: () => string, path: string): string | undefined {
      const rule = ruleOf(name)
      if (rule === undefined) return undefined
      const text = readable()
      if (isNoSecret(rule, name, text)) return undefined
      return mark.test(text) ? text : redact(text, rule.id, path)
    }

    /** A rule that fails must not let its text through. */
    function failingClosed(path: string, work: () => string): string {
      try {
        return work()
      } catch {
        return remove('error', path)
      }
    }

    return {
      candidates: (bytes) => rules.scan?.find(bytes),
      text: (text, path) => failingClosed(path, () => replaceAll(text, path)),
      named,
      bytes(bytes, path) {
        // One character a byte: needles and forms are ASCII.
        const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
        const found = find(text)
        if (found?.length === 0) return undefined
        return found?.[0] === undefined ? remove('limit', path) : redact(text, found[0].rule, path)
      },
      take() {
        if (redactions.length === 0) return nothing
        const taken = redactions
        redactions = []
        return taken
      },
    }
  }
}

function detectorsByNeedle(rules: RuleSet): ReadonlyMap<string, readonly Detector[]> {
  const detectors = new Map<string, Detector[]>()
  const add = (needle: string, detector: Detector): void => {
    const list = detectors.get(needle.toLowerCase()) ?? []
    if (!list.includes(detector)) list.push(detector)
    detectors.set(needle.toLowerCase(), list)
  }
  for (const pattern of rules.patterns) for (const { text } of pattern.needles) add(text, pattern)
  for (const { text } of rules.keys.flatMap(needlesOf)) add(text, 'name')
  return detectors
}

/** A number of JSON becomes a string; within a string of JSON its quotes have backslashes, as those of its name have. */
function quoteOfNumber(text: string, { start, end }: Match): string {
  const before = /(\\*")?\s?([:,[])\s?$/.exec(text.slice(Math.max(0, start - 20), start))
  if (before === null || !/^\s{0,20}[,\]}]/.test(text.slice(end, end + 21))) return ''
  return before[2] === ':' ? (before[1] ?? '') : '"'
}

/** Matches that overlap become one, under the rule of the first: nothing of either may stay. */
function withoutOverlaps(found: readonly Found[]): Found[] {
  const kept: Found[] = []
  for (const match of found.toSorted((a, b) => a.start - b.start || b.end - a.end)) {
    const last = kept.at(-1)
    if (last === undefined || match.start >= last.end) kept.push(match)
    else if (match.end > last.end) kept[kept.length - 1] = { ...last, end: match.end }
  }
  return kept
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')
}
