/** The gateway under strace: what reaches the disk before an answer, and a crash at a chosen system call. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Bench, startBench } from '../support/bench.ts'
import { answersOnRecord, crashAt, noStrace, onRecord } from '../support/faults.ts'

if (noStrace !== undefined) test.skip(`P1 P2 by system call: ${noStrace}`, () => {})

describe.skipIf(noStrace !== undefined)('by system call', () => {
  let bench: Bench
  let traces: string
  let trace: string
  /** Its first gateway is on record, for the first test; the second one starts its own. */
  beforeAll(async () => {
    traces = mkdtempSync(path.join(tmpdir(), 'agnes-traces-'))
    trace = path.join(traces, 'trace')
    bench = await startBench(onRecord(trace))
  })
  afterAll(async () => {
    await bench.remove()
    rmSync(traces, { recursive: true })
  })

  test('P1: every 200 goes out after the fdatasync of what it acknowledges', async () => {
    const client = bench.startClient('traced')
    await expect.poll(() => client.acknowledged.size, { timeout: 20_000 }).toBeGreaterThan(500)
    const books = await bench.closeBooks()
    await bench.gateway.kill()
    const { answers, tooEarly } = answersOnRecord(trace)
    expect(answers).toBeGreaterThanOrEqual(25)
    expect(tooEarly).toBe(0)
    expect(books).toMatchObject({ lost: [], doubled: [], changed: [] })
  }, 60_000)

  test('P1 P2: a crash at a sync loses and doubles nothing', async () => {
    // Other calls, and later ones: long/kills.test.ts.
    await crashAt(bench, ['fdatasync:signal=SIGKILL:when=3'])
    expect(await bench.closeBooks()).toMatchObject({ lost: [], doubled: [], changed: [], gaps: 0 })
  }, 90_000)
})
