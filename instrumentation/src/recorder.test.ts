import { type EventName, eventNames, fieldsOf, violationsOf } from '@agnes/events'
import type { Logger, LogRecord } from '@opentelemetry/api-logs'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { maxTextLength } from './json-text.ts'
import { createRecorder, type Recorder } from './recorder.ts'

/** A recorder whose records are kept. */
function recording(): { recorder: Recorder; records: LogRecord[] } {
  const records: LogRecord[] = []
  const logger: Logger = { emit: (record) => void records.push(record), enabled: () => true }
  return { recorder: createRecorder(logger), records }
}

/** The params of an audit event as they travel. */
function paramsOf(params: unknown): unknown {
  const { recorder, records } = recording()
  recorder.audit({ action: 'a', params })
  return records[0]?.attributes?.['agnes.params']
}

const methods: Readonly<Record<EventName, (recorder: Recorder) => (fields: never, options?: never) => void>> = {
  'agnes.audit': ({ audit }) => audit,
  'agnes.sync': ({ sync }) => sync,
  'agnes.session_processor': ({ sessionProcessor }) => sessionProcessor,
  'agnes.session.findings': ({ sessionFindings }) => sessionFindings,
  'agnes.feedback': ({ feedback }) => feedback,
  'agnes.agent_run.start': ({ agentRunStart }) => agentRunStart,
  'agnes.agent_run.finish': ({ agentRunFinish }) => agentRunFinish,
  'agnes.run.step': ({ runStep }) => runStep,
  'agnes.llm.generation': ({ llmGeneration }) => llmGeneration,
  'agnes.exception': ({ exception }) => exception,
  'agnes.device': ({ device }) => device,
  'agnes.system': ({ system }) => system,
}

describe('an event', () => {
  test('becomes a log record with its name, attributes, id and both times', () => {
    const { recorder, records } = recording()
    const before = Date.now()
    recorder.audit({ action: 'query.local', durationMs: 3, params: { sql: 'SELECT 1' }, userId: 'u1' })
    expect(records).toHaveLength(1)
    const { eventName, attributes, timestamp, observedTimestamp } = records[0] as LogRecord
    expect(eventName).toBe('agnes.audit')
    expect(attributes).toEqual({
      'agnes.action': 'query.local',
      'agnes.duration_ms': 3,
      'agnes.params': '{"sql":"SELECT 1"}',
      'user.id': 'u1',
      'log.record.uid': expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
    })
    for (const time of [timestamp, observedTimestamp]) {
      expect(Math.abs(milliseconds(time) - before)).toBeLessThan(5_000)
    }
    expect(recorder.stats()).toEqual({ emitted: 1, failed: 0 })
  })

  test('has the time of the wall clock, also after it was set or the host has slept', () => {
    const { recorder, records } = recording()
    const woken = Date.now() + 8 * 3_600_000
    vi.useFakeTimers({ toFake: ['Date'], now: woken })
    try {
      recorder.audit({ action: 'after sleep' })
    } finally {
      vi.useRealTimers()
    }
    expect(Math.abs(milliseconds(records[0]?.timestamp) - woken)).toBeLessThan(10)
  })

  test.each(eventNames)('%s has a method that emits it', (name) => {
    const { recorder, records } = recording()
    methods[name](recorder)({} as never)
    expect(records.map(({ eventName }) => eventName)).toEqual([name])
  })

  test('carries an id of its own, in order of time, or the one the caller gives', () => {
    const { recorder, records } = recording()
    for (let i = 0; i < 100; i++) recorder.audit({ action: 'a' })
    recorder.audit({ action: 'a' }, { uid: 'imported-1' })
    const uids = records.map(({ attributes }) => String(attributes?.['log.record.uid']))
    expect(new Set(uids).size).toBe(101)
    expect(uids.pop()).toBe('imported-1')
    const times = uids.map((uid) => uid.slice(0, 13))
    expect(times).toEqual(times.toSorted())
  })

  test('of another time keeps that time, to the millisecond', () => {
    const { recorder, records } = recording()
    recorder.at(new Date('2020-02-29T23:59:59.987Z')).sync({ tableId: 't', status: 'ok' })
    recorder.at(new Date(0)).sync({ tableId: 't', status: 'ok' })
    expect(records.map(({ timestamp }) => timestamp)).toEqual([
      [1_583_020_799, 987_000_000],
      [0, 0],
    ])
    expect(recorder.stats().emitted).toBe(2)
  })

  test('of a time that OTLP can’t hold is counted as failed: it would take its whole batch with it', () => {
    const { recorder, records } = recording()
    const times = [new Date('yesterday'), new Date(-1), new Date(8.64e15), '2020-01-01' as never, null as never]
    for (const time of times) recorder.at(time).audit({ action: 'a' })
    expect(records).toEqual([])
    expect(recorder.stats()).toEqual({ emitted: 0, failed: times.length })
  })

  test('has the severity of its outcome', () => {
    const { recorder, records } = recording()
    recorder.audit({ action: 'a', result: 'success' })
    recorder.audit({ action: 'a' })
    recorder.audit({ action: 'a', result: 'error.404' })
    recorder.audit({ action: 'a', result: 'invalid_password' })
    recorder.sync({ tableId: 't', status: 'error' })
    recorder.agentRunFinish({ runId: 'r', status: 'failed' })
    recorder.exception({ type: 'TypeError' })
    recorder.system({ component: 'engine', event: 'crash' })
    const severities = ['INFO', 'INFO', 'ERROR', 'WARN', 'ERROR', 'ERROR', 'ERROR', 'ERROR']
    expect(records.map(({ severityText }) => severityText)).toEqual(severities)
  })
})

