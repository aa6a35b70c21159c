/** The real engine on a directory of its own, for tests of any room. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ClickHouseClient, createAgnesClient } from '@agnes/clickhouse'
import { startEngine } from '@agnes/clickhouse/engine'
import { copyDatabase } from './database.ts'

export interface TestEngine {
  readonly url: string
  readonly client: ClickHouseClient
  stop(): Promise<void>
}

export interface TestEngineOptions {
  /** Without our tables; they are there unless told. */
  readonly empty?: boolean
}

export async function startTestEngine({ empty = false }: TestEngineOptions = {}): Promise<TestEngine> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-engine-'))
  if (!empty) await copyDatabase(dataDir)
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
