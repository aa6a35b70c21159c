/** Reading a request's body within limits: as sent, and again after inflating. */
import type { IncomingMessage } from 'node:http'
import type { Transform } from 'node:stream'
import * as zlib from 'node:zlib'
import { giveBack, join } from '../buffer-pool.ts'
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

/** Node's own are 16 KiB: a usual body of 200 kB would come in a dozen. */
const inflatedChunkBytes = 64 * 1024

/**
 * Requests that are inflated at once; others wait. An inflater has a hundred kilobytes before it has inflated anything:
 * ten thousand small requests would take a gigabyte of them. None waits for a client.
 */
const maxInflating = 32
let inflating = 0
const waiting: (() => void)[] = []

export type CreateInflater = (options: zlib.ZlibOptions) => Transform

/** From Node.js 22.15 and 23.8. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: CreateInflater }

/** `deflate` is zlib's form (RFC 9110, 8.4.1.2). */
const inflaters: Readonly<Record<string, CreateInflater>> = {
  gzip: zlib.createGunzip,
  deflate: zlib.createInflate,
  ...(createZstdDecompress === undefined ? {} : { zstd: createZstdDecompress }),
}
const known = Object.keys(inflaters)

export interface Encoding {
  readonly name: string
  /** undefined: the body is as it is. */
  readonly createInflater: CreateInflater | undefined
}

/** @throws BodyError if the encoding is not one we take; checked before a byte of the body is read */
export function contentEncoding(header: string | undefined): Encoding {
  const name = (header ?? '').trim().toLowerCase() || 'identity'
  if (name === 'identity') return { name, createInflater: undefined }
  if (Object.hasOwn(inflaters, name)) return { name, createInflater: inflaters[name] }
  throw new BodyError(
    415,
    `Content-Encoding "${name.slice(0, 40)}" is not supported: send ${known.join(' or ')}, or no encoding at all`,
  )
}

/**
 * The whole body, inflated; its memory may be given back (buffer-pool.ts).
 * @param proceed called when nothing speaks against reading: a client that waits for `100 Continue` is told here
 * @throws BodyError 413 past a limit (a declared length is refused unread), 400 if it can't be inflated
 * @throws BusyError if there is no room for it
 * @throws AbortedError if the connection ends early
 */
export async function readBody(
  request: IncomingMessage,
  { name, createInflater }: Encoding,
  limits: BodyLimits,
  room: Room,
  proceed: () => void,
): Promise<Buffer> {
  const sent = await readSent(request, limits.maxBodyBytes, room, proceed)
  if (createInflater === undefined) {
    if (sent.length > limits.maxDecodedBytes) throw tooLarge(limits.maxDecodedBytes, 'decoded')
    return sent
  }
  try {
    const inflated = await inflate(sent, createInflater, limits.maxDecodedBytes, room)
    // Where it fails the inflater may be reading it still.
    giveBack(sent)
    return inflated
  } catch (error) {
    if (error instanceof BusyError || error instanceof BodyError) throw error
    // zlib's messages are fixed sentences: "unexpected end of file", "incorrect data check" …
    throw new BodyError(
      400,
      `the body is not valid ${name} (${(error as Error).message}): send whole ${name}, or no Content-Encoding with a plain body`,
    )
  }
}

/**
 * Piece by piece, so that what grows to a thousand times its size ends when the limit or the room does.
 * @throws BodyError 413 past the limit
 * @throws BusyError if there is no room for it
 * @throws Error of zlib's if it can't be inflated
 */
export async function inflate(sent: Buffer, create: CreateInflater, maxBytes: number, room: Room): Promise<Buffer> {
  await turn()
  try {
    return await inflateNow(sent, create, maxBytes, room)
  } finally {
    nextTurn()
  }
}

async function turn(): Promise<void> {
  if (inflating < maxInflating) inflating++
  else await new Promise<void>((resolve) => waiting.push(resolve))
}

/** Whoever waits takes over the place. */
function nextTurn(): void {
  const next = waiting.shift()
  if (next === undefined) inflating--
  else next()
}

async function inflateNow(sent: Buffer, create: CreateInflater, maxBytes: number, room: Room): Promise<Buffer> {
  const inflater = create({ chunkSize: inflatedChunkBytes })
  inflater.end(sent)
  const chunks: Buffer[] = []
  let bytes = 0
  // Leaving the loop ends the stream.
  for await (const chunk of inflater as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) throw tooLarge(maxBytes, 'inflated')
    room.take(chunk.length)
    chunks.push(chunk)
  }
  return join(chunks, bytes)
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
    request.on('end', () => resolve(join(chunks, bytes)))
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
