/** Params and attributes of events as people see them: JSON where it is JSON, with SQL masked and long texts cut. */
import { cut } from '../html/shown.ts'
import { isSql, maskSql, quotesSql } from './sql.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export interface MaskOptions {
  /** Characters a text may have; longer ones are cut. */
  readonly longestText: number
}

/** Deeper or larger values are an attack on whoever walks them. */
const maxDepth = 32
const maxValues = 5_000

/** One text as it may be seen. @param key it stands under, which may say that it is SQL */
export function maskText(text: string, key: string, { longestText }: MaskOptions): string {
  const masked = isSql(text, key) || quotesSql(text) ? maskSql(text) : text
  const { head, left } = cut(masked, longestText)
  return left > 0 ? `${head}… (${left.toLocaleString('en')} more characters)` : head
}

/** The value of a JSON text; undefined if it is none, empty, or nested too deep to be looked at. */
export function parseJson(text: string): Json | undefined {
  if (text === '') return undefined
  try {
    const value = JSON.parse(text) as Json
    return depthOf(value) > maxDepth ? undefined : value
  } catch {
    return undefined
  }
}

/** Params as they may be seen: the JSON value, or the text where they are none; null where there are none. */
export function maskParams(text: string, options: MaskOptions): Json {
  if (text === '') return null
  const value = parseJson(text)
  return value === undefined ? maskText(text, '', options) : maskJson(value, options)
}

export function maskJson(value: Json, options: MaskOptions): Json {
  let left = maxValues
  const walk = (one: Json, key: string): Json => {
    if (left-- <= 0) return '… (too many values)'
    if (typeof one === 'string') return maskText(one, key, options)
    if (one === null || typeof one !== 'object') return one
    if (isList(one)) return one.slice(0, maxValues).map((each) => walk(each, key))
    return Object.fromEntries(Object.entries(one).map(([name, each]) => [name, walk(each, name)]))
  }
  return walk(value, '')
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/** Without recursion, which a value that is nested deep enough would end. */
function depthOf(value: Json): number {
  let depth = 0
  let level: Json[] = [value]
  while (level.length > 0 && depth <= maxDepth) {
    depth++
    level = level.flatMap((one) => (one === null || typeof one !== 'object' ? [] : Object.values(one)))
  }
  return depth
}
