/** The Fastify app: who may see a route, what every answer carries, and how an error is told; pages and API hang into it. */
import { exitCodes, type Scope, UserError } from '@agnes/config'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { DescribedRoute } from './api/route.ts'
import { demand, unauthenticated, type Visitor } from './auth/visitor.ts'
import type { Assets } from './http/assets.ts'
import { compressText } from './http/compress.ts'
import { problemOf, problemType } from './http/problem.ts'
import type { Inbox } from './inbox.ts'
import { bouncePage, errorPage } from './pages/error.ts'
import { loginPath } from './pages/login.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may come: `read` for a key or session with scope read, others likewise. A route that does not say is for `admin`. */
    access?: 'public' | Scope
  }
  interface FastifyInstance {
    /** Routes of the API, for its description. */
    apiRoutes: DescribedRoute[]
  }
  interface FastifyRequest {
    /** Who asks; undefined on routes that are public. */
    visitor: Visitor | undefined
  }
}

/** Nothing runs or loads but what we serve ourselves; nobody may frame us. */
const securityHeaders: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'cache-control': 'no-store',
}

/** A form of ours is small; a feedback report has a route of its own. */
const formBytes = 64 * 1024

/** @param trustedProxies AGNES_TRUSTED_PROXIES */
export function buildApp(inbox: Inbox, assets: Assets, trustedProxies: readonly string[]): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: formBytes,
    requestTimeout: 30_000,
    forceCloseConnections: 'idle',
    // A proxy with TLS in front says who asks, and that it was by https; nobody else is believed.
    trustProxy: [...trustedProxies],
    routerOptions: { maxParamLength: 2_000 },
  })
  app.decorateRequest('visitor', undefined)
  app.decorate('apiRoutes', [])
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
    done(null, new URLSearchParams(body as string)),
  )

  app.addHook('onRequest', async (request, reply) => {
    void reply.headers(securityHeaders)
    refuseForeignForm(request)
    const access = request.routeOptions.config.access ?? 'admin'
    if (request.is404 || access === 'public') return
    request.visitor = inbox.gate.identify(request)
    if (request.visitor === undefined) return sendToLogin(request, reply)
    // A session's cookie comes with whatever a browser sends: what changes something through the API takes a key.
    if (isApi(request) && !isSafe(request) && request.visitor.session !== undefined) {
      throw unauthenticated('the API takes a key for this', 'send "Authorization: Bearer <key>"')
    }
    demand(request.visitor, access)
  })
  app.addHook('onSend', compressText)
  app.addHook('onResponse', (request, reply, done) => {
    inbox.metrics.request(request.routeOptions.url ?? 'none', reply.statusCode, reply.elapsedTime / 1000)
    done()
  })

  app.setNotFoundHandler((request) => {
    throw new UserError(`there is nothing at ${request.url.split('?', 1)[0]?.slice(0, 100)}`, {
      code: 'not_found',
      status: 404,
      hint: 'start at /admin/activity',
    })
  })
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const told = tellable(error, request, inbox)
    if ((told.status === 429 || told.status === 503) && !reply.hasHeader('retry-after')) {
      void reply.header('retry-after', '1')
    }
    if (isApi(request)) {
      if (told.status === 401) void reply.header('www-authenticate', 'Bearer')
      return reply.code(told.status).type(problemType).send(problemOf(told))
    }
    return reply
      .code(told.status)
      .type('text/html; charset=utf-8')
      .send(errorPage(inbox, request, told).text)
  })

  app.get('/', { config: { access: 'public' } }, (_request, reply) => reply.redirect('/admin/activity'))
  app.get('/assets/:name', { config: { access: 'public' } }, (request, reply) => {
    const asset = assets.find((request.params as { name: string }).name)
    if (asset === undefined) return reply.callNotFound()
    return reply.type(asset.type).header('cache-control', 'public, max-age=31536000, immutable').send(asset.content)
  })
  return app
}

function isApi({ url }: FastifyRequest): boolean {
  return !url.startsWith('/admin') && !url.startsWith(loginPath) && url !== '/logout'
}

function isSafe({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** A form on somebody else's page, whatever cookie comes with it. */
function refuseForeignForm(request: FastifyRequest): void {
  if (isSafe(request)) return
  const { origin } = request.headers
  const site = request.headers['sec-fetch-site']
  const sameOrigin = origin === undefined || (URL.canParse(origin) && new URL(origin).host === request.host)
  if (sameOrigin && (site === undefined || site === 'same-origin' || site === 'none')) return
  throw new UserError('this form was sent from another site', {
    code: 'foreign_form',
    status: 403,
    hint: 'open the page here and send it from there',
  })
}

function sendToLogin(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (isApi(request)) {
    throw unauthenticated('a key is needed', 'send "Authorization: Bearer <key>", or log in at /login')
  }
  // Our cookie does not come along when another site (a chat, a dashboard) leads here; it does when we do.
  if (isSafe(request) && request.headers['sec-fetch-site'] === 'cross-site') {
    return reply.type('text/html; charset=utf-8').send(bouncePage().text)
  }
  const next = isSafe(request) ? `?next=${encodeURIComponent(request.url)}` : ''
  return reply.redirect(`${loginPath}${next}`, 303)
}

/** What is not meant for users is logged, and told as a fault of ours. */
function tellable(error: Error & { statusCode?: number }, request: FastifyRequest, { log, explain }: Inbox): UserError {
  const explained = explain(error)
  if (explained instanceof UserError) return explained
  if (error.statusCode !== undefined && error.statusCode < 500) {
    return new UserError(error.message, { code: 'bad_request', status: error.statusCode, exitCode: exitCodes.usage })
  }
  log(`inbox: ${request.method} ${request.routeOptions.url ?? ''} failed: ${error.stack ?? error.message}`, 'error')
  return new UserError('something went wrong here', {
    code: 'internal',
    status: 500,
    hint: 'the log of the inbox says more',
  })
}
