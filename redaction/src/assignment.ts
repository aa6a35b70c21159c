/**
 * `name=value`, `name: value`, `"name": value` in text that is not JSON as a whole: logs, headers, URLs, `.env` files,
 * JSON that was cut or stands in the middle. Nothing but the secret changes.
 */
import { isNoSecret, type KeyRule, ruleOfName } from './key-rules.ts'

/** A value to be taken out, without its quotes; or up to where no other name begins. */
export type Assigned =
  | {
      readonly rule: KeyRule
      readonly start: number
      readonly end: number
      /** Stands around a value that was no string, so that JSON stays JSON; empty for one that needs none. */
      readonly quote: string
    }
  | { readonly quietUntil: number }

/** Longer names are cut: what is before or after that decides nothing. */
const maxNameLength = 128
const maxBlanks = 1_000
const maxBackslashes = 15
const isNameCode = Uint8Array.from({ length: 128 }, (_, code) => Number(/[\w.-]/.test(String.fromCharCode(code))))

/** The value of the name around [at, end), if it has one and it is a secret. */
export function assignedSecret(text: string, at: number, end: number, rules: readonly KeyRule[]): Assigned {
  let nameStart = at
  while (nameStart > at - maxNameLength && isNameCode[text.charCodeAt(nameStart - 1)] === 1) nameStart--
  let nameEnd = end
  while (nameEnd < end + maxNameLength && isNameCode[text.charCodeAt(nameEnd)] === 1) nameEnd++
  // Every needle within the name asks about the same name.
  const none = { quietUntil: nameEnd }
  const name = text.slice(nameStart, nameEnd)
  const rule = ruleOfName(rules, name)
  if (rule === undefined) return none
  // `user[password]`, also percent-encoded.
  const closed = /^(?:\]|%5d)/i.exec(text.slice(nameEnd, nameEnd + 3))?.[0].length ?? 0
  const quote = quoteAt(text, nameEnd + closed)
  const operator = afterOperator(text, nameEnd + closed + quote.length, quote !== '')
  if (operator === undefined) return none
  // Judged by its beginning: to read all of it in vain, again and again, would take too long.
  if (isNoSecret(rule, name, text.slice(operator, operator + 4).replace(/^\\*["']/, '')) && rule.exceptValue)
    return none
  const value = valueAt(text, operator, quote, enclosingQuote(text, nameStart), rule)
  if (value === undefined || isNoSecret(rule, name, text.slice(value.start, value.end))) return none
  return { rule, ...value }
}

/** A quote with the backslashes before it: `"`, `\"` in JSON within JSON, `\\\"` within that; `"""` of some languages. */
function quoteAt(text: string, at: number): string {
  let stop = at
  while (stop < at + maxBackslashes && text[stop] === '\\') stop++
  const mark = text[stop]
  if (mark !== '"' && mark !== "'") return ''
  const triple = stop === at && text[stop + 1] === mark && text[stop + 2] === mark
  return triple ? mark.repeat(3) : text.slice(at, stop + 1)
}

/** The quote before the name's start: `'Authorization: …'` ends with it. */
function enclosingQuote(text: string, nameStart: number): string {
  const mark = text[nameStart - 1]
  return mark === '"' || mark === "'" ? mark : ''
}

function skipBlanks(text: string, from: number, lineBreaks: boolean): number {
  const blanks = lineBreaks ? ' \t\r\n' : ' \t'
  let at = from
  while (at < from + maxBlanks && at < text.length && blanks.includes(text[at] as string)) at++
  return at
}

/** Where the value starts: after `=`, `:`, `=>`, `:=`, or one of the first two percent-encoded. */
function afterOperator(text: string, from: number, quotedName: boolean): number | undefined {
  const at = skipBlanks(text, from, quotedName)
  const operator = /^(?:=>|:=|[:=]|%3[ad])/i.exec(text.slice(at, at + 3))?.[0]
  if (operator === undefined) return undefined
  // `::` is a path in many languages, `==` a comparison, `://` a URL.
  const next = text[at + operator.length]
  if (next === ':' || next === '=' || text.startsWith('//', at + 1)) return undefined
  const value = skipBlanks(text, at + operator.length, quotedName)
  const quote = quotedName ? '' : quoteAt(text, value)
  // `Enter password:"` and `grep 'password=' x`: the quote ends a string that began before the name.
  const afterQuote = text[value + quote.length]
  const ends = afterQuote === undefined || ',;)]}: \t\r\n'.includes(afterQuote)
  return quote.length === 1 && ends && (value === at + operator.length || afterQuote !== ' ') ? undefined : value
}

interface Value {
  readonly start: number
  readonly end: number
  readonly quote: string
}

function valueAt(text: string, at: number, nameQuote: string, around: string, rule: KeyRule): Value | undefined {
  if (rule.wholeLine && nameQuote === '') {
    return {
      start: at,
      end: endBefore(
        text,
        at,
        around === "'" ? /[\r\n']|\\[rn]/g : around === '"' ? /[\r\n"]|\\[rn]/g : /[\r\n]|\\[rn]/g,
      ),
      quote: '',
    }
  }
  const quote = quoteAt(text, at)
  if (quote !== '') {
    const start = at + quote.length
    return { start, end: closingQuote(text, start, quote), quote: '' }
  }
  if (text.startsWith('[redacted ', at)) {
    return { start: at, end: text.indexOf(']', at) + 1 || text.length, quote: nameQuote }
  }
  if (text[at] === '{' || text[at] === '[') {
    // Only with a name in quotes it is JSON; else `Unexpected token: {`.
    return nameQuote === '' ? undefined : { start: at, end: closingBracket(text, at), quote: nameQuote }
  }
  return { start: at, end: endBefore(text, at, /[\s,;&)}\]"'<>\\|]/g), quote: nameQuote }
}

function endBefore(text: string, from: number, stop: RegExp): number {
  stop.lastIndex = from
  return stop.exec(text)?.index ?? text.length
}

/** The next quote with as many backslashes before it; within the string a quote has more. The end of a text that was cut. */
function closingQuote(text: string, from: number, quote: string): number {
  if (/^("""|''')$/.test(quote)) {
    const end = text.indexOf(quote, from)
    return end < 0 ? text.length : end
  }
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
