/** The frame of every page: head, bar with the places one can go to, and who is logged in. */
import type { FastifyReply } from 'fastify'
import type { Visitor } from '../auth/visitor.ts'
import type { Inbox } from '../inbox.ts'
import { type Html, html } from './html.ts'
import { plain } from './shown.ts'

/** Places in the bar. Adding one: a line here. */
const places = [{ id: 'activity', path: '/admin/activity', label: 'Activity' }] as const

export type PlaceId = (typeof places)[number]['id']

export interface Page {
  readonly title: string
  /** The place it belongs to. */
  readonly place?: PlaceId
  /** Who is logged in, if anybody is. */
  readonly visitor?: Visitor | undefined
  readonly body: Html
}

export function layout(inbox: Pick<Inbox, 'assets' | 'forms'>, { title, place, visitor, body }: Page): Html {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${plain(title, 80)} · Agnes</title>
<link rel="stylesheet" href="${inbox.assets.css}">
<link rel="icon" href="${inbox.assets.icon}" type="image/svg+xml">
<script src="${inbox.assets.js}" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="bar">
<a class="brand" href="/admin/activity"><span class="glass" aria-hidden="true"></span>Agnes</a>
<nav class="places" aria-label="Places">${places.map(
    ({ id, path, label }) =>
      html`<a class="place" href="${path}"${id === place && html` aria-current="page"`}>${label}</a>`,
  )}</nav>
${visitor?.session !== undefined && whoIs(inbox, visitor, visitor.session.id)}
</header>
<main id="main" tabindex="-1">${body}</main>
</body>
</html>
`
}

function whoIs({ forms }: Pick<Inbox, 'forms'>, { keyId, tenant }: Visitor, session: string): Html {
  return html`<form class="who" method="post" action="/logout">
<input type="hidden" name="token" value="${forms.issue(session, '/logout')}">
<span title="key ${keyId}, tenant ${tenant}">${tenant === 'default' ? '' : html`${tenant} · `}${keyId}</span>
<button class="quiet">Log out</button>
</form>`
}

export function sendPage(reply: FastifyReply, page: Html): FastifyReply {
  return reply.type('text/html; charset=utf-8').send(page.text)
}
