/** Parsers of option values; what they refuse becomes a usage error that says what is taken. */
import { InvalidArgumentError } from 'commander'
import { parseTime } from './time.ts'

export function time(text: string): Date {
  const parsed = parseTime(text, new Date())
  if (parsed === undefined) {
    throw new InvalidArgumentError('Use 2026-11-21, 2026-11-21T10:00:00Z, or ago: 30m, 2h, 7d.')
  }
  return parsed
}

export function wholeNumber(from: number, to: number): (text: string) => number {
  return (text) => {
    const number = Number(text)
    if (!/^\d+$/.test(text) || number < from || number > to) {
      throw new InvalidArgumentError(`Use a whole number from ${from} to ${to}.`)
    }
    return number
  }
}

/** For an option that may be repeated. */
export function collect(value: string, all: readonly string[] = []): readonly string[] {
  return [...all, value]
}
