/**
 * HTML of messages as Telegram's servers read it: which tags there are, how they nest, what is refused and in which words.
 * Written after `parse_html` of TDLib, apart from what we send, so that the one can be held against the other.
 * @see https://core.telegram.org/bots/api#html-style
 */

/** Of UTF-16 code units, as the Bot API counts. */
export interface Entity {
  readonly type: string
  readonly offset: number
  readonly length: number
}

export interface ParsedText {
  /** Without tags, character references resolved. */
  readonly text: string
  readonly entities: readonly Entity[]
}

/** What the Bot API would answer with status 400. */
export class ParseProblem extends Error {}

const entityOf: Readonly<Record<string, string>> = {
  b: 'bold',
  strong: 'bold',
  i: 'italic',
  em: 'italic',
  s: 'strikethrough',
  strike: 'strikethrough',
  del: 'strikethrough',
  u: 'underline',
  ins: 'underline',
  'tg-spoiler': 'spoiler',
  'tg-emoji': 'custom_emoji',
  span: 'spoiler',
  a: 'text_link',
  code: 'code',
  pre: 'pre',
  blockquote: 'blockquote',
}

const namedCharacters: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"' }

/** @throws ParseProblem with the description the Bot API gives */
export function parseHtml(source: string): ParsedText {
  const entities: Entity[] = []
  const open: { readonly tag: string; readonly offset: number }[] = []
  let text = ''
  let at = 0
  const problem = (message: string, where = at): ParseProblem =>
    new ParseProblem(message.replace('%', `byte offset ${Buffer.byteLength(source.slice(0, where))}`))

  while (at < source.length) {
    const character = source[at] as string
    if (character === '&') {
      const [reference, resolved] = characterReference(source, at)
      text += resolved
      at += reference
      continue
    }
    if (character !== '<') {
      text += character
      at++
      continue
    }
    const begin = at++
    if (source[at] === '/') {
      const end = source.indexOf('>', at)
      if (end < 0) throw problem('Unclosed end tag at %', begin)
      const tag = source
        .slice(at + 1, end)
        .trim()
        .toLowerCase()
      const last = open.pop()
      if (last === undefined) throw problem('Unexpected end tag at %', begin)
      if (tag !== '' && tag !== last.tag) {
        throw problem(`Unmatched end tag at %, expected "</${last.tag}>", found "</${tag}>"`, begin)
      }
      if (text.length > last.offset) {
        entities.push({ type: entityOf[last.tag] ?? '', offset: last.offset, length: text.length - last.offset })
      }
      at = end + 1
      continue
    }
    const tag = /^[^\s>/]*/.exec(source.slice(at))?.[0].toLowerCase() ?? ''
    at += tag.length
    if (at >= source.length) throw problem('Unclosed start tag at %', begin)
    if (!Object.hasOwn(entityOf, tag)) throw problem(`Unsupported start tag "${tag}" at %`, begin)
    at = afterAttributes(source, at, begin, problem)
    open.push({ tag, offset: text.length })
  }
  const unclosed = open.pop()
  if (unclosed !== undefined) throw problem(`Can't find end tag corresponding to start tag "${unclosed.tag}"`)
  return { text, entities: entities.sort((a, b) => a.offset - b.offset || b.length - a.length) }
}

/** Length of the reference in the source, and what stands for it; an unknown one is text like any other. */
function characterReference(source: string, at: number): readonly [number, string] {
  const named = /^&(lt|gt|amp|quot);?/.exec(source.slice(at, at + 6))
  if (named !== null) return [named[0].length, namedCharacters[named[1] as string] as string]
  const number = /^&#(?:x([0-9a-f]{1,6})|(\d{1,7}));?/i.exec(source.slice(at, at + 12))
  const code = number === null ? 0 : Number.parseInt(number[1] ?? number[2] ?? '', number[1] === undefined ? 10 : 16)
  if (number === null || code === 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return [1, '&']
  return [number[0].length, String.fromCodePoint(code)]
}

function afterAttributes(
  source: string,
  from: number,
  begin: number,
  problem: (message: string, where?: number) => ParseProblem,
): number {
  let at = from
  for (;;) {
    while (/\s/.test(source[at] ?? '')) at++
    if (at >= source.length) throw problem('Unclosed start tag at %', begin)
    if (source[at] === '>') return at + 1
    const name = /^[^\s=>]+/.exec(source.slice(at))?.[0] ?? ''
    if (name === '') throw problem('Empty attribute name in the tag at %', begin)
    at += name.length
    if (source[at] !== '=') continue
    at++
    const quote = source[at]
    if (quote === '"' || quote === "'") {
      const end = source.indexOf(quote, at + 1)
      if (end < 0) throw problem('Unclosed start tag at %', begin)
      at = end + 1
    } else {
      const bare = /^[\w.-]+/.exec(source.slice(at))?.[0] ?? ''
      if (bare === '') throw problem('Unexpected end of name token at %', at)
      at += bare.length
    }
  }
}
