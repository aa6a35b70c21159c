/**
 * The one error type users see. Routes and commands turn it into their protocol's form in one place;
 * everything else that is thrown is a bug and is reported as such, without its stack.
 */

/** Exit codes of the `agnes` command (architecture.md, "Contracts"). */
export const exitCodes = { done: 0, failure: 1, usage: 2, refused: 3 } as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

export interface UserErrorOptions {
  /** Stable machine-readable name, e.g. `port_taken`. */
  readonly code: string
  /** What the user can do about it, one sentence in the imperative. */
  readonly hint?: string
  readonly exitCode?: ExitCode
  /** HTTP status when the error is answered by a route. */
  readonly status?: number
  readonly cause?: unknown
}

/** A mistake or condition a user can mend: the message names the thing and the problem, `hint` the way out. */
export class UserError extends Error {
  readonly code: string
  readonly hint: string | undefined
  readonly exitCode: ExitCode
  readonly status: number

  constructor(message: string, options: UserErrorOptions) {
    super(message, { cause: options.cause })
    this.name = 'UserError'
    this.code = options.code
    this.hint = options.hint
    this.exitCode = options.exitCode ?? exitCodes.failure
    this.status = options.status ?? 500
  }
}
