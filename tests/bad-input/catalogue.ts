/**
 * The 130 cases of bad input, and where each is tried. Those of this directory carry their number (`#13`) in the title of
 * a test; the others are named here by file and title, which catalogue.test.ts checks. What has no subject yet says so.
 */
interface Elsewhere {
  readonly file: string
  /** Of tests, or the first cell of their rows. */
  readonly titles: readonly string[]
}

const requests = 'ingest-gateway/src/http/requests.test.ts'
const connections = 'ingest-gateway/src/http/connections.test.ts'
const json = 'ingest-gateway/src/otlp/transcode-json.test.ts'
const wire = 'ingest-gateway/src/otlp/wire.test.ts'
const limits = 'ingest-gateway/src/otlp/limits.test.ts'
const differential = 'ingest-gateway/src/otlp/transcode.test.ts'
const writer = 'ingest-gateway/src/writer/writer.test.ts'
const spool = 'ingest-gateway/src/spool/spool.test.ts'
const gate = 'ingest-gateway/src/auth/gate.test.ts'
const keyRing = 'ingest-gateway/src/auth/key-ring.test.ts'
const redactor = 'redaction/src/redactor.test.ts'
const rules = 'redaction/src/rules.test.ts'

const at = (file: string, ...titles: string[]): Elsewhere => ({ file, titles })

