import { migrate } from '@agnes/clickhouse'
import { expect, test } from 'vitest'
import { startTestEngine } from './support/engine.ts'

test('a new database gets its schema, and a second run finds nothing to do', async () => {
  const engine = await startTestEngine()
  try {
    const first = await migrate(engine.client)
    expect(first.applied.length).toBeGreaterThan(0)
    expect(await migrate(engine.client)).toEqual({ applied: [], alreadyApplied: first.applied.length })
  } finally {
    await engine.stop()
  }
})
