/**
 * The HTTPS server. A client that speaks plain HTTP to it is told so in plain HTTP: TLS itself would only cut the
 * connection, and whoever looks for the mistake would see a reset.
 */
import { createServer, type Server, type ServerOptions } from 'node:https'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Tls } from '../tls.ts'

export interface TlsServer {
  readonly server: Server
  /** Cuts every connection, those included that HTTP has not heard of yet. */
  cutAll(): void
}

/** A client gets this long to begin, and again to end the handshake. */
const handshakeMs = 10_000
/** A client that is told about its mistake may go on sending this long, or it would see a reset instead of the answer. */
const lingerMs = 2_000
/** First byte of a TLS record with a handshake (RFC 8446, section 5.1). */
const handshakeRecord = 0x16

/** @param answerToPlain whole HTTP answer for a client that does not speak TLS */
export function createTlsServer(options: ServerOptions, { context, onChange }: Tls, answerToPlain: string): TlsServer {
  const server = createServer({
    ...options,
    ...context,
    handshakeTimeout: handshakeMs,
    // Whoever has no certificate may still ask for health; the routes that take events look at `authorized`.
    ...(context.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: false }),
  })
  onChange((changed) => server.setSecureContext(changed))

  const connections = new Set<Socket>()
  const startTls = server.listeners('connection') as ((this: Server, socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (duplex) => {
    const socket = duplex as Socket // what net.Server emits
    connections.add(socket)
    socket.once('close', () => connections.delete(socket))
    const cut = (): void => void socket.destroy()
    socket.on('error', cut)
    socket.setTimeout(handshakeMs, cut)
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null
      if (first === null) return // it has ended
      socket.off('error', cut)
      socket.off('timeout', cut)
      socket.setTimeout(0)
      if (first[0] === handshakeRecord) {
        socket.unshift(first)
        for (const start of startTls) start.call(server, socket)
        return
      }
      socket.on('error', cut)
      socket.end(answerToPlain)
      socket.resume()
      setTimeout(cut, lingerMs).unref()
    })
  })

  return {
    server,
    cutAll() {
      for (const socket of connections) socket.destroy()
    },
  }
}

/** Whether the client has shown a certificate we trust, or need not. */
export function mayExport(socket: Socket, { context }: Tls): boolean {
  return context.ca === undefined || (socket as TLSSocket).authorized
}
