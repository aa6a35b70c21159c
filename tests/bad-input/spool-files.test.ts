/** Section F of the catalogue: what else may lie in the directory of the spool when a gateway starts. */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startGateway } from '../../ingest-gateway/src/gateway.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { send } from '../support/raw-http.ts'
import { startSpoolOnlyGateway } from '../support/spool-only-gateway.ts'

let engine: TestEngine
let dataDir: string
let scope: string
beforeAll(async () => {
  engine = await startTestEngine()
})
afterAll(() => engine.stop())
beforeEach(() => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-spool-files-'))
  scope = path.basename(dataDir)
})
afterEach(() => rmSync(dataDir, { recursive: true }))

const spoolFile = (name: string): string => path.join(dataDir, 'spool', name)
const segments = (): string[] => readdirSync(path.join(dataDir, 'spool')).filter((name) => name.startsWith('seg-'))

const request = (name: string) => ({
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({
    resourceLogs: [{ scopeLogs: [{ scope: { name: scope }, logRecords: [{ body: { stringValue: name } }] }] }],
  }),
})

/** Two events that an earlier gateway acknowledged, ClickHouse being away. */
async function leaveTwo(): Promise<void> {
  const gateway = await startSpoolOnlyGateway({ dataDir })
  for (const name of ['first', 'second']) {
    expect(await send(gateway.port, request(name))).toMatchObject({ status: 200 })
  }
  await gateway.stop()
  expect(segments().length).toBeGreaterThan(0)
}

/** The next gateway on the directory: takes a third event, stores all of them. @returns what is stored, and what it logged */
async function next(): Promise<{ stored: string[]; logged: string[] }> {
  const logged: string[] = []
  const gateway = await startGateway({
    config: {
      dataDir,
      host: '127.0.0.1',
      otlpPort: 0,
      otlpGrpcPort: 0,
      maxBodyBytes: 1024 * 1024,
      maxDecodedBytes: 1024 * 1024,
      clickhouseUrl: undefined,
    },
    clickhouseUrl: engine.url,
    heartbeatMs: 0,
    sealAfterMs: 20,
    log: (line) => logged.push(line),
  })
  try {
    expect(await send(gateway.port, request('third'))).toMatchObject({ status: 200 })
    await expect.poll(() => gateway.health().details.backlogRecords, { timeout: 20_000 }).toBe(0)
  } finally {
    await gateway.stop()
  }
  const result = await engine.client.query({
    query: 'SELECT Body FROM otel_logs WHERE ScopeName = {scope:String} ORDER BY Body',
    query_params: { scope },
    format: 'JSONEachRow',
  })
  const rows = await result.json<{ Body: string }>()
  return { stored: rows.map(({ Body }) => Body), logged }
}

describe('#111 what is no segment of ours', () => {
  const numbered = (number: number): string => spoolFile(`seg-${String(number).padStart(16, '0')}.rowbinary`)

  test.each<[string, readonly (() => void)[]]>([
    [
      'segments of nothing, of zeros, of words, with half a header',
      [
        () => writeFileSync(numbered(900), ''),
        () => writeFileSync(numbered(901), Buffer.alloc(10_000)),
        () => writeFileSync(numbered(902), 'hello '.repeat(1_000)),
        () => writeFileSync(numbered(903), firstBytes(30)),
      ],
    ],
    [
      'a foreign file, a name that is nearly one of ours, a directory, a link to nowhere, a pipe, a mode that lets everyone in',
      [
        () => writeFileSync(spoolFile('notes.txt'), 'hello'),
        () => copyFileSync(someSegment(), spoolFile('seg-1.rowbinary.bak')),
        () => mkdirSync(spoolFile('lost+found')),
        () => symlinkSync('/nonexistent', spoolFile('link')),
        () => execFileSync('mkfifo', [spoolFile('pipe')]),
        () => chmodSync(path.join(dataDir, 'spool'), 0o777),
      ],
    ],
  ])('%s: the gateway starts, and stores what was acknowledged once', async (_, leave) => {
    await leaveTwo()
    for (const one of leave) one()
    const { stored, logged } = await next()
    expect(stored).toEqual(['first', 'second', 'third'])
    expect(logged.filter((line) => /^\s+at /m.test(line))).toEqual([])
  })
})

test('#111 a directory named like a segment is refused by name, and when it is gone the next start takes everything', async () => {
  await leaveTwo()
  mkdirSync(spoolFile('seg-0000000000000900.rowbinary'))
  await expect(next()).rejects.toMatchObject({
    message: expect.stringMatching(/^cannot use the spool directory .*EISDIR/),
    hint: expect.any(String),
  })
  rmSync(spoolFile('seg-0000000000000900.rowbinary'), { recursive: true })
  expect((await next()).stored).toEqual(['first', 'second', 'third'])
})

test('#112 a segment that came back from a backup under another number is not stored again', async () => {
  await leaveTwo()
  for (const [i, name] of segments().entries()) {
    copyFileSync(spoolFile(name), spoolFile(name.replace(/[0-9a-f]{16}/, String(900 + i).padStart(16, '0'))))
  }
  expect((await next()).stored).toEqual(['first', 'second', 'third'])
})

test('#113 a frame that stands in a segment twice is stored once', async () => {
  await leaveTwo()
  const file = someSegment()
  appendFileSync(file, readFileSync(file))
  expect((await next()).stored).toEqual(['first', 'second', 'third'])
})

function someSegment(): string {
  const [name] = segments()
  if (name === undefined) throw new Error('no segment')
  return spoolFile(name)
}

const firstBytes = (count: number): Buffer => readFileSync(someSegment()).subarray(0, count)
