/** A form that was sent by a page of ours. */
import { UserError } from '@agnes/config'
import type { FastifyRequest } from 'fastify'
import type { FormTokens } from '../auth/csrf.ts'
import type { Visitor } from '../auth/visitor.ts'

/** Its fields. @throws UserError if it is none, or its token is not good for this session and path */
export function readForm(request: FastifyRequest, forms: FormTokens, session: string): URLSearchParams {
  const { body } = request
  if (!(body instanceof URLSearchParams)) {
    throw new UserError('this is not a form', { code: 'no_form', status: 415, hint: 'send it from the page' })
  }
  forms.redeem(body.get('token') ?? '', session, request.url.split('?', 1)[0] ?? '')
  return body
}

/** Who asks, on routes that are not public. */
export function visitorOf({ visitor }: FastifyRequest): Visitor {
  if (visitor === undefined) throw new Error('a route that asks who it is must not be public')
  return visitor
}

/** Who is logged in; a page's forms are for sessions only. @throws UserError for whoever sent a key instead */
export function sessionOf(request: FastifyRequest): Visitor & { readonly session: NonNullable<Visitor['session']> } {
  const visitor = visitorOf(request)
  if (visitor.session === undefined) {
    throw new UserError('forms are for people who logged in', { code: 'no_session', status: 403, hint: 'use the API' })
  }
  return { ...visitor, session: visitor.session }
}
