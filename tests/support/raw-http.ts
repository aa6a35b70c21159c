/** HTTP/1.1 by hand over a socket: what a client library would not send, and answers as they stand on the wire. */
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface RawRequest {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
  /** Send the body in chunks, without Content-Length. */
  readonly chunked?: boolean
}

export interface RawAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export function requestBytes({ method = 'POST', path = '/v1/logs', headers = {}, body, chunked }: RawRequest): Buffer {
  const content = Buffer.from(body ?? '')
  const length = chunked
    ? { 'Transfer-Encoding': 'chunked' }
    : body === undefined
      ? {}
      : { 'Content-Length': content.length }
  const lines = Object.entries({ Host: 'localhost', ...length, ...headers }).map(([name, value]) => `${name}: ${value}`)
  const head = Buffer.from(`${[`${method} ${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n`)
  return Buffer.concat([head, chunked ? chunks(content) : content])
}

function chunks(content: Buffer, size = 1_000): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < content.length; at += size) {
    const part = content.subarray(at, at + size)
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'))
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

/** One request on a connection of its own. */
export async function send(port: number, request: RawRequest): Promise<RawAnswer> {
  const connection = await openConnection(port)
  try {
    connection.socket.write(requestBytes(request))
    return await connection.answer()
  } finally {
    connection.socket.destroy()
  }
}

export interface Connection {
  readonly socket: Socket
  /** The next answer. @throws if the connection ends before it is complete */
  answer(): Promise<RawAnswer>
  /** Resolves when the other side has closed; answers nobody took count as unexpected. */
  closed(): Promise<void>
}

export async function openConnection(port: number): Promise<Connection> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  let received = Buffer.alloc(0)
  let ended = false
  let wake: () => void = () => {}
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    wake()
  })
  const end = (): void => {
    ended = true
    wake()
  }
  socket.on('end', end)
  socket.on('close', end)
  socket.on('error', () => {}) // a reset is an end like any other

  const more = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve
    })

  return {
    socket,
    async answer() {
      for (;;) {
        const parsed = parseAnswer(received)
        if (parsed !== undefined) {
          received = received.subarray(parsed.length)
          return parsed.answer
        }
        if (ended) throw new Error(`the connection ended after ${JSON.stringify(received.toString())}`)
        await more()
      }
    },
    async closed() {
      while (!ended) await more()
      if (received.length > 0) throw new Error(`unexpected: ${received.toString()}`)
    },
  }
}

function parseAnswer(bytes: Buffer): { answer: RawAnswer; length: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const length = headEnd + 4 + Number(headers['content-length'] ?? 0)
  if (bytes.length < length) return undefined
  const status = Number(statusLine.split(' ')[1])
  return { answer: { status, headers, body: Buffer.from(bytes.subarray(headEnd + 4, length)) }, length }
}
