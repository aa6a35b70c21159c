/** The HTTP/2 listener of gRPC: who may connect, how much one connection may have open, and how it ends. */
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import { bindPort } from '@agnes/config'
import type { Tls } from '../tls.ts'

export interface Http2Options {
  readonly host: string
  readonly port: number
  /** A third of it a client has to begin to speak HTTP/2. Milliseconds. */
  readonly arriveWithinMs: number
  readonly tls?: Tls | undefined
  /** @param credentials all values of the header Authorization, as sent */
  readonly onCall: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, credentials: readonly string[]) => void
}

export interface Http2Listener {
  readonly port: number
  /** Takes no new calls, lets those under way end; at most two seconds. */
  close(): Promise<void>
}

/** When the gateway stops, a call that is still under way after this long is cut off; it was not acknowledged. */
const slowCallMs = 2_000
/** Calls under way on one connection; a client that has more waits. */
const maxCallsAConnection = 100
/** As over HTTP. */
const maxHeaderBytes = 16 * 1024
/** A peer that went away without a word is noticed after this long without traffic, by TCP. */
const keepAliveMs = 60_000

/** @throws UserError if the port can't be bound */
export async function listenHttp2(options: Http2Options): Promise<Http2Listener> {
  const { arriveWithinMs, onCall } = options
  const beginWithinMs = arriveWithinMs / 3
  const server = createHttp2Server(options.tls, beginWithinMs)
  const connections = new Set<Socket>()
  const sessions = new Set<ServerHttp2Session>()

  server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
  })
  server.on('session', (session) => {
    sessions.add(session)
    // The client's SETTINGS end its preface (RFC 9113, section 3.4); Node.js would wait for them for ever.
    const silent = setTimeout(() => session.destroy(), beginWithinMs).unref()
    session.once('remoteSettings', () => clearTimeout(silent))
    session.once('close', () => {
      clearTimeout(silent)
      sessions.delete(session)
    })
  })
  // Node.js hands over the headers as they came too, its types do not know: of two Authorization it keeps the first.
  server.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: readonly string[]) => {
      // What goes wrong with a stream closes it.
      stream.on('error', () => {})
      onCall(stream, headers, authorizationsOf(raw))
    },
  )
  const port = await bindPort(server, options.host, options.port, 'AGNES_OTLP_GRPC_PORT')

  return {
    port,
    close: () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const session of sessions) session.close()
      const slow = setTimeout(() => {
        for (const session of sessions) session.destroy()
        for (const socket of connections) socket.destroy()
      }, slowCallMs).unref()
      return closed.finally(() => clearTimeout(slow))
    },
  }
}

function createHttp2Server(tls: Tls | undefined, beginWithinMs: number): Http2Server | Http2SecureServer {
  const serverOptions = {
    settings: { maxConcurrentStreams: maxCallsAConnection, maxHeaderListSize: maxHeaderBytes },
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  }
  if (tls === undefined) return createServer(serverOptions)
  const { context, onChange } = tls
  const server = createSecureServer({
    ...serverOptions,
    ...context,
    handshakeTimeout: beginWithinMs,
    ...(context.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true }),
  })
  onChange((changed) => server.setSecureContext(changed))
  // One that does not speak HTTP/2 has no session to notice that it is gone.
  server.on('secureConnection', (socket) => socket.on('error', () => {}))
  return server
}

function authorizationsOf(raw: readonly string[]): string[] {
  return raw.filter((_, at) => at % 2 === 1 && raw[at - 1] === 'authorization')
}
