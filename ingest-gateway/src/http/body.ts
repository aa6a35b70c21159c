/** Reading a request's body within limits: as sent, and again after inflating. */
import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

export interface BodyLimits {
  /** As sent. */
  readonly maxBodyBytes: number
  /** After inflating. */
  readonly maxDecodedBytes: number
}

/** The body can't be taken; `status` is the HTTP status of the answer. */
export class BodyError extends Error {
  readonly status: 400 | 413 | 415

  constructor(status: 400 | 413 | 415, message: string) {
    super(message)
    this.name = 'BodyError'
    this.status = status
  }
}

/** The client went away before its body was complete: nobody is left to answer. */
export class AbortedError extends Error {}

const inflate = promisify(gunzip)

/** @throws BodyError if the encoding is not one we take; checked before a byte of the body is read */
export function contentEncoding(header: string | undefined): 'identity' | 'gzip' {
  const encoding = (header ?? '').trim().toLowerCase()
  if (encoding === '' || encoding === 'identity') return 'identity'
  if (encoding === 'gzip') return 'gzip'
  throw new BodyError(
    415,
    `Content-Encoding "${encoding.slice(0, 40)}" is not supported: send gzip, or no encoding at all`,
  )
}

/**
 * The whole body, inflated.
 * @param proceed called when nothing speaks against reading: a client that waits for `100 Continue` is told here
 * @throws BodyError 413 past a limit (a declared length is refused unread), 400 if it can't be inflated
 * @throws AbortedError if the connection ends early
 */
export async function readBody(
  request: IncomingMessage,
  encoding: 'identity' | 'gzip',
  limits: BodyLimits,
  proceed: () => void,
): Promise<Buffer> {
  const sent = await readSent(request, limits.maxBodyBytes, proceed)
  if (encoding === 'identity') {
    if (sent.length > limits.maxDecodedBytes) throw tooLarge(limits.maxDecodedBytes, 'decoded')
    return sent
  }
  try {
    // The one-shot call stops at the limit; a stream would ignore maxOutputLength.
    return await inflate(sent, { maxOutputLength: limits.maxDecodedBytes })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw tooLarge(limits.maxDecodedBytes, 'inflated')
    // zlib's messages are fixed sentences: "unexpected end of file", "incorrect data check" …
    throw new BodyError(
      400,
      `the body is not valid gzip (${(error as Error).message}): send whole gzip, or no Content-Encoding with a plain body`,
    )
  }
}

function readSent(request: IncomingMessage, maxBytes: number, proceed: () => void): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > maxBytes) return Promise.reject(tooLarge(maxBytes, 'declared'))
  proceed()
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length
      if (bytes > maxBytes) {
        request.off('data', onData)
        request.pause()
        reject(tooLarge(maxBytes, 'sent'))
      } else chunks.push(chunk)
    }
    request.on('data', onData)
    request.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes)))
    request.on('error', () => reject(new AbortedError('the connection ended before the body was complete')))
    request.on('aborted', () => reject(new AbortedError('the connection ended before the body was complete')))
  })
}

function tooLarge(limit: number, what: string): BodyError {
  const variable = what === 'inflated' || what === 'decoded' ? 'AGNES_MAX_DECODED_BYTES' : 'AGNES_MAX_BODY_BYTES'
  const hint = `send smaller batches, or raise ${variable}`
  return new BodyError(
    413,
    `the body is larger than ${limit} bytes${what === 'inflated' ? ' after inflating' : ''}: ${hint}`,
  )
}
