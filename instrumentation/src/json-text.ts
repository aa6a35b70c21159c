/**
 * JSON text of anything, within bounds, without ever throwing: what an app hands us may be circular, have getters that
 * throw, or be the whole database. Telemetry never harms its host.
 */

/** Longer texts are cut and end with the marker. UTF-16 code units. */
export const maxTextLength = 32_768
const cutMarker = '…[cut]'
/** Work is bounded by the number of values that are looked at, not by the size of what hangs on them. */
const maxValues = 5_000
const maxDepth = 32

/** A string within the limit. */
export function boundedText(text: string): string {
  return text.length <= maxTextLength ? text : text.slice(0, maxTextLength - cutMarker.length) + cutMarker
}

/**
 * `JSON.stringify` that can't fail: circular references, values beyond the limits and getters that throw become
 * markers in square brackets, BigInt becomes a number without loss of digits in a string.
 */
export function jsonText(value: unknown): string {
  let left = maxValues
  const open = new Set<object>()

  function plain(input: unknown, depth: number): unknown {
    if (left-- <= 0) return '[cut: too many values]'
    switch (typeof input) {
      case 'string':
        return boundedText(input)
      case 'number':
        return Number.isFinite(input) ? input : String(input)
      case 'boolean':
      case 'undefined':
        return input
      case 'bigint':
        return input.toString()
      case 'symbol':
        return '[symbol]'
      case 'function':
        return '[function]'
      default:
        return typeof input === 'object' && input !== null ? plainObject(input, depth) : null
    }
  }

  function plainObject(input: object, depth: number): unknown {
    if (open.has(input)) return '[circular]'
    if (depth >= maxDepth) return '[cut: too deep]'
    open.add(input)
    try {
      if (input instanceof Date) return Number.isNaN(input.getTime()) ? null : input.toISOString()
      if (input instanceof Error) return { name: input.name, message: boundedText(input.message) }
      if (input instanceof Map) return plain(Object.fromEntries(input), depth + 1)
      if (input instanceof Set) return plain([...input], depth + 1)
      if (ArrayBuffer.isView(input)) return `[${input.byteLength} bytes]`
      if (Array.isArray(input)) return bounded(input, (item) => plain(item, depth + 1))
      const entries: [string, unknown][] = []
      for (const key in input) {
        if (left <= 0) break
        if (Object.hasOwn(input, key)) entries.push([boundedText(key), property(input, key, depth)])
      }
      return Object.fromEntries(entries)
    } catch {
      return '[unreadable]'
    } finally {
      open.delete(input)
    }
  }

  function property(input: object, key: string, depth: number): unknown {
    try {
      return plain((input as Record<string, unknown>)[key], depth + 1)
    } catch {
      return '[unreadable]'
    }
  }

  function bounded(items: readonly unknown[], map: (item: unknown) => unknown): unknown[] {
    const result: unknown[] = []
    for (let i = 0; i < items.length && left > 0; i++) result.push(map(items[i]))
    if (result.length < items.length) result.push('[cut: too many values]')
    return result
  }

  try {
    return boundedText(JSON.stringify(plain(value, 0)) ?? 'null')
  } catch {
    return '"[unreadable]"'
  }
}
