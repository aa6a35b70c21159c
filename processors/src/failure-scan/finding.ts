/** What the scan says of a session: one thing that went wrong, at one turn. */

export type FindingType =
  | 'tool_error'
  | 'permission_denied'
  | 'user_rejection'
  | 'loop'
  | 'abrupt_end'
  | 'api_error'
  | 'context_pressure'
  | 'repeated_correction'

/** `info`: happens in good sessions too. `warning`: worth a look. `error`: it stopped the work. */
export type FindingSeverity = 'info' | 'warning' | 'error'

export interface Finding {
  /**
   * 32 hexadecimal digits, the same however often and from wherever the session is uploaded: made of the session id, the
   * `tool_use_id` or `uuid` it is about, and the type. Not of the turn's index nor of the rule's version.
   */
  readonly id: string
  readonly type: FindingType
  /** A finer word within the type: `shell_exit`, `harness_validation`, `unanswered_call` … */
  readonly class: string
  readonly severity: FindingSeverity
  readonly turnIndex: number
  readonly line: number
  readonly uuid: string
  readonly toolUseId: string
  readonly toolName: string
  /** Milliseconds since 1970. */
  readonly timeMs: number | undefined
  /** At most 300 characters of what the turn says. */
  readonly excerpt: string
  readonly rule: string
  readonly ruleVersion: number
  /** What to do about it. */
  readonly advice: string
}
