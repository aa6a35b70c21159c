import { describe, expect, test } from 'vitest'
import { attribute } from './attributes.ts'
import { catalogue, eventNames, fieldsOf } from './catalogue.ts'

/** @see OpenTelemetry semantic conventions, "Naming": lower case, namespaces by dots, words by underscores */
const otelName = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/

describe.each(eventNames)('%s', (name) => {
  test('is a dotted name of ours with a sentence about it', () => {
    expect(name).toMatch(otelName)
    expect(name).toMatch(/^agnes\./)
    expect(catalogue[name].description).toMatch(/^[A-Z].*\.$/)
  })

  test('every field has an attribute of its own and a meaning', () => {
    const fields = fieldsOf(name)
    expect(fields.length).toBeGreaterThan(0)
    for (const field of fields) expect(field.description, field.property).not.toBe('')
    const attributes = fields.map((field) => field.attribute)
    expect(attributes.filter((each, i) => each === undefined || attributes.indexOf(each) !== i)).toEqual([])
  })

  test('can say who did it, from where and as part of what', () => {
    expect(fieldsOf(name).map(({ property }) => property)).toEqual(
      expect.arrayContaining(['userId', 'clientKind', 'clientAddress', 'correlationId', 'sessionId']),
    )
  })

  test('requires something that tells it from an empty event', () => {
    expect(fieldsOf(name).some(({ required }) => required)).toBe(true)
  })
})

test('attribute names follow the conventions and mean one thing each', () => {
  const names = Object.values(attribute)
  for (const name of names) expect(name).toMatch(otelName)
  expect(new Set(names).size).toBe(names.length)
})

test('a property means the same attribute in every event that has it, but for what is named after its event', () => {
  const attributesOfProperty = new Map<string, Set<string>>()
  for (const { property, attribute } of eventNames.flatMap(fieldsOf)) {
    attributesOfProperty.set(property, (attributesOfProperty.get(property) ?? new Set()).add(attribute))
  }
  const ambiguous = [...attributesOfProperty].filter(([, names]) => names.size > 1).map(([property]) => property)
  expect(ambiguous.sort()).toEqual(['error', 'message', 'status', 'type'])
})
