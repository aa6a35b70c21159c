/** The writer between a real spool and the real engine, with a proxy where the network would fail. */
import { randomUUID } from 'node:crypto'
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ClickHouseClient, createAgnesClient } from '@agnes/clickhouse'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startTestEngine, type TestEngine } from '../../../tests/support/engine.ts'
import { type Fault, startFaultProxy } from '../../../tests/support/fault-proxy.ts'
import { transcodeJson } from '../otlp/transcode-json.ts'
import { scanSegment } from '../spool/segment-file.ts'
import { openSpool, type SealedSegment, type Spool } from '../spool/spool.ts'
import { answeringWithin, insertSegment, type PromptClient, type SegmentTransport, storedRecords } from './insert.ts'
import { startWriter, type Writer } from './writer.ts'

let engine: TestEngine
let root: string

beforeAll(async () => {
  engine = await startTestEngine()
  root = mkdtempSync(path.join(tmpdir(), 'agnes-writer-'))
})
afterAll(async () => {
  await engine.stop()
  rmSync(root, { recursive: true })
})

const nowNs = (): bigint => BigInt(Date.now()) * 1_000_000n

interface Bench {
  readonly directory: string
  readonly spool: Spool
  readonly client: ClickHouseClient
  append(records: number, text?: string): Promise<void>
  /** Rows in ClickHouse, and how many of them are distinct events. */
  stored(): Promise<{ readonly rows: number; readonly events: number }>
  close(writer?: Writer): Promise<void>
}

async function bench(url: string, requestTimeoutMs = 20_000): Promise<Bench> {
  const tenant = randomUUID()
  const directory = path.join(root, tenant)
  const spool = await openSpool({ directory, sealAfterMs: 1 })
  const client = createAgnesClient({ url, requestTimeoutMs })
  return {
    directory,
    spool,
    client,
    async append(records, text) {
      const receivedAtNs = nowNs()
      const logRecords = Array.from({ length: records }, () => ({
        eventName: 'agnes.audit',
        ...(text === undefined ? {} : { body: { stringValue: text } }),
        attributes: [{ key: 'agnes.action', value: { stringValue: 'query.local' } }],
      }))
      const body = Buffer.from(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }] }))
      const { bytes: payload } = transcodeJson(body, receivedAtNs)
      await spool.append({
        tenant,
        receivedAtNs,
        requestHash: Buffer.from(randomUUID().slice(0, 16)),
        records,
        payload,
      })
    },
    async stored() {
      const result = await engine.client.query({
        query: 'SELECT count() AS rows, uniqExact(EventId) AS events FROM otel_logs WHERE TenantId = {tenant:String}',
        query_params: { tenant },
        format: 'JSONEachRow',
      })
      const [row] = await result.json<{ rows: number; events: number }>()
      return row ?? { rows: -1, events: -1 }
    },
    async close(writer) {
      await spool.close()
      await writer?.stop()
      await client.close()
    },
  }
}

const prompt = (client: ClickHouseClient): PromptClient => answeringWithin(client, 20_000)

async function nextSegment(spool: Spool): Promise<SealedSegment> {
  const segment = await spool.nextSealed()
  if (segment === undefined) throw new Error('the spool is closed')
  return segment
}

