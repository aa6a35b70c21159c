/** Reading a request's body within limits: as sent, and again after inflating. */
import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { BusyError } from '../byte-budget.ts'

export interface BodyLimits {
  /** As sent. */
  readonly maxBodyBytes: number
  /** After inflating. */
  readonly maxDecodedBytes: number
}

/** What a request holds of the budget; given back when it was answered. */
export interface Room {
  /** @throws BusyError if there is none; 0 asks whether there is any */
  take(bytes: number): void
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

type Inflate = (body: Buffer, options: zlib.ZlibOptions) => Promise<Buffer>

/** From Node.js 22.15 and 23.8. */
const { zstdDecompress } = zlib as { zstdDecompress?: typeof zlib.gunzip }

/** One-shot calls: they stop at the limit; a stream would ignore maxOutputLength. `deflate` is zlib's form (RFC 9110, 8.4.1.2). */
const inflaters: Readonly<Record<string, Inflate>> = {
  gzip: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.gunzip),
  deflate: promisify<Buffer, zlib.ZlibOptions, Buffer>(zlib.inflate),
  ...(zstdDecompress === undefined ? {} : { zstd: promisify<Buffer, zlib.ZlibOptions, Buffer>(zstdDecompress) }),
}
const known = Object.keys(inflaters)

export interface Encoding {
  readonly name: string
  /** undefined: the body is as it is. */
  readonly inflate: Inflate | undefined
}

/** @throws BodyError if the encoding is not one we take; checked before a byte of the body is read */
export function contentEncoding(header: string | undefined): Encoding {
  const name = (header ?? '').trim().toLowerCase() || 'identity'
  if (name === 'identity') return { name, inflate: undefined }
  if (Object.hasOwn(inflaters, name)) return { name, inflate: inflaters[name] }
  throw new BodyError(
    415,
    `Content-Encoding "${name.slice(0, 40)}" is not supported: send ${known.join(' or ')}, or no encoding at all`,
  )
}

/**
 * The whole body, inflated.
 * @param proceed called when nothing speaks against reading: a client that waits for `100 Continue` is told here
 * @throws BodyError 413 past a limit (a declared length is refused unread), 400 if it can't be inflated
 * @throws BusyError if there is no room for it
 * @throws AbortedError if the connection ends early
 */
export async function readBody(
  request: IncomingMessage,
  { name, inflate }: Encoding,
  limits: BodyLimits,
  room: Room,
  proceed: () => void,
): Promise<Buffer> {
  const sent = await readSent(request, limits.maxBodyBytes, room, proceed)
  if (inflate === undefined) {
    if (sent.length > limits.maxDecodedBytes) throw tooLarge(limits.maxDecodedBytes, 'decoded')
    return sent
  }
  try {
    const inflated = await inflate(sent, { maxOutputLength: limits.maxDecodedBytes })
    room.take(inflated.length)
    return inflated
  } catch (error) {
    if (error instanceof BusyError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
      throw tooLarge(limits.maxDecodedBytes, 'inflated')
    // zlib's messages are fixed sentences: "unexpected end of file", "incorrect data check" …
    throw new BodyError(
      400,
      `the body is not valid ${name} (${(error as Error).message}): send whole ${name}, or no Content-Encoding with a plain body`,
    )
  }
}

async function readSent(request: IncomingMessage, maxBytes: number, room: Room, proceed: () => void): Promise<Buffer> {
  const declared = Number(request.headers['content-length'] ?? 0)
  if (declared > maxBytes) throw tooLarge(maxBytes, 'declared')
  room.take(0)
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
        return
      }
      chunks.push(chunk)
      try {
        // As it arrives: who declares much and sends little must not keep others out.
        room.take(chunk.length)
      } catch (busy) {
        request.off('data', onData)
        request.pause()
        reject(busy)
      }
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
