/** An HTTP proxy that lets things go wrong between a client and its server, at a point a test chooses. */
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/**
 * What happens to a request that `matches`:
 * `lose-request` the connection ends before the server has seen it; `lose-answer` the server has done its work, and the
 * client never hears of it; `hold-…` the same, but the connection stays open; `drip-…` the same, and the answer's headers
 * or its body come byte by byte without end; a ClickHouse error: the server has not seen it, and this is the answer.
 */
export type Fault =
  | 'lose-request'
  | 'lose-answer'
  | 'hold-request'
  | 'hold-answer'
  | 'drip-headers'
  | 'drip-body'
  | ClickHouseFault

export interface ClickHouseFault {
  readonly code: number
  /** Ends in the error's name, `(TYPE_MISMATCH)`, or clients do not read it as an error of ClickHouse's. */
  readonly message: string
  /** 500 unless said: an error after the first rows comes with 200. */
  readonly status?: number
  /** It is told in the body alone. */
  readonly withoutHeader?: true
}

export interface FaultProxy {
  readonly url: string
  /** The next `times` requests whose URL or body contains `text` meet with the fault. */
  inject(fault: Fault, text: string, times?: number): void
  /** Faults that requests have met with. */
  met(): number
  /** What is planned no longer happens. */
  relieve(): void
  stop(): Promise<void>
}

export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const { origin, pathname } = new URL(target)
  let planned: { fault: Fault; text: string }[] = []
  let met = 0

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    const content = `${decodeURIComponent((request.url ?? '').replaceAll('+', ' '))}\n${body.toString('latin1')}`
    const plan = planned.find(({ text }) => content.includes(text))
    planned = planned.filter((one) => one !== plan)
    if (plan !== undefined) met++
    if (plan?.fault === 'lose-request') {
      request.socket.destroy()
      return
    }
    if (plan?.fault === 'hold-request') return
    if (typeof plan?.fault === 'object') {
      const { code, message, status = 500, withoutHeader } = plan.fault
      response.writeHead(status, withoutHeader ? {} : { 'X-ClickHouse-Exception-Code': code })
      response.end(`Code: ${code}. DB::Exception: ${message}`)
      return
    }
    const { 'transfer-encoding': _chunked, ...headers } = request.headers
    const onward = httpRequest(new URL(request.url ?? '/', origin), {
      method: request.method,
      headers: { ...headers, host: new URL(origin).host, 'content-length': body.length },
    })
    onward.end(body)
    const [answer] = (await once(onward, 'response')) as [IncomingMessage]
    if (plan?.fault === 'lose-answer') {
      answer.resume()
      await once(answer, 'end')
      request.socket.destroy()
      return
    }
    if (plan?.fault === 'hold-answer') {
      answer.resume()
      return
    }
    if (plan?.fault === 'drip-headers' || plan?.fault === 'drip-body') {
      answer.resume()
      drip(request.socket, plan.fault === 'drip-headers' ? 'HTTP/1.1 200 OK\r\nX-Slow: ' : slowBody)
      return
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(response)
  }

  const server = createServer((request, response) => {
    forward(request, response).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    url: `http://127.0.0.1:${address.port}${pathname}`,
    inject(fault, text, times = 1) {
      for (let i = 0; i < times; i++) planned.push({ fault, text })
    },
    met: () => met,
    relieve() {
      planned = []
    },
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const slowBody = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

/** Spaces after the start, one every 100 ms, until the client leaves. Each is a header's character, or a chunk. */
function drip(socket: Socket, start: string): void {
  socket.write(start)
  const dripping = setInterval(() => socket.write(start === slowBody ? '1\r\n \r\n' : ' '), 100)
  socket.once('close', () => clearInterval(dripping))
}
