/** Keys in the table: each change is told by the state that is read back, also when two come at once. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { createKey, fetchKeys, fetchLiveKeys, revokeKey, rotateKey } from './api-keys.ts'
import { parseKeyText, secretHash } from './key-text.ts'

let engine: TestEngine

beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

const hour = 3_600_000
const ingest = { tenant: 'acme', scopes: ['ingest'] } as const

async function keyOf(id: string) {
  return (await fetchKeys(engine.client)).find((key) => key.id === id)
}
async function isLive(id: string): Promise<boolean> {
  return (await fetchLiveKeys(engine.client)).some((key) => key.id === id)
}

test('a new key has the form everybody can look for, and its secret is nowhere in the database', async () => {
  const expiresAt = new Date(Date.now() + hour)
  const { key, text } = await createKey(engine.client, {
    tenant: 'acme',
    scopes: ['ingest', 'read'],
    project: 'web',
    note: "it's \\ \t a note",
    expiresAt,
    recordsPerSecond: 10,
    bytesPerSecond: 1_000,
  })
  expect(text).toMatch(/^agn_[A-Za-z0-9]{8}_[A-Za-z0-9]{36}$/)
  expect(await keyOf(key.id)).toEqual(key)
  expect(key).toMatchObject({
    tenant: 'acme',
    project: 'web',
    note: "it's \\ \t a note",
    expiresAt,
    recordsPerSecond: 10,
  })
  const { secret = '' } = parseKeyText(text) ?? {}
  expect(key.secretHash).toBe(secretHash(secret))
  const everything = await engine.client.query({ query: 'SELECT * FROM api_keys', format: 'JSONEachRow' })
  expect(await everything.text()).not.toContain(secret)
})

test('two keys have nothing in common', async () => {
  const [one, two] = [await createKey(engine.client, ingest), await createKey(engine.client, ingest)]
  expect(one.key.id).not.toBe(two.key.id)
  expect(one.key.secretHash).not.toBe(two.key.secretHash)
})

test('a revoked key stays revoked, whatever else happens to it at the same time', async () => {
  const { key } = await createKey(engine.client, ingest)
  expect(await isLive(key.id)).toBe(true)
  const outcomes = await Promise.allSettled([
    rotateKey(engine.client, key.id, hour),
    revokeKey(engine.client, key.id),
    rotateKey(engine.client, key.id, hour),
  ])
  expect(outcomes[1]?.status).toBe('fulfilled')
  await engine.client.command({ query: 'OPTIMIZE TABLE api_keys FINAL' })
  expect(await isLive(key.id)).toBe(false)
  expect((await keyOf(key.id))?.revokedAt).toBeInstanceOf(Date)
  await expect(rotateKey(engine.client, key.id, hour)).rejects.toMatchObject({ exitCode: 3, message: /was revoked/ })
})

test('rotating gives a new secret and keeps the former ones until their time is over; without grace none', async () => {
  const { key } = await createKey(engine.client, ingest)
  const first = await rotateKey(engine.client, key.id, hour)
  const second = await rotateKey(engine.client, key.id, 2 * hour)
  expect(parseKeyText(second.text)?.id).toBe(key.id)
  const rotated = await keyOf(key.id)
  expect(rotated?.secretHash).toBe(secretHash(parseKeyText(second.text)?.secret ?? ''))
  expect(rotated?.formerSecrets.map(({ hash }) => hash)).toEqual([key.secretHash, first.after.secretHash])
  const [shorter, longer] = rotated?.formerSecrets ?? []
  expect(Number(longer?.validUntil) - Number(shorter?.validUntil)).toBeGreaterThan(hour / 2)
  expect((await rotateKey(engine.client, key.id, 0)).after.formerSecrets).toEqual([])
})

test('a rotation that another one overtook does not tell a secret that will never work', async () => {
  const { key } = await createKey(engine.client, ingest)
  let overtaking: Promise<{ text: string }> | undefined
  const overtaken = new Proxy(engine.client, {
    get: (client, name) =>
      name !== 'insert'
        ? Reflect.get(client, name)
        : async (params: Parameters<typeof client.insert>[0]) => {
            const stored = await client.insert(params)
            overtaking = rotateKey(client, key.id, hour)
            await overtaking
            return stored
          },
  })
  await expect(rotateKey(overtaken, key.id, hour)).rejects.toMatchObject({ code: 'key_changed' })
  const { secret = '' } = parseKeyText((await overtaking)?.text ?? '') ?? {}
  expect((await keyOf(key.id))?.secretHash).toBe(secretHash(secret))
})

test('a key that is not there is named', async () => {
  await expect(revokeKey(engine.client, 'nobody00')).rejects.toMatchObject({ message: 'there is no key nobody00' })
})
