/**
 * Reading the one message of a unary call within limits: its room is taken while it arrives, and again while it is
 * inflated.
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md "Length-Prefixed-Message"
 * @see https://github.com/grpc/grpc/blob/master/doc/compression.md
 */
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import * as zlib from 'node:zlib'
import { BusyError } from '../byte-budget.ts'
import { AbortedError, BodyError, type CreateInflater, inflate, type Room } from '../http/body.ts'
import { CallError, codes } from './status.ts'

export interface MessageLimits {
  /** Of the message, as sent and after inflating. */
  readonly maxBytes: number
  /** Milliseconds until the whole message must be there. */
  readonly arriveWithinMs: number
}

/** Compressed flag and length. */
const prefixBytes = 5
/** A message that is called long and comes slowly holds this much at first, then at most twice what has come of it. */
const smallestBlockBytes = 4 * 1024

/** `deflate` is zlib's form, as in HTTP. */
const inflaters: Readonly<Record<string, CreateInflater>> = { gzip: zlib.createGunzip, deflate: zlib.createInflate }

/**
 * The message, inflated, once the client has ended its side.
 * @throws CallError if there is not exactly one message, or it is too large (refused unread), late, or can't be inflated
 * @throws BodyError 413 if it inflates past the limit
 * @throws BusyError if there is no room for it
 * @throws AbortedError if the client went away
 */
export async function readMessage(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  limits: MessageLimits,
  room: Room,
): Promise<Buffer> {
  const { bytes, encoding } = await readSent(stream, headers, limits, room)
  if (encoding === undefined) return bytes
  const { name, create } = encoding
  try {
    return await inflate(bytes, create, limits.maxBytes, room)
  } catch (error) {
    if (error instanceof BusyError || error instanceof BodyError || error instanceof AbortedError) throw error
    // zlib's messages are fixed sentences.
    const problem = `the message is not valid ${name} (${(error as Error).message})`
    throw new CallError(codes.INTERNAL, `${problem}: send whole ${name}, or no grpc-encoding with a plain message`)
  }
}

interface Encoding {
  readonly name: string
  readonly create: CreateInflater
}

interface Sent {
  readonly bytes: Buffer
  /** undefined: the message is as it is. */
  readonly encoding: Encoding | undefined
}

function readSent(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  { maxBytes, arriveWithinMs }: MessageLimits,
  room: Room,
): Promise<Sent> {
  // Not the headers themselves: they would stay in memory for as long as the message takes.
  const grpcEncoding = headers['grpc-encoding']
  const patience = patienceOf(headers['grpc-timeout'], arriveWithinMs)
  return new Promise((resolve, reject) => {
    const prefix = Buffer.alloc(prefixBytes)
    let prefixFilled = 0
    let encoding: Encoding | undefined
    let blocks: Blocks | undefined

    const late = setTimeout(() => {
      fail(new CallError(codes.DEADLINE_EXCEEDED, patience.message))
    }, patience.ms).unref()

    function take(chunk: Buffer): void {
      let at = 0
      if (blocks === undefined) {
        at = chunk.copy(prefix, prefixFilled)
        prefixFilled += at
        if (prefixFilled < prefixBytes) return
        encoding = encodingOf(prefix.readUInt8(0), grpcEncoding)
        const length = prefix.readUInt32BE(1)
        if (length > maxBytes) throw tooLarge(length, maxBytes)
        // Who finds no room at all need not send.
        room.take(0)
        blocks = createBlocks(length, room)
      }
      if (at === chunk.length) return
      const rest = at === 0 ? chunk : chunk.subarray(at)
      if (rest.length > blocks.missing()) {
        throw new CallError(codes.UNIMPLEMENTED, 'more came than one message: Export takes one')
      }
      blocks.add(rest)
    }

    const onData = (chunk: Buffer): void => {
      try {
        take(chunk)
      } catch (error) {
        fail(error)
      }
    }
    const onEnd = (): void => {
      if (stream.closed) onClose()
      else if (blocks?.missing() === 0) {
        settle()
        resolve({ bytes: blocks.joined(), encoding })
      } else {
        const came = prefixFilled === 0 ? 'no message came' : 'the call ended before its message did'
        fail(new CallError(codes.UNIMPLEMENTED, `${came}: Export takes one`))
      }
    }
    const onClose = (): void => fail(new AbortedError('the call ended before its message was complete'))

    function fail(error: unknown): void {
      settle()
      reject(error)
    }
    function settle(): void {
      clearTimeout(late)
      stream.off('data', onData).off('end', onEnd).off('close', onClose)
    }
    stream.on('data', onData).on('end', onEnd).on('close', onClose)
  })
}

