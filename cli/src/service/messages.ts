/** What a service tells the process that started it, over the IPC channel. */
import { exitCodes, UserError } from '@agnes/config'

export interface ReadyMessage {
  readonly type: 'ready'
  /** Empty, and 0, of a service that listens nowhere. */
  readonly url: string
  readonly port: number
  /** Of the gateway's second listener. */
  readonly grpcPort?: number
}

/** It cannot start for a reason the user can mend. */
export interface FailedMessage {
  readonly type: 'failed'
  readonly message: string
  readonly code: string
  readonly exitCode: number
  readonly hint?: string
}

export type ServiceMessage = ReadyMessage | FailedMessage

export function failedMessage({ message, code, exitCode, hint }: UserError): FailedMessage {
  return { type: 'failed', message, code, exitCode, ...(hint === undefined ? {} : { hint }) }
}

export function errorOf({ message, code, exitCode, hint }: FailedMessage): UserError {
  const known = Object.values(exitCodes).find((one) => one === exitCode) ?? exitCodes.failure
  return new UserError(message, { code, exitCode: known, ...(hint === undefined ? {} : { hint }) })
}
