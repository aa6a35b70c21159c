/** What holds of alerts whatever rows come: held against a plain reading of what was seen. */
import { breaches } from '@agnes/grafana'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Change, fingerprintOf, mostAlerts, type OpenAlert, type OpenAlerts, type Row, step } from './machine.ts'

const minute = 60_000

interface Timing {
  readonly uid: string
  readonly condition: { readonly op: 'gt' | 'lt'; readonly threshold: number; readonly recovery?: number }
  readonly forSeconds: number
  readonly keepFiringSeconds: number
  readonly noData: 'OK' | 'Alerting'
}

const timings = fc.record({
  uid: fc.constant('rule'),
  condition: fc.constantFrom(
    { op: 'gt', threshold: 5 } as const,
    { op: 'gt', threshold: 5, recovery: 3 } as const,
    { op: 'lt', threshold: 5, recovery: 7 } as const,
  ),
  forSeconds: fc.constantFrom(0, 60, 150),
  keepFiringSeconds: fc.constantFrom(0, 90),
  noData: fc.constantFrom('OK', 'Alerting'),
}) satisfies fc.Arbitrary<Timing>

const rowSets = fc.uniqueArray(
  fc.record({ name: fc.constantFrom('a', 'b', 'c'), value: fc.constantFrom(0, 4, 6, 9, Number.NaN) }),
  { selector: ({ name }) => name, maxLength: 3 },
)
/** What is seen, look by look, and how long after the look before. */
const histories = fc.array(
  fc.record({ rows: rowSets, complete: fc.boolean(), pauseMs: fc.constantFrom(1_000, 60_000, 100_000) }),
  { maxLength: 25 },
)

type Look = { readonly rows: readonly Row[]; readonly complete: boolean; readonly atMs: number }

function looksOf(history: typeof histories extends fc.Arbitrary<infer H> ? H : never): Look[] {
  let atMs = Date.parse('2026-11-20T12:00:00Z')
  return history.map(({ rows, complete, pauseMs }) => {
    atMs += pauseMs
    return { atMs, complete, rows: rows.map(({ name, value }) => ({ labels: { name, tenant: 't' }, value })) }
  })
}

function follow(
  rule: Timing,
  looks: readonly Look[],
  each: (look: Look, changes: readonly Change[], i: number) => void,
) {
  let open: OpenAlerts = new Map()
  for (const [i, look] of looks.entries()) {
    const next = step(rule, open, look, look.atMs)
    each(look, next.changes, i)
    open = next.open
  }
}

/** As it is when it is read back from what was written. */
function reread(written: Map<string, OpenAlert>, changes: readonly Change[]): void {
  for (const { fingerprint, kind, alert } of changes) {
    if (kind === 'resolve' || kind === 'clear') written.delete(fingerprint)
    else written.set(fingerprint, structuredClone(alert))
  }
}

describe('whatever rows come', () => {
  test('an alert fires once until it is over, and what was pending fires or ends', () => {
    fc.assert(
      fc.property(timings, histories, (rule, history) => {
        const states = new Map<string, string>()
        follow(rule, looksOf(history), (_look, changes) => {
          for (const { fingerprint, kind } of changes) {
            const before = states.get(fingerprint) ?? 'none'
            const allowed = {
              pending: ['none'],
              fire: rule.forSeconds === 0 ? ['none'] : ['pending'],
              update: ['firing'],
              resolve: ['firing'],
              clear: ['pending'],
            }[kind]
            expect(allowed).toContain(before)
            const after = { pending: 'pending', fire: 'firing', update: 'firing', resolve: 'none', clear: 'none' }[kind]
            states.set(fingerprint, after)
          }
        })
      }),
    )
  })

  test('it fires when, and only when, every look for so long has breached', () => {
    fc.assert(
      fc.property(timings, histories, (rule, history) => {
        const looks = looksOf(history).map((look) => ({ ...look, complete: true }))
        const firing = new Set<string>()
        /** Since when every look has breached, of each name. */
        const since = new Map<string, number>()
        follow({ ...rule, noData: 'OK' }, looks, ({ rows, atMs }, changes) => {
          for (const name of ['a', 'b', 'c']) {
            const labels = { name, tenant: 't' }
            const fingerprint = fingerprintOf(rule.uid, labels)
            const value = rows.find((row) => row.labels.name === name)?.value
            if (value === undefined || !breaches(rule.condition, value)) since.delete(name)
            else if (!since.has(name)) since.set(name, atMs)
            const fired = changes.some((change) => change.kind === 'fire' && change.fingerprint === fingerprint)
            if (!firing.has(name)) {
              const heldMs = atMs - (since.get(name) ?? Number.POSITIVE_INFINITY)
              expect(fired).toBe(heldMs >= rule.forSeconds * 1000)
            } else expect(fired).toBe(false)
            if (fired) firing.add(name)
            if (changes.some((change) => change.kind === 'resolve' && change.fingerprint === fingerprint)) {
              firing.delete(name)
              since.delete(name)
            }
          }
        })
      }),
    )
  })

  test('it is over only when it was well for as long as it is kept, by the threshold of recovery', () => {
    fc.assert(
      fc.property(timings, histories, (rule, history) => {
        const looks = looksOf(history)
        const firedAt = new Map<string, number>()
        follow(rule, looks, ({ atMs }, changes, i) => {
          for (const { fingerprint, kind, alert } of changes) {
            if (kind === 'fire') firedAt.set(fingerprint, i)
            if (kind !== 'resolve') continue
            const sinceMs = alert.wellSinceMs ?? Number.NaN
            expect(atMs - sinceMs).toBeGreaterThanOrEqual(rule.keepFiringSeconds * 1000)
            for (const look of looks.slice(0, i + 1)) {
              if (look.atMs < sinceMs) continue
              const row = look.rows.find(({ labels }) => fingerprintOf(rule.uid, labels) === fingerprint)
              expect(row !== undefined && breaches(rule.condition, row.value, true)).toBe(false)
            }
          }
        })
      }),
    )
  })

  test('the order of rows changes nothing', () => {
    fc.assert(
      fc.property(timings, histories, (rule, history) => {
        const sorted = (changes: readonly Change[]) =>
          [...changes].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1))
        const there: unknown[] = []
        const back: unknown[] = []
        follow(rule, looksOf(history), (_look, changes) => there.push(sorted(changes)))
        const reversed = looksOf(history).map((look) => ({ ...look, rows: [...look.rows].reverse() }))
        follow(rule, reversed, (_look, changes) => back.push(sorted(changes)))
        expect(back).toEqual(there)
      }),
    )
  })

  test('who begins again at any point with what was written goes on as if nothing had been', () => {
    fc.assert(
      fc.property(timings, histories, (rule, history) => {
        const written = new Map<string, OpenAlert>()
        follow(rule, looksOf(history), (look, changes) => {
          const again = step(rule, new Map(written), look, look.atMs)
          expect(new Set(again.changes)).toEqual(new Set(changes))
          reread(written, changes)
        })
      }),
    )
  })
})

