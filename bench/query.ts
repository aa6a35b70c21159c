/** What a person waits for, on 5 million rows that SQL made: 30 days of a busy Agnes. */
import { fetchHealth, fetchTimeline, type TimelineFilter } from '@agnes/clickhouse'
import { fill, settled } from './filled.ts'
import { startInstance } from './instance.ts'
import { type Figure, quantile, report } from './report.ts'

const rounds = 30

export async function benchQuery(): Promise<void> {
  const instance = await startInstance()
  try {
    await fill(instance.client)
    await settled(instance.client)
    const figures: Figure[] = []
    const measure = async (name: string, run: () => Promise<unknown>, goalMs?: number): Promise<void> => {
      await run()
      const times: number[] = []
      for (let i = 0; i < rounds; i++) {
        const start = performance.now()
        await run()
        times.push(performance.now() - start)
      }
      figures.push({ name: `${name}: p50`, value: quantile(times, 0.5), unit: 'ms' })
      const goal = goalMs === undefined ? {} : { goal: { atMost: goalMs } }
      figures.push({ name: `${name}: p95`, value: quantile(times, 0.95), unit: 'ms', ...goal })
    }
    const page = (filter: TimelineFilter) => () => fetchTimeline(instance.client, filter)
    await measure('health pulse', () => fetchHealth(instance.client), 50)
    await measure('timeline, first page', page({ limit: 100 }), 50)
    await measure('timeline, user + action prefix', page({ limit: 100, userId: 'user-7', actionPrefix: 'sync.' }))
    await measure('timeline, rare text in params', page({ limit: 100, q: 'orders_4999991' }))
    report('query', figures)
  } finally {
    await instance.stop()
  }
}
