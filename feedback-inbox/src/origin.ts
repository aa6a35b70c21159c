/** Who asked from where, as audit events say it. */
import type { Recorder } from '@agnes/instrumentation'
import type { FastifyRequest } from 'fastify'

export type Origin = Pick<Parameters<Recorder['audit']>[0], 'clientAddress' | 'clientKind'>

export function originOf(request: FastifyRequest): Origin {
  const isBrowser = request.visitor === undefined || request.visitor.session !== undefined
  return { clientAddress: request.ip, clientKind: isBrowser ? 'web' : 'external' }
}
