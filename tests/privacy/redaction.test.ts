/** P28, P30: the whole way of a secret, over every door, to everything that is written, stored, logged or answered. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { migrate } from '@agnes/clickhouse'
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Gateway, startGateway } from '../../ingest-gateway/src/gateway.ts'
import { type Canary, canaries, plant, secretIn } from '../support/canaries.ts'
import { startTestEngine, type TestEngine } from '../support/engine.ts'
import { encodeJson } from '../support/otlp-json.ts'
import { type ExportLogsRequest, encodeExportLogsRequest } from '../support/otlp-reference.ts'
import { freePort } from '../support/processes.ts'
import { send } from '../support/raw-http.ts'

let engine: TestEngine
beforeAll(async () => {
  engine = await startTestEngine()
  await migrate(engine.client)
})
afterAll(() => engine.stop())

interface Instance {
  readonly gateway: Gateway
  readonly dataDir: string
  readonly logged: readonly string[]
  stop(): Promise<void>
}

async function start(clickhouseUrl: string, redaction = true): Promise<Instance> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-redaction-'))
  const logged: string[] = []
  const gateway = await startGateway({
    config: {
      dataDir,
      host: '127.0.0.1',
      otlpPort: 0,
      otlpGrpcPort: 0,
      maxBodyBytes: 8 * 1024 * 1024,
      maxDecodedBytes: 64 * 1024 * 1024,
      clickhouseUrl: undefined,
      redaction,
    },
    clickhouseUrl,
    heartbeatMs: redaction ? 0 : 60_000,
    sealAfterMs: 10,
    log: (line) => logged.push(line),
  })
  const stop = async (): Promise<void> => {
    await gateway.stop()
    rmSync(dataDir, { recursive: true })
  }
  return { gateway, dataDir, logged, stop }
}

/** A request with every canary in every place; 2 + 2 records. */
const carrier: ExportLogsRequest = {
  resourceLogs: [
    {
      schemaUrl: 'https://agnes.example/schema',
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'agnes' } }] },
      scopeLogs: [
        {
          schemaUrl: 'https://agnes.example/schema',
          scope: { name: 'scope', version: '1', attributes: [{ key: 'a', value: { stringValue: 'b' } }] },
          logRecords: [
            {
              severityText: 'INFO',
              eventName: 'agnes.audit',
              body: { stringValue: 'body' },
              attributes: [
                { key: 'log.record.uid', value: { stringValue: 'uid' } },
                { key: 'agnes.params', value: { stringValue: '{}' } },
                { key: 'bytes', value: { bytesValue: Buffer.from('bytes') } },
                { key: 'list', value: { arrayValue: { values: [{ stringValue: 'a' }] } } },
                {
                  key: 'map',
                  value: { kvlistValue: { values: [{ key: 'k', value: { bytesValue: Buffer.from('v') } }] } },
                },
              ],
            },
            { body: { kvlistValue: { values: [{ key: 'k', value: { stringValue: 'v' } }] } } },
          ],
        },
      ],
    },
  ],
}
const everywhere = (canary: Canary): ExportLogsRequest => plant(carrier, () => canary)

async function export_({ gateway }: Instance, canary: Canary): Promise<string[]> {
  const request = everywhere(canary)
  const header = { 'X-Note': canary.text.replace(/\n/g, ' '), Cookie: `a=${canary.secret.replace(/\n/g, ' ')}` }
  const post = (type: string, body: Uint8Array | string) => ({ headers: { 'Content-Type': type, ...header }, body })
  const protobuf = await send(gateway.port, post('application/x-protobuf', encodeExportLogsRequest(request)))
  const json = await send(gateway.port, post('application/json', encodeJson(request)))
  const refused = await send(gateway.port, {
    ...post('application/json', `{"resourceLogs": "${canary.text}"`),
    path: `/v1/${encodeURIComponent(canary.text)}`,
  })
  const broken = await send(gateway.port, post('application/json', `{"resourceLogs": ${JSON.stringify(canary.text)}`))
  expect([protobuf.status, json.status, refused.status, broken.status]).toEqual([200, 200, 404, 400])
  // Not the very same bytes: those would be a retry, over whichever door.
  const other = { resourceLogs: [...(request.resourceLogs ?? []), {}] }
  await exportByGrpc(gateway.grpcPort, encodeExportLogsRequest(other))
  return [protobuf, json, refused, broken].map(({ body, headers }) => JSON.stringify(headers) + body.toString('latin1'))
}

