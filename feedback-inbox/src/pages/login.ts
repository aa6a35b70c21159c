/** `/login` and `/logout`: a key for a session. */
import { randomBytes } from 'node:crypto'
import { UserError } from '@agnes/config'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { sessionCookie, sessionSeconds } from '../auth/session.ts'
import { demand } from '../auth/visitor.ts'
import { type Html, html } from '../html/html.ts'
import { layout, sendPage } from '../html/layout.ts'
import { shown } from '../html/shown.ts'
import { clearCookie, readCookie, setCookie } from '../http/cookies.ts'
import { readForm, sessionOf } from '../http/form.ts'
import type { Inbox } from '../inbox.ts'

export const loginPath = '/login'
const home = '/admin/activity'
/** Ties the login form to the browser it was shown in, before there is a session. */
const formCookie = 'agnes_login'
const formSeconds = 3600

export function registerLogin(app: FastifyInstance, inbox: Inbox): void {
  const open = { config: { access: 'public' } } as const

  app.get(loginPath, open, (request, reply) => {
    if (isLoggedIn(request, inbox)) return reply.redirect(nextOf(request))
    return sendPage(reply, formPage(inbox, request, reply))
  })

  app.post(loginPath, open, (request, reply) => {
    const form = readForm(request, inbox.forms, readCookie(request, formCookie) ?? '')
    try {
      const found = inbox.gate.check((form.get('key') ?? '').trim(), request)
      demand(found.holder, 'read')
      clearCookie(reply, formCookie)
      setCookie(reply, sessionCookie, inbox.sessions.open(found), sessionSeconds)
      inbox.audit(request, { action: 'inbox.login', userId: `key:${found.holder.keyId}`, result: 'success' })
      return reply.redirect(nextOf(request), 303)
    } catch (error) {
      if (!(error instanceof UserError) || error.status >= 500) throw error
      return sendPage(reply.code(error.status), formPage(inbox, request, reply, error))
    }
  })

  app.post('/logout', { config: { access: 'read' } }, async (request, reply) => {
    const { session, userId } = sessionOf(request)
    readForm(request, inbox.forms, session.id)
    await inbox.sessions.end(session)
    clearCookie(reply, sessionCookie)
    inbox.audit(request, { action: 'inbox.logout', userId, result: 'success' })
    return reply.redirect(loginPath, 303)
  })
}

function formPage(inbox: Inbox, request: FastifyRequest, reply: FastifyReply, problem?: UserError): Html {
  const known = readCookie(request, formCookie)
  const visit = known !== undefined && /^[\w-]{22}$/.test(known) ? known : randomBytes(16).toString('base64url')
  setCookie(reply, formCookie, visit, formSeconds)
  const next = nextOf(request)
  return layout(inbox, {
    title: 'Log in',
    body: html`<section class="login">
<h1>Log in</h1>
<p class="login-text">With the admin key, or one that may read. It is in <code>admin.key</code> in the data directory;
<code>agnes keys create --scope admin</code> makes another one.</p>
<form method="post" action="${next === home ? loginPath : `${loginPath}?next=${encodeURIComponent(next)}`}">
<input type="hidden" name="token" value="${inbox.forms.issue(visit, loginPath)}">
<label for="key">Key</label>
<input class="wide-input" id="key" name="key" type="password" autocomplete="current-password" required autofocus spellcheck="false"
  placeholder="agn_…"${problem && html` aria-invalid="true" aria-describedby="problem"`}>
${problem && html`<p class="problem" id="problem" role="alert">${shown(problem.message)}: ${shown(problem.hint ?? '')}</p>`}
<button>Log in</button>
</form>
</section>`,
  })
}

function isLoggedIn(request: FastifyRequest, { gate }: Inbox): boolean {
  try {
    return gate.identify(request)?.session !== undefined
  } catch {
    return false
  }
}

/** Where to go then: a page of ours, never another site. */
function nextOf(request: FastifyRequest): string {
  const { next } = request.query as { next?: unknown }
  return typeof next === 'string' && /^\/admin\/[\w\-./?=&%~+:,@!*'()]*$/.test(next) && next.length <= 4000
    ? next
    : home
}
