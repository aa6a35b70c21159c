import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { cutPower, faultRounds } from '../../support/faults.ts'
import { startLedgerClient } from '../../support/ledger-client.ts'
import { createLoopDisk, noLoopDisk } from '../../support/loop-disk.ts'
import { freePort, startService } from '../../support/processes.ts'

if (noLoopDisk !== undefined) test.skip(`P3: ${noLoopDisk}`, () => {})

describe.skipIf(noLoopDisk !== undefined)('P3: the power goes', () => {
  test('what was acknowledged by then is on the disk, once', async () => {
    const disk = createLoopDisk({ mib: 256 })
    const env = {
      AGNES_DATA_DIR: path.join(disk.directory, 'data'),
      AGNES_OTLP_PORT: '0',
      AGNES_OTLP_GRPC_PORT: '0',
      AGNES_CLICKHOUSE_PORT: String(await freePort()),
    }
    const gateway = await startService('gateway', env)
    const clients = ['a', 'b', 'c'].map((name) => startLedgerClient({ url: gateway.url, name, recordsARequest: 20 }))
    const rounds = Math.ceil(faultRounds / 10)
    try {
      let acknowledged = 0
      for (let round = 0; round < rounds; round++) {
        await pause(100 + 37 * (round % 10))
        const cut = await cutPower(disk, gateway, clients, env)
        expect(cut).toMatchObject({ lost: 0, doubled: 0 })
        acknowledged = cut.acknowledged
      }
      console.log(`power cut: ${rounds} rounds, ${acknowledged} requests acknowledged by the last, 0 lost, 0 doubled`)
      expect(acknowledged).toBeGreaterThan(rounds)
    } finally {
      for (const client of clients) client.abandon()
      await gateway.kill()
      disk.remove()
    }
  })
})
