/** What `agnes up` says when everything serves: where, how to send the first event, and whether all is well. */
import { setTimeout as pause } from 'node:timers/promises'
import { type ClickHouseClient, createAgnesClient, fetchHealth, type HealthPulse } from '@agnes/clickhouse'
import type { Instance } from '../instance.ts'
import { paint } from '../output/paint.ts'
import { harmless } from '../output/text.ts'
import { typed } from '../output/typed.ts'

export interface WelcomeOptions {
  /** Of OTLP/gRPC, on the same host as OTLP/HTTP. */
  readonly otlpGrpc: number
  /** Whether senders need a key. */
  readonly needsKey: boolean
  /** Where the admin key is kept. */
  readonly keyFile: string
  /** A terminal reads this. What a journal or a container's log keeps is no place for a key. */
  readonly toPerson: boolean
}

/** @param instance with the admin key, where it was created just now */
export function welcome(
  { clickhouseUrl, otlpUrl, inboxUrl, adminKey }: Instance & { readonly adminKey: string | undefined },
  { otlpGrpc, needsKey, keyFile, toPerson }: WelcomeOptions,
): string {
  const key = needsKey ? " -H 'Authorization: Bearer <key>'" : ''
  return `
${paint.bold('Agnes Observability is running.')} Ctrl-C stops it.

  OTLP/HTTP   ${paint.cyan(otlpUrl)}
  OTLP/gRPC   ${paint.cyan(`${new URL(otlpUrl).hostname}:${otlpGrpc}`)}
  ClickHouse  ${paint.cyan(new URL(clickhouseUrl).origin)}
  Inbox       ${paint.cyan(inboxUrl)}   log in with the admin key
${adminKey === undefined ? '' : keyLines(adminKey, keyFile, toPerson)}
Send a first event${needsKey ? `, with a key of "${typed} keys create --scope ingest"` : ''}:

  curl ${otlpUrl}/v1/logs${key} -H 'Content-Type: application/json' -d '
    {"resourceLogs": [{"scopeLogs": [{"logRecords": [{
      "eventName": "agnes.audit",
      "attributes": [
        {"key": "agnes.action", "value": {"stringValue": "hello.world"}},
        {"key": "agnes.result", "value": {"stringValue": "success"}},
        {"key": "user.id",      "value": {"stringValue": "me"}}]}]}]}]}'

or let Claude Code send its own, from the shell you start it in:

  export CLAUDE_CODE_ENABLE_TELEMETRY=1 OTEL_LOGS_EXPORTER=otlp \\
    OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT=${otlpUrl}

then look, in another terminal:

  ${typed} demo       fills a simulated week
  ${typed} health     is it well?
  ${typed} activity   what happened?

`
}

/** The gateway has just started: its first heartbeat is on its way, and without it the pulse would look dead. */
const patienceMs = 5_000

/** The health line, once it can be told. undefined if ClickHouse does not answer or `signal` comes first. */
export async function healthLine(clickhouseUrl: string, signal: AbortSignal): Promise<string | undefined> {
  const client = createAgnesClient({ url: clickhouseUrl, application: 'agnes-up', requestTimeoutMs: patienceMs })
  try {
    const giveUpAt = performance.now() + patienceMs
    for (;;) {
      const pulse = await fetchHealth(client)
      const alive = pulse.fields.some(({ name, color }) => name === 'pipeline' && color === 'green')
      if (alive || performance.now() > giveUpAt) return await describe(pulse, client)
      await pause(250, undefined, { signal })
    }
  } catch {
    return undefined
  } finally {
    await client.close()
  }
}

async function describe({ status, sentence }: HealthPulse, client: ClickHouseClient): Promise<string> {
  const result = await client.query({
    query: "SELECT 1 FROM otel_logs WHERE EventName != 'agnes.system' LIMIT 1",
    format: 'JSONEachRow',
  })
  const empty = (await result.json()).length === 0
  return empty ? `${paint.cyan('●')} No events yet.` : `${paint[status]('●')} ${harmless(sentence)}`
}

function keyLines(adminKey: string, keyFile: string, toPerson: boolean): string {
  if (!toPerson) return `\n  Admin key   in ${keyFile}\n`
  return `\n  Admin key   ${paint.bold(adminKey)}\n              shown this once; kept in ${keyFile}\n`
}
