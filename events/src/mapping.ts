/** Typed events ↔ the attributes they travel as. */
import { type EventFields, type EventName, eventNames, fieldsOf } from './catalogue.ts'

/** What an OpenTelemetry attribute of ours holds. */
export type AttributeValue = string | number | boolean

/**
 * The attributes of an event. Absent fields are left out; objects (params) become JSON text.
 * @throws TypeError if a value can't be written as JSON (circular, BigInt): emitters use a writer that can't throw
 */
export function attributesOf<N extends EventName>(
  name: N,
  fields: EventFields<N>,
  toJson: (value: unknown) => string = JSON.stringify,
): Record<string, AttributeValue> {
  const attributes: Record<string, AttributeValue> = {}
  const values = fields as Readonly<Record<string, unknown>>
  for (const { property, attribute } of fieldsOf(name)) {
    const value = values[property]
    if (value === undefined || value === null) continue
    attributes[attribute] =
      typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : toJson(value)
  }
  return attributes
}

export function isOurEvent(name: string): name is EventName {
  return (eventNames as readonly string[]).includes(name)
}

/** What an event misses of its catalogue entry, in words; empty for a good one and for events that are not ours. */
export function violationsOf(name: string, attributes: Readonly<Record<string, unknown>>): readonly string[] {
  if (!isOurEvent(name)) return []
  return fieldsOf(name).flatMap(({ attribute, required, schema }) => {
    const value = attributes[attribute]
    if (value === undefined || value === '') return required ? [`${attribute} is missing`] : []
    return schema.safeParse(value).success ? [] : [`${attribute} is not of its type`]
  })
}

const claudeCodePrefix = 'claude_code.'

/**
 * The name of an event: the OTLP field EventName, else the attribute `event.name`, else the body where it is a dotted
 * identifier (Claude Code sends `claude_code.<name>` there). The gateway follows the same rule.
 */
export function eventNameOf(record: {
  readonly eventName?: string | undefined
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
  readonly body?: unknown
}): string {
  if (record.eventName) return record.eventName
  const named = record.attributes?.['event.name']
  if (typeof named === 'string' && named !== '') return named
  const { body } = record
  if (typeof body !== 'string' || body.length > 128 || !/^[A-Za-z][\w:-]*(\.[\w:-]+)+$/.test(body)) return ''
  return body.startsWith(claudeCodePrefix) ? body.slice(claudeCodePrefix.length) : body
}
