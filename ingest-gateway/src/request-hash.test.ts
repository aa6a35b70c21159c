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