describe.each<SegmentTransport>(['file', 'stream'])('by %s', (transport) => {
  test('a segment is stored whole, and its file is gone', async () => {
    const { spool, client, append, stored, close, directory } = await bench(engine.url)
    await append(3)
    await append(4)
    const writer = startWriter({ spool, client, transport, nowNs })
    await expect.poll(() => writer.stats().storedRecords).toBe(7)
    expect(await stored()).toEqual({ rows: 7, events: 7 })
    expect(writer.stats().takeLags().length).toBeGreaterThan(0)
    await close(writer)
    expect(readdirSync(directory).filter((name) => name.startsWith('seg-')).length).toBeLessThanOrEqual(1)
  })

  test('rows of the batch that are there already are left out, only the missing ones are added', async () => {
    const { spool, client, append, stored, close } = await bench(engine.url)
    await append(10)
    const segment = await nextSegment(spool)
    expect(await insertSegment(prompt(client), segment, transport)).toEqual({ kind: 'stored' })
    await client.command({
      query: 'ALTER TABLE otel_logs DELETE WHERE BatchId = {batch:UUID} AND Seq % 3 = 0',
      query_params: { batch: segment.batchId },
      clickhouse_settings: { mutations_sync: '2' },
    })
    const left = await storedRecords(prompt(client), segment)
    expect(left).toBeLessThan(10)
    expect(await insertSegment(prompt(client), segment, transport, 'missing')).toEqual({ kind: 'stored' })
    expect(await stored()).toEqual({ rows: 10, events: 10 })
    await close()
  })

  test('the same segment twice is one', async () => {
    const { spool, client, append, stored, close } = await bench(engine.url)
    await append(10)
    const segment = await nextSegment(spool)
    await insertSegment(prompt(client), segment, transport)
    await insertSegment(prompt(client), segment, transport)
    expect(await stored()).toEqual({ rows: 10, events: 10 })
    await close()
  })

  test('a table that is missing refuses, for certain', async () => {
    const { spool, append, close } = await bench(engine.url)
    await append(1)
    const elsewhere = createAgnesClient({ url: engine.url.replace(/agnes$/, 'system') })
    expect(await insertSegment(prompt(elsewhere), await nextSegment(spool), transport)).toMatchObject({
      kind: 'refused',
    })
    await elsewhere.close()
    await close()
  })
})

test('P8: a recovered segment is looked up before it is sent: what another life stored is not stored again', async () => {
  const { directory, spool, client, append, stored, close } = await bench(engine.url)
  await append(6)
  const segment = await nextSegment(spool)
  await insertSegment(prompt(client), segment, 'file')
  // Without the token ClickHouse would take it again: the look-up alone must keep it out.
  await client.command({ query: 'ALTER TABLE otel_logs MODIFY SETTING non_replicated_deduplication_window = 0' })
  await spool.close()

  const again = await openSpool({ directory, sealAfterMs: 1 })
  const writer = startWriter({ spool: again, client, transport: 'file', nowNs })
  await expect.poll(() => writer.stats().storedRecords).toBe(6)
  expect(await stored()).toEqual({ rows: 6, events: 6 })
  await client.command({ query: 'ALTER TABLE otel_logs MODIFY SETTING non_replicated_deduplication_window = 10000' })
  await again.close()
  await close(writer)
})

test('P15: a segment of an earlier version is stored', async () => {
  const fixtures = path.resolve(import.meta.dirname, '../../../tests/fixtures/spool')
  // Each format's fixture has a batch of its own; the first one tells nothing of redaction.
  for (const [name, rules] of [
    ['agf1.rowbinary', 'off'],
    ['agf2.rowbinary', '0101010101010101'],
  ] as const) {
    const directory = mkdtempSync(path.join(root, 'fixture-'))
    copyFileSync(path.join(fixtures, name), path.join(directory, 'seg-0000000000000001.rowbinary'))
    const spool = await openSpool({ directory, sealAfterMs: 1 })
    const writer = startWriter({ spool, client: engine.client, transport: 'file', nowNs })
    await expect.poll(() => writer.stats().storedRecords).toBe(4)
    const result = await engine.client.query({
      query: "SELECT Body FROM otel_logs WHERE TenantId = 'fixture' AND RedactionRules = {rules:String} ORDER BY Seq",
      query_params: { rules },
      format: 'JSONEachRow',
    })
    const bodies = (await result.json<{ Body: string }>()).map(({ Body }) => Body)
    expect(bodies).toEqual(['first 1', 'first 2', 'second 1', 'second 2'])
    await spool.close()
    await writer.stop()
  }
})

