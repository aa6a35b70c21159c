/**
 * What an admin waits for: every page and answer of the inbox through HTTP, and what a person waits for who reports.
 * A million events unless told, so that it ends within two minutes; `BENCH_ROWS=5000000` is the size the goals are about.
 * Reports and sessions grow with it.
 */
import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { createKey, fetchReports, fetchSessions, fetchTimeline } from '@agnes/clickhouse'
import { startInbox } from '@agnes/feedback-inbox'
import { fill, fillReports, fillSessions, settled } from './filled.ts'
import { startInstance } from './instance.ts'
import { type Figure, quantile, report } from './report.ts'

const rows = Number(process.env.BENCH_ROWS ?? 1_000_000)
const rounds = Number(process.env.BENCH_ROUNDS ?? 12)
const reports = rows / 500
const sessions = rows / 1_000
/** Between two askings of the same, so that what is kept for a moment is not all that is measured. */
const patienceMs = 100
const firstPaintBytes = 100 * 1024

export async function benchInbox(): Promise<void> {
  const instance = await startInstance()
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bench-'))
  const agent = new Agent({ keepAlive: true })
  try {
    const { client } = instance
    await fillReports(client, reports)
    await fillSessions(client, sessions)
    await fill(client, rows)
    await settled(client)
    const { text: key } = await createKey(client, { tenant: 'default', scopes: ['admin'] })
    const { text: sender } = await createKey(client, { tenant: 'default', scopes: ['feedback'] })
    const inbox = await startInbox({
      config: { dataDir, host: '127.0.0.1', httpPort: 0 },
      clickhouseUrl: instance.clickhouseUrl,
      gateway: { url: instance.otlpUrl },
    })
    const figures: Figure[] = []
    const ask = (target: string) => exchange(new URL(target, inbox.url), { agent, headers: bearer(key) })

    let largest = { target: '', bytes: 0 }
    for (const [name, target, goalMs] of await routes(client)) {
      const times: number[] = []
      let firstMs = 0
      for (let i = 0; i <= rounds; i++) {
        const start = performance.now()
        const answer = await ask(target)
        const tookMs = performance.now() - start
        if (answer.status !== 200) {
          throw new Error(`${target} answered ${answer.status}: ${textOf(answer).slice(0, 300)}`)
        }
        if (i === 0) firstMs = tookMs
        else times.push(tookMs)
        if (target.startsWith('/admin') && answer.body.length > largest.bytes) {
          largest = { target, bytes: answer.body.length }
        }
        await pause(patienceMs)
      }
      figures.push({ name: `${name}: first`, value: firstMs, unit: 'ms' })
      figures.push({ name: `${name}: p50`, value: quantile(times, 0.5), unit: 'ms' })
      figures.push({ name: `${name}: p95`, value: quantile(times, 0.95), unit: 'ms', goal: { atMost: goalMs } })
    }

    const style = await assetBytes(ask, textOf(await ask('/admin/activity')))
    figures.push({
      name: `largest page (${largest.target.slice(0, 30)}) with style, script and icon`,
      value: (largest.bytes + style) / 1024,
      unit: 'KiB',
      goal: { atMost: firstPaintBytes / 1024 },
    })

    const accepted: number[] = []
    for (let i = 0; i <= rounds; i++) {
      const body = aReport(i)
      const start = performance.now()
      const answer = await exchange(new URL('/api/feedback', inbox.url), {
        agent,
        method: 'POST',
        body,
        headers: {
          ...bearer(sender),
          'content-type': 'application/json',
          'agnes-preview-sha256': createHash('sha256').update(body).digest('hex'),
        },
      })
      if (answer.status !== 200) throw new Error(`the report was answered ${textOf(answer).slice(0, 300)}`)
      if (i > 0) accepted.push(performance.now() - start)
    }
    figures.push({ name: 'a report is on disk: p50', value: quantile(accepted, 0.5), unit: 'ms' })
    const onDisk = quantile(accepted, 0.95)
    figures.push({ name: 'a report is on disk: p95', value: onDisk, unit: 'ms', goal: { atMost: 100 } })

    const exported = Math.min(rows, 100_000)
    const start = performance.now()
    await ask(`/api/admin/activity?format=ndjson&limit=${exported}`)
    figures.push({ name: 'export', value: exported / ((performance.now() - start) / 1000), unit: 'rows/s' })
    report('inbox', figures)
    await inbox.stop()
  } finally {
    agent.destroy()
    await instance.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

type Client = Parameters<typeof fetchTimeline>[0]
type Route = readonly [name: string, target: string, goalMs: number]

/** Every page and every answer; of single things one that is there. */
async function routes(client: Client): Promise<readonly Route[]> {
  const [row] = (await fetchTimeline(client, { limit: 1 })).rows
  const [sent] = (await fetchReports(client, { tenant: 'default', limit: 1 })).reports
  const [session] = (await fetchSessions(client, { finding: 'any', limit: 1 })).rows
  const event = `${encodeURIComponent(row?.id ?? '')}?at=${encodeURIComponent(row?.timestamp ?? '')}`
  const replay = `${encodeURIComponent(session?.user ?? '')}/${encodeURIComponent(session?.file ?? '')}`
  return [
    ['health pulse', '/api/admin/activity/health', 50],
    ['page: activity, 24 hours', '/admin/activity', 150],
    ['page: activity, all time', '/admin/activity?since=all', 150],
    ['page: activity, one user and errors, 7 days', '/admin/activity?since=7d&user_id=user-7&result=error', 150],
    ['page: syncs', '/admin/activity/sync', 150],
    ['page: an event', `/admin/activity/${event}`, 150],
    ['page: sessions', '/admin/sessions', 150],
    ['page: sessions with a finding', '/admin/sessions?finding=tool_error', 150],
    ['page: sessions, search', '/admin/sessions?q=orders_17', 150],
    ['page: findings by week', '/admin/sessions/heatmap', 150],
    ['page: gaps', '/admin/sessions/gaps', 150],
    ['page: a session', `/admin/sessions/${replay}`, 150],
    ['page: feedback', '/admin/feedback', 150],
    ['page: feedback, open ones', '/admin/feedback?status=open', 150],
    ['page: feedback, one cause', `/admin/feedback?cause=${sent?.causeKey}`, 150],
    ['page: a report', `/admin/feedback/${sent?.id}`, 150],
    ['page: telegram', '/admin/telegram', 150],
    ['API: timeline, 100 rows', '/api/admin/activity', 150],
    ['API: counts of 24 hours', '/api/admin/activity/summary?since=24h', 150],
    ['API: an event', `/api/admin/events/${event}`, 150],
    ['API: syncs', '/api/admin/sync', 150],
    ['API: sessions', '/api/admin/sessions', 150],
    ['API: findings by week', '/api/admin/sessions/findings', 150],
    ['API: a session', `/api/admin/sessions/${replay}`, 150],
    ['API: reports', '/api/admin/feedback', 150],
    ['API: causes', '/api/admin/feedback/causes', 150],
    ['API: a report', `/api/admin/feedback/${sent?.id}`, 150],
  ]
}

/** What else a page needs before it is whole. */
async function assetBytes(ask: (target: string) => Promise<Answer>, page: string): Promise<number> {
  let sum = 0
  for (const [, target = ''] of page.matchAll(/(?:href|src)="(\/assets\/[^"]+)"/g)) {
    sum += (await ask(target)).body.length
  }
  return sum
}

/** Of a person each, so that nobody reports too often. */
function aReport(i: number): string {
  const turns = Array.from({ length: 50 }, (_, turn) => ({
    role: 'user',
    kind: 'tool_result',
    tool: 'Bash',
    tool_use_id: `toolu_${turn}`,
    is_error: true,
    text: `Exit code 1\n${'a line of output '.repeat(60)}\nError: no such table: orders_${i}`,
  }))
  const session = { file: 'session-000000', session_id: 'session-000000', turns }
  const message = 'the nightly sync does not start'
  return JSON.stringify({ version: 1, id: randomUUID(), reporter: `bench-${i}`, message, session }, null, 2)
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** As it travelled: compressed. */
  readonly body: Buffer
}

/** Like a browser, which takes gzip. */
async function exchange(
  url: URL,
  { body, ...options }: { agent: Agent; method?: string; body?: string; headers: Record<string, string> },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, options, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.once('error', reject)
      answer.once('end', () => {
        const whole = Buffer.concat(chunks)
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: whole })
      })
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

function textOf({ headers, body }: Answer): string {
  return (headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString()
}

function bearer(key: string): Record<string, string> {
  return { authorization: `Bearer ${key}`, 'accept-encoding': 'gzip' }
}
