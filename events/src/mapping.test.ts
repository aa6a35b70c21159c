import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { attribute } from './attributes.ts'
import { type EventFields, type EventName, eventNames, fieldsOf } from './catalogue.ts'
import { attributesOf, eventNameOf, isOurEvent, violationsOf } from './mapping.ts'

/** All fields of an event, each with a value of its type. */
function complete<N extends EventName>(name: N): EventFields<N> {
  const values = [{ a: 1 }, 'web', 'warning', 3]
  return Object.fromEntries(
    fieldsOf(name).map(({ property, schema }) => [property, values.find((value) => schema.safeParse(value).success)]),
  ) as EventFields<N>
}

describe('the attributes of an event', () => {
  test('are its fields under their names, with their types, params as JSON text', () => {
    expect(
      attributesOf('agnes.audit', {
        action: 'registry.update',
        resource: 'table:orders',
        result: 'success',
        durationMs: 12.5,
        params: { id: 'orders', tags: ['a', 'b'], description: null },
        paramsBefore: [],
        userId: 'u1',
        clientKind: 'cli',
      }),
    ).toEqual({
      'agnes.action': 'registry.update',
      'agnes.resource': 'table:orders',
      'agnes.result': 'success',
      'agnes.duration_ms': 12.5,
      'agnes.params': '{"id":"orders","tags":["a","b"],"description":null}',
      'agnes.params_before': '[]',
      'user.id': 'u1',
      'agnes.client_kind': 'cli',
    })
  })

  test('hold zero and the empty string, and leave out what is absent or null', () => {
    const fields = { tableId: 't', status: 'ok', rows: 0, error: '', durationMs: undefined, userId: null as never }
    expect(attributesOf('agnes.sync', fields)).toEqual({
      'agnes.sync.table_id': 't',
      'agnes.sync.status': 'ok',
      'agnes.sync.rows': 0,
      'agnes.sync.error': '',
    })
  })

  test('params that are a text or a number stay one', () => {
    expect(attributesOf('agnes.feedback', { feedbackId: 'f', params: 'plain', paramsBefore: 7 })).toEqual({
      'agnes.feedback.id': 'f',
      'agnes.params': 'plain',
      'agnes.params_before': 7,
    })
  })

  test('properties that are not in the catalogue do not travel', () => {
    const fields = { action: 'a.b', password: 'secret' }
    expect(attributesOf('agnes.audit', fields)).toEqual({ 'agnes.action': 'a.b' })
  })

  test('any params of plain JSON come back as they were', () => {
    fc.assert(
      fc.property(fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue())), (params) => {
        const text = attributesOf('agnes.audit', { action: 'a', params })[attribute.params]
        expect(JSON.parse(String(text))).toEqual(JSON.parse(JSON.stringify(params)))
      }),
    )
  })

  test('params that JSON can’t hold throw, unless the caller brings a writer that can', () => {
    const fields = { action: 'a', params: { rows: 1n } }
    expect(() => attributesOf('agnes.audit', fields)).toThrow(TypeError)
    expect(attributesOf('agnes.audit', fields, () => '{}')).toHaveProperty([attribute.params], '{}')
  })
})

describe.each(eventNames)('%s', (name) => {
  const attributes = attributesOf(name, complete(name))

  test('with every field filled in has one attribute a field and no violations', () => {
    expect(Object.keys(attributes)).toEqual(fieldsOf(name).map((field) => field.attribute))
    expect(violationsOf(name, attributes)).toEqual([])
  })

  test('without a field misses exactly that one if it is required, else nothing', () => {
    for (const { attribute, required } of fieldsOf(name)) {
      const violations = required ? [`${attribute} is missing`] : []
      expect(violationsOf(name, { ...attributes, [attribute]: undefined })).toEqual(violations)
      expect(violationsOf(name, { ...attributes, [attribute]: '' })).toEqual(violations)
    }
  })
})

describe('violations', () => {
  test('name every attribute that is missing', () => {
    expect(violationsOf('agnes.run.step', {})).toEqual([
      'agnes.run.id is missing',
      'agnes.run.step.index is missing',
      'agnes.run.step.kind is missing',
    ])
  })

  test('name every attribute that is not of its type', () => {
    expect(
      violationsOf('agnes.sync', {
        'agnes.sync.table_id': 't',
        'agnes.sync.status': 'ok',
        'agnes.sync.rows': -1,
        'agnes.duration_ms': '12',
        'agnes.client_kind': 'toaster',
      }),
    ).toEqual([
      'agnes.sync.rows is not of its type',
      'agnes.duration_ms is not of its type',
      'agnes.client_kind is not of its type',
    ])
  })

  test('attributes beyond the catalogue are none', () => {
    expect(violationsOf('agnes.audit', { 'agnes.action': 'a.b', 'http.route': '/x' })).toEqual([])
  })

  test('events of others have none', () => {
    for (const name of ['user_prompt', 'agnes.unheard_of', '', 'toString', '__proto__']) {
      expect(isOurEvent(name)).toBe(false)
      expect(violationsOf(name, {})).toEqual([])
    }
  })
})

describe('the name of an event', () => {
  test('is the field, before the attribute, before the body', () => {
    const attributes = { 'event.name': 'from.attribute' }
    expect(eventNameOf({ eventName: 'from.field', attributes, body: 'from.body' })).toBe('from.field')
    expect(eventNameOf({ eventName: '', attributes, body: 'from.body' })).toBe('from.attribute')
    expect(eventNameOf({ attributes: { 'event.name': '' }, body: 'from.body' })).toBe('from.body')
    expect(eventNameOf({ attributes: { 'event.name': 7 }, body: 'from.body' })).toBe('from.body')
    expect(eventNameOf({})).toBe('')
  })

  test('Claude Code’s prefix is dropped where the body says the name', () => {
    expect(eventNameOf({ body: 'claude_code.user_prompt' })).toBe('user_prompt')
    expect(eventNameOf({ attributes: { 'event.name': 'user_prompt' }, body: 'claude_code.user_prompt' })).toBe(
      'user_prompt',
    )
  })

  test.each([
    'a sentence. With dots.',
    'word',
    'trailing.',
    '.leading',
    '1.5',
    'two..dots',
    'line.one\nline.two',
    `a.${'b'.repeat(127)}`,
    '',
    { a: 1 },
    null,
    42,
  ])('a body that is no dotted identifier is none: %j', (body) => {
    expect(eventNameOf({ body })).toBe('')
  })

  test('a long body costs no more than a short one', () => {
    const started = performance.now()
    expect(eventNameOf({ body: 'a.'.repeat(5_000_000) })).toBe('')
    expect(eventNameOf({ body: `${'a:'.repeat(63)}!` })).toBe('')
    expect(performance.now() - started).toBeLessThan(500)
  })
})
