/** What a change replaced: both states side by side, path by path. */
import type { Json } from './params.ts'

export interface Change {
  /** `limits.rows`, `tags[0]`; empty for the value as a whole. */
  readonly path: string
  readonly kind: 'added' | 'removed' | 'changed' | 'same'
  /** undefined where there was, or is, nothing. */
  readonly before: Json | undefined
  readonly after: Json | undefined
}

const maxChanges = 500

/** In the order of the new state, then what is gone. Empty objects and lists count as values. */
export function changesOf(before: Json, after: Json): Change[] {
  const old = leavesOf(before)
  const now = leavesOf(after)
  const changes: Change[] = []
  for (const [path, value] of now) {
    const was = old.get(path)
    const kind = was === undefined ? 'added' : JSON.stringify(was) === JSON.stringify(value) ? 'same' : 'changed'
    changes.push({ path, kind, before: was, after: value })
  }
  for (const [path, value] of old) {
    if (!now.has(path)) changes.push({ path, kind: 'removed', before: value, after: undefined })
  }
  return changes.slice(0, maxChanges)
}

/** Every value that holds no others, by its path. */
export function leavesOf(value: Json): Map<string, Json> {
  const leaves = new Map<string, Json>()
  const walk = (one: Json, path: string): void => {
    const entries = one !== null && typeof one === 'object' ? Object.entries(one as Readonly<Record<string, Json>>) : []
    if (entries.length === 0) leaves.set(path, one)
    for (const [key, each] of entries) {
      walk(each, Array.isArray(one) ? `${path}[${key}]` : path === '' ? key : `${path}.${key}`)
    }
  }
  walk(value, '')
  return leaves
}