test('P9: while ClickHouse is away nothing is dropped, the reason is told, and it goes on by itself', async () => {
  const proxy = await startFaultProxy(engine.url)
  const { spool, client, append, stored, close } = await bench(proxy.url)
  proxy.inject('lose-request', 'INSERT INTO otel_logs', 3)
  const lines: string[] = []
  const writer = startWriter({ spool, client, transport: 'file', nowNs, log: (line) => lines.push(line) })
  for (let i = 0; i < 5; i++) await append(2)
  await expect.poll(() => writer.stats().failure).toBeDefined()
  await expect.poll(() => writer.stats().storedRecords, { timeout: 15_000 }).toBe(10)
  expect(writer.stats().failure).toBeUndefined()
  expect(lines.at(-1)).toBe('writer: ClickHouse takes inserts again')
  expect(await stored()).toEqual({ rows: 10, events: 10 })
  await close(writer)
  await proxy.stop()
})

test('a file that cannot be removed is tried again, and storing goes on', async () => {
  const { spool, client, append, stored, close } = await bench(engine.url)
  let refusals = 3
  const stubborn: Spool = {
    ...spool,
    remove: (segment) => (refusals-- > 0 ? Promise.reject(new Error('EIO: i/o error')) : spool.remove(segment)),
  }
  const lines: string[] = []
  const writer = startWriter({ spool: stubborn, client, transport: 'file', nowNs, log: (line) => lines.push(line) })
  for (let i = 0; i < 4; i++) await append(2)
  await expect.poll(() => spool.stats().backlogRecords, { timeout: 15_000 }).toBe(0)
  expect(writer.stats()).toMatchObject({ storedRecords: 8, failure: undefined })
  expect(await stored()).toEqual({ rows: 8, events: 8 })
  expect(lines[0]).toContain('a segment that is stored cannot be removed: EIO')
  await close(writer)
})

describe('P10: an insert whose outcome is not known', () => {
  const cases: readonly (readonly [string, Fault])[] = [
    ['was lost before the server saw it', 'lose-request'],
    ['was stored and the answer lost', 'lose-answer'],
    ['hangs before the server sees it', 'hold-request'],
    ['was stored and the answer hangs', 'hold-answer'],
    ['was stored and the headers of the answer come byte by byte', 'drip-headers'],
    ['was stored and the body of the answer comes byte by byte', 'drip-body'],
    ['fails after the status was sent', { status: 200, code: 241, message: 'Memory limit.', withoutHeader: true }],
    ['fails behind a status of 200', { status: 200, code: 241, message: 'Memory limit. (MEMORY_LIMIT_EXCEEDED)' }],
  ]
  test.each(cases.flatMap(([what, fault]) => [[what, 'file', fault] as const, [what, 'stream', fault] as const]))(
    '%s: it is stored once (by %s)',
    async (_what, transport, fault) => {
      const proxy = await startFaultProxy(engine.url)
      const { spool, client, append, stored, close } = await bench(proxy.url, 500)
      // After a lost answer the look-up may find the rows: then there is no second insert to fail.
      proxy.inject(fault, 'INSERT INTO otel_logs', 2)
      await append(5)
      const lines: string[] = []
      const log = (line: string): void => void lines.push(line)
      const writer = startWriter({ spool, client, transport, nowNs, log, firstPauseMs: 20, insertWithinMs: 1_000 })
      await expect.poll(() => spool.stats().backlogRecords, { timeout: 15_000 }).toBe(0)
      expect(await stored()).toEqual({ rows: 5, events: 5 })
      expect(writer.stats().storedRecords).toBe(5)
      expect(lines[0]).toContain('the spool keeps them')
      expect(spool.stats().quarantinedRecords).toBe(0)
      await close(writer)
      await proxy.stop()
    },
  )
})

