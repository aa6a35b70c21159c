import { mkdtempSync, readdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { loadKeyFile } from '@agnes/config'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRequestHash } from './request-hash.ts'

const hashOf = createRequestHash(Buffer.alloc(16, 7))
const hex = (body: Uint8Array, format = 'protobuf', tenant = 'default'): string =>
  Buffer.from(hashOf(body, format, tenant)).toString('hex')

test('the same request has the same hash; another body, format or tenant has another', () => {
  const bytes = fc.uint8Array({ maxLength: 200 })
  fc.assert(
    fc.property(bytes, bytes, (one, other) => {
      expect(hex(one)).toBe(hex(Uint8Array.from(one)))
      expect(hex(one) === hex(other)).toBe(Buffer.compare(one, other) === 0)
      expect(hex(one, 'json')).not.toBe(hex(one))
      expect(hex(one, 'protobuf', 'other')).not.toBe(hex(one))
    }),
  )
})

test('a body is not confused with its prefix or with zeros behind it', () => {
  const bodies = [Buffer.alloc(0), Buffer.alloc(1), Buffer.alloc(15), Buffer.alloc(16), Buffer.alloc(17)]
  expect(new Set(bodies.map((body) => hex(body))).size).toBe(bodies.length)
})

test('the key survives a restart, and only its owner can read it', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'agnes-key-'))
  const key = loadKeyFile(path.join(directory, 'key'), 16)
  expect(key).toHaveLength(16)
  expect(Buffer.from(loadKeyFile(path.join(directory, 'key'), 16)).equals(key)).toBe(true)
  const [name = ''] = readdirSync(directory)
  expect(statSync(path.join(directory, name)).mode & 0o777).toBe(0o600)
})
