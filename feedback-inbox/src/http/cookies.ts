/** The two cookies of the pages. Neither can be read by a script, nor is sent when another site leads here. */
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The first cookie of that name. */
export function readCookie({ headers }: Pick<FastifyRequest, 'headers'>, name: string): string | undefined {
  for (const pair of (headers.cookie ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}

/** @param value of letters that need no quoting: base64url and dots */
export function setCookie(reply: FastifyReply, name: string, value: string, maxAgeSeconds: number): void {
  const secure = reply.request.protocol === 'https' ? '; Secure' : ''
  void reply.header(
    'set-cookie',
    `${name}=${value}; Path=/; Max-Age=${maxAgeSeconds}; HttpOnly; SameSite=Strict${secure}`,
  )
}

export function clearCookie(reply: FastifyReply, name: string): void {
  setCookie(reply, name, '', 0)
}