interface Blocks {
  /** Bytes that have not come yet. */
  missing(): number
  /** Copies it. */
  add(chunk: Buffer): void
  /** The whole message in memory of its own; once. */
  joined(): Buffer
}

/**
 * Memory of a message, taken as it arrives: who declares much and sends little must not keep others out. Node.js' own
 * chunks are not kept: one of a single byte costs hundreds, and may hold on to what else its connection read with it.
 */
function createBlocks(length: number, room: Room): Blocks {
  const blocks: Buffer[] = []
  let filled = 0
  let free = 0
  return {
    missing: () => length - filled,
    add(chunk) {
      for (let at = 0; at < chunk.length; ) {
        if (free === 0) {
          free = Math.min(length - filled, Math.max(smallestBlockBytes, filled, chunk.length - at))
          room.take(free)
          blocks.push(Buffer.allocUnsafeSlow(free))
        }
        const block = blocks.at(-1) as Buffer
        const copied = chunk.copy(block, block.length - free, at)
        at += copied
        filled += copied
        free -= copied
      }
    },
    joined: () => (blocks.length === 1 ? (blocks[0] as Buffer) : Buffer.concat(blocks.splice(0), length)),
  }
}

/** @throws CallError */
function encodingOf(flag: number, header: string | string[] | undefined): Encoding | undefined {
  if (flag === 0) return undefined
  if (flag !== 1) throw new CallError(codes.INTERNAL, `the message begins with ${flag}, not with a compressed flag`)
  const name = String(header ?? 'identity').toLowerCase()
  if (name === 'identity') {
    throw new CallError(codes.INTERNAL, 'the message is called compressed, and no grpc-encoding says how')
  }
  const create = Object.hasOwn(inflaters, name) ? inflaters[name] : undefined
  if (create === undefined) {
    const known = Object.keys(inflaters).join(' or ')
    throw new CallError(
      codes.UNIMPLEMENTED,
      `grpc-encoding "${name.slice(0, 40)}" is not supported: send ${known}, or none`,
    )
  }
  return { name, create }
}

const millisecondsOf: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }

/**
 * How long the message may take, and what its sender is told then: the client's own deadline counts where it is shorter.
 * @throws CallError if it has set one that can't be read
 */
function patienceOf(header: string | string[] | undefined, arriveWithinMs: number): { ms: number; message: string } {
  const ours = {
    ms: arriveWithinMs,
    message: `the request did not arrive within ${arriveWithinMs / 1000} s: try again`,
  }
  if (header === undefined) return ours
  const [, value, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(header)) ?? []
  if (value === undefined) {
    throw new CallError(codes.INTERNAL, `Invalid grpc-timeout value "${String(header).slice(0, 40)}"`)
  }
  const ms = Number(value) * (millisecondsOf[unit] as number)
  return ms < arriveWithinMs ? { ms, message: 'Deadline exceeded' } : ours
}

function tooLarge(length: number, maxBytes: number): CallError {
  const problem = `Received message larger than max (${length} vs ${maxBytes})`
  return new CallError(codes.RESOURCE_EXHAUSTED, `${problem}: send smaller batches, or raise AGNES_MAX_DECODED_BYTES`)
}
