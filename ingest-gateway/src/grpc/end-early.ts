/**
 * A call that is answered before its message has come. Its client need not send the rest: the stream is reset without an
 * error (RFC 9113, section 8.1), or some would send all of it.
 */
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'

/**
 * The client may have sent up to HTTP/2's window, 64 KiB, when the answer reaches it. What comes after a reset counts
 * against the connection: many such calls, and HTTP/2 ends it with every other call on it.
 */
const lingerMs = 250
/** Over all connections; what they were sent is kept until they are reset. Beyond it they are reset at once. */
const mostLingering = 256
/** A client that does not read is not waited for longer than this with its answer. */
const unsentMs = 2_000

let lingering = 0

/** "Trailers-Only": answers with headers alone. */
export function endEarly(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
  if (stream.closed || stream.destroyed) return
  stream.respond(headers, { endStream: true })
  if (stream.readableEnded) return
  const lingers = lingering < mostLingering
  if (lingers) {
    lingering++
    // Nothing is read, so that the window stays shut.
    stream.pause()
  } else stream.resume()
  const latest = performance.now() + unsentMs
  const reset = (): void => {
    // A reset overtakes headers that wait to be written, and the client would never know why.
    const unsent = stream.session?.state.outboundQueueSize ?? 0
    if (unsent > 0 && performance.now() < latest) {
      setTimeout(reset, 10).unref()
      return
    }
    if (lingers) lingering--
    stream.resume()
    stream.close(constants.NGHTTP2_NO_ERROR)
  }
  if (lingers) setTimeout(reset, lingerMs).unref()
  else setImmediate(reset)
}