describe('what can’t be emitted is counted', () => {
  test('no fields at all', () => {
    const { recorder, records } = recording()
    for (const fields of [undefined, null, 'text', 7, Symbol('s')]) recorder.audit(fields as never)
    expect(records).toEqual([])
    expect(recorder.stats()).toEqual({ emitted: 0, failed: 5 })
  })

  test('a logger that throws', () => {
    const recorder = createRecorder({
      emit: () => {
        throw new Error('broken')
      },
      enabled: () => true,
    })
    recorder.audit({ action: 'a' })
    recorder.at(new Date()).audit({ action: 'a' })
    expect(recorder.stats()).toEqual({ emitted: 0, failed: 2 })
  })

  test('a field that can’t be read costs itself, not the event', () => {
    const { recorder, records } = recording()
    recorder.audit({
      action: 'a',
      get resource(): string {
        throw new Error('detached')
      },
    })
    expect(records[0]?.attributes).toMatchObject({ 'agnes.action': 'a', 'agnes.resource': '[unreadable]' })
  })
})

describe('params', () => {
  test('that JSON can’t hold leave a trace of what they were', () => {
    const cyclic: { id: number; self?: unknown } = { id: 1 }
    cyclic.self = cyclic
    expect(paramsOf(cyclic)).toBe('{"id":1,"self":"[circular]"}')
    expect(paramsOf({ rows: 12345678901234567890n })).toBe('{"rows":"12345678901234567890"}')
    expect(paramsOf({ at: new Date(0), bad: new Date(Number.NaN) })).toBe(
      '{"at":"1970-01-01T00:00:00.000Z","bad":null}',
    )
    expect(paramsOf(new Map([['a', new Set([1, 2])]]))).toBe('{"a":[1,2]}')
    expect(paramsOf({ cause: new TypeError('no such table') })).toBe(
      '{"cause":{"name":"TypeError","message":"no such table"}}',
    )
    expect(paramsOf({ symbol: Symbol('s'), call: () => 1, none: undefined, nan: Number.NaN })).toBe(
      '{"symbol":"[symbol]","call":"[function]","nan":"NaN"}',
    )
    expect(paramsOf({ file: Buffer.alloc(10) })).toBe('{"file":"[10 bytes]"}')
    const broken = Object.defineProperty({ ok: 1 }, 'broken', { enumerable: true, get: thrower })
    expect(paramsOf(broken)).toBe('{"ok":1,"broken":"[unreadable]"}')
  })

  test('the same object twice is no circle', () => {
    const shared = { a: 1 }
    expect(paramsOf([shared, shared])).toBe('[{"a":1},{"a":1}]')
  })

  test('of plain JSON within the limits come back as they were', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const params = { value }
        expect(JSON.parse(String(paramsOf(params)))).toEqual(JSON.parse(JSON.stringify(params)))
      }),
    )
  })
})

