/** Transcripts in the tables: what is read back is what was stored, also when versions part and lines stand there twice. */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { fetchForks, fetchPath, fetchSessionFiles, fetchStoredLines, readSessionLines } from './read.ts'
import { mainVersion, noParent, type SessionFile, type SessionKey } from './types.ts'
import { insertSessionFiles, insertSessionLines } from './write.ts'

let engine: TestEngine
beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())

const day = new Date('2026-11-20T10:00:00.123Z')
let files = 0
const newKey = (): SessionKey => ({ tenant: 'acme', user: "o'neil@x", file: `session-${++files}` })

/** Hashes of all prefixes, the empty one first. */
function chain(lines: readonly (string | Buffer)[]): Buffer[] {
  const hashes = [Buffer.from(noParent, 'hex')]
  for (const line of lines) {
    const hash = createHash('sha256').update(hashes.at(-1) as Buffer)
    hashes.push(hash.update(line).digest().subarray(0, 16))
  }
  return hashes
}

/** Stores lines from one on; those before it must be there. */
async function store(key: SessionKey, lines: readonly (string | Buffer)[], fromLine = 1): Promise<void> {
  const hashes = chain(lines)
  await insertSessionLines(engine.client, {
    key,
    fromLine,
    parent: hashes[fromLine - 1],
    lines: lines.slice(fromLine - 1).map((line, i) => ({
      hash: hashes[fromLine + i] as Buffer,
      line: Buffer.from(line),
      redactions: i === 0 ? ['line password x0123456789abcdef'] : [],
    })),
    redactionRules: 'off',
    firstReceivedAt: day,
    receivedAt: day,
  })
}

function fileOf(key: SessionKey, lines: readonly (string | Buffer)[], version = mainVersion): SessionFile {
  return {
    ...key,
    version,
    lines: lines.length,
    bytes: lines.reduce((sum, line) => sum + line.length + 1, 0),
    fileHash: (chain(lines).at(-1) as Buffer).toString('hex'),
    parentLines: 0,
    parentHash: '',
    firstReceivedAt: day,
    receivedAt: day,
    redactions: 1,
    source: 'upload',
  }
}

