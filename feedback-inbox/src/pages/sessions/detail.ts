/** `/admin/sessions/{user}/{file}`: what happened in a session, with what was found at the turns where it was found. */
import type { Replay } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { shown } from '../../html/shown.ts'
import { number } from '../../html/words.ts'
import { queryOf } from '../../http/filter.ts'
import { type Marker, markerList, replay } from '../replay.ts'
import { type SessionAt, sessionPath, turnPath } from './paths.ts'

export const turnsOfPage = 100

export function sessionPage({ session, turns, findings, nextCursor }: Replay): Html {
  const first = turns[0]?.index ?? 0
  const last = turns.at(-1)?.index ?? 0
  const here = ({ turnIndex }: Marker): boolean => turns.length > 0 && turnIndex >= first && turnIndex <= last
  const at = (turn: number): string => pathWith(session, { from: String(Math.max(0, turn)) })
  const hrefOf = (marker: Marker): string =>
    here(marker) ? `#turn-${marker.turnIndex}` : `${at(marker.turnIndex - 5)}#turn-${marker.turnIndex}`
  const { title, file, user, sessionId, isProcessed } = session
  return html`<article class="session-detail">
<p class="eyebrow"><a href="/admin/sessions${queryOf(new Map([['user', user]]))}">${shown(user, { atMost: 60 })}</a> · session ${shown(file, { atMost: 80 })}</p>
<h1>${shown(title === '' ? file : title.replace(/\s+/g, ' '), { atMost: 140 })}</h1>
${!isProcessed && html`<p class="problem">Not all of it is processed yet: turns and findings of the last lines are missing.</p>`}
${facts(session)}
<p class="links"><a href="/admin/activity${queryOf(
    new Map([
      ['q', sessionId],
      ['since', 'all'],
    ]),
  )}">Events of this session</a> <a href="/admin/sessions/gaps${queryOf(new Map([['session_id', sessionId]]))}">Gaps</a></p>
<div class="replay-beside">
<section aria-label="Replay">
${first > 0 && html`<p class="pager"><a class="button quiet" href="${at(first - turnsOfPage)}">Earlier turns</a></p>`}
${replay(
  turns.map((turn) => ({
    index: turn.index,
    at: turn.occurredAt,
    role: turn.role,
    kind: turn.kind,
    tool: turn.toolName,
    target: turn.target,
    isError: turn.isError,
    text: turn.text,
    ...(isCut(turn) && {
      whole: { href: turnPath(session, turn.index), bytes: turn.textBytes },
    }),
    isSidechain: turn.isSidechain,
    markers: turn.findings,
  })),
)}
${nextCursor !== null && html`<p class="pager"><a class="button quiet" rel="next" href="${pathWith(session, { from: String(last + 1) })}">Later turns</a></p>`}
</section>
<aside class="found" aria-label="Findings"><h2>Found <span class="faint">${number(findings.length)}</span></h2>
${findings.length === 0 ? html`<p class="faint">Nothing.</p>` : markerList(findings, hrefOf)}</aside>
</div>
</article>`
}

function facts(session: Replay['session']): Html {
  const minute = (iso: string | null): string => (iso === null ? '' : `${iso.slice(0, 16).replace('T', ' ')} UTC`)
  const rows: readonly (readonly [string, string])[] = [
    ['Began', minute(session.startedAt)],
    ['Ended', minute(session.endedAt)],
    ['Active', `${number(session.activeMinutes)} min`],
    ['Turns', `${number(session.turns)}, ${number(session.prompts)} of them prompts`],
    ['Tools', `${number(session.toolCalls)} calls, ${number(session.errors)} errors`],
    ['Tokens', `${number(session.inputTokens)} in, ${number(session.outputTokens)} out`],
    ['Model', session.models.join(', ')],
    ['Branch', session.gitBranch],
    ['Claude Code', session.clientVersion],
    ['Session id', session.sessionId === session.file ? '' : session.sessionId],
    ['Version', session.version === 'main' ? '' : session.version],
  ]
  return html`<dl class="facts compact">${rows.map(([name, value]) => value !== '' && html`<dt>${name}</dt><dd>${shown(value)}</dd>`)}</dl>`
}

/** One turn in full. */
export function turnPage(session: SessionAt, turn: number, text: string): Html {
  const back = sessionPath(session)
  const from = `from=${Math.max(0, turn - 5)}#turn-${turn}`
  return html`<article class="session-detail">
<p class="eyebrow"><a href="${back}${back.includes('?') ? '&' : '?'}${from}">Back to the session</a> · turn ${turn}</p>
<h1>All of turn ${turn}</h1>
<pre class="whole-turn">${shown(text, { atMost: mostOfTurn })}</pre>
</article>`
}

/** Characters; a page of more is not read. */
const mostOfTurn = 1_000_000

function pathWith(session: Replay['session'], params: Readonly<Record<string, string>>): string {
  const path = sessionPath(session)
  return `${path}${path.includes('?') ? '&' : '?'}${new URLSearchParams(params)}`
}

/** There is more of the text than came along. Its bytes were counted as the transcript's JSON has them. */
function isCut({ text, textBytes }: Replay['turns'][number]): boolean {
  return textBytes > Buffer.byteLength(JSON.stringify(text)) - 2
}
