import { mkdtemp, open as openFile, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { nodeFs, type SpoolFile, type SpoolFs } from './file-system.ts'
import { decodeFrameHeader } from './frame.ts'
import { scanSegment } from './segment-file.ts'
import { openSpool, type Spool, type SpoolOptions, type SpoolRequest } from './spool.ts'

let directory: string
const opened: Spool[] = []

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'agnes-spool-'))
})
afterEach(async () => {
  for (const spool of opened.splice(0)) await spool.close()
  await rm(directory, { recursive: true })
})

async function open(
  options: Pick<SpoolOptions, 'segmentBytes' | 'segmentUnfoldedBytes' | 'sealAfterMs'> = {},
): Promise<Spool> {
  const spool = await openSpool({ directory, sealAfterMs: 1, ...options })
  opened.push(spool)
  return spool
}

const noon = 1_795_000_000_000_000_000n

function request(text: string, fields: Partial<SpoolRequest> = {}): SpoolRequest {
  const payload = Buffer.from(text)
  return { tenant: 'default', receivedAtNs: noon, requestHash: Buffer.alloc(16, text), records: 1, payload, ...fields }
}

async function segments(): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name.startsWith('seg-')).sort()
}

/** The payloads of all frames in a segment file, as text. */
async function payloads(file: string): Promise<string[]> {
  const bytes = await readFile(file)
  return scanSegment(bytes).frames.map(({ offset, headerBytes, payloadBytes }) =>
    bytes.toString('utf8', offset + headerBytes, offset + headerBytes + payloadBytes),
  )
}

describe('P6 P7: a disk that fails', () => {
  test('refuses, keeps what was acknowledged, stores nothing it refused, and takes requests when it is well again', async () => {
    const spool = await open({ sealAfterMs: 60_000 })
    await spool.append(request('kept'))
    const probe = await openFile(path.join(directory, 'probe'), 'w')
    const handles = Object.getPrototypeOf(probe) as { datasync(): Promise<void> }
    await probe.close()
    // The failed request is in the file when its fdatasync fails; then no new file can be made either.
    const failing = vi.spyOn(handles, 'datasync').mockRejectedValueOnce(new Error('EIO: i/o error, fdatasync'))
    const away = `${directory}-away`
    await rename(directory, away)
    await expect(spool.append(request('refused'))).rejects.toThrow('EIO')
    await expect(spool.append(request('refused too'))).rejects.toThrow('cannot be written')
    expect(spool.stats().failure).toBeDefined()
    failing.mockRestore()
    await rename(away, directory)
    await spool.append(request('taken again'))
    expect(spool.stats().failure).toBeUndefined()
    await spool.close()

    const again = await open()
    const texts: string[] = []
    for (let left = again.stats().backlogSegments; left > 0; left--) {
      texts.push(...(await payloads((await again.nextSealed())?.path ?? '')))
    }
    expect(texts).toContain('kept')
    expect(texts).toContain('taken again')
    expect(texts.filter((text) => text.startsWith('refused'))).toEqual([])
    expect(new Set(texts).size).toBe(texts.length)
  })
})