async function read(key: SessionKey, version = mainVersion, fromLine = 1): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of readSessionLines(engine.client, { ...key, version }, { fromLine })) chunks.push(chunk)
  return Buffer.concat(chunks)
}
const bytesOf = (lines: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(lines.flatMap((line) => [Buffer.from(line), Buffer.from('\n')]))

test('any bytes come back as they were stored: empty lines, invalid UTF-8, quotes, a line of megabytes', async () => {
  const key = newKey()
  const lines = ['{"a":"\'\\"\\t"}', '', Buffer.from([0xff, 0x00, 0x09, 0xfe]), 'x'.repeat(3_000_000), 'ž🙂']
  await store(key, lines)
  await insertSessionFiles(engine.client, [fileOf(key, lines)])
  expect((await read(key)).equals(bytesOf(lines))).toBe(true)
  expect((await read(key, mainVersion, 4)).equals(bytesOf(lines.slice(3)))).toBe(true)
  expect(await read(key, mainVersion, 6)).toHaveLength(0)
  expect(await read(key, 'other')).toHaveLength(0)
  expect(await fetchSessionFiles(engine.client, key)).toEqual([fileOf(key, lines)])
})

test('thousands of lines come in order and in chunks, stored in any number of pieces', async () => {
  const key = newKey()
  const lines = Array.from({ length: 5_000 }, (_, i) => JSON.stringify({ i, text: 'y'.repeat(i % 300) }))
  for (const end of [1_000, 1_001, 4_000, 5_000]) await store(key, lines.slice(0, end), Math.max(1, end - 2_999))
  await insertSessionFiles(engine.client, [fileOf(key, lines)])
  expect((await read(key)).equals(bytesOf(lines))).toBe(true)
})

test('lines that are stored twice are read once, before and after parts are merged', async () => {
  const key = newKey()
  const lines = ['a', 'b', 'c']
  await store(key, lines)
  await store(key, lines)
  await insertSessionFiles(engine.client, [fileOf(key, lines)])
  expect((await read(key)).toString()).toBe('a\nb\nc\n')
  await engine.client.command({ query: 'OPTIMIZE TABLE session_lines FINAL' })
  expect((await read(key)).toString()).toBe('a\nb\nc\n')
  const stored = await fetchStoredLines(engine.client, key, { firstReceivedAt: day, fromLine: 1, toLine: 9 })
  expect(stored.map(({ lineNo, redactions }) => [lineNo, redactions])).toEqual([
    [1, 1],
    [2, 0],
    [3, 0],
  ])
})

describe('versions that part', () => {
  const main = ['a', 'b', 'c', 'd']
  const other = ['a', 'b', 'X', 'd', 'e']
  const third = ['a', 'b', 'X', 'Y']
  const key = newKey()
  beforeAll(async () => {
    await store(key, main)
    await store(key, other, 3)
    await store(key, third, 4)
    await insertSessionFiles(engine.client, [
      fileOf(key, main),
      { ...fileOf(key, other, 'other'), parentLines: 2, parentHash: (chain(main)[2] as Buffer).toString('hex') },
      fileOf(key, third, 'third'),
    ])
  })

  test('are read each on its own, from any line', async () => {
    expect((await read(key)).toString()).toBe('a\nb\nc\nd\n')
    expect((await read(key, 'other')).toString()).toBe('a\nb\nX\nd\ne\n')
    expect((await read(key, 'third')).toString()).toBe('a\nb\nX\nY\n')
    expect((await read(key, 'other', 4)).toString()).toBe('d\ne\n')
  })

  test('are told by where they part', async () => {
    const hex = (lines: readonly string[], at: number): string => (chain(lines)[at] as Buffer).toString('hex')
    const forks = await fetchForks(engine.client, key, { firstReceivedAt: day, fromLine: 1, toLine: 10 })
    expect(forks.map(({ lineNo, hash, next }) => ({ lineNo, hash, next: next.toSorted() }))).toEqual([
      { lineNo: 2, hash: hex(main, 2), next: [hex(main, 3), hex(other, 3)].toSorted() },
      { lineNo: 3, hash: hex(other, 3), next: [hex(other, 4), hex(third, 4)].toSorted() },
    ])
    const last = { lineNo: 4, hash: hex(third, 4) }
    const path = [1, 2, 3, 4].map((at) => hex(third, at))
    expect(await fetchPath(engine.client, key, day, last, 1)).toEqual(path)
    expect(await fetchPath(engine.client, key, day, last, 3)).toEqual(path.slice(2))
  })
})

test('a version that others hold whole is not listed, and the longest row of a version counts', async () => {
  const key = newKey()
  const start = fileOf(key, ['a', 'b'])
  const fork = { ...fileOf(key, ['a', 'b', 'X'], 'x'), parentLines: 2, parentHash: start.fileHash }
  await insertSessionFiles(engine.client, [fork])
  await insertSessionFiles(engine.client, [start])
  const listed = async () => {
    const result = await engine.client.query({
      query: 'SELECT version, lines FROM current_session_files WHERE session_file = {file:String} ORDER BY version',
      query_params: { file: key.file },
      format: 'JSONEachRow',
    })
    return result.json()
  }
  expect(await listed()).toEqual([{ version: 'x', lines: 3 }])
  await insertSessionFiles(engine.client, [fileOf(key, ['a', 'b', 'c'])])
  await insertSessionFiles(engine.client, [start])
  expect(await listed()).toEqual([
    { version: 'main', lines: 3 },
    { version: 'x', lines: 3 },
  ])
})

test('a line that is gone is told, not left out', async () => {
  const key = newKey()
  await store(key, ['a', 'b'])
  await insertSessionFiles(engine.client, [fileOf(key, ['a', 'b', 'c'])])
  await expect(read(key)).rejects.toThrow(/^line 3 of o'neil@x\/session-\d+\.jsonl \(version main\) is not stored$/)
})
