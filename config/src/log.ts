/** What services say while they run: a sentence, how serious it is, and figures beside it. */

export const logLevels = ['error', 'warn', 'info'] as const

export type LogLevel = (typeof logLevels)[number]

/**
 * Says it; `info` unless told. A function of one text is one too, so whoever only wants the sentences passes
 * `(line) => …`. Never bodies, headers, keys, nor URLs that may hold a password.
 */
export type Log = (
  message: string,
  level?: LogLevel,
  fields?: Readonly<Record<string, string | number | boolean>>,
) => void
