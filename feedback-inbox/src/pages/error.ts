/** What a person sees when something is wrong: what it is, and the way out. */
import { STATUS_CODES } from 'node:http'
import type { UserError } from '@agnes/config'
import type { FastifyRequest } from 'fastify'
import { type Html, html } from '../html/html.ts'
import { layout } from '../html/layout.ts'
import { shown } from '../html/shown.ts'
import type { Inbox } from '../inbox.ts'

export function errorPage(inbox: Inbox, { visitor }: FastifyRequest, { status, message, hint }: UserError): Html {
  return layout(inbox, {
    title: STATUS_CODES[status] ?? 'Error',
    visitor,
    body: html`<section class="narrow">
<p class="eyebrow">${status} ${STATUS_CODES[status]}</p>
<h1>${shown(message)}</h1>
${hint !== undefined && html`<p>${shown(hint)}</p>`}
<p><a href="/admin/activity">To the activity page</a></p>
</section>`,
  })
}

/** Comes back to the same address at once, then with our cookie: it is we who lead there. */
export function bouncePage(): Html {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="0"><title>Agnes</title></head>
<body><p><a href="">Go on</a></p></body></html>
`
}
