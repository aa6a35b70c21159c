/**
 * Fastify plugin: one audit event a request, with action, resource, result and duration, and a context for its handler.
 *
 * A route says its action with `config: { audit: { action, resource } }`; otherwise it is the method and the route's
 * pattern. Actor and params come from the handler by `setContext`.
 */
import { randomUUID } from 'node:crypto'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { currentContext, type EventContext, resumeContext, runWithContext } from './context.ts'
import type { Recorder } from './recorder.ts'

export interface AuditRoute {
  readonly action: string
  readonly resource?: string | ((request: FastifyRequest) => string)
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `false`: requests of this route leave no event (health checks). */
    audit?: AuditRoute | false
  }
}

export interface AuditPluginOptions {
  readonly recorder: Recorder
  /** Who asks; what it leaves out comes from the request. */
  readonly actorOf?: (request: FastifyRequest) => Pick<EventContext, 'userId' | 'clientKind' | 'sessionId'>
}

const plugin: FastifyPluginAsync<AuditPluginOptions> = async (fastify, { recorder, actorOf }) => {
  const contexts = new WeakMap<FastifyRequest, EventContext>()
  /** Requests without their event yet. */
  const open = new WeakSet<FastifyRequest>()

  fastify.addHook('onRequest', (request, reply, done) => {
    const correlationId = correlationOf(request)
    void reply.header('x-correlation-id', correlationId)
    open.add(request)
    // A client that hangs up gets no response, so there is no onResponse; what it asked for may have been done.
    // A host's hook may still hold up onResponse when the connection closes behind a whole response.
    const resultAtClose = (): string => (reply.raw.writableFinished ? resultOf(reply.statusCode) : 'error.aborted')
    reply.raw.once('close', () => safely(() => record(request, reply, resultAtClose())))
    runWithContext({ clientAddress: request.ip, clientKind: 'web', correlationId }, () => {
      contexts.set(request, currentContext() ?? {})
      done()
    })
  })

  // The body's events come from the socket, outside of the context: the handler is put back into it.
  fastify.addHook('preValidation', (request, _reply, done) => {
    resumeContext(contexts.get(request) ?? {}, done)
  })

  fastify.addHook('onResponse', (request, reply, done) => {
    record(request, reply, resultOf(reply.statusCode))
    done()
  })

  function record(request: FastifyRequest, reply: FastifyReply, result: string): void {
    const { audit } = request.routeOptions.config
    const context = contexts.get(request)
    if (!open.delete(request) || audit === false || context === undefined) return
    const actor = safely(() => actorOf?.(request)) ?? {}
    const resource = audit?.resource
    recorder.audit({
      action: audit?.action ?? `${request.method} ${request.routeOptions.url ?? 'unknown route'}`,
      resource:
        typeof resource === 'function' ? safely(() => resource(request)) : (resource ?? request.url.split('?', 1)[0]),
      result: context.result ?? result,
      durationMs: Math.round(reply.elapsedTime * 1000) / 1000,
      params: context.params,
      paramsBefore: context.paramsBefore,
      userId: actor.userId ?? context.userId,
      clientKind: actor.clientKind ?? context.clientKind,
      clientAddress: context.clientAddress,
      correlationId: context.correlationId,
      sessionId: actor.sessionId ?? context.sessionId,
    })
  }
}

/** The plugin, for `fastify.register(auditPlugin, { recorder })`. */
export const auditPlugin = fp(plugin, { fastify: '5.x', name: '@agnes/instrumentation' })

/** 2xx and 3xx succeed, 401 and 403 are denials, the rest are errors with their status, as Agnes writes them. */
function resultOf(status: number): string {
  if (status < 400) return 'success'
  return status === 401 || status === 403 ? 'denied' : `error.${status}`
}

/** The caller's correlation id, or its trace id (W3C Trace Context), or a new one. */
function correlationOf(request: FastifyRequest): string {
  const given = request.headers['x-correlation-id']
  if (typeof given === 'string' && /^[\w.:-]{1,128}$/.test(given)) return given
  const { traceparent } = request.headers
  const traceId = typeof traceparent === 'string' ? /^00-([0-9a-f]{32})-/.exec(traceparent)?.[1] : undefined
  return traceId ?? randomUUID()
}

/** What an app gives us may throw; its request must not notice. */
function safely<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
