/** A gateway with a real engine behind it, and transcripts to send to it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fetchSessionFiles, readSessionLines } from '@agnes/clickhouse'
import { type Gateway, type GatewayOptions, startGateway } from '../../ingest-gateway/src/gateway.ts'
import { startTestEngine, type TestEngine } from './engine.ts'

export interface SessionGateway extends Gateway {
  readonly logged: readonly string[]
  readonly dataDir: string
}

export interface SessionGatewayOptions
  extends Partial<
    Pick<GatewayOptions, 'needsKeys' | 'sessionLimits' | 'clickhouseUrl' | 'heartbeatMs' | 'arriveWithinMs'>
  > {
  readonly config?: Partial<GatewayOptions['config']>
}

export interface SessionStand {
  readonly engine: TestEngine
  /** Another gateway on the same engine; stopped by `stop`. */
  gateway(options?: SessionGatewayOptions): Promise<SessionGateway>
  /** Contents by version, as they are listed: what users see. */
  stored(tenant: string, user: string, file: string): Promise<Record<string, string>>
  stop(): Promise<void>
}

export async function startSessionStand(): Promise<SessionStand> {
  const engine = await startTestEngine()
  const ends: (() => Promise<void>)[] = []

  async function gateway({ config, clickhouseUrl = engine.url, ...options }: SessionGatewayOptions = {}) {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'agnes-sessions-'))
    const logged: string[] = []
    const started = await startGateway({
      config: {
        dataDir,
        host: '127.0.0.1',
        otlpPort: 0,
        otlpGrpcPort: 0,
        maxBodyBytes: 8 * 1024 * 1024,
        maxDecodedBytes: 64 * 1024 * 1024,
        clickhouseUrl: undefined,
        ...config,
      },
      clickhouseUrl,
      heartbeatMs: 0,
      log: (line) => logged.push(line),
      ...options,
    })
    ends.push(async () => {
      await started.stop()
      await rm(dataDir, { recursive: true, force: true })
    })
    return { ...started, logged, dataDir }
  }

  async function stored(tenant: string, user: string, file: string): Promise<Record<string, string>> {
    const key = { tenant, user, file }
    const listed = await engine.client.query({
      query: `SELECT version FROM current_session_files
        WHERE tenant = {tenant:String} AND user_name = {user:String} AND session_file = {file:String}`,
      query_params: key,
      format: 'JSONEachRow',
    })
    const contents: Record<string, string> = {}
    for (const { version } of await listed.json<{ version: string }>()) {
      const chunks: Buffer[] = []
      for await (const chunk of readSessionLines(engine.client, { ...key, version })) chunks.push(chunk)
      contents[version] = Buffer.concat(chunks).toString()
      const [row] = (await fetchSessionFiles(engine.client, key)).filter((file) => file.version === version)
      if (row?.lines !== contents[version].split('\n').length - 1) throw new Error(`${version} has another line count`)
    }
    return contents
  }

  return {
    engine,
    gateway,
    stored,
    async stop() {
      for (const end of ends.splice(0).reverse()) await end()
      await engine.stop()
    },
  }
}

/** Lines of a made-up transcript. */
export function transcript(lines: number, from = 0): string {
  return Array.from({ length: lines }, (_, i) => `${JSON.stringify(record(from + i))}\n`).join('')
}

function record(i: number) {
  return {
    type: i % 2 === 0 ? 'user' : 'assistant',
    sessionId: '3f0c8a1b-0000-4000-8000-000000000000',
    uuid: `uuid-${i}`,
    timestamp: new Date(Date.UTC(2026, 10, 20, 9, 0, i)).toISOString(),
    message: { role: i % 2 === 0 ? 'user' : 'assistant', content: `what was said in turn ${i} "quoted" \\ žluť 🙂` },
  }
}
