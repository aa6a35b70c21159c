/**
 * How a call ends: its status and message, as HTTP/2 headers.
 * @see https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md "Responses"
 */
import type { OutgoingHttpHeaders } from 'node:http2'

/** @see https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
export const codes = {
  OK: 0,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const

export interface Status {
  readonly code: (typeof codes)[keyof typeof codes]
  readonly message: string
  /** A `google.rpc.Status` for clients that read more than the message. */
  readonly details?: Buffer
}

/** The call can't be taken as it came. */
export class CallError extends Error {
  readonly code: Status['code']

  constructor(code: Status['code'], message: string) {
    super(message)
    this.name = 'CallError'
    this.code = code
  }
}

/** Of every response; clients learn here how they may compress ("Message-Accept-Encoding"). */
export const responseHeaders: OutgoingHttpHeaders = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': 'identity,deflate,gzip',
}

export function trailers({ code, message, details }: Status): OutgoingHttpHeaders {
  return {
    'grpc-status': code,
    ...(message === '' ? {} : { 'grpc-message': percentEncoded(message) }),
    // Binary values are base64; what receives them must take them without padding too.
    ...(details === undefined ? {} : { 'grpc-status-details-bin': details.toString('base64') }),
  }
}

/** UTF-8 with all but printable ASCII, and the percent sign, escaped ("Percent-Encoded"). */
function percentEncoded(text: string): string {
  return Buffer.from(text)
    .toString('latin1')
    .replace(/[^\x20-\x24\x26-\x7e]/g, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}
