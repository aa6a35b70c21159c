/**
 * What happened in a session, turn by turn, with what was found at each: for the pages of sessions and of reports. Calls of
 * tools and what they answered are folded, long texts cut with the rest one click away; a link to a finding leads to its
 * turn, which is marked then. All of it works without a script.
 */
import { type Html, html } from '../html/html.ts'
import { plain, shown } from '../html/shown.ts'
import { number } from '../html/words.ts'

export interface Marker {
  readonly type: string
  readonly class: string
  readonly severity: string
  readonly turnIndex: number
  readonly excerpt: string
  /** What to do about it. */
  readonly advice: string
}

export interface ShownTurn {
  /** Its anchor is `turn-<index>`. */
  readonly index: number
  /** ISO 8601; null when it has none. */
  readonly at: string | null
  readonly role: string
  readonly kind: string
  readonly tool: string
  /** What a call is about. */
  readonly target: string
  readonly isError: boolean
  readonly text: string
  /** Where all of it is shown, if `text` is only its beginning; and how many UTF-8 bytes that has. */
  readonly whole?: { readonly href: string; readonly bytes: number }
  readonly isSidechain?: boolean
  readonly markers: readonly Marker[]
}

export function replay(turns: readonly ShownTurn[]): Html {
  if (turns.length === 0) return html`<p class="empty">No turns.</p>`
  return html`<ol class="replay">${turns.map(turnItem)}</ol>`
}

/**
 * Where things went wrong, in the order of the session.
 * @param href where the turn of a finding is shown
 */
export function markerList(markers: readonly Marker[], href: (marker: Marker) => string): Html | false {
  if (markers.length === 0) return false
  const told = markers.slice(0, mostListed)
  return html`<ol class="marker-list">${told.map(
    (
      marker,
    ) => html`<li><a href="${href(marker)}">${markerTag(marker)} <span class="faint">turn ${marker.turnIndex}</span>
<span class="marker-excerpt">${shown(marker.excerpt, { atMost: 140 })}</span></a></li>`,
  )}</ol>
${markers.length > told.length && html`<p class="faint">and ${number(markers.length - told.length)} more, at their turns</p>`}`
}

const mostListed = 60

function turnItem(turn: ShownTurn): Html {
  const { index, at, role, kind, isError, isSidechain, markers } = turn
  const side = isSidechain ? ' sidechain' : ''
  return html`<li class="turn ${safeClass(kind)} ${safeClass(role)}${isError ? ' failed' : ''}${side}" id="turn-${index}">
<p class="turn-head"><a class="turn-number" href="#turn-${index}">${index}</a> <b>${who(turn)}</b>${isSidechain && html` <span class="faint">sub-agent</span>`}
${at !== null && html`<time class="faint" datetime="${plain(at, 40)}">${plain(at, 40).slice(0, 19).replace('T', ' ')}</time>`}</p>
${markers.map(markerNote)}
${body(turn)}
</li>`
}

function who({ kind, role, tool, isError }: ShownTurn): Html | string {
  switch (kind) {
    case 'tool_use':
      return html`calls ${shown(tool || 'a tool', { atMost: 80 })}`
    case 'tool_result':
      return html`${tool === '' ? 'answer' : shown(tool, { atMost: 80 })} ${isError ? 'failed' : 'answered'}`
    case 'prompt':
      return 'User'
    case 'text':
      return 'Assistant'
    default:
      return html`${shown(kind.replaceAll('_', ' '), { atMost: 40 })}${role === 'user' || role === 'assistant' ? '' : html` <span class="faint">${shown(role, { atMost: 40 })}</span>`}`
  }
}

function markerNote(marker: Marker): Html {
  return html`<p class="marker-note ${severity(marker)}">${markerTag(marker)} ${shown(marker.advice)}</p>`
}

function markerTag(marker: Marker): Html {
  const { type, class: finer } = marker
  return html`<span class="marker ${severity(marker)}">${shown(type.replaceAll('_', ' '), { atMost: 40 })}${finer !== '' && finer !== type && html` · ${shown(finer.replaceAll('_', ' '), { atMost: 40 })}`}</span>`
}

/** What tools and the client say is folded; what people and the model say is not. */
const unfolded = new Set(['prompt', 'text', 'interrupt', 'api_error', 'compaction', 'command'])

function body(turn: ShownTurn): Html | false {
  const { kind, text, target, isError } = turn
  if (text === '' && target === '') return false
  if (unfolded.has(kind)) return longText(turn)
  const summary = target !== '' ? target : firstLine(text)
  return html`<details class="folded"${isError && html` open`}><summary><code>${shown(summary, { atMost: 160 })}</code></summary>${longText(turn)}</details>`
}

const headCharacters = 1_200
const mostCharacters = 60_000

function longText({ text, whole, kind }: ShownTurn): Html {
  const isProse = kind === 'prompt' || kind === 'text'
  const block = (part: string, more = ''): Html =>
    html`<pre class="said${isProse ? ' prose' : ''}${more}">${shown(part, { atMost: mostCharacters })}</pre>`
  const note =
    whole !== undefined &&
    html`<p class="rest-link"><a href="${whole.href}">Show all ${number(whole.bytes)} bytes</a></p>`
  if (text.length <= headCharacters * 1.2) return html`${block(text)}${note}`
  const head = text.slice(0, headCharacters).replace(/[\ud800-\udbff]$/, '')
  return html`${block(head)}<details class="rest"><summary>Show all ${number(text.length)} characters</summary>${block(text.slice(head.length), ' rest-text')}</details>${note}`
}

function firstLine(text: string): string {
  return text.trimStart().split('\n', 1)[0] ?? ''
}

function severity({ severity }: Marker): string {
  return severity === 'error' || severity === 'warning' ? severity : 'info'
}

/** Kinds and roles of an excerpt are whatever its sender wrote. */
function safeClass(word: string): string {
  return /^[a-z_]{1,30}$/.test(word) ? word : 'unknown'
}