export const elsewhere: Readonly<Record<number, readonly Elsewhere[]>> = {
  // A: HTTP
  1: [at(requests, 'GET', 'PUT', 'DELETE', 'OPTIONS, as a browser asks', 'TRACE')],
  2: [at(requests, 'a slash at the end', 'two slashes')],
  3: [at(requests, 'no content type')],
  4: [at(requests, 'a charset', 'spaces and capitals', 'protobuf in capitals')],
  5: [at(requests, 'a content type with words behind it', 'a content type with a tab and a word')],
  6: [at(requests, 'text', 'a form')],
  7: [at(requests, 'protobuf called JSON', 'JSON called protobuf')],
  8: [at(requests, 'brotli')],
  9: [at(requests, 'gzip twice', 'brotli in gzip')],
  10: [at(requests, 'no encoding, said so', 'an empty Content-Encoding', 'GZIP in capitals')],
  11: [at(requests, 'plain text called gzip')],
  12: [at(requests, 'gzip called plain')],
  13: [at(requests, 'gzip that inflates over the limit', 'a gzip bomb costs no more memory than the limit allows')],
  15: [at(requests, 'gzip within gzip')],
  16: [at(requests, 'gzip of several members')],
  18: [at(requests, 'gzip cut off', 'gzip with a wrong checksum', 'gzip with a wrong length')],
  19: [at(requests, 'zstd that inflates over the limit is refused')],
  20: [at(requests, 'zstd: taken where this Node.js can inflate it, else refused')],
  21: [at(requests, 'a declared length over the limit', 'a body over the limit', 'chunks over the limit')],
  22: [at(connections, 'a negative length', 'a length with a sign', 'two lengths')],
  23: [at(connections, 'a length and chunks')],
  25: [at(connections, 'in the chunks of a body cut the connection or are refused; nothing is stored')],
  26: [at(connections, 'that never ends is cut off')],
  28: [at(connections, 'a header block of 17 kB')],
  29: [at(requests, 'header names of Object.prototype', 'a path of Object.prototype')],
  30: [at(connections, 'a header with NUL', 'a header without a name')],
  31: [at(connections, 'is refused at once if its body is %s')],
  32: [at(connections, 'is never taken for the next request, whatever is in it')],
  33: [at(connections, 'in the middle of its body leaves nothing behind', 'resets the connection')],
  36: [at(connections, 'HTTP/1.0 without a Host is served'), at(requests, 'a whole URI as target')],
  37: [at(connections, 'HTTP/2, as gRPC speaks it')],
  38: [
    at(connections, 'TLS'),
    at('ingest-gateway/src/tls.test.ts', 'a client that speaks plain HTTP is told to use https'),
  ],
  40: [at(gate, 'a key in the URL (?%s=…) is refused as leaked, and not repeated')],
  42: [at(connections, 'is refused for now, with when to try again; small requests declared large keep nobody out')],

  // B: keys and tenants
  45: [
    at(
      gate,
      'an empty bearer',
      'no scheme',
      'Basic',
      'with two Authorization headers is refused, though both are right',
    ),
    at(gate, 'with the key in the body, or with a NUL in the header, is refused'),
  ],
  46: [at(keyRing, 'a wrong secret takes as long to refuse as an id nobody has')],
  47: [at(gate, '10 KiB', 'letters of another script')],
  48: [
    at(keyRing, 'a key works on every gateway within five seconds, and a revoked one stops within five'),
    at(keyRing, 'a key stops at the instant it expires'),
    at(gate, 'with a key that lacks the scope is forbidden, on loopback too'),
  ],
  49: [
    at(keyRing, 'a rotated key works with both secrets until its grace is over, however long the list stays the same'),
  ],
  50: [at(keyRing, "P22: nothing a client sends makes an event another tenant's")],
  51: [at(gate, 'are told to wait, while a right key from there passes')],
  52: [
    at(gate, 'with %s is refused, on loopback too, and what was sent is not repeated'),
    at(keyRing, "the gateway's own heartbeat comes in though everybody needs a key, and no key was logged"),
  ],

  // C: OTLP/JSON
  53: [at(json, 'nothing', 'a request without records is fine'), at(requests, 'nothing at all, as JSON')],
  54: [at(json, 'null', 'a list', 'a string', 'a number')],
  55: [at(json, 'an object for resourceLogs', 'text for resourceLogs', 'null in resourceLogs')],
  56: [at(json, 'snake_case names')],
  57: [at('tests/conformance/otlp-json.test.ts', 'receivers MUST ignore fields with unknown names, at every level')],
  58: [at(json, 'a key twice')],
  59: [at(json, 'hostile text is text: stored as it came, and nothing of it reaches our own objects')],
  60: [
    at(limits, '10,000 lists in each other, JSON'),
    at(limits, '200,000 lists in each other in a JSON field nobody knows are ignored like any other'),
    at(limits, '63 levels around a value are stored, 64 are not'),
  ],
  61: [at(limits, 'more records than 50,000 are refused whole, however small they are')],
  63: [at(json, 'two members at once', 'an empty value', 'a member nobody knows')],
  64: [at(json, 'numbers as text', 'an exponent in intValue', 'a fraction in intValue', '2^63 in intValue')],
  66: [at(json, 'a negative time', 'a time beyond 64 bits', 'a date as time')],
  69: [at(json, 'a trace id in base64', 'a trace id of words', 'a span id that is too long')],
  70: [at(json, 'bytesValue that is not base64', 'base64url without padding')],
  71: [
    at(json, 'a byte order mark', 'UTF-16', 'bytes that are not UTF-8'),
    at(limits, 'half a surrogate pair in JSON becomes U+FFFD, alone and inside a list', 'an overlong slash'),
  ],
  73: [at(json, 'a trailing comma', 'a comment', 'single quotes', 'two documents')],
  75: [
    at('cli/src/output/text.test.ts', 'no text can move the cursor, change colours, break the line or read backwards'),
  ],
  79: [at(json, 'a record with a mistake is rejected by name, the one beside it is kept')],
  80: [at(json, 'flags beyond 32 bits', 'words as flags')],

  // D: OTLP/protobuf
  81: [at(requests, 'an empty body, which is an empty request in protobuf')],
  82: [at(wire, 'cut anywhere: refused with 400, or understood exactly as far as another decoder understands it')],
  83: [at(wire, 'a length beyond the end', 'a length of 2^31', 'a length of 2^32-1', 'a negative length')],
  84: [
    at(wire, 'a varint of 11 bytes', 'field number 0', 'a field number beyond 2^29-1', 'wire type 6', 'wire type 7'),
    at(wire, 'varints may be longer than they need to be'),
  ],
  85: [at(wire, '10,000 groups in each other', 'the end of a group nobody opened', 'a group that never ends')],
  86: [at(limits, '10,000 lists in each other, protobuf')],
  88: [at(wire, 'a known field with another wire type is an unknown field')],
  89: [at(wire, 'of a singular field that is sent twice the last one counts')],
  91: [at(limits, 'an overlong slash', 'a surrogate', 'beyond U+10FFFF')],
  92: [at(limits, 'millions of empty resources or scopes are refused')],
  97: [at(wire, 'a gRPC frame')],
  98: [at(wire, 'JSON text')],
  99: [
    at(
      differential,
      'the same request in JSON, however its sender writes it, becomes the same rows and the same notes',
    ),
  ],

  // E: ClickHouse
  100: [at(writer, 'was stored and the answer lost', 'was stored and the answer hangs')],
  101: [at(writer, 'fails behind a status of 200', 'fails after the status was sent')],
  102: [
    at(
      'tests/faults/kill.test.ts',
      'P2 P8 P16 P26: kill -9 of gateway and engine under load, five rounds: every acknowledged event is stored exactly once',
    ),
  ],
  104: [
    at(writer, 'is not what a server refuses for a reason of its own: it is tried until it is taken'),
    at(writer, 'P11: a ClickHouse that keeps failing is asked seldom, and costs little'),
  ],
  109: [at(writer, 'the same segment twice is one')],

  // F: spool
  112: [
    at(spool, 'keeps its sequence numbers: they are never given twice, even when everything was drained in between'),
  ],

  // H: CLI, configuration
  127: [
    at('config/src/listen.test.ts', 'a taken port is named with its holder, and the variable to change'),
    at('ingest-gateway/src/tls.test.ts', 'a key everyone may read'),
    at('config/src/parse.test.ts', 'a password in CLICKHOUSE_URL is never shown'),
    at(rules, 'a bomb of aliases'),
  ],
  128: [
    at(rules, 'a pattern of ten megabytes', 'a pattern that matches nothing', 'a pattern that does not close'),
    at(redactor, 'a pattern that would take other engines for ever takes linear time'),
  ],
}

const inbox = 'there is no inbox and no notifier yet'
const sessions = 'transcripts are not read yet'
const processors = 'there are no processors yet'
const storage = 'not tried yet: needs faults in the writer or the spool'

/** Why a case has no test. */
export const notYet: Readonly<Record<number, string>> = {
  103: storage,
  105: storage,
  106: storage,
  107: storage,
  108: storage,
  110: storage,
  114: 'segments are not chained by hashes yet',
  115: storage,
  116: inbox,
  117: inbox,
  118: inbox,
  119: inbox,
  120: inbox,
  121: inbox,
  122: sessions,
  123: sessions,
  124: sessions,
  125: sessions,
  129: processors,
  130: processors,
}
