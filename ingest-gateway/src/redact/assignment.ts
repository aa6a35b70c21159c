/**
 * `name=value`, `name: value`, `"name": value` in any text: JSON, JSON within JSON, logs, headers, URLs, `.env` files.
 * Read as text and changed in place, so that nothing but the secret changes: number formats, order and blanks of a
 * sender's JSON stay.
 */
import { type KeyRule, ruleOfName } from './key-rules.ts'

export interface Assigned {
  readonly rule: KeyRule
  /** The value, without quotes. */
  readonly start: number
  readonly end: number
  /** Stands around a value that was no string, so that JSON stays JSON; empty for one that needs none. */
  readonly quote: string
}

/** Longer names are cut: what is before or after that decides nothing. */
const maxNameLength = 128
const maxBlanks = 16
const nameChar = /[\w.-]/
const noSecret = /^(?:true|false|null|undefined|none|nil|yes|no|\*+|)$/i

/** Whether a value says nothing, whatever its name. */
export function isNoSecret(value: string): boolean {
  return noSecret.test(value)
}

/** @returns the value of the name around [at, end), if there is one and it is a secret */
export function assignedSecret(text: string, at: number, end: number, rules: readonly KeyRule[]): Assigned | undefined {
  let nameStart = at
  while (nameStart > at - maxNameLength && nameChar.test(text[nameStart - 1] ?? '')) nameStart--
  let nameEnd = end
  while (nameEnd < end + maxNameLength && nameChar.test(text[nameEnd] ?? '')) nameEnd++
  const rule = ruleOfName(rules, text.slice(nameStart, nameEnd))
  if (rule === undefined) return undefined
  const quote = quoteAt(text, nameEnd)
  const operator = afterOperator(text, nameEnd + quote.length)
  if (operator === undefined) return undefined
  // Judged by its beginning: to read all of it in vain, again and again, would take too long.
  if (rule.exceptValue?.test(text.slice(operator, operator + 4).replace(/^\\*["']/, ''))) return undefined
  const value = valueAt(text, operator, quote, rule)
  return isNoSecret(text.slice(value.start, value.end)) ? undefined : { rule, ...value }
}

/** A quote with the backslashes before it: `"`, `\"` in JSON within JSON, `\\\"` within that. */
function quoteAt(text: string, at: number): string {
  let stop = at
  while (stop < at + maxBlanks && text[stop] === '\\') stop++
  return text[stop] === '"' || text[stop] === "'" ? text.slice(at, stop + 1) : ''
}

function skipBlanks(text: string, from: number): number {
  let at = from
  while (at < from + maxBlanks && (text[at] === ' ' || text[at] === '\t')) at++
  return at
}

/** Where the value starts: after `=`, `:`, `=>`, or one of the first two percent-encoded. */
function afterOperator(text: string, from: number): number | undefined {
  const at = skipBlanks(text, from)
  const operator = /^(?:=>|[:=]|%3[ad])/i.exec(text.slice(at, at + 3))?.[0]
  // `::` is a path in many languages, `==` a comparison, `://` a URL.
  const next = text[at + (operator?.length ?? 0)]
  if (operator === undefined || next === ':' || next === '=' || text.startsWith('//', at + 1)) return undefined
  return skipBlanks(text, at + operator.length)
}

function valueAt(text: string, at: number, nameQuote: string, rule: KeyRule): Omit<Assigned, 'rule'> {
  const quote = quoteAt(text, at)
  if (quote !== '') {
    const start = at + quote.length
    return { start, end: closingQuote(text, start, quote), quote: '' }
  }
  const isMarker = text.startsWith('[redacted ', at)
  if (!isMarker && (text[at] === '{' || text[at] === '[')) {
    return { start: at, end: closingBracket(text, at), quote: nameQuote }
  }
  const stop = rule.wholeLine && nameQuote === '' ? /[\r\n"'\\]/g : /[\s,;&)}\]"'<>\\|]/g
  stop.lastIndex = isMarker ? at + 10 : at
  const end = isMarker ? text.indexOf(']', at) + 1 || text.length : (stop.exec(text)?.index ?? text.length)
  return { start: at, end, quote: nameQuote }
}

/** The next quote with as many backslashes before it; within the string a quote has more. The end of a text that was cut. */
function closingQuote(text: string, from: number, quote: string): number {
  const mark = quote[quote.length - 1] as string
  const depth = quote.length - 1
  for (let at = text.indexOf(mark, from); at >= 0; at = text.indexOf(mark, at + 1)) {
    let backslashes = 0
    while (at - backslashes > from && text[at - backslashes - 1] === '\\') backslashes++
    // An escaped backslash before the quote doubles: an even rest belongs to the content.
    if (backslashes % (2 * (depth + 1)) === depth) return at - depth
  }
  return text.length
}

/** Behind the bracket that closes the one at `from`, brackets in quotes left out. The end of a text that was cut. */
function closingBracket(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const char = text[at]
    if (char === '{' || char === '[') depth++
    else if ((char === '}' || char === ']') && --depth === 0) return at + 1
    else if (char === '"' || char === '\\') {
      const quote = quoteAt(text, at)
      if (quote !== '') at = closingQuote(text, at + quote.length, quote) + quote.length - 1
    }
  }
  return text.length
}
