/** Whom a chat acts for that is linked now: whoever asks, with the secret they came with. */
import { bearerOf, keyMark, type LinkOwner } from '@agnes/clickhouse'
import { UserError } from '@agnes/config'
import type { FastifyRequest } from 'fastify'
import { sessionCookie } from '../auth/session.ts'
import { readCookie } from '../http/cookies.ts'
import { visitorOf } from '../http/form.ts'
import type { Inbox } from '../inbox.ts'

/** @throws UserError if the key ended since the request was let in */
export function ownerOf(request: FastifyRequest, { gate, sessions }: Inbox): LinkOwner {
  const { tenant, userId, keyId, session } = visitorOf(request)
  const found =
    session === undefined
      ? gate.check(bearerOf(request.headers.authorization ?? '') ?? '', request)
      : sessions.read(readCookie(request, sessionCookie) ?? '')?.found
  if (found?.kind !== 'valid') {
    throw new UserError('the key is not valid any more', { code: 'unauthenticated', status: 401, hint: 'log in again' })
  }
  return { tenant, userId, keyId, keyMark: keyMark(found.secretHash) }
}
