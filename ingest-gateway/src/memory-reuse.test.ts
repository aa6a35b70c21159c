import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { encodeExportLogsRequest } from '../../tests/support/otlp-reference.ts'
import { startSpoolOnlyGateway } from '../../tests/support/spool-only-gateway.ts'
import { readRecords } from './spool/read-rows.ts'
import { scanSegment } from './spool/segment-file.ts'

test('requests that follow each other through the same memory are each on disk as they were sent', async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'agnes-reuse-'))
  const gateway = await startSpoolOnlyGateway({ dataDir })
  const sent: string[] = []

  /** A request of one record whose text tells its whole body, in sizes from one byte to several chunks of a socket. */
  function next(): string {
    const text = `${sent.length} `.repeat(1 + ((sent.length * 7_919) % 60_000))
    sent.push(text)
    return text
  }

  async function post(body: Buffer, headers: Record<string, string>): Promise<number> {
    const response = await fetch(`${gateway.url}/v1/logs`, { method: 'POST', body: new Uint8Array(body), headers })
    await response.arrayBuffer()
    return response.status
  }

  const protobuf = { 'Content-Type': 'application/x-protobuf' }
  const gzip = { ...protobuf, 'Content-Encoding': 'gzip' }
  const json = { 'Content-Type': 'application/json' }
  const requestOf = (text: string) => ({
    resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: text } }] }] }],
  })
  const encoded = (text: string): Buffer => Buffer.from(encodeExportLogsRequest(requestOf(text)))
  try {
    for (let round = 0; round < 6; round++) {
      const again = encoded(next())
      const cut = encoded('x'.repeat(200_000)).subarray(0, 150_000)
      const statuses = await Promise.all([
        ...Array.from({ length: 6 }, () => post(encoded(next()), protobuf)),
        ...Array.from({ length: 3 }, () => post(gzipSync(encoded(next())), gzip)),
        ...Array.from({ length: 3 }, () => post(Buffer.from(JSON.stringify(requestOf(next()))), json)),
        post(again, protobuf),
        post(again, protobuf),
        post(cut, protobuf),
      ])
      expect(statuses).toEqual([...Array.from({ length: 14 }, () => 200), 400])
    }
  } finally {
    await gateway.stop()
  }

  const stored: unknown[] = []
  const spool = path.join(dataDir, 'spool')
  for (const name of (await readdir(spool)).filter((name) => name.startsWith('seg-'))) {
    const bytes = await readFile(path.join(spool, name))
    const { frames, damages } = scanSegment(bytes)
    expect(damages).toEqual([])
    for (const { offset, headerBytes, payloadBytes, format } of frames) {
      const payload = bytes.subarray(offset + headerBytes, offset + headerBytes + payloadBytes)
      stored.push(...readRecords(payload, format).map(({ Body }) => Body))
    }
  }
  await rm(dataDir, { recursive: true })
  expect(stored.length).toBe(sent.length)
  expect(new Set(stored)).toEqual(new Set(sent))
})
