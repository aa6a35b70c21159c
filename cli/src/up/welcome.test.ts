import { expect, test } from 'vitest'
import { welcome } from './welcome.ts'

const instance = {
  clickhouseUrl: 'http://127.0.0.1:8123/agnes',
  otlpUrl: 'http://127.0.0.1:4318',
  inboxUrl: 'http://127.0.0.1:8080',
  adminKey: 'agn_abcd1234_secret',
}
const options = { otlpGrpc: 4317, needsKey: false, keyFile: '/var/lib/agnes/admin.key' }

test('a person at a terminal is shown the new admin key', () => {
  expect(welcome(instance, { ...options, toPerson: true })).toContain('agn_abcd1234_secret')
})

test('a journal or the log of a container is told where it is, not what it is', () => {
  const said = welcome(instance, { ...options, toPerson: false })
  expect(said).toContain('/var/lib/agnes/admin.key')
  expect(said).not.toContain('secret')
})
