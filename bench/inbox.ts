/** What an admin waits for, on 5 million events: pages and API, through HTTP. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createKey, fetchTimeline } from '@agnes/clickhouse'
import { startInbox } from '@agnes/feedback-inbox'
import { fill, settled } from './filled.ts'
import { startInstance } from './instance.ts'
import { type Figure, quantile, report } from './report.ts'

const rounds = 30
/** Between two askings of the same, so that what is kept for a moment is not all that is measured. */
const patienceMs = 150

export async function benchInbox(): Promise<void> {
  const instance = await startInstance()
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bench-'))
  try {
    await fill(instance.client)
    await settled(instance.client)
    const { text: key } = await createKey(instance.client, { tenant: 'default', scopes: ['admin'] })
    const inbox = await startInbox({
      config: { dataDir, host: '127.0.0.1', httpPort: 0 },
      clickhouseUrl: instance.clickhouseUrl,
      gateway: { url: instance.otlpUrl },
    })
    const { rows } = await fetchTimeline(instance.client, { limit: 1 })
    const [row] = rows
    const event = `${encodeURIComponent(row?.id ?? '')}?at=${encodeURIComponent(row?.timestamp ?? '')}`
    const figures: Figure[] = []
    for (const [name, target, goalMs] of [
      ['health pulse', '/api/admin/activity/health', 50],
      ['page: activity, 24 hours', '/admin/activity', 150],
      ['page: activity, all time', '/admin/activity?since=all', 150],
      ['page: activity, one user and errors, 7 days', '/admin/activity?since=7d&user_id=user-7&result=error', 150],
      ['page: syncs', '/admin/activity/sync', 150],
      ['page: an event', `/admin/activity/${event}`, 150],
      ['API: timeline, 100 rows', '/api/admin/activity', 150],
      ['API: counts of 24 hours', '/api/admin/activity/summary?since=24h', 150],
      ['API: syncs', '/api/admin/sync', 150],
    ] as const) {
      const times: number[] = []
      let first = 0
      for (let i = 0; i <= rounds; i++) {
        const start = performance.now()
        const answer = await fetch(inbox.url + target, { headers: { Authorization: `Bearer ${key}` } })
        await answer.arrayBuffer()
        if (answer.status !== 200) throw new Error(`${target} answered ${answer.status}`)
        if (i === 0) first = performance.now() - start
        else times.push(performance.now() - start)
        await new Promise((resolve) => setTimeout(resolve, patienceMs))
      }
      figures.push({ name: `${name}: first`, value: first, unit: 'ms' })
      figures.push({ name: `${name}: p50`, value: quantile(times, 0.5), unit: 'ms' })
      figures.push({ name: `${name}: p95`, value: quantile(times, 0.95), unit: 'ms', goal: { atMost: goalMs } })
    }
    const start = performance.now()
    const answer = await fetch(`${inbox.url}/api/admin/activity?format=ndjson&limit=100000`, {
      headers: { Authorization: `Bearer ${key}` },
    })
    await answer.arrayBuffer()
    figures.push({ name: 'export', value: 100_000 / ((performance.now() - start) / 1000), unit: 'rows/s' })
    report('inbox', figures)
    await inbox.stop()
  } finally {
    await instance.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}