describe('whatever it gets', () => {
  const everyTrap = Object.fromEntries(
    Object.getOwnPropertyNames(Reflect).map((trap) => [trap, thrower]),
  ) as ProxyHandler<object>
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const cyclic: unknown[] = []
  cyclic.push({ cyclic })
  class EndlessMap extends Map<string, number> {
    override *[Symbol.iterator](): MapIterator<[string, number]> {
      for (let i = 0; ; i++) yield [String(i), i]
    }
  }
  class EndlessSet extends Set<number> {
    override *[Symbol.iterator](): SetIterator<number> {
      for (let i = 0; ; i++) yield i
    }
  }
  const hostile: Readonly<Record<string, () => unknown>> = {
    cyclic: () => cyclic,
    'cyclic map': () => {
      const map = new Map<unknown, unknown>()
      return map.set('map', map)
    },
    'throwing getter': () => Object.defineProperty({}, 'a', { enumerable: true, get: thrower }),
    'throwing toJSON': () => ({ toJSON: thrower }),
    'throwing toString': () => ({ toString: thrower, valueOf: thrower, [Symbol.toPrimitive]: thrower }),
    'map with keys that throw': () => new Map([[{ toString: thrower }, 1]]),
    'proxy that throws': () => new Proxy({}, everyTrap),
    'proxy of an array that throws': () => new Proxy([], everyTrap),
    'revoked proxy': () => revoked.proxy,
    'array that claims to be endless': () =>
      new Proxy([], { get: (_, key) => (key === 'length' ? Number.MAX_SAFE_INTEGER : key) }),
    'endless map': () => new EndlessMap([['a', 1]]),
    'endless set': () => new EndlessSet([1]),
    'object that grows as it is read': () => {
      const grow = (): object => ({
        get more() {
          return grow()
        },
      })
      return grow()
    },
    'error with a hostile name': () => Object.assign(new Error('e'), { name: cyclic, message: 1n }),
    bigint: () => 2n ** 4096n,
    symbol: () => Symbol('s'),
    function: () => thrower,
    'invalid date': () => new Date(Number.NaN),
    'date that is none': () => Object.create(Date.prototype) as unknown,
    'map that is none': () => Object.create(Map.prototype) as unknown,
    'not a number': () => Number.NaN,
    'no prototype': () => Object.create(null) as unknown,
    'own __proto__': () => JSON.parse('{"__proto__":{"a":1}}') as unknown,
    'lone surrogates': () => '\ud800'.repeat(100),
    'huge text': () => 'x'.repeat(50_000_000),
    'text that grows when escaped': () => '\u0000'.repeat(maxTextLength),
    'many huge texts': () => new Array(5_000).fill('x'.repeat(100_000)),
    'huge names': () => Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`${i}${'k'.repeat(100_000)}`, i])),
    'huge array': () => new Array(100_000_000),
    'huge map': () => new Map(Array.from({ length: 200_000 }, (_, i) => [i, i])),
    'huge set': () => new Set(Array.from({ length: 200_000 }, (_, i) => i)),
    'huge bytes': () => new Uint8Array(50_000_000),
    'deep nesting': () => Array.from({ length: 100_000 }).reduce<unknown>((inner) => [inner], 0),
  }

  /** Whatever was emitted is small and of a type that travels. */
  function expectBounded(records: readonly LogRecord[]): void {
    for (const { attributes = {} } of records) {
      for (const value of Object.values(attributes)) {
        if (typeof value === 'string') expect(value.length).toBeLessThanOrEqual(maxTextLength)
        else expect(['number', 'boolean']).toContain(typeof value)
      }
    }
  }

  test.each(Object.keys(hostile))('%s: neither throws nor blocks, and what leaves is small', (name) => {
    const { recorder, records } = recording()
    const value = hostile[name]?.()
    const started = performance.now()
    recorder.audit({ action: 'a', params: value, paramsBefore: { deeper: [value, value] } })
    recorder.audit({ action: value as string, resource: value as string, durationMs: value as number })
    const elapsedMs = performance.now() - started
    expect(recorder.stats()).toEqual({ emitted: 2, failed: 0 })
    expectBounded(records)
    // Serialising any of the huge ones in full takes seconds; a few milliseconds is usual.
    expect(elapsedMs).toBeLessThan(500)
  })

  test.each(Object.keys(hostile))('%s as the fields, the options or the time', (name) => {
    const { recorder, records } = recording()
    const value = hostile[name]?.() as never
    recorder.audit(value)
    recorder.audit({ action: 'a' }, value)
    recorder.audit({ action: 'a' }, { uid: typeof value === 'string' ? value : 'id' })
    recorder.at(value).audit({ action: 'a' })
    const { emitted, failed } = recorder.stats()
    expect(emitted + failed).toBe(4)
    expect(records).toHaveLength(emitted)
    expectBounded(records)
  })

  test('params beyond the limit are JSON still, and begin as they did', () => {
    for (const params of [{ list: Array.from({ length: 4_900 }, () => '123456') }, { text: '"\\\n'.repeat(20_000) }]) {
      const text = String(paramsOf(params))
      expect(text.length).toBeLessThanOrEqual(maxTextLength)
      const parsed = JSON.parse(text) as Record<string, unknown>
      expect(Object.keys(parsed)).toEqual(['[cut]'])
      expect(parsed['[cut]']).toContain(`{"${Object.keys(params)[0]}":`)
    }
  })

  test('any method with any fields: every call is either emitted or counted as failed', () => {
    // Values are made when they are used: fast-check itself would look into them.
    const value: fc.Arbitrary<() => unknown> = fc.oneof(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true }).map((any) => () => any),
      fc.anything({ withNullPrototype: true, withSparseArray: true, withTypedArray: true }).map((any) => () => any),
      fc.constantFrom(...Object.keys(hostile).filter((key) => !/huge/.test(key))).map((key) => () => hostile[key]?.()),
    )
    const call = fc.constantFrom(...eventNames).chain((name) => {
      const property = fc.constantFrom(...fieldsOf(name).map((field) => field.property))
      const fields = fc
        .dictionary(property, value)
        .map((made) => () => Object.fromEntries(Object.entries(made).map(([key, make]) => [key, make()])))
      const uid = fc.string().map((text) => () => ({ uid: text }))
      return fc.record({ name: fc.constant(name), fields: fc.oneof(fields, value), options: fc.oneof(uid, value) })
    })
    fc.assert(
      fc.property(fc.array(call, { maxLength: 5 }), (calls) => {
        const { recorder, records } = recording()
        for (const { name, fields, options } of calls) {
          expect(methods[name](recorder)(fields() as never, options() as never)).toBeUndefined()
        }
        const { emitted, failed } = recorder.stats()
        expect(emitted + failed).toBe(calls.length)
        expect(records).toHaveLength(emitted)
        expectBounded(records)
      }),
      { numRuns: 300 },
    )
  })

  test('what the types allow keeps to the catalogue', () => {
    const text = fc.string({ minLength: 1 })
    fc.assert(
      fc.property(text, text, fc.nat(), fc.anything(), (action, userId, durationMs, params) => {
        const { recorder, records } = recording()
        recorder.audit({ action, userId, durationMs, params })
        expect(violationsOf('agnes.audit', records[0]?.attributes ?? {})).toEqual([])
      }),
    )
  })
})

function milliseconds(time: LogRecord['timestamp']): number {
  const [seconds, nanoseconds] = time as [number, number]
  return seconds * 1_000 + nanoseconds / 1e6
}

function thrower(): never {
  throw new Error('hostile')
}
