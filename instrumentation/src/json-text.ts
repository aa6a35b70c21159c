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
  let charactersLeft = maxTextLength
  const open = new Set<object>()

  /** What lies beyond the longest result is not looked at: it would be copied only to be cut off. */
  function text(input: string): string {
    const cut = boundedText(input)
    charactersLeft -= cut.length
    if (charactersLeft <= 0) left = 0
    return cut
  }

  function plain(input: unknown, depth: number): unknown {
    if (left-- <= 0) return '[cut: too many values]'
    switch (typeof input) {
      case 'string':
        return text(input)
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
      if (input instanceof Error)
        return { name: plain(input.name, depth + 1), message: plain(input.message, depth + 1) }
      if (input instanceof Map) return mapped(input, depth)
      if (input instanceof Set) return listed(Set.prototype.values.call(input), depth)
      if (ArrayBuffer.isView(input)) return `[${input.byteLength} bytes]`
      if (Array.isArray(input)) return listed(Array.prototype.values.call(input), depth)
      const entries: [string, unknown][] = []
      for (const key in input) {
        if (left <= 0) break
        if (Object.hasOwn(input, key)) entries.push([text(key), property(input, key, depth)])
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

  // Walked by the built-in iterators: those of a subclass may never end.
  function listed(items: Iterable<unknown>, depth: number): unknown[] {
    const result: unknown[] = []
    for (const item of items) {
      if (left <= 0) return [...result, '[cut: too many values]']
      result.push(plain(item, depth + 1))
    }
    return result
  }

  function mapped(map: ReadonlyMap<unknown, unknown>, depth: number): unknown {
    const entries: [string, unknown][] = []
    for (const [key, item] of Map.prototype.entries.call(map)) {
      if (left <= 0) break
      entries.push([text(String(key)), plain(item, depth + 1)])
    }
    return Object.fromEntries(entries)
  }

  try {
    const json = JSON.stringify(plain(value, 0)) ?? 'null'
    // Quoting it once more doubles it at most; what is stored must be JSON, or queries over it fail.
    return json.length <= maxTextLength ? json : JSON.stringify({ '[cut]': json.slice(0, maxTextLength / 2 - 10) })
  } catch {
    return '"[unreadable]"'
  }
}
