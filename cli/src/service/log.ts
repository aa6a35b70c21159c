/**
 * What a service says while it runs, on standard error: sentences for people on a terminal, one JSON object a line for
 * whoever collects logs.
 */
import { type Config, type Log, type LogLevel, logLevels } from '@agnes/config'
import { harmless, harmlessJsonText } from '../output/text.ts'

export interface LogOptions {
  /** `gateway`, `engine`, `agnes` */
  readonly service: string
  /** What is less serious is not said. */
  readonly level: LogLevel
  readonly format: 'text' | 'json'
  readonly write: (line: string) => void
  readonly now?: () => Date
}

export async function createLog({ service, level: least, format, write, now }: LogOptions): Promise<Log> {
  if (format === 'json') return jsonLog(service, least, write, now ?? (() => new Date()))
  return (message, level = 'info') => {
    if (logLevels.indexOf(level) > logLevels.indexOf(least)) return
    // A message may quote what came from anybody: it must neither steer a terminal nor look like another line.
    write(`${message.split('\n').map(harmless).join('\n')}\n`)
  }
}

async function jsonLog(service: string, level: LogLevel, write: LogOptions['write'], now: () => Date): Promise<Log> {
  // Loaded where it is used: most commands only print.
  const { pino } = await import('pino')
  const logger = pino(
    {
      level,
      messageKey: 'message',
      base: { service, pid: process.pid },
      timestamp: () => `,"time":"${now().toISOString()}"`,
      formatters: { level: (name) => ({ level: name }) },
    },
    { write: (line) => write(harmlessJsonText(line)) },
  )
  const own = new Set(['level', 'time', 'service', 'pid', 'message'])
  return (message, atLevel = 'info', fields = {}) => {
    // pino writes a key twice where a field has the name of one of ours.
    const others = Object.fromEntries(Object.entries(fields).filter(([name]) => !own.has(name)))
    logger[atLevel](others, message)
  }
}

/** As the configuration says; people read a terminal, programs read anything else. */
export function serviceLog(
  service: string,
  { logLevel: level, logFormat }: Pick<Config, 'logLevel' | 'logFormat'>,
): Promise<Log> {
  const { stderr } = process
  return createLog({
    service,
    level,
    format: logFormat ?? (stderr.isTTY ? 'text' : 'json'),
    write: (line) => void stderr.write(line),
  })
}
