import { expect, test } from 'vitest'
import { effectiveClientKind, ownReadActions, type ResultClass, resultClass, resultClasses } from './vocabulary.ts'

/** Every result Agnes writes, by the class it is read as. */
const vocabulary: Readonly<Record<ResultClass, readonly (string | null | undefined)[]>> = {
  success: ['success', 'ok'],
  error: ['error', 'error.400', 'error.404', 'error.in_progress', 'error.invalid_sql', 'error.exec_failed'],
  denied: ['denied', 'blocked', 'invalid_password', 'deactivated'],
  none: [null, undefined, ''],
  other: ['skipped', 'attempted'],
}

test.each(resultClasses.flatMap((kind) => vocabulary[kind].map((raw) => [raw, kind] as const)))(
  'the result %j is of class %s',
  (raw, kind) => {
    expect(resultClass(raw)).toBe(kind)
  },
)

test('a result nobody has seen before is kept apart, not taken for a success', () => {
  for (const raw of ['Success', 'successful', 'OK', 'not an error', ' success', 'constructor']) {
    expect(resultClass(raw)).toBe('other')
  }
})

test('a client kind that was sent stands, whatever the action', () => {
  expect(effectiveClientKind({ clientKind: 'web', action: 'run_due', userId: 'u1' })).toBe('web')
  expect(effectiveClientKind({ clientKind: 'a kind of the future' })).toBe('a kind of the future')
})

test('a tick without a client kind is the scheduler’s, with and without a user', () => {
  for (const action of ['run_session_processor:verification', 'run_due', 'marketplace.sync_all']) {
    expect(effectiveClientKind({ action })).toBe('scheduler')
    expect(effectiveClientKind({ action, userId: 'u1', clientKind: '' })).toBe('scheduler')
  }
  expect(effectiveClientKind({ action: 'marketplace.sync_all_now', userId: 'u1' })).toBe('other')
})

test('else an event without a user is the system’s, one with a user is other', () => {
  expect(effectiveClientKind({ action: 'startup.seed_admin_failed' })).toBe('system')
  expect(effectiveClientKind({ action: 'query.local', userId: '' })).toBe('system')
  expect(effectiveClientKind({ action: 'query.local', userId: 'u1' })).toBe('other')
  expect(effectiveClientKind({})).toBe('system')
})

test('reading the activity page does not count as activity', () => {
  expect(ownReadActions).toContain('activity.read')
})
