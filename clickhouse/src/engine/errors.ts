/** Errors as ClickHouse's HTTP interface tells them: a code, a status, and a text clients know how to read. */

/** A query ClickHouse refused, or a request we refuse in its manner. */
export class EngineError extends Error {
  readonly code: number
  readonly codeName: string
  /** HTTP status of the answer. */
  readonly status: number

  constructor(code: number, codeName: string, message: string, status = statusOf(code)) {
    super(message)
    this.name = 'EngineError'
    this.code = code
    this.codeName = codeName
    this.status = status
  }

  /** The body of the answer: `Code: 60. DB::Exception: … (UNKNOWN_TABLE) (version …)`. */
  text(version: string): string {
    return `Code: ${this.code}. DB::Exception: ${this.message} (${this.codeName}) (version ${version} (chDB))\n`
  }
}

/** What the binding throws carries ClickHouse's own text; anything else is reported as STD_EXCEPTION. */
export function fromChdb(error: Error): EngineError {
  let text = error.message.replace(/^Query failed: /, '')
  let code = 1001
  let codeName = 'STD_EXCEPTION'
  // Errors may be wrapped: the innermost code is the cause, the text after it the message.
  for (;;) {
    const match = /^Code: (\d+)\. DB::(?:Net)?Exception: /.exec(text)
    if (match === null) break
    code = Number(match[1])
    text = text.slice(match[0].length)
  }
  const name = / \(([A-Z][A-Z0-9_]+)\)(?: \(version [^)]*(?:\([^)]*\))?\))?(?:\. \([A-Z][A-Z0-9_]+\))?\s*$/.exec(text)
  if (name !== null) {
    codeName = name[1] ?? codeName
    text = text.slice(0, name.index)
  }
  return new EngineError(code, codeName, text.trim())
}

const notFound = new Set([46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336, 511])
const badRequest = new Set([6, 25, 26, 27, 33, 36, 38, 41, 42, 43, 53, 62, 72, 107, 117, 349, 386, 456, 457, 636])

/** HTTP status for an error code, as ClickHouse's HTTPHandler chooses it. */
function statusOf(code: number): number {
  if (notFound.has(code)) return 404
  if (badRequest.has(code)) return 400
  if (code === 516 || code === 497 || code === 164) return 403
  if (code === 373) return 409
  if (code === 48) return 501
  return 500
}