test('P10: a look-up that is answered byte by byte is asked again', async () => {
  const proxy = await startFaultProxy(engine.url)
  const { spool, client, append, stored, close } = await bench(proxy.url)
  proxy.inject('lose-answer', 'INSERT INTO otel_logs')
  for (const fault of ['drip-headers', 'drip-body'] as const) proxy.inject(fault, 'SELECT count() AS stored')
  await append(5)
  const writer = startWriter({ spool, client, transport: 'file', nowNs, firstPauseMs: 20, insertWithinMs: 1_000 })
  await expect.poll(() => spool.stats().backlogRecords, { timeout: 15_000 }).toBe(0)
  expect(proxy.met()).toBe(3)
  expect(await stored()).toEqual({ rows: 5, events: 5 })
  await close(writer)
  await proxy.stop()
})

test('P11: a ClickHouse that keeps failing is asked seldom, and costs little', async () => {
  const proxy = await startFaultProxy(engine.url)
  const { spool, client, append, stored, close } = await bench(proxy.url)
  proxy.inject({ code: 252, message: 'Too many parts. (TOO_MANY_PARTS)' }, 'INSERT INTO otel_logs', 1_000)
  for (let i = 0; i < 3; i++) await append(2)
  const before = process.cpuUsage()
  const writer = startWriter({ spool, client, transport: 'file', nowNs })
  await new Promise((resolve) => setTimeout(resolve, 2_000))
  const { user, system } = process.cpuUsage(before)
  // The engine's stand-in and the poll run in this process too; a busy loop would take seconds.
  expect((user + system) / 1e6).toBeLessThan(0.6)
  expect(proxy.met()).toBeLessThanOrEqual(2 * 5)
  expect(spool.stats()).toMatchObject({ backlogRecords: 6, quarantinedRecords: 0 })
  proxy.relieve()
  await expect.poll(stored, { timeout: 15_000 }).toEqual({ rows: 6, events: 6 })
  await close(writer)
  await proxy.stop()
})

describe('P12: what ClickHouse refuses for its content', () => {
  const withConstraint = async (work: () => Promise<void>): Promise<void> => {
    await engine.client.command({ query: "ALTER TABLE otel_logs ADD CONSTRAINT tame CHECK Body NOT LIKE 'poison%'" })
    await work().finally(() => engine.client.command({ query: 'ALTER TABLE otel_logs DROP CONSTRAINT tame' }))
  }

  // What is refused is looked for the same way, however the segment was sent.
  test.each<[SegmentTransport, number, readonly number[]]>([
    ['file', 12, [3, 9]],
    ['stream', 6, [3]],
  ])(
    'is set aside by frame with the reason beside it, all else is stored once, and the account closes (by %s)',
    (transport, frames, poisoned) =>
      withConstraint(async () => {
        const { spool, client, append, stored, close, directory } = await bench(engine.url)
        for (let i = 0; i < frames; i++) await append(2, poisoned.includes(i) ? `poison ${i}` : 'tame')
        const good = (frames - poisoned.length) * 2 + 3
        const seqs = poisoned.map((i) => 1 + i * 2)
        await nextSegment(spool) // nobody stores it: the next life finds it
        await append(3)
        await spool.close()

        const again = await openSpool({ directory, sealAfterMs: 1 })
        const lines: string[] = []
        const writer = startWriter({ spool: again, client, transport, nowNs, log: (line) => lines.push(line) })
        await expect.poll(() => again.stats().backlogRecords, { timeout: 15_000 }).toBe(0)
        expect(await stored()).toEqual({ rows: good, events: good })
        expect(writer.stats()).toMatchObject({ storedRecords: good, failure: undefined })
        expect(again.stats()).toMatchObject({
          recoveredRecords: frames * 2 + 3,
          quarantinedRecords: poisoned.length * 2,
          quarantinedFrames: poisoned.length,
        })

        const quarantine = path.join(directory, 'quarantine')
        const [reasons = '', refused = ''] = readdirSync(quarantine).sort()
        expect(JSON.parse(readFileSync(path.join(quarantine, reasons), 'utf8'))).toMatchObject({
          frames: seqs.map((seq) => ({ seq: `${seq}`, records: 2, code: '469', type: 'VIOLATED_CONSTRAINT' })),
        })
        expect(scanSegment(readFileSync(path.join(quarantine, refused))).frames.map(({ seq }) => Number(seq))).toEqual(
          seqs,
        )
        await again.close()
        await close(writer)
        // Retries of all of them are recognised, though their segments are gone.
        const next = await openSpool({ directory })
        expect(next.recoveredHashes).toHaveLength(frames + 1)
        await next.close()
      }),
  )

  test('is not what a server refuses for a reason of its own: it is tried until it is taken', async () => {
    const proxy = await startFaultProxy(engine.url)
    const { spool, client, append, stored, close } = await bench(proxy.url)
    proxy.inject({ code: 53, message: 'Type mismatch. (TYPE_MISMATCH)' }, 'INSERT INTO otel_logs', 4)
    await append(5)
    const writer = startWriter({ spool, client, transport: 'file', nowNs })
    await expect.poll(() => writer.stats().storedRecords, { timeout: 15_000 }).toBe(5)
    expect(await stored()).toEqual({ rows: 5, events: 5 })
    expect(spool.stats().quarantinedRecords).toBe(0)
    await close(writer)
    await proxy.stop()
  })

  test('does not hold up others: a segment the server never takes has its turn after them', async () => {
    const proxy = await startFaultProxy(engine.url)
    const { spool, client, append, stored, close } = await bench(proxy.url)
    const stuck: SealedSegment[] = []
    for (let i = 0; i < 2; i++) {
      await append(2)
      stuck.push(await nextSegment(spool))
    }
    for (const { batchId } of stuck) {
      proxy.inject({ code: 241, message: 'Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)' }, `token=${batchId}`, 1_000)
    }
    await append(5)
    const waiting = [...stuck]
    const writer = startWriter({
      spool: { ...spool, nextSealed: () => Promise.resolve(waiting.shift()).then((one) => one ?? spool.nextSealed()) },
      client,
      transport: 'file',
      nowNs,
      firstPauseMs: 20,
    })
    await expect.poll(stored, { timeout: 25_000 }).toEqual({ rows: 5, events: 5 })
    expect(writer.stats().failure).toContain('Memory limit')
    await close(writer)
    await proxy.stop()
  })
})

