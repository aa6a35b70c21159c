/**
 * Loaded into a process before its own code: its wall clock is off by as many milliseconds as stand in the file
 * SHIFTED_CLOCK names, now. The monotonic clock and timers go on as they do when somebody sets the clock of a machine.
 */
import { readFileSync } from 'node:fs'

const RealDate = Date
const offsetMs = () => Number(readFileSync(process.env.SHIFTED_CLOCK, 'utf8'))

globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length === 0 ? [RealDate.now() + offsetMs()] : given))
  }
  static now() {
    return RealDate.now() + offsetMs()
  }
}
