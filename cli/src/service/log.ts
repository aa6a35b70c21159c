/**
 * What a service says while it runs, on standard error: sentences for people on a terminal, one JSON object a line for
 * whoever collects logs. A service says a few lines a day, so this needs no library.
 */
import { type Config, type Log, type LogLevel, logLevels } from '@agnes/config'
import { harmless, harmlessJson } from '../output/text.ts'

export interface LogOptions {
  /** `gateway`, `engine`, `agnes` */
  readonly service: string
  /** What is less serious is not said. */
  readonly level: LogLevel
  readonly format: 'text' | 'json'
  readonly write: (line: string) => void
  readonly now?: () => Date
}

export function createLog({ service, level: least, format, write, now = () => new Date() }: LogOptions): Log {
  return (message, level = 'info', fields = {}) => {
    if (logLevels.indexOf(level) > logLevels.indexOf(least)) return
    // A message may quote what came from anybody: it must neither steer a terminal nor look like another line.
    if (format === 'json') {
      write(`${harmlessJson({ ...fields, time: now().toISOString(), level, service, pid: process.pid, message })}\n`)
    } else write(`${message.split('\n').map(harmless).join('\n')}\n`)
  }
}

/** As the configuration says; people read a terminal, programs read anything else. */
export function serviceLog(
  service: string,
  { logLevel: level, logFormat }: Pick<Config, 'logLevel' | 'logFormat'>,
): Log {
  const { stderr } = process
  return createLog({
    service,
    level,
    format: logFormat ?? (stderr.isTTY ? 'text' : 'json'),
    write: (line) => void stderr.write(line),
  })
}
