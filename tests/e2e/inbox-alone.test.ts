/** The inbox as a service of its own, on a machine where nothing of ours has run. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { startService } from '../support/processes.ts'

test('it makes its data directory, for its user only, and serves before ClickHouse does', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'agnes-inbox-alone-'))
  const dataDir = path.join(directory, 'data')
  const inbox = await startService('inbox', {
    AGNES_DATA_DIR: dataDir,
    AGNES_HTTP_PORT: '0',
    CLICKHOUSE_URL: 'http://127.0.0.1:9/agnes',
  })
  try {
    expect((await fetch(`${inbox.url}/healthz`)).status).toBe(200)
    expect(statSync(dataDir).mode & 0o777).toBe(0o700)
  } finally {
    await inbox.stop()
    rmSync(directory, { recursive: true })
  }
})
