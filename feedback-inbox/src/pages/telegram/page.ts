/** `/admin/telegram`: how the bot is, who is linked, a code to link a chat, what was delivered. */
import type { Delivery, TelegramLink } from '@agnes/clickhouse'
import { type Html, html } from '../../html/html.ts'
import { plain, shown } from '../../html/shown.ts'
import type { BotState } from '../../telegram/polling.ts'

export interface TelegramView {
  readonly state: BotState
  readonly links: readonly TelegramLink[]
  readonly deliveries: readonly Delivery[]
  /** undefined: forms are for people who logged in. */
  readonly token: ((path: string) => string) | undefined
  /** Just made; shown this once. */
  readonly code?: { readonly code: string; readonly expiresAt: Date; readonly url: string | undefined }
  readonly now: Date
}

export function telegramPage(view: TelegramView): Html {
  return html`<div class="telegram"><h1>Telegram</h1>
${stateLine(view.state)}
${view.state.kind !== 'off' && html`${view.code && codeCard(view.code)}${linkSection(view)}${deliverySection(view)}`}</div>`
}

function stateLine(state: BotState): Html {
  switch (state.kind) {
    case 'off':
      return html`<p>There is no bot yet. Create one with <a href="https://t.me/BotFather" rel="noreferrer">@BotFather</a>,
set <code>TELEGRAM_BOT_TOKEN</code> and start the inbox again.</p>`
    case 'starting':
      return html`<p><span class="dot yellow" role="img" aria-label="look"></span> The bot is starting.</p>`
    case 'listening':
      return html`<p><span class="dot green" role="img" aria-label="well"></span> The bot
<a href="https://t.me/${plain(state.username, 64)}" rel="noreferrer">@${plain(state.username, 64)}</a> listens.</p>`
    case 'failing':
      return html`<p><span class="dot red" role="img" aria-label="bad"></span> The bot has trouble: ${shown(state.problem)}.
It tries again by itself; notifications wait.</p>`
  }
}

function codeCard({ code, expiresAt, url }: NonNullable<TelegramView['code']>): Html {
  return html`<section class="card" aria-label="Code">
<p>Send this to the bot from the account to be linked, before ${expiresAt.toISOString().slice(11, 16)} UTC. It works once.</p>
<p><code>/start ${code}</code></p>
${url !== undefined && html`<p><a class="button" href="${url}" rel="noreferrer">Open in Telegram</a></p>`}
</section>`
}

function linkSection({ links, token, now }: TelegramView): Html {
  return html`<section aria-labelledby="links">
<h2 id="links">Linked chats</h2>
${
  links.length === 0
    ? html`<p class="faint">None yet.</p>`
    : html`<div class="wide"><table class="grid"><thead><tr><th>Account</th><th>Acts as</th><th>Linked (UTC)</th><th>Notifications</th><th></th></tr></thead>
<tbody>${links.map((link) => linkRow(link, token, now))}</tbody></table></div>`
}
${
  token !== undefined &&
  html`<form method="post" action="/admin/telegram/code"><input type="hidden" name="token" value="${token('/admin/telegram/code')}">
<button>Link a chat to me</button></form>`
}
</section>`
}

function linkRow(
  { chatId, name, userId, linkedAt, mutedUntil }: TelegramLink,
  token: TelegramView['token'],
  now: Date,
): Html {
  const muted = mutedUntil !== undefined && mutedUntil > now
  return html`<tr>
<td>${shown(name, { atMost: 60 })}</td>
<td><code>${shown(userId, { atMost: 60 })}</code></td>
<td class="time">${minuteOf(linkedAt)}</td>
<td>${muted && mutedUntil ? `muted until ${minuteOf(mutedUntil)}` : 'on'}</td>
<td>${
    token !== undefined &&
    html`<form method="post" action="/admin/telegram/unlink"><input type="hidden" name="token" value="${token('/admin/telegram/unlink')}">
<input type="hidden" name="chat" value="${chatId}"><button class="quiet" aria-label="Unlink ${plain(name, 60)}">Unlink</button></form>`
  }</td>
</tr>`
}

function deliverySection({ deliveries, links }: TelegramView): Html | false {
  if (deliveries.length === 0) return false
  const names = new Map(links.map(({ chatId, name }) => [chatId, name]))
  return html`<section aria-labelledby="deliveries">
<h2 id="deliveries">Latest deliveries</h2>
<div class="wide"><table class="grid"><thead><tr><th>Changed (UTC)</th><th>State</th><th>To</th><th>About</th><th class="number">Times</th><th class="number">Attempts</th><th>Problem</th></tr></thead>
<tbody>${deliveries.map(
    (one) => html`<tr>
<td class="time">${minuteOf(one.changedAt)}</td>
<td><span class="result ${classes[one.state]}">${one.state}</span></td>
<td>${shown(names.get(one.chatId) ?? one.userId, { atMost: 40 })}</td>
<td>${one.kind} <span class="faint">${shown(one.incident, { atMost: 60 })}</span></td>
<td class="number">${one.occurrences}</td>
<td class="number">${one.attempts}</td>
<td class="what">${shown(one.error, { atMost: 120 })}</td>
</tr>`,
  )}</tbody></table></div>
</section>`
}

const classes: Readonly<Record<Delivery['state'], string>> = {
  waiting: '',
  digest: '',
  sending: '',
  sent: 'success',
  failed: 'error',
  dropped: 'denied',
}

function minuteOf(at: Date): string {
  return at.toISOString().slice(0, 16).replace('T', ' ')
}
