/**
 * JSON inside a text, looked at as what it is: strings by their content, values by their names. What is not replaced
 * stays as it was written, byte by byte: number formats, order, blanks, escapes.
 */

export interface JsonRules {
  /** What a string (or a name, or the digits of a number) becomes; the very same if it may stay. */
  text(text: string): string
  /** What a value becomes whose name says that it is a secret; undefined if it does not. */
  named(name: string, readable: () => string): string | undefined
}

/** Lists of headers, cookies and environment variables are often written `{"name": …, "value": …}`. */
const pairKeys: ReadonlySet<string> = new Set(['name', 'key'])

/** @returns undefined if the text is not JSON */
export function redactJson(text: string, rules: JsonRules): string | undefined {
  if (!isJson(text)) return undefined
  let result = ''
  let copied = 0
  /** Of the objects and lists that are open: the name that one gives its value in so many words. */
  const pairNames: (string | undefined)[] = []
  const replace = (start: number, end: number, content: string): void => {
    result += text.slice(copied, start) + JSON.stringify(content)
    copied = end
  }
  for (let at = 0; at < text.length; ) {
    const char = text[at] as string
    if (char === '"') {
      const end = stringEnd(text, at)
      const content = contentOf(text.slice(at, end))
      const shown = rules.text(content)
      if (shown !== content) replace(at, end, shown)
      at = end
      const colon = skipBlanks(text, end)
      // In JSON only a name has a colon behind it.
      if (text[colon] !== ':') continue
      at = skipBlanks(text, colon + 1)
      const value = at
      const pairName = content === 'value' ? pairNames.at(-1) : undefined
      if (pairKeys.has(content) && text[value] === '"') {
        pairNames[pairNames.length - 1] = contentOf(text.slice(value, stringEnd(text, value)))
      }
      const asText = (): string => readable(text.slice(value, valueEnd(text, value)))
      const instead = rules.named(content, asText) ?? (pairName && rules.named(pairName, asText))
      if (instead === undefined) continue
      const stop = valueEnd(text, value)
      replace(value, stop, instead)
      at = stop
    } else if (char === '-' || (char >= '0' && char <= '9')) {
      const end = scalarEnd(text, at)
      const digits = text.slice(at, end)
      const shown = rules.text(digits)
      if (shown !== digits) replace(at, end, shown)
      at = end
    } else {
      if (char === '{' || char === '[') pairNames.push(undefined)
      else if (char === '}' || char === ']') pairNames.pop()
      at++
    }
  }
  return copied === 0 ? text : result + text.slice(copied)
}

function isJson(text: string): boolean {
  const first = text[skipBlanks(text, 0)]
  if (first !== '{' && first !== '[') return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** A string's content, or the value as it is written. */
function readable(value: string): string {
  return value.startsWith('"') ? contentOf(value) : value
}

function contentOf(literal: string): string {
  return literal.includes('\\') ? (JSON.parse(literal) as string) : literal.slice(1, -1)
}

function skipBlanks(text: string, from: number): number {
  let at = from
  while (at < text.length && ' \t\n\r'.includes(text[at] as string)) at++
  return at
}

/** Behind the quote that ends the string which begins at `start`. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    const char = text[at]
    if (char === '\\') at++
    else if (char === '"' || char === undefined) return at + 1
  }
}

function scalarEnd(text: string, start: number): number {
  let at = start
  while (at < text.length && !',]} \t\n\r'.includes(text[at] as string)) at++
  return at
}

function valueEnd(text: string, start: number): number {
  if (text[start] === '"') return stringEnd(text, start)
  if (text[start] !== '{' && text[start] !== '[') return scalarEnd(text, start)
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const char = text[at]
    if (char === '"') at = stringEnd(text, at) - 1
    else if (char === '{' || char === '[') depth++
    else if ((char === '}' || char === ']') && --depth === 0) return at + 1
  }
  return text.length
}
