import { ClickHouseError } from '@clickhouse/client'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FoundFrame } from '../spool/segment-file.ts'
import type { InsertOutcome } from './insert.ts'
import { separate } from './poison.ts'

function frame(index: number): FoundFrame {
  return {
    seq: BigInt(index),
    batchId: '',
    tenant: 'default',
    receivedAtNs: 0n,
    requestHash: new Uint8Array(16),
    records: 1,
    payloadBytes: 10,
    payloadCrc: 0,
    headerBytes: 76,
    offset: index * 86,
  } as FoundFrame
}

const cause = new ClickHouseError({ message: 'constraint', code: '469', type: 'VIOLATED_CONSTRAINT' })

describe('P12: halving a segment that is refused', () => {
  test('finds exactly the frames at fault, in few inserts, and stores each other frame once', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 300 }), async (poisonous) => {
        const frames = poisonous.map((_, i) => frame(i))
        const bad = frames.filter((_, i) => poisonous[i])
        const inserted: FoundFrame[] = []
        let inserts = 0
        const insert = async (part: readonly FoundFrame[]): Promise<InsertOutcome> => {
          inserts++
          expect(part.every((one, i) => i === 0 || one.seq === (part[i - 1]?.seq ?? 0n) + 1n)).toBe(true)
          if (part.some((one) => bad.includes(one))) return { kind: 'content', cause }
          inserted.push(...part)
          return { kind: 'stored' }
        }
        const { stored, refused, left } = await separate(frames, insert, () => true)
        expect(refused.map((one) => one.frame)).toEqual(bad)
        expect(stored).toEqual(inserted)
        expect(new Set([...inserted, ...bad]).size).toBe(frames.length)
        expect(left).toEqual([])
        expect(inserts).toBeLessThanOrEqual(1 + 2 * bad.length * Math.ceil(Math.log2(frames.length + 1)))
      }),
    ))

  test('stops at the first other failure and when time is up: what is not decided is left', async () => {
    const frames = Array.from({ length: 8 }, (_, i) => frame(i))
    let inserts = 0
    const failing = async (): Promise<InsertOutcome> =>
      ++inserts === 1 ? { kind: 'content', cause } : { kind: 'uncertain', cause: new Error('socket hang up') }
    expect(await separate(frames, failing, () => true)).toMatchObject({
      stored: [],
      refused: [],
      left: frames,
      failure: { message: 'socket hang up' },
    })
    expect(await separate(frames, failing, () => false)).toMatchObject({ left: frames, failure: undefined })
    expect(inserts).toBe(2)
  })
})
