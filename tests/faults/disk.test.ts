/** The real gateway on a disk of its own that fills up, runs out of inodes, or turns read-only (promise P7). */
import { execFileSync } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLoopDisk, type LoopDisk, type LoopDiskOptions, noLoopDisk } from '../support/loop-disk.ts'
import { freePort, type Service, startService } from '../support/processes.ts'
import { requestsInSpool } from '../support/spool-directory.ts'

let gateway: Service | undefined
let disk: LoopDisk | undefined
let acknowledged = 0

async function start(dataDir: string, more: NodeJS.ProcessEnv = {}): Promise<Service> {
  acknowledged = 0
  gateway = await startService('gateway', {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    // Nobody stores anything: what is acknowledged stays where it can be counted.
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
    ...more,
  })
  return gateway
}

async function onDisk(options: LoopDiskOptions): Promise<Service> {
  disk = createLoopDisk(options)
  return start(path.join(disk.directory, 'data'))
}

afterEach(async () => {
  await gateway?.kill()
  gateway = undefined
  disk?.remove()
  disk = undefined
})

interface Answer {
  readonly status: number
  readonly retryAfter: string | null
  readonly message: string
}

async function send(service: Service, bytes: number): Promise<Answer> {
  const logRecords = [{ eventName: 'disk.test', body: { stringValue: 'x'.repeat(bytes) } }]
  const response = await fetch(`${service.url}/v1/logs`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords }] }], unique: Math.random() }),
  })
  if (response.status === 200) acknowledged++
  const { message = '' } = (await response.json()) as { message?: string }
  return { status: response.status, retryAfter: response.headers.get('retry-after'), message }
}

async function sendUntilRefused(service: Service, bytes: number, most: number): Promise<Answer> {
  for (let i = 0; i < most; i++) {
    const answer = await send(service, bytes)
    if (answer.status !== 200) return answer
  }
  throw new Error(`${most} requests of ${bytes} bytes were all acknowledged`)
}

const readiness = async (service: Service): Promise<number> => (await fetch(`${service.url}/readyz`)).status
const health = async (service: Service): Promise<Record<string, unknown>> =>
  (await (await fetch(`${service.url}/healthz`)).json()) as Record<string, unknown>

/** Nothing but the records tells: ready again, taking requests, and all that was acknowledged is there, once. */
async function wellAgain(service: Service, dataDir: string): Promise<void> {
  await expect.poll(() => readiness(service), { timeout: 10_000 }).toBe(200)
  expect((await send(service, 10)).status).toBe(200)
  await service.kill()
  expect(requestsInSpool(dataDir, 'disk.test')).toBe(acknowledged)
}