const gt: Timing = {
  uid: 'r',
  condition: { op: 'gt', threshold: 5 },
  forSeconds: 0,
  keepFiringSeconds: 0,
  noData: 'OK',
}
const all = (...rows: readonly Row[]) => ({ rows, complete: true })

test('a row that is missing once proves nothing; missing twice it is over', () => {
  const { open } = step(gt, new Map(), all({ labels: { a: '1' }, value: 9 }), 0)
  const once = step(gt, open, all(), minute)
  expect(once.changes.map(({ kind }) => kind)).toEqual(['update'])
  expect(step(gt, once.open, all(), 2 * minute).changes.map(({ kind }) => kind)).toEqual(['resolve'])
  expect(step(gt, open, all({ labels: { a: '1' }, value: 5 }), minute).changes.map(({ kind }) => kind)).toEqual([
    'resolve',
  ])
})

test('a row that may be among those that were cut off is not missing', () => {
  const { open } = step(gt, new Map(), all({ labels: { a: '1' }, value: 9 }), 0)
  const cut = { rows: [{ labels: { a: '2' }, value: 10 }], complete: false }
  const next = step(gt, open, cut, minute)
  expect(next.changes.map(({ kind, alert }) => [kind, alert.labels])).toEqual([['fire', { a: '2' }]])
  expect(next.open.size).toBe(2)
})

test('no row where one must come is an alert, and says nothing about those there were rows for', () => {
  const rule: Timing = { ...gt, noData: 'Alerting', forSeconds: 60 }
  const known = step(gt, new Map(), all({ labels: { field: 'sync' }, value: 9 }), 0).open
  const nothing = step(rule, known, all(), 0)
  expect(nothing.changes.map(({ kind, alert }) => [kind, alert.labels, alert.value])).toEqual([
    ['pending', {}, undefined],
  ])
  const later = step(rule, nothing.open, all(), minute)
  expect(later.changes.map(({ kind }) => kind)).toEqual(['fire'])
  expect(later.open.size).toBe(2)
})

test('a clock that was set back by a day makes nothing wait for a day', () => {
  const rule: Timing = { ...gt, forSeconds: 60, keepFiringSeconds: 60 }
  const bad = all({ labels: {}, value: 9 })
  const day = 86_400_000
  const pending = step(rule, new Map(), bad, day)
  const back = step(rule, pending.open, bad, 0)
  const firing = step(rule, back.open, bad, minute)
  expect(firing.changes.map(({ kind }) => kind)).toEqual(['fire'])
  const well = step(rule, firing.open, all({ labels: {}, value: 0 }), day)
  const wellBack = step(rule, well.open, all({ labels: {}, value: 0 }), 0)
  expect(step(rule, wellBack.open, all({ labels: {}, value: 0 }), minute).changes.map(({ kind }) => kind)).toEqual([
    'resolve',
  ])
})

test('of more alerts than are kept the worst are, the same in any order, and the rest is counted', () => {
  const rows = Array.from({ length: mostAlerts + 50 }, (_, i) => ({ labels: { i: `${i}` }, value: 10 + (i % 60) }))
  const there = step(gt, new Map(), all(...rows), 0)
  const back = step(gt, new Map(), all(...[...rows].reverse()), 0)
  expect(there.left).toBe(50)
  expect(new Set(there.open.keys())).toEqual(new Set(back.open.keys()))
  const least = Math.min(...[...there.open.values()].map(({ value }) => value ?? 0))
  expect(least).toBeGreaterThan(10)
  // Those that are open keep their place.
  expect(step(gt, there.open, all(...rows), minute)).toMatchObject({ left: 50, changes: [] })
})
