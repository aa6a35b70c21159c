import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { copySpool, holdsRecords, raiseSequence } from './copy.ts'
import { nodeFs, type SpoolFs } from './file-system.ts'
import { encodeFrameHeader } from './frame.ts'
import { segmentName } from './segment-file.ts'
import { openSpool } from './spool.ts'

let directory: string
let spool: string
let copy: string
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'agnes-copy-'))
  spool = path.join(directory, 'spool')
  copy = path.join(directory, 'copy')
  for (const name of ['', 'quarantine', 'redrive']) mkdirSync(path.join(spool, name))
})
afterEach(() => rmSync(directory, { recursive: true }))

/** A request of one record. */
function frame(seq: bigint): Buffer {
  const payload = Buffer.from(`payload of ${seq}`)
  const request = {
    tenant: 'default',
    receivedAtNs: 1_763_726_400_000_000_000n,
    requestHash: Buffer.alloc(16, Number(seq)),
    records: 1,
    payload,
  }
  const header = encodeFrameHeader(request, seq, '0198aaaa-0000-7000-8000-000000000001')
  return Buffer.concat([header, payload])
}

const inSpool = (...names: string[]): string => path.join(spool, ...names)

test('a frame that is still being written stays out of the copy, all before it are in', async () => {
  const whole = Buffer.concat([frame(1n), frame(2n)])
  writeFileSync(inSpool(segmentName(1n)), Buffer.concat([whole, frame(3n).subarray(0, 40)]))
  expect(await copySpool(spool, copy)).toMatchObject({ files: 1, records: 2, bytes: whole.length })
  expect(readFileSync(path.join(copy, segmentName(1n)))).toEqual(whole)
})

test('damage in an older segment is copied as it is: quarantine decides, not the backup', async () => {
  const damaged = Buffer.concat([frame(1n), frame(2n).subarray(0, 40)])
  writeFileSync(inSpool(segmentName(1n)), damaged)
  writeFileSync(inSpool(segmentName(3n)), frame(3n))
  await copySpool(spool, copy)
  expect(readFileSync(path.join(copy, segmentName(1n)))).toEqual(damaged)
})

/** Where a refused frame may be, in the order it goes; each step as the gateway or `agnes spool redrive` takes it. */
const places = [
  segmentName(7n),
  'quarantine/refused-0000000000000007.rowbinary',
  'redrive/refused-0000000000000007.rowbinary',
]
function moveOn(from: number): void {
  const [was = '', becomes = ''] = [places[from], places[(from + 1) % places.length]]
  writeFileSync(inSpool('moving'), readFileSync(inSpool(was)))
  renameSync(inSpool('moving'), inSpool(becomes))
  rmSync(inSpool(was))
}

test('a frame is in the copy wherever it moves to while we copy', async () => {
  let calls = 0
  let moves: number[] = []
  let at = 0
  const step = (): void => {
    if (moves.includes(++calls)) moveOn(at++ % places.length)
  }
  const fs: SpoolFs = {
    ...nodeFs,
    list: (name) => {
      step()
      return nodeFs.list(name)
    },
    open: async (file, purpose) => {
      if (purpose === 'read') step()
      // No power cut here, and hundreds of copies.
      return Object.assign(await nodeFs.open(file, purpose), { datasync: async () => {} })
    },
    syncDirectory: async () => {},
  }
  const attempt = async (start: number, planned: number[]): Promise<string[]> => {
    for (const name of places) rmSync(inSpool(name), { force: true })
    rmSync(copy, { recursive: true, force: true })
    writeFileSync(inSpool(places[start] ?? ''), frame(7n))
    calls = 0
    moves = planned
    at = start
    await copySpool(spool, copy, fs)
    return readdirSync(copy, { recursive: true }).filter((name) => String(name).endsWith('7.rowbinary')) as string[]
  }
  for (const start of [0, 1, 2]) {
    for (let first = 1; first <= 12; first++) {
      for (let second = first; second <= 12; second++) {
        expect(await attempt(start, [first, second]), `from ${places[start]}, at ${first} and ${second}`).not.toEqual(
          [],
        )
      }
    }
  }
})

test('a spool whose sequence was raised gives no number below', async () => {
  writeFileSync(inSpool(segmentName(5n)), frame(5n))
  await raiseSequence(spool, 1_000n)
  const opened = await openSpool({ directory: spool })
  await opened.append({
    tenant: 'default',
    receivedAtNs: 1_763_726_400_000_000_000n,
    requestHash: Buffer.alloc(16),
    records: 1,
    payload: Buffer.from('new'),
  })
  await opened.close()
  expect(readFileSync(inSpool(segmentName(1_000n))).length).toBeGreaterThan(0)
})

test('only records make a spool one that a restore would cover up', async () => {
  writeFileSync(inSpool(segmentName(5n)), '')
  writeFileSync(inSpool('request-hash.key'), 'k')
  expect(await holdsRecords(spool)).toBe(false)
  writeFileSync(inSpool(segmentName(6n)), frame(6n))
  expect(await holdsRecords(spool)).toBe(true)
})