const flipBit = (bytes: Buffer): Buffer => {
  bytes.writeUInt8(bytes.readUInt8(bytes.length - 5) ^ 1, bytes.length - 5)
  return bytes
}

test.each<[string, (bytes: Buffer) => Buffer, bigint]>([
  ['is cut so that ClickHouse cannot read it', (bytes) => bytes.subarray(0, bytes.length - 2), 0n],
  ['has a flipped bit and has lain there for a minute', flipBit, 60_000_000_000n],
])(
  'a segment that %s: the damage is set aside, what is whole is stored, others do not wait',
  async (_what, damage, restedNs) => {
    const { spool, client, append, stored, close, directory } = await bench(engine.url)
    await append(3)
    await append(4)
    const segment = await nextSegment(spool)
    writeFileSync(segment.path, damage(readFileSync(segment.path)))
    const writer = startWriter({
      spool: { ...spool, nextSealed: handOut(segment, spool) },
      client,
      transport: 'file',
      nowNs: () => nowNs() + restedNs,
    })
    await append(5)
    await expect.poll(() => spool.stats().backlogRecords, { timeout: 25_000 }).toBe(0)
    expect(writer.stats().failure).toBeUndefined()
    const { rows, events } = await stored()
    expect(rows).toBe(events)
    expect(rows).toBeGreaterThanOrEqual(5)
    expect(spool.stats().quarantinedRecords).toBeGreaterThan(0)
    expect(rows + spool.stats().quarantinedRecords).toBe(12)
    expect(readdirSync(path.join(directory, 'quarantine')).length).toBeGreaterThan(0)
    await close(writer)
  },
)

/** The segment first, then what the spool has. */
function handOut(segment: SealedSegment, spool: Spool): Spool['nextSealed'] {
  let first: SealedSegment | undefined = segment
  return () => {
    const next = first
    first = undefined
    return next === undefined ? spool.nextSealed() : Promise.resolve(next)
  }
}
