import { expect, test } from 'vitest'
import { createFormTokens } from './csrf.ts'

const hourMs = 3_600_000

test('a form works once, for its session and its action', () => {
  const forms = createFormTokens()
  const token = forms.issue('session', '/logout')
  expect(() => forms.redeem(token, 'other', '/logout')).toThrow('not from this session')
  expect(() => forms.redeem(token, 'session', '/login')).toThrow('not from this session')
  expect(() => createFormTokens().redeem(token, 'session', '/logout')).toThrow('not from this session')
  forms.redeem(token, 'session', '/logout')
  expect(() => forms.redeem(token, 'session', '/logout')).toThrow('was sent already')
})

test('and for two hours', () => {
  let now = 0
  const forms = createFormTokens(() => now)
  const [early, late] = [forms.issue('s', '/a'), forms.issue('s', '/a')]
  now = 2 * hourMs
  forms.redeem(early, 's', '/a')
  now++
  expect(() => forms.redeem(late, 's', '/a')).toThrow('too old')
})

test.each([['', 'x', 'x.y', 'x.y.z', `${'9'.repeat(400)}.a.b`, '..', 'a.b.c.d']])('%s is no token', (...texts) => {
  const forms = createFormTokens()
  for (const text of texts) expect(() => forms.redeem(text, 's', '/a')).toThrow('too old, or is not')
})