describe('P1 P2 P16: what was acknowledged', () => {
  test('is in the segment file as soon as append resolves', async () => {
    const spool = await open()
    await spool.append(request('one'))
    await spool.append(request('two'))
    const [name] = await segments()
    expect(await payloads(path.join(directory, name ?? ''))).toEqual(['one', 'two'])
  })

  test('has bounds of time that hold all of it, also when the clock steps back', async () => {
    const spool = await open()
    for (const at of [noon, noon - 5_000_000n, noon + 7n, noon - 1n]) {
      await spool.append(request(`at ${at}`, { receivedAtNs: at }))
    }
    await spool.close()
    const bounds = { firstReceivedAtNs: noon - 5_000_000n, lastReceivedAtNs: noon + 7n }
    expect(await (await open()).nextSealed()).toMatchObject(bounds)
    const live = await open({ sealAfterMs: 1 })
    await Promise.all([noon, noon - 9n].map((at) => live.append(request(`live ${at}`, { receivedAtNs: at }))))
    await live.nextSealed()
    expect(await live.nextSealed()).toMatchObject({ firstReceivedAtNs: noon - 9n, lastReceivedAtNs: noon })
  })

  test('comes back after a restart, in order, under the batch id and the sequence it was written with', async () => {
    const first = await open()
    await Promise.all(['one', 'two', 'three'].map((text) => first.append(request(text, { records: 10 }))))
    await first.close()

    const second = await open()
    const segment = await second.nextSealed()
    expect(segment).toMatchObject({ records: 30, recovered: true })
    const bytes = await readFile(segment?.path ?? '')
    const headers = scanSegment(bytes).frames
    expect(headers.map((header) => header.seq)).toEqual([1n, 11n, 21n])
    expect(new Set(headers.map((header) => header.batchId))).toEqual(new Set([segment?.batchId]))
    expect(second.recoveredHashes).toHaveLength(3)
  })

  test('keeps its sequence numbers: they are never given twice, even when everything was drained in between', async () => {
    for (const [round, expected] of [1n, 4n, 7n].entries()) {
      const spool = await open()
      await spool.append(request(`round ${round}`, { records: 3 }))
      const segment = await spool.nextSealed()
      if (segment === undefined) throw new Error('no segment')
      expect(decodeFrameHeader(await readFile(segment.path))?.seq).toBe(expected)
      await spool.remove(segment)
      await spool.close()
    }
  })

  test('counts as backlog until it is removed', async () => {
    const spool = await open()
    await spool.append(request('one', { records: 7 }))
    expect(spool.stats()).toMatchObject({ backlogRecords: 7, backlogSegments: 1, oldestReceivedAtNs: noon })
    const segment = await spool.nextSealed()
    if (segment === undefined) throw new Error('no segment')
    expect(spool.stats()).toMatchObject({ backlogRecords: 7, oldestReceivedAtNs: noon })
    await spool.remove(segment)
    expect(spool.stats()).toMatchObject({ backlogRecords: 0, backlogBytes: 0, oldestReceivedAtNs: undefined })
  })
})

describe('a segment is sealed', () => {
  test('when it is full', async () => {
    const spool = await open({ segmentBytes: 1000, sealAfterMs: 60_000 })
    for (let i = 0; i < 4; i++) await spool.append(request('x'.repeat(600)))
    expect(await segments()).toHaveLength(2)
    expect(await spool.nextSealed()).toMatchObject({ records: 2 })
  })

  test('before resources and scopes become too much, repeated for each record', async () => {
    const spool = await open({ segmentUnfoldedBytes: 1_000, sealAfterMs: 60_000 })
    const append = (text: string, unfoldedBytes: number) => spool.append(request(text, { unfoldedBytes }))
    for (const text of ['a', 'b', 'c']) await append(text, 400)
    // Those that come together share an fdatasync, and one alone always fits.
    await Promise.all([append('d', 600), append('e', 500), append('f', 5_000), append('g', 1)])
    const found = await Promise.all((await segments()).map((name) => payloads(path.join(directory, name))))
    expect(found).toEqual([['a', 'b'], ['c', 'd'], ['e'], ['f'], ['g']])
  })

  test('when the receive day changes: a batch is one partition of the table', async () => {
    const spool = await open({ sealAfterMs: 60_000 })
    const midnight = (noon / 86_400_000_000_000n + 1n) * 86_400_000_000_000n
    await Promise.all([
      spool.append(request('before', { receivedAtNs: midnight - 1n })),
      spool.append(request('after', { receivedAtNs: midnight })),
    ])
    const segment = await spool.nextSealed()
    expect(await payloads(segment?.path ?? '')).toEqual(['before'])
  })

  test('when the writer waits for work and it is old enough', async () => {
    const spool = await open({ sealAfterMs: 20 })
    const sealed = spool.nextSealed()
    await spool.append(request('one'))
    await expect(sealed).resolves.toMatchObject({ records: 1, recovered: false })
  })
})

