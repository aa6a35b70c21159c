/**
 * The spool on a simulated file system: any sequence of requests, failures and crashes, and afterwards the books are
 * held against what a database would have been given.
 */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Choose, chooser, type SimulatedFs, simulateFs } from '../../../tests/support/simulated-fs.ts'
import { readWhole } from './file-system.ts'
import { scanSegment } from './segment-file.ts'
import { openSpool, type SealedSegment, type Spool, SpoolUnavailableError } from './spool.ts'

const directory = '/data/spool'

type Step =
  | { readonly kind: 'append'; readonly bytes: number; readonly together: number }
  /** The writer takes the oldest segment, stores it and forgets it. */
  | { readonly kind: 'store' }
  | { readonly kind: 'fail'; readonly operation: Parameters<SimulatedFs['fail']>[0]; readonly code: string }

/** One life of the process, ended by a crash after so many file operations; -1: stopped in order, then the power goes. */
interface Life {
  readonly steps: readonly Step[]
  readonly crashAfter: number
}

/** A request as its client sees it. */
interface Sent {
  readonly id: number
  readonly bytes: number
  /**
   * `in doubt`: no answer came; `perhaps refused`: a refusal came, but the disk did not even take the cut, so a crash may
   * bring it back; `given up`: in doubt, and its client does not ask again.
   */
  state: 'under way' | 'acknowledged' | 'refused' | 'perhaps refused' | 'in doubt' | 'given up'
}

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      bytes: fc.oneof(fc.integer({ min: 8, max: 64 }), fc.integer({ min: 300, max: 9_000 })),
      together: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'store' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('fail' as const),
      operation: fc.constantFrom('writev', 'datasync', 'truncate', 'open', 'syncDirectory', 'rename', 'unlink'),
      code: fc.constantFrom('EIO', 'ENOSPC'),
    }),
  },
)

const life: fc.Arbitrary<Life> = fc.record({
  steps: fc.array(step, { maxLength: 14 }),
  crashAfter: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 60 })),
})

/** All lives on one disk, then the books. */
async function live(lives: readonly Life[], choose: Choose): Promise<void> {
  const sent: Sent[] = []
  /** What ClickHouse has: rows by batch and sequence number. */
  const stored = new Map<string, number>()
  let disk = simulateFs(choose)

  for (const { steps, crashAfter } of lives) {
    if (crashAfter >= 0) disk.crashAfter(crashAfter)
    await Promise.race([run(disk, steps), disk.crashed])
    disk = disk.restart()
    for (const one of sent) if (one.state === 'under way' || one.state === 'perhaps refused') one.state = 'in doubt'
  }
  await run(disk, [])

  const counts = new Map<number, number>()
  for (const id of stored.values()) counts.set(id, (counts.get(id) ?? 0) + 1)
  const of = (state: Sent['state']): Sent[] => sent.filter((one) => one.state === state)
  const count = ({ id }: Sent): number => counts.get(id) ?? 0
  expect(of('acknowledged').filter((one) => count(one) !== 1)).toEqual([])
  expect(of('refused').filter((one) => count(one) !== 0)).toEqual([])
  expect([...of('in doubt'), ...of('given up')].filter((one) => count(one) > 1)).toEqual([])
  expect(sent.length).toBeGreaterThanOrEqual(counts.size)

  /** A process: clients in doubt send again, then the steps; at the end, with nothing planned, everything is drained. */
  async function run(on: SimulatedFs, steps: readonly Step[]): Promise<void> {
    const spool = await openSpool({ directory, fs: on.fs, segmentBytes: 12_000, sealAfterMs: 0 })
    const known = new Set(spool.recoveredHashes.map((hash) => Buffer.from(hash).toString('latin1')))
    for (const one of sent.filter(({ state }) => state === 'in doubt')) {
      if (known.has(hashOf(one.id).toString('latin1'))) one.state = 'acknowledged'
      else if (choose(2) === 0) await append(spool, on, [one])
      else one.state = 'given up'
    }
    for (const one of steps) {
      if (one.kind === 'fail') on.fail(one.operation, one.code)
      else if (one.kind === 'store') await storeOldest(spool, on)
      else {
        const group = Array.from({ length: one.together }, (): Sent => {
          const next: Sent = { id: sent.length, bytes: one.bytes, state: 'under way' }
          sent.push(next)
          return next
        })
        await append(spool, on, group)
      }
    }
    if (steps.length === 0) while (spool.stats().backlogSegments > 0) await storeOldest(spool, on)
    await spool.close()
  }

  async function append(spool: Spool, on: SimulatedFs, group: readonly Sent[]): Promise<void> {
    const failuresBefore = on.failuresMet()
    const answers = group.map(async (one) => {
      one.state = 'under way'
      const payload = Buffer.alloc(one.bytes, `${one.id}|`)
      const receivedAtNs = 1_795_000_000_000_000_000n + BigInt(one.id)
      try {
        await spool.append({ tenant: 'default', receivedAtNs, requestHash: hashOf(one.id), records: 1, payload })
        one.state = 'acknowledged'
      } catch (error) {
        expect(error).toBeInstanceOf(SpoolUnavailableError)
        one.state = 'perhaps refused'
      }
    })
    await Promise.all(answers)
    // One failure is the write's; the cut that followed it arrived. So it did where a later write was taken.
    const cut = on.failuresMet() - failuresBefore <= 1 || group.some(({ state }) => state === 'acknowledged')
    const refused = group.some(({ state }) => state === 'acknowledged') ? sent : group
    if (cut) for (const one of refused) if (one.state === 'perhaps refused') one.state = 'refused'
  }

  async function storeOldest(spool: Spool, on: SimulatedFs): Promise<void> {
    if (spool.stats().backlogSegments === 0) return
    const segment = (await spool.nextSealed()) as SealedSegment
    const whole = segment.recovered ? await retried(() => spool.recheck(segment)) : segment
    if (whole.records > 0) {
      const bytes = await readWhole(on.fs, whole.path)
      for (const { batchId, seq, offset, headerBytes, payloadBytes } of scanSegment(bytes).frames) {
        const key = `${batchId}/${seq}`
        // Only what an earlier life may have stored is looked up.
        if (whole.recovered && stored.has(key)) continue
        expect(stored.has(key)).toBe(false)
        const text = bytes.toString('latin1', offset + headerBytes, offset + headerBytes + payloadBytes)
        stored.set(key, Number(text.slice(0, text.indexOf('|'))))
      }
    }
    await retried(() => spool.remove(whole))
  }
}

/** As the writer does it. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error
    }
  }
}

function hashOf(id: number): Buffer {
  return Buffer.alloc(16, `request ${id} `)
}

describe('P1 P3 P4 P6: on a disk that forgets what was not synced', () => {
  test('acknowledged is recovered, refused is not, nothing twice: any failures, any crashes', async () => {
    const numRuns = Number(process.env.FAULT_ROUNDS ?? 3) * 100
    await fc.assert(
      fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 4 }), fc.integer(), (lives, seed) =>
        live(lives, chooser(seed)),
      ),
      { numRuns },
    )
  }, 600_000)
})
