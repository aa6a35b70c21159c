/**
 * Whatever is uploaded in whatever order, cut anywhere, whole or from an offset, twice or at the same instant through two
 * gateways: what is listed afterwards are the contents that no other content begins with, each of them whole.
 */

import { prefixesAt, type SessionKey } from '@agnes/clickhouse'
import { createRedaction, noRules } from '@agnes/redaction'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type SessionStand, startSessionStand } from '../../../tests/support/sessions.ts'
import { createSessionStore, type SessionStore } from './upload.ts'

let stand: SessionStand
let gateways: readonly SessionStore[]
beforeAll(async () => {
  stand = await startSessionStand()
  gateways = [store(1), store(1)]
})
afterAll(() => stand.stop())

/** A gateway's, as far as sessions go; small pieces, so that an upload is several inserts. */
function store(key: number): SessionStore {
  return createSessionStore({
    client: stand.engine.client,
    redaction: createRedaction(noRules, Buffer.alloc(32)),
    redactionRules: 'off',
    key: Buffer.alloc(32, key),
    limits: { batchLines: 3 },
  })
}

interface Sending {
  readonly lines: readonly string[]
  /** Bytes at the end that never arrive. */
  readonly lost: number
  /** Sends only what is not stored. */
  readonly resumes: boolean
  readonly gateway: number
}

const alphabet = ['{"a":1}', '{"b":2}', '', 'no json']
const content = fc.array(fc.constantFrom(...alphabet), { maxLength: 8 })
const sending: fc.Arbitrary<Sending> = fc.record({
  lines: content,
  lost: fc.oneof(fc.constant(0), fc.nat(30)),
  resumes: fc.boolean(),
  gateway: fc.nat(1),
})

let sessions = 0

/** @returns the lines that were acknowledged or, of a cut upload, kept */
async function upload(key: SessionKey, { lines, lost, resumes, gateway }: Sending): Promise<string[]> {
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
  const store = gateways[gateway] as SessionStore
  const versions = resumes ? await store.versions(key) : []
  const prefixes = await prefixesAt(
    [bytes],
    versions.map((version) => version.bytes),
  )
  const [resume] = [...prefixes]
    .map(([offset, prefix]) => ({ offset, prefix }))
    .filter((one) => store.versionAt(key, versions, one))
    .sort((a, b) => b.offset - a.offset)
  const from = resume?.offset ?? 0
  const arrives = bytes.subarray(0, Math.max(from, bytes.length - lost))
  const taking = await store.begin(key, 'upload', resume)
  for (let at = from; at < arrives.length; at += 5)
    await taking.write(arrives.subarray(at, Math.min(at + 5, arrives.length)))
  const isCut = arrives.length < bytes.length
  const { lines: kept } = isCut ? await taking.cut() : await taking.end()
  expect(kept).toBe(arrives.toString().split('\n').length - 1)
  return lines.slice(0, kept)
}

/** Of these, the ones that no other begins with. */
function longest(contents: readonly (readonly string[])[]): string[] {
  const texts = [...new Set(contents.map((lines) => lines.map((line) => `${line}\n`).join('')))]
  return texts.filter((text) => text !== '' && !texts.some((other) => other !== text && other.startsWith(text))).sort()
}

async function listed(key: SessionKey): Promise<string[]> {
  return Object.values(await stand.stored(key.tenant, key.user, key.file)).sort()
}

const newKey = (): SessionKey => ({ tenant: 'default', user: 'ann', file: `property-${++sessions}` })
/** With SESSION_RUNS as many as you like, and longer ones. */
const numRuns = Number(process.env.SESSION_RUNS ?? 4)
const mostSendings = numRuns > 10 ? 6 : 4

describe('the versions of a session', () => {
  test('are its contents, in whatever order and pieces they came', { timeout: 10_000 * numRuns }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(sending, { minLength: 1, maxLength: mostSendings }), async (sendings) => {
        const key = newKey()
        const contents: string[][] = []
        for (const one of sendings) contents.push(await upload(key, one))
        expect(await listed(key)).toEqual(longest(contents))
        // Again: nothing changes.
        for (const one of sendings) await upload(key, { ...one, resumes: !one.resumes })
        expect(await listed(key)).toEqual(longest(contents))
      }),
      { numRuns },
    )
  })

  test('are the same when two uploads come at the same instant', { timeout: 10_000 * numRuns }, async () => {
    await fc.assert(
      fc.asyncProperty(content, sending, sending, async (before, one, other) => {
        const key = newKey()
        const contents = [await upload(key, { lines: before, lost: 0, resumes: false, gateway: 0 })]
        const grown = [one, other].map((sent) => ({ ...sent, lines: [...before, ...sent.lines] }))
        contents.push(...(await Promise.all(grown.map((sent, gateway) => upload(key, { ...sent, gateway })))))
        expect(await listed(key)).toEqual(longest(contents))
      }),
      { numRuns },
    )
  })
})

test('gateways with different keys keep a version each, and lose nothing', async () => {
  const key = newKey()
  const other = store(2)
  for (const [gateway, lines] of [
    [gateways[0], 2],
    [other, 3],
    [gateways[0], 4],
    [other, 5],
  ] as const) {
    const taking = await (gateway as SessionStore).begin(key, 'upload')
    await taking.write(Buffer.from('{"a":1}\n'.repeat(lines)))
    await taking.end()
  }
  expect(await listed(key)).toEqual(['{"a":1}\n'.repeat(4), '{"a":1}\n'.repeat(5)])
})
