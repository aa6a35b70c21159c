import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { openSpool, type Spool } from './spool.ts'

let directory: string
let nowMs = 1_795_000_000_000
let monotonicMs = 0
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'agnes-recognition-'))
})
afterEach(() => rm(directory, { recursive: true }))

const lines: string[] = []
const open = (): Promise<Spool> =>
  openSpool({
    directory,
    sealAfterMs: 1,
    clocks: { wall: () => nowMs, monotonic: () => monotonicMs },
    log: (line) => lines.push(line),
  })

const bytesOf = (length: number, fill: number): Buffer => Buffer.alloc(length, fill)

/** Appends one request, and takes its segment as stored. */
async function store(spool: Spool, fill: number): Promise<void> {
  await spool.append({
    tenant: 'default',
    receivedAtNs: BigInt(nowMs) * 1_000_000n,
    requestHash: bytesOf(16, fill),
    ids: bytesOf(24, fill),
    records: 3,
    payload: bytesOf(50, fill),
  })
  const segment = await spool.nextSealed()
  if (segment === undefined) throw new Error('no segment')
  await spool.remove(segment)
}

async function recovered(): Promise<{ hashes: string[]; ids: string[] }> {
  const spool = await open()
  await spool.close()
  const hex = (parts: readonly Uint8Array[]): string[] =>
    parts.filter((part) => part.length > 0).map((part) => Buffer.from(part).toString('hex'))
  return { hashes: hex(spool.recoveredHashes), ids: hex(spool.recoveredIds) }
}

test('P13 requests and events are recognised after a restart, stored or not', async () => {
  const spool = await open()
  for (const fill of [1, 2]) await store(spool, fill)
  await spool.append({
    tenant: 'default',
    receivedAtNs: BigInt(nowMs) * 1_000_000n,
    requestHash: bytesOf(16, 3),
    ids: bytesOf(8, 3),
    records: 1,
    payload: bytesOf(50, 3),
  })
  await spool.close()
  const expected = {
    hashes: [1, 2, 3].map((fill) => bytesOf(16, fill).toString('hex')),
    ids: [bytesOf(24, 1), bytesOf(24, 2), bytesOf(8, 3)].map((bytes) => bytes.toString('hex')),
  }
  expect(await recovered()).toEqual(expected)
  // And again: to start forgets nothing.
  expect(await recovered()).toEqual(expected)
})

test('what was kept over ten minutes ago is forgotten; the journals take turns and do not grow', async () => {
  const spool = await open()
  for (let fill = 1; fill <= 8; fill++) {
    await store(spool, fill)
    nowMs += 200_000
    monotonicMs += 200_000
  }
  await spool.close()
  expect((await recovered()).hashes).toEqual([6, 7, 8].map((fill) => bytesOf(16, fill).toString('hex')))
  expect((await readdir(directory)).filter((name) => name.endsWith('.journal'))).toHaveLength(2)
})

test('P25 a wall clock that jumps, ahead and back, makes the running gateway forget nothing', async () => {
  const spool = await open()
  const jumpsMs = [0, 172_800_000, -345_600_000, 172_800_000, -3_600_000]
  for (const [i, jumpMs] of jumpsMs.entries()) {
    nowMs += jumpMs
    await store(spool, i + 1)
  }
  await spool.close()
  expect((await recovered()).hashes).toEqual(jumpsMs.map((_, i) => bytesOf(16, i + 1).toString('hex')))
})

test('restarts in a row forget nothing', async () => {
  for (let fill = 1; fill <= 6; fill++) {
    const spool = await open()
    await store(spool, fill)
    await spool.close()
  }
  expect((await recovered()).hashes).toEqual([1, 2, 3, 4, 5, 6].map((fill) => bytesOf(16, fill).toString('hex')))
})

test('a journal that is cut or damaged is read as far as it is whole, and stops nothing', async () => {
  const spool = await open()
  for (const fill of [1, 2, 3]) await store(spool, fill)
  await spool.close()
  const [name = ''] = (await readdir(directory)).filter((file) => file.endsWith('.journal'))
  const file = path.join(directory, name)
  const whole = await readFile(file)
  await truncate(file, whole.length - 1)
  expect((await recovered()).hashes).toHaveLength(2)
  const damaged = Buffer.from(whole)
  damaged[Math.floor(whole.length / 2)] = (damaged[Math.floor(whole.length / 2)] as number) ^ 1
  await writeFile(file, damaged)
  expect((await recovered()).hashes).toHaveLength(1)
  await writeFile(file, 'nonsense')
  expect((await recovered()).hashes).toHaveLength(0)
})