describe('P4: after a crash', () => {
  test('a frame cut at any byte is set aside and the frames before it are kept', async () => {
    const spool = await open()
    for (const text of ['one', 'two', 'three']) await spool.append(request(text))
    await spool.close()
    const [name = ''] = await segments()
    const whole = await readFile(path.join(directory, name))
    const lastFrame = scanSegment(whole).frames[2]?.offset ?? 0
    for (let cut = lastFrame + 1; cut < whole.length; cut++) {
      await writeFile(path.join(directory, name), whole.subarray(0, cut))
      const reopened = await open()
      const segment = await reopened.nextSealed()
      expect(await payloads(segment?.path ?? '')).toEqual(['one', 'two'])
      await reopened.close()
    }
    const [torn = ''] = await readdir(path.join(directory, 'quarantine'))
    expect(torn).toContain('torn-tail')
  })

  test('a tail of zeros (a file extended but never written) is set aside', async () => {
    const spool = await open()
    await spool.append(request('one'))
    await spool.close()
    const file = path.join(directory, (await segments())[0] ?? '')
    await writeFile(file, Buffer.concat([await readFile(file), Buffer.alloc(4096)]))
    const segment = await (await open()).nextSealed()
    expect(await payloads(segment?.path ?? '')).toEqual(['one'])
  })
})

describe('P5: bit rot', () => {
  test('a flipped bit anywhere costs exactly the frame it is in, and is never delivered', async () => {
    const spool = await open()
    const texts = ['first frame', 'second frame', 'third frame', 'fourth frame']
    for (const text of texts) await spool.append(request(text))
    await spool.close()
    const whole = await readFile(path.join(directory, (await segments())[0] ?? ''))
    const offsets = scanSegment(whole).frames.map((frame) => frame.offset)
    fc.assert(
      fc.property(fc.integer({ min: 0, max: whole.length - 1 }), fc.integer({ min: 0, max: 7 }), (at, bit) => {
        const damaged = Buffer.from(whole)
        damaged[at] = (damaged[at] ?? 0) ^ (1 << bit)
        const hit = offsets.findLastIndex((offset) => offset <= at)
        const { frames, damages } = scanSegment(damaged)
        expect(frames.map((frame) => frame.offset)).toEqual(offsets.filter((_, i) => i !== hit))
        expect(damages).toHaveLength(1)
        // Together they account for every byte.
        const kept = frames.reduce((total, frame) => total + frame.headerBytes + frame.payloadBytes, 0)
        expect(kept + (damages[0]?.length ?? 0)).toBe(whole.length)
      }),
      { numRuns: 2_000 },
    )
  })

  test('the damaged frame is kept in quarantine, byte for byte, and counted', async () => {
    const spool = await open()
    for (const text of ['one', 'two', 'three']) await spool.append(request(text))
    await spool.close()
    const file = path.join(directory, (await segments())[0] ?? '')
    const bytes = await readFile(file)
    const second = scanSegment(bytes).frames[1]
    if (second === undefined) throw new Error('no frame')
    const at = second.offset + second.headerBytes
    bytes[at] = (bytes[at] ?? 0) ^ 1
    await writeFile(file, bytes)

    const reopened = await open()
    expect(reopened.stats().quarantinedFrames).toBe(1)
    expect(await payloads((await reopened.nextSealed())?.path ?? '')).toEqual(['one', 'three'])
    const [name = ''] = await readdir(path.join(directory, 'quarantine'))
    expect(await readFile(path.join(directory, 'quarantine', name))).toEqual(
      bytes.subarray(second.offset, at + second.payloadBytes),
    )
  })
})