function exportByGrpc(port: number, body: Uint8Array): Promise<void> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
  return new Promise<void>((resolve, reject) => {
    client.makeUnaryRequest(
      '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
      (bytes: Uint8Array) => Buffer.from(bytes),
      (bytes) => bytes,
      body,
      (error: ServiceError | null) => (error === null ? resolve() : reject(error)),
    )
  }).finally(() => client.close())
}

/** Every file below a directory, as text. */
function filesOf(directory: string): string {
  const names = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  return names
    .map((entry) => `${entry.name}\n${readFileSync(path.join(entry.parentPath, entry.name), 'latin1')}`)
    .join('\n')
}

test('P28 no secret lies in the spool, in an answer, in health, metrics or the log', async () => {
  const instance = await start(`http://127.0.0.1:${await freePort()}/agnes`)
  const answers: string[] = []
  for (const canary of canaries) answers.push(...(await export_(instance, canary)))
  const spool = filesOf(instance.dataDir)
  expect(spool).toContain('[redacted ') // What was searched is what was written.
  const pages = await Promise.all(
    ['/healthz', '/metrics'].map(async (page) => (await fetch(instance.gateway.url + page)).text()),
  )
  expect(secretIn(spool)).toBeUndefined()
  expect(secretIn([...answers, ...pages, ...instance.logged].join('\n'))).toBeUndefined()
  await instance.stop()
})

test('P28 no secret is stored; every event is, and says what was taken out of it', async () => {
  const instance = await start(engine.url)
  for (const canary of canaries) await export_(instance, canary)
  await expect.poll(() => instance.gateway.health().details.backlogRecords, { timeout: 20_000 }).toBe(0)
  const rows = await select<Record<string, unknown>>('SELECT * FROM otel_logs')
  // Two records a request, over three doors.
  expect(rows).toHaveLength(canaries.length * 2 * 3)
  expect(secretIn(JSON.stringify(rows))).toBeUndefined()
  const hash = instance.gateway.health().details.redactionRuleSet
  expect(hash).toMatch(/^[0-9a-f]{16}$/)
  for (const row of rows) {
    expect(row.RedactionRules).toBe(hash)
    expect(row.RedactionCount).toBe((row.Redactions as string[]).length)
    expect(row.RedactionCount).toBeGreaterThan(5)
  }
  const found = await select<{ rule: string; hmacs: string }>(
    "SELECT rule, toString(uniqExact(hmac)) AS hmacs FROM redactions WHERE path = 'attributes.agnes.params {} ' OR path = 'body' GROUP BY rule ORDER BY rule",
  )
  expect(found.map(({ rule }) => rule)).toContain('jwt')
  // The same secret, wherever it stood.
  expect(found.find(({ rule }) => rule === 'jwt')?.hmacs).toBe('1')
  await instance.stop()
})

test('P30 redaction that is off is stored with each event and shown by health, and it turns the pulse yellow', async () => {
  const instance = await start(engine.url, false)
  const body = JSON.stringify({
    resourceLogs: [{ scopeLogs: [{ logRecords: [{ body: { stringValue: 'P30 password=x' } }] }] }],
  })
  await send(instance.gateway.port, { headers: { 'Content-Type': 'application/json' }, body })
  expect(instance.gateway.health().details).toMatchObject({ redactionRules: 0 })
  const stored = (): Promise<{ Body: string; RedactionRules: string }[]> =>
    select("SELECT Body, RedactionRules FROM otel_logs WHERE startsWith(Body, 'P30')")
  await expect.poll(stored, { timeout: 20_000 }).toEqual([{ Body: 'P30 password=x', RedactionRules: 'off' }])
  const pulse = (): Promise<{ color: string; detail: string }[]> =>
    select("SELECT color, detail FROM health_pulse(now = now64(9), tenant = 'default') WHERE name = 'pipeline'")
  await expect
    .poll(pulse, { timeout: 20_000 })
    .toEqual([{ color: 'yellow', detail: expect.stringContaining('redaction off') }])
  await instance.stop()
})

async function select<T>(query: string): Promise<T[]> {
  return (await engine.client.query({ query, format: 'JSONEachRow' })).json<T>()
}
