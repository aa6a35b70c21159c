/** The real engine on a directory of its own, for tests of any room. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ClickHouseClient, createAgnesClient } from '@agnes/clickhouse'
import { startEngine } from '@agnes/clickhouse/engine'

export interface TestEngine {
  readonly url: string
  readonly client: ClickHouseClient
  stop(): Promise<void>
}

export async function startTestEngine(): Promise<TestEngine> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-engine-'))
  const engine = await startEngine({ dataDir, host: '127.0.0.1', port: 0 })
  const client = createAgnesClient({ url: engine.url, application: 'test' })
  return {
    url: engine.url,
    client,
    async stop() {
      await client.close()
      await engine.stop()
      rmSync(dataDir, { recursive: true })
    },
  }
}
