/** Parsers of option values; what they refuse becomes a usage error that says what is taken. */
import { parseDuration, parseTime, tenantPattern, tenantRule } from '@agnes/config'
import { InvalidArgumentError } from 'commander'

export function time(text: string): Date {
  const parsed = parseTime(text, new Date())
  if (parsed === undefined) {
    throw new InvalidArgumentError('Use 2026-11-21, 2026-11-21T10:00:00Z, or ago: 30m, 2h, 7d.')
  }
  return parsed
}

/** Milliseconds. */
export function duration(text: string): number {
  const parsed = parseDuration(text)
  if (parsed === undefined) throw new InvalidArgumentError('Use 0s, 30m, 24h, 7d.')
  return parsed
}

/** A time to come: a duration from now, or a date. */
export function instantAhead(text: string): Date {
  const ahead = parseDuration(text)
  const instant = ahead === undefined ? parseTime(text, new Date()) : new Date(Date.now() + ahead)
  if (instant === undefined || instant.getTime() <= Date.now()) {
    throw new InvalidArgumentError('Use a time to come: 24h, 90d, 2027-01-31.')
  }
  // DateTime64(3) of ClickHouse ends there.
  if (instant.getTime() > Date.UTC(2262, 0)) throw new InvalidArgumentError('Use a time before 2262.')
  return instant
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

/** A tenant's name. */
export function tenant(text: string): string {
  if (!tenantPattern.test(text)) throw new InvalidArgumentError(`Use ${tenantRule}.`)
  return text
}

/** For an option that may be repeated. */
export function collect(value: string, all: readonly string[] = []): readonly string[] {
  return [...all, value]
}
