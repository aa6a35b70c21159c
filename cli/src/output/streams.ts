/** Standard output and error, and what to do when nobody reads them any more. */
import { exitCodes } from '@agnes/config'

/** `agnes activity | head` has all it wanted when head ends: that is no error. */
export function endQuietlyWithoutReader(): void {
  const ended = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE') process.exit(exitCodes.done)
    throw error
  }
  process.stdout.on('error', ended)
  process.stderr.on('error', ended)
}

/** A service goes on when the terminal or the pipe it wrote to has gone. */
export function goOnWithoutReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error')
    stream.on('error', () => {})
  }
}

/** A line on standard error. */
export function log(line: string): void {
  process.stderr.write(`${line}\n`)
}