describe.skipIf(noLoopDisk !== undefined)('P7: a disk of its own', () => {
  beforeEach(() => {
    acknowledged = 0
  })

  test('that fills up: refused before it is full, with a reason, and taken again when there is room', async () => {
    const service = await onDisk({ mib: 32 })
    const data = path.join(disk?.directory ?? '', 'data')
    const ballast = path.join(disk?.directory ?? '', 'ballast')
    writeFileSync(ballast, Buffer.alloc(22 * 1024 ** 2))
    await expect.poll(async () => (await health(service)).spoolWarning, { timeout: 5_000 }).toContain('MiB free')
    const refused = await sendUntilRefused(service, 100_000, 200)
    expect(refused).toMatchObject({ status: 503, retryAfter: '1' })
    expect(refused.message).toContain('make room')
    const { bavail, bsize } = statfsSync(data)
    expect(bavail * bsize).toBeGreaterThan(500_000)
    expect(await readiness(service)).toBe(503)
    expect(await health(service)).toMatchObject({ ready: false, spoolFailure: expect.stringContaining('MiB free') })
    rmSync(ballast)
    await wellAgain(service, data)
  })

  test('that others fill to the last byte: no partial request stays, nothing acknowledged is lost', async () => {
    const service = await onDisk({ mib: 16 })
    const data = path.join(disk?.directory ?? '', 'data')
    for (let i = 0; i < 5; i++) await send(service, 1_000)
    const ballast = path.join(disk?.directory ?? '', 'ballast')
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4096'], { stdio: 'ignore' })
    } catch {
      // It ends when the disk is full.
    }
    const refused = await sendUntilRefused(service, 50_000, 20)
    expect(refused).toMatchObject({ status: 503, retryAfter: '1' })
    rmSync(ballast)
    await wellAgain(service, data)
  })

  test('without inodes for a new segment: refused, told, and well again by itself', async () => {
    const service = await onDisk({ mib: 16, inodes: 64 })
    const data = path.join(disk?.directory ?? '', 'data')
    await send(service, 1_000)
    const taken: string[] = []
    try {
      for (;;) {
        const file = path.join(disk?.directory ?? '', `file-${taken.length}`)
        writeFileSync(file, '')
        taken.push(file)
      }
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC')
    }
    // The active segment goes on; a day or a size that needs a new one does not. Either way nothing is lost.
    for (let i = 0; i < 3; i++) await send(service, 1_000)
    for (const file of taken) rmSync(file)
    await wellAgain(service, data)
  })

  test('that turns read-only: refused with the reason, and what was acknowledged is there when it is mended', async () => {
    const service = await onDisk({ mib: 16 })
    const data = path.join(disk?.directory ?? '', 'data')
    await send(service, 1_000)
    disk?.turnReadOnly()
    const refused = await sendUntilRefused(service, 1_000, 1)
    expect(refused).toMatchObject({ status: 503, retryAfter: '1' })
    expect(refused.message).toMatch(/EROFS|EIO/)
    expect(await readiness(service)).toBe(503)
    await service.kill()
    disk?.repair()
    expect(requestsInSpool(data, 'disk.test')).toBe(acknowledged)
  })
})

if (noLoopDisk !== undefined) test.skip(`P7: a disk of its own: ${noLoopDisk}`, () => {})

describe.skipIf(process.platform !== 'linux')('P7: limits of the process', () => {
  let dataDir: string
  beforeEach(async () => {
    dataDir = await mkdtemp(path.join(tmpdir(), 'agnes-limits-'))
  })
  afterEach(() => rm(dataDir, { recursive: true }))

  const limit = (service: Service, what: string): Buffer =>
    execFileSync('prlimit', ['--pid', String(service.pid), what], { stdio: ['ignore', 'ignore', 'pipe'] })

  test('files that may not grow: refused, cut back, and taken again when the limit is lifted', async () => {
    const service = await start(dataDir)
    await send(service, 1_000)
    limit(service, '--fsize=20000:unlimited')
    expect(await sendUntilRefused(service, 15_000, 3)).toMatchObject({ status: 503, retryAfter: '1' })
    expect(await health(service)).toMatchObject({ ready: false, spoolFailure: expect.stringContaining('EFBIG') })
    limit(service, '--fsize=unlimited:unlimited')
    await wellAgain(service, dataDir)
  })

  test('AGNES_SPOOL_MAX_BYTES: a warning from 80 %, then refused with the name of the setting', async () => {
    const service = await start(dataDir, { AGNES_SPOOL_MAX_BYTES: '100000' })
    for (let i = 0; i < 8; i++) await send(service, 10_000)
    expect(await health(service)).toMatchObject({
      ready: true,
      spoolWarning: expect.stringContaining('SPOOL_MAX_BYTES'),
    })
    const refused = await sendUntilRefused(service, 10_000, 3)
    expect(refused).toMatchObject({ status: 503, retryAfter: '1' })
    expect(refused.message).toContain('AGNES_SPOOL_MAX_BYTES')
    await service.kill()
    expect(requestsInSpool(dataDir, 'disk.test')).toBe(acknowledged)
  })
})
