/**
 * Texts for Telegram. They are cut first, then escaped, then put between tags, so no cut ever falls into markup; hidden
 * characters are shown by their code point. A message counts 4,096 UTF-16 code units without its tags.
 * @see https://core.telegram.org/bots/api#html-style
 */
import { cut, plain } from '../html/shown.ts'

export const longestMessage = 4_096

export interface Piece {
  readonly text: string
  readonly style?: 'b' | 'i' | 'code' | 'blockquote'
  /** Characters that are shown of it. */
  readonly atMost?: number
  /** Where it leads; an address of ours, never one out of a text of strangers. */
  readonly href?: string
}

export interface Composed {
  readonly html: string
  /** The same without markup. */
  readonly plain: string
  /** Whether it shows less than it was given. */
  readonly cut: boolean
}

/** @param pieces plain texts are pieces too: words of ours */
export function compose(pieces: readonly (Piece | string)[], atMost: number = longestMessage): Composed {
  let html = ''
  let text = ''
  let isCut = false
  for (const given of pieces) {
    const piece: Piece = typeof given === 'string' ? { text: given } : given
    const wanted = shownText(piece)
    if (wanted.cut) isCut = true
    const left = atMost - text.length
    const fits = wanted.text.length <= left
    const shown = fits ? wanted.text : ellipsed(wanted.text, left)
    html += marked(shown, piece)
    text += shown
    if (!fits) return { html, plain: text, cut: true }
  }
  return { html, plain: text, cut: isCut }
}

const rightToLeft = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/

function shownText({ text, atMost = longestMessage }: Piece): { readonly text: string; readonly cut: boolean } {
  const whole = text.toWellFormed()
  const isCut = whole.length > atMost
  const shown = plain(isCut ? ellipsed(whole, atMost) : whole, longestMessage)
  // Isolated from what stands beside it, as <bdi> does on a page.
  return { text: rightToLeft.test(shown) ? `\u2068${shown}\u2069` : shown, cut: isCut }
}

function ellipsed(text: string, atMost: number): string {
  return atMost <= 0 ? '' : `${cut(text, atMost - 1).head}…`
}

function marked(text: string, { style, href }: Piece): string {
  if (text === '') return ''
  const escaped = escapeHtml(text)
  const styled = style === undefined ? escaped : `<${style}>${escaped}</${style}>`
  return href === undefined ? styled : `<a href="${escapeHtml(href)}">${styled}</a>`
}

const references: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => references[character] ?? '')
}
