/**
 * A real gateway in a process of its own under requests nobody would send. Short in `npm test`; `npm run test:fuzz` sends
 * FUZZ_REQUESTS (a million unless told) and prints what it saw. FUZZ_SEED repeats a run.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ServiceError, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { accountsOf, expectAccountsClose } from '../support/accounts.ts'
import { badProtobufMaker, fuzz } from '../support/fuzz.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import { freshJson } from '../support/invariants.ts'
import { freePort, type Service, startService } from '../support/processes.ts'

const requests = Number(process.env.FUZZ_REQUESTS ?? 1_500)
const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32))
const long = requests > 100_000

let dataDir: string
let gateway: Service
beforeAll(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-fuzz-'))
  gateway = await startService('gateway', {
    AGNES_DATA_DIR: dataDir,
    AGNES_OTLP_PORT: '0',
    AGNES_OTLP_GRPC_PORT: '0',
    // Nothing listens there: what is taken stays in the spool.
    AGNES_CLICKHOUSE_PORT: String(await freePort()),
  })
})
afterAll(async () => {
  await gateway.stop()
  rmSync(dataDir, { recursive: true })
})

async function metrics(): Promise<string> {
  return (await fetch(`${gateway.url}/metrics`)).text()
}

/** Of Prometheus' text format. */
async function figure(name: string): Promise<number> {
  const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(await metrics())?.[1]
  if (value === undefined) throw new Error(`there is no ${name}`)
  return Number(value)
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`

test(
  `${requests} bad requests: each is answered or cut, none breaks or swells the gateway (FUZZ_SEED=${seed})`,
  async () => {
    const resident: number[] = []
    const begun = performance.now()
    const { statuses, wrong } = await fuzz({
      port: Number(new URL(gateway.url).port),
      requests,
      seed,
      onProgress: async (sent) => {
        if (sent % Math.max(1_000, Math.floor(requests / 10 / 1_000) * 1_000) !== 0) return
        resident.push(await figure('process_resident_memory_bytes'))
        if (!long) return
        const heap = mebibytes(await figure('nodejs_heap_size_used_bytes'))
        console.log(`${sent} sent, RSS ${mebibytes(resident.at(-1) ?? 0)}, heap ${heap}`)
      },
    })
    const seconds = (performance.now() - begun) / 1000
    const end = await figure('process_resident_memory_bytes')
    if (long) {
      console.log(`${requests} requests in ${Math.round(seconds)} s, seed ${seed}; answers ${JSON.stringify(statuses)}`)
      console.log(`RSS ${resident.map(mebibytes).join(', ')}, at the end ${mebibytes(end)}`)
      console.log(
        `records on disk ${accountsOf(await metrics()).default?.spool}, ${mebibytes(await figure('agnes_spool_bytes'))}`,
      )
    }
    expect(wrong).toEqual([])
    expect(gateway.stderr()).not.toMatch(/unexpected|^\s+at /m)
    // Once it is warm: a tenth of the way is 100,000 requests in the long run.
    expect(end - (resident[1] ?? end)).toBeLessThan(300 * 2 ** 20)

    const good = await fetch(`${gateway.url}/v1/logs`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: freshJson(),
    })
    expect(good.status).toBe(200)
    expect(expectAccountsClose(await metrics()).default?.spool).toBeGreaterThan(0)
  },
  60_000 + requests * 10,
)

test(`bad requests over gRPC are taken or refused for good (FUZZ_SEED=${seed})`, async () => {
  const client = connectGrpc(gateway.grpcPort)
  const next = badProtobufMaker(seed, 1_000)
  const codes = new Set<number>()
  for (let round = 0; round < 20; round++) {
    const calls = Array.from({ length: 50 }, () =>
      client.export(next()).then(
        () => status.OK,
        ({ code }: ServiceError) => code,
      ),
    )
    for (const code of await Promise.all(calls)) codes.add(code)
  }
  client.close()
  expect([...codes].sort()).toEqual([status.OK, status.INVALID_ARGUMENT])
})
