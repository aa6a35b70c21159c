/** Texts as a terminal shows them. Values come from events, hence from anybody. */
import { stripVTControlCharacters } from 'node:util'

/** Control characters (C0, C1), and those that reorder or hide what stands beside them. */
const harmful = /[\p{Cc}\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu

/** One line that cannot move the cursor, change colours or read backwards. */
export function harmless(text: string): string {
  return stripVTControlCharacters(text).replace(harmful, (character) => (/[\t\n\r]/.test(character) ? ' ' : '·'))
}

/** JSON that is harmless on a terminal and unchanged for a parser: JSON.stringify leaves C1 and bidi characters as they are. */
export function harmlessJson(value: unknown, indent?: number): string {
  return harmlessJsonText(JSON.stringify(value, null, indent))
}

/** The same for JSON that is written already. */
export function harmlessJsonText(json: string): string {
  return json.replace(harmful, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const ascii = /^[ -~]*$/
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Columns a harmless text takes: East Asian characters and emoji take two, combining marks none. */
export function displayWidth(text: string): number {
  if (ascii.test(text)) return text.length
  let width = 0
  for (const { segment } of segmenter.segment(text)) width += widthOf(segment)
  return width
}

/** Cut to `width` columns; what is cut ends with an ellipsis. */
export function shorten(text: string, width: number): string {
  if (displayWidth(text) <= width) return text
  if (width < 1) return ''
  let kept = ''
  let left = width - 1
  for (const { segment } of segmenter.segment(text)) {
    left -= widthOf(segment)
    if (left < 0) break
    kept += segment
  }
  return `${kept}…`
}

function widthOf(grapheme: string): number {
  if (wide.test(grapheme)) return 2
  return /^\p{Mn}+$/u.test(grapheme) ? 0 : 1
}
