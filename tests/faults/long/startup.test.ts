import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { nodeFs, type SpoolFs } from '../../../ingest-gateway/src/spool/file-system.ts'
import { openSpool } from '../../../ingest-gateway/src/spool/spool.ts'
import { freePort, startService } from '../../support/processes.ts'

let dataDir: string
beforeEach(() => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-backlog-'))
})
afterEach(() => rmSync(dataDir, { recursive: true }))

const gib = 1024 ** 3
const mib = 1024 ** 2

/** Nothing here crashes: the backlog need not be synced. */
const hasty: SpoolFs = {
  ...nodeFs,
  async open(file, purpose) {
    const handle = await nodeFs.open(file, purpose)
    return {
      writev: (parts, position) => handle.writev(parts, position),
      read: (buffer, offset, length, position) => handle.read(buffer, offset, length, position),
      datasync: async () => {},
      truncate: (length) => handle.truncate(length),
      stat: () => handle.stat(),
      close: () => handle.close(),
    }
  },
}

async function fill(bytes: number, payloadBytes: number): Promise<void> {
  const spool = await openSpool({ directory: path.join(dataDir, 'spool'), fs: hasty })
  const payload = Buffer.alloc(payloadBytes, 'x')
  const receivedAtNs = BigInt(Date.now()) * 1_000_000n
  const batch = Math.ceil((4 * mib) / payloadBytes)
  for (let written = 0; written < bytes; written += batch * payloadBytes) {
    await Promise.all(
      Array.from({ length: batch }, (_, i) =>
        spool.append({
          tenant: 'default',
          receivedAtNs,
          requestHash: Buffer.alloc(16, `${written + i} `),
          records: 1,
          payload,
        }),
      ),
    )
  }
  await spool.close()
}

/** Milliseconds to readiness, and the most memory it took. */
async function start(): Promise<{ readonly ms: number; readonly peakMib: number }> {
  const env = {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  }
  const before = performance.now()
  const gateway = await startService('gateway', env)
  const ms = performance.now() - before
  const [, peakKib] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, 'utf8')) ?? []
  const body = JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: [{ eventName: 'first' }] }] }] })
  const headers = { 'Content-Type': 'application/json' }
  const answer = await fetch(`${gateway.url}/v1/logs`, { method: 'POST', headers, body })
  expect(answer.status).toBe(200)
  await gateway.kill()
  return { ms, peakMib: Number(peakKib) / 1024 }
}

describe('P18: with 2 GiB that wait for ClickHouse', () => {
  test.runIf(process.platform === 'linux').each([
    ['large', 200_000],
    ['small', 8_000],
  ])('in %s requests the gateway accepts within 2 s, in little more memory than without', async (_what, bytes) => {
    const empty = await start()
    await fill(2 * gib, bytes)
    const full = await start()
    console.log(
      `P18, requests of ${bytes} bytes: ${Math.round(full.ms)} ms and ${Math.round(full.peakMib)} MiB (empty: ${Math.round(empty.ms)} ms, ${Math.round(empty.peakMib)} MiB)`,
    )
    expect(full.ms).toBeLessThan(2_000)
    expect(full.peakMib - empty.peakMib).toBeLessThan(128)
  })
})