describe('P18: a start with a backlog', () => {
  /** Counts what is read. */
  function counting(): { fs: SpoolFs; bytes(): number } {
    let bytes = 0
    const fs: SpoolFs = {
      ...nodeFs,
      openAtStartup(file) {
        const source = nodeFs.openAtStartup(file)
        return {
          size: source.size,
          close: source.close,
          read(buffer, position) {
            const read = source.read(buffer, position)
            bytes += read
            return read
          },
        }
      },
      async open(file, purpose) {
        const handle = await nodeFs.open(file, purpose)
        return {
          ...whole(handle),
          async read(buffer, offset, length, position) {
            const read = await handle.read(buffer, offset, length, position)
            bytes += read.bytesRead
            return read
          },
        }
      },
    }
    return { fs, bytes: () => bytes }
  }

  const whole = (handle: SpoolFile): SpoolFile => ({
    writev: (parts, position) => handle.writev(parts, position),
    read: (buffer, offset, length, position) => handle.read(buffer, offset, length, position),
    datasync: () => handle.datasync(),
    truncate: (length) => handle.truncate(length),
    stat: () => handle.stat(),
    close: () => handle.close(),
  })

  /** @returns the segments' files, oldest first */
  async function fill(segmentCount: number, framesEach: number, payloadBytes: number): Promise<string[]> {
    const spool = await open({ segmentBytes: framesEach * payloadBytes, sealAfterMs: 60_000 })
    for (let i = 0; i < segmentCount * framesEach; i++) {
      const receivedAtNs = noon + BigInt(i) * 60_000_000_000n
      await spool.append(request(`${i} `.padEnd(payloadBytes, 'x'), { receivedAtNs, records: 2 }))
    }
    await spool.close()
    return (await segments()).map((name) => path.join(directory, name))
  }

  test('reads the newest segment and the headers of the others, and counts them all', async () => {
    await fill(20, 4, 100_000)
    const { fs, bytes } = counting()
    const spool = await openSpool({ directory, sealAfterMs: 1, fs })
    opened.push(spool)
    expect(spool.stats()).toMatchObject({ backlogRecords: 160, recoveredRecords: 160 })
    expect(bytes()).toBeLessThan(5 * 100_000 + 80 * 4_200)
    // A minute a request: those of the last ten minutes and the one on the edge.
    expect(spool.recoveredHashes).toHaveLength(11)
  })

  test('glances at old segments when time is short: whose records they are is known once they are read', async () => {
    await fill(4, 10, 1_000)
    let now = 0
    const hurry = vi.spyOn(performance, 'now').mockImplementation(() => (now += 1_000))
    const spool = await open()
    hurry.mockRestore()
    const unread = new Map([
      ['', 40],
      ['default', 40],
    ])
    expect(spool.stats()).toMatchObject({ backlogRecords: 80, byTenant: { backlog: unread, recovered: unread } })
    for (let i = 0; i < 4; i++) {
      const segment = await spool.nextSealed()
      if (segment !== undefined) await spool.recheck(segment)
    }
    const read = new Map([
      ['', 0],
      ['default', 80],
    ])
    expect(spool.stats()).toMatchObject({ backlogRecords: 80, byTenant: { backlog: read, recovered: read } })
  })

  test('finds rot in an older segment before it is stored: the frame is set aside, and the account closes', async () => {
    const [first = ''] = await fill(3, 4, 1_000)
    const bytes = await readFile(first)
    await writeFile(first, flipped(bytes, 1_500))
    const spool = await open()
    expect(spool.stats()).toMatchObject({ backlogRecords: 24, quarantinedRecords: 0 })
    const segment = await spool.nextSealed()
    if (segment === undefined) throw new Error('no segment')
    const checked = await spool.recheck(segment)
    expect(checked).toMatchObject({
      records: 6,
      ranges: [
        [1n, 3n],
        [5n, 9n],
      ],
    })
    expect(spool.stats()).toMatchObject({ backlogRecords: 22, quarantinedRecords: 2, recoveredRecords: 24 })
    expect(spool.stats().byTenant.quarantined).toEqual(new Map([['default', 2]]))
    expect((await payloads(checked.path)).map((text) => text.slice(0, 2))).toEqual(['0 ', '2 ', '3 '])
  })

  test('sets aside a damaged header and a cut end of an older segment at once', async () => {
    const [first = '', second = ''] = await fill(4, 4, 1_000)
    await writeFile(first, flipped(await readFile(first), 20))
    await writeFile(second, (await readFile(second)).subarray(0, -7))
    const spool = await open()
    expect(spool.stats()).toMatchObject({ backlogRecords: 28, quarantinedFrames: 2 })
    expect(await readdir(path.join(directory, 'quarantine'))).toHaveLength(2)
  })
})

const flipped = (bytes: Buffer, at: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

test('a directory that cannot be written is refused with its name and what to do', async () => {
  const file = path.join(directory, 'a-file')
  await writeFile(file, '')
  await expect(openSpool({ directory: path.join(file, 'spool') })).rejects.toMatchObject({
    code: 'spool_directory',
    hint: expect.stringContaining('AGNES_DATA_DIR'),
  })
})

test('appends after close are refused, those before it are on disk', async () => {
  const spool = await open()
  const before = spool.append(request('before'))
  const closing = spool.close()
  await before
  await closing
  await expect(spool.append(request('after'))).rejects.toThrow('stopping')
})
