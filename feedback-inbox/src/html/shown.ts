/**
 * Texts that come from events, hence from anybody, as a page shows them: apart from what stands around them, with the
 * characters that hide or reorder text made visible, and cut where they are longer than a page can bear.
 */
import { type Html, html } from './html.ts'

/** Control characters, and those that reorder or hide what stands beside them; not tab and line breaks. */
const hidden = /(?![\t\n\r])[\p{Cc}\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/u
const hiddenRun = new RegExp(`(${hidden.source})`, 'gu')

export interface ShownOptions {
  /** Characters (UTF-16 code units) that are shown; 300 unless told. */
  readonly atMost?: number
}

/** Isolated from the direction of its surroundings (bdi), hidden characters by their code point, cut with a note. */
export function shown(text: string, { atMost = 300 }: ShownOptions = {}): Html {
  const { head, left } = cut(text, atMost)
  const more =
    left > 0 && html`<span class="cut" title="${left} more characters">…&nbsp;+${left.toLocaleString('en')}</span>`
  return html`<bdi>${visible(head)}</bdi>${more}`
}

/** As {@link shown}, where only plain text can stand: in attributes and titles. */
export function plain(text: string, atMost = 300): string {
  const { head, left } = cut(text, atMost)
  return head.replace(hiddenRun, (character) => `⟨${codePoint(character)}⟩`) + (left > 0 ? '…' : '')
}

/** Cuts without splitting a surrogate pair. */
export function cut(text: string, atMost: number): { readonly head: string; readonly left: number } {
  if (text.length <= atMost) return { head: text, left: 0 }
  const head = text.slice(0, atMost).replace(/[\ud800-\udbff]$/, '')
  return { head, left: text.length - head.length }
}

function visible(text: string): string | Html[] {
  if (!hidden.test(text)) return text
  return text
    .split(hiddenRun)
    .map((part) =>
      hidden.test(part)
        ? html`<span class="hidden-character" title="hidden character">${codePoint(part)}</span>`
        : html`${part}`,
    )
}

function codePoint(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
}
