/** Times as people type them. */

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** `90s`, `30m`, `2h`, `7d`, `4w` in milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? []
  return amount === undefined ? undefined : Number(amount) * (unitMs[unit ?? ''] ?? 0)
}

/** `90s`, `30m`, `2h`, `7d`, `4w` ago; or an ISO 8601 date or time (UTC where it names no zone). undefined for anything else. */
export function parseTime(text: string, now: Date): Date | undefined {
  const ago = /^(\d+)([smhdw])$/.exec(text)
  if (ago !== null) return valid(new Date(now.getTime() - Number(ago[1]) * (unitMs[ago[2] ?? ''] ?? 0)))
  const iso = /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/.exec(text)
  if (iso === null) return undefined
  const [, day, time, , , zone] = iso
  // A date that does not exist, such as 31 February, would silently become a day in March.
  if (new Date(`${day}T00:00:00Z`).getUTCDate() !== Number(day?.slice(8))) return undefined
  return valid(new Date(time !== undefined && zone === undefined ? `${text}Z` : text))
}

function valid(date: Date): Date | undefined {
  return Number.isNaN(date.getTime()) ? undefined : date
}
