/** The inbox on the real engine with a gateway that takes its events, all within the test's process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  type ClickHouseClient,
  createKey,
  fetchTimeline,
  type TimelineFilter,
  type TimelineRow,
} from '@agnes/clickhouse'
import type { Scope } from '@agnes/config'
import { type InboxOptions, type RunningInbox, startInbox } from '@agnes/feedback-inbox'
import { type Gateway, startGateway } from '@agnes/ingest-gateway'
import { startTestEngine } from './engine.ts'

export interface TestInbox {
  readonly url: string
  readonly dataDir: string
  readonly client: ClickHouseClient
  readonly gateway: Gateway
  /** What the inbox logged. */
  readonly logged: readonly string[]
  /** A key of ClickHouse's that the inbox knows by now. */
  key(scopes: readonly Scope[], tenant?: string): Promise<{ readonly id: string; readonly text: string }>
  /** Asks with that key; a path, or a whole URL. */
  get(path: string, key?: string, headers?: Readonly<Record<string, string>>): Promise<Response>
  /** Resolves with the rows once there are as many. */
  rows(filter: TimelineFilter, count: number): Promise<readonly TimelineRow[]>
  /** Ends the inbox and starts another one on the same data and port. @param settings that differ from then on */
  restart(settings?: Partial<InboxOptions['config']>): Promise<void>
  stop(): Promise<void>
}

/** @param settings of the inbox, beside data directory, address and port */
export async function startTestInbox(settings: Partial<InboxOptions['config']> = {}): Promise<TestInbox> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-inbox-'))
  const engine = await startTestEngine()
  const gateway = await startGateway({
    config: {
      dataDir,
      host: '127.0.0.1',
      otlpPort: 0,
      otlpGrpcPort: 0,
      maxBodyBytes: 8 * 1024 * 1024,
      maxDecodedBytes: 64 * 1024 * 1024,
      clickhouseUrl: undefined,
    },
    clickhouseUrl: engine.url,
    // Each segment becomes an INSERT, which costs the engine as much for one event as for many.
    sealAfterMs: 750,
    keysEveryMs: 60_000, // it is open on loopback
    heartbeatMs: 0, // a process has one telemetry, and that is the inbox's here
  })
  const logged: string[] = []
  let inForce = settings
  const start = (httpPort: number): Promise<RunningInbox> =>
    startInbox({
      config: { ...inForce, dataDir, host: '127.0.0.1', httpPort },
      clickhouseUrl: engine.url,
      gateway: { url: gateway.url },
      log: (line) => logged.push(line),
    })
  let inbox = await start(0)
  const get = (target: string, key?: string, headers: Readonly<Record<string, string>> = {}): Promise<Response> =>
    fetch(new URL(target, inbox.url), {
      redirect: 'manual',
      headers: { ...headers, ...(key === undefined ? {} : { Authorization: `Bearer ${key}` }) },
    })
  return {
    url: inbox.url,
    dataDir,
    client: engine.client,
    gateway,
    logged,
    get,
    async key(scopes, tenant = 'default') {
      const { key, text } = await createKey(engine.client, { tenant, scopes })
      await inbox.readKeys()
      return { id: key.id, text }
    },
    async rows(filter, count) {
      for (let looked = -1; ; await pause(50)) {
        // To look for them costs the engine twenty times as much as to see whether anything has come.
        const stored = await countEvents(engine.client)
        if (stored === looked) continue
        looked = stored
        const { rows } = await fetchTimeline(engine.client, filter)
        if (rows.length >= count) return rows
      }
    },
    async restart(changed = {}) {
      inForce = { ...inForce, ...changed }
      await inbox.stop()
      inbox = await start(inbox.port)
    },
    async stop() {
      await inbox.stop()
      await gateway.stop()
      await engine.stop()
      rmSync(dataDir, { recursive: true })
    },
  }
}

async function countEvents(client: ClickHouseClient): Promise<number> {
  const answer = await client.query({ query: 'SELECT count() FROM otel_logs', format: 'TabSeparated' })
  return Number(await answer.text())
}
