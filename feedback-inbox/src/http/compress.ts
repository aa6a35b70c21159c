/** gzip for texts that are whole when they are sent; what is streamed goes as it is. */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyReply, FastifyRequest } from 'fastify'

const compress = promisify(gzip)
/** Below it a packet is not filled. */
const worthBytes = 1_200
const texts = /^(text\/|application\/(json|problem\+json|javascript))/

export async function compressText(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  const isText = typeof payload === 'string' || Buffer.isBuffer(payload)
  if (!isText || payload.length < worthBytes || !texts.test(String(reply.getHeader('content-type')))) return payload
  void reply.header('vary', 'Accept-Encoding')
  if (!/\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(request.headers['accept-encoding'] ?? '')) return payload
  void reply.header('content-encoding', 'gzip').removeHeader('content-length')
  return compress(payload, { level: 4 })
}
