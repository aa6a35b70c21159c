import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Found } from '@agnes/clickhouse'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { createSessions, sessionSeconds } from './session.ts'

const directory = mkdtempSync(path.join(tmpdir(), 'agnes-sessions-'))
afterAll(() => rmSync(directory, { recursive: true }))

type Valid = Extract<Found, { kind: 'valid' }>
const key: Valid = {
  kind: 'valid',
  holder: { keyId: 'abcdefgh', tenant: 'default', scopes: ['admin'], recordsPerSecond: 0, bytesPerSecond: 0 },
  secretHash: 'f00d',
}

function start(name: string, secrets: readonly string[] = ['f00d'], secret = Buffer.alloc(32, 7)) {
  const clock = { nowMs: 1_800_000_000_000 }
  const sessions = createSessions({
    secret,
    ring: {
      findAgain: (keyId, isSecret) =>
        keyId === key.holder.keyId && secrets.some(isSecret) ? key : ({ kind: 'unknown' } as const),
    },
    endedFile: path.join(directory, name),
    nowMs: () => clock.nowMs,
  })
  return { sessions, clock }
}

test('a session is its key as long as the secret it was opened with is good, for twelve hours', () => {
  const { sessions, clock } = start('one')
  const cookie = sessions.open(key)
  expect(cookie).not.toContain('f00d')
  expect(sessions.read(cookie)?.found).toBe(key)
  expect(start('two', ['beef', 'f00d']).sessions.read(cookie)?.found).toBe(key)
  expect(start('three', ['beef']).sessions.read(cookie)?.found).toEqual({ kind: 'unknown' })
  expect(start('four', ['f00d'], Buffer.alloc(32, 8)).sessions.read(cookie)).toBeUndefined()
  clock.nowMs += sessionSeconds * 1000 - 1
  expect(sessions.read(cookie)).toBeDefined()
  clock.nowMs++
  expect(sessions.read(cookie)).toBeUndefined()
})

test('one that was logged out stays so after a restart', async () => {
  const { sessions } = start('five')
  const [cookie, other] = [sessions.open(key), sessions.open(key)]
  const opened = sessions.read(cookie)
  if (opened !== undefined) await sessions.end(opened.session)
  for (const again of [sessions, start('five').sessions]) {
    expect(again.read(cookie)).toBeUndefined()
    expect(again.read(other)).toBeDefined()
  }
})

test('a cookie that was changed anywhere, or made up, is none', () => {
  const { sessions } = start('six')
  const cookie = sessions.open(key)
  const changed = fc.tuple(fc.nat(cookie.length - 1), fc.constantFrom(...'abcXYZ019-_.= ')).map(([at, letter]) => {
    return cookie.slice(0, at) + letter + cookie.slice(at + 1)
  })
  fc.assert(
    fc.property(fc.oneof(changed, fc.string(), fc.string({ unit: 'binary', maxLength: 2_000 })), (text) => {
      fc.pre(text !== cookie)
      expect(sessions.read(text)).toBeUndefined()
    }),
  )
})
