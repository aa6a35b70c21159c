/**
 * What people wait for at 500 sessions of 200 turns within half a million events, a fifth of them telemetry of these
 * sessions: the pages of the inbox and the questions of `agnes sessions`. BENCH_SESSIONS=5000 is ten times all of it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ClickHouseClient, createKey, fetchSessionGaps } from '@agnes/clickhouse'
import { startInbox } from '@agnes/feedback-inbox'
import { findGaps } from '@agnes/processors'
import { fill, settled } from './filled.ts'
import { startInstance } from './instance.ts'
import { type Figure, quantile, report } from './report.ts'

const sessions = Number(process.env.BENCH_SESSIONS ?? 500)
const turns = 200
const otherEvents = sessions * 800
const rounds = 30
const patienceMs = 150

export async function benchSessions(): Promise<void> {
  const instance = await startInstance()
  const dataDir = mkdtempSync(path.join(tmpdir(), 'agnes-bench-'))
  try {
    await fill(instance.client, otherEvents)
    await fillSessions(instance.client)
    await settled(instance.client)
    const began = performance.now()
    await findGaps({ client: instance.client, fence: 1n, round: 1, mayGoOn: () => true })
    const comparedMs = performance.now() - began
    const { text: key } = await createKey(instance.client, { tenant: 'default', scopes: ['admin'] })
    const inbox = await startInbox({
      config: { dataDir, host: '127.0.0.1', httpPort: 0 },
      clickhouseUrl: instance.clickhouseUrl,
      gateway: { url: instance.otlpUrl },
    })
    const page = (target: string) => async () => {
      const answer = await fetch(inbox.url + target, { headers: { Authorization: `Bearer ${key}` } })
      await answer.arrayBuffer()
      if (answer.status !== 200) throw new Error(`${target} answered ${answer.status}`)
    }
    const middle = Math.floor(sessions / 2)
    const replay = `/admin/sessions/user-${middle % 50}/session-${middle}`
    const figures: Figure[] = [
      { name: 'all sessions compared with their telemetry, once', value: comparedMs / 1000, unit: 's' },
    ]
    for (const [name, run] of [
      ['page: sessions', page('/admin/sessions')],
      ['page: sessions of 7 days with a loop', page('/admin/sessions?since=7d&finding=loop')],
      ['page: sessions, a word', page('/admin/sessions?q=basket')],
      ['page: replay, first turns', page(replay)],
      ['page: findings by week', page('/admin/sessions/heatmap')],
      ['page: gaps', page('/admin/sessions/gaps')],
      ['page: gaps of a session', page(`/admin/sessions/gaps?session_id=s-${middle}`)],
      [
        'agnes sessions gaps --since 24h',
        () => fetchSessionGaps(instance.client, { since: new Date(Date.now() - 86_400_000) }),
      ],
      ['agnes sessions gaps', () => fetchSessionGaps(instance.client, {})],
    ] as const) {
      const times: number[] = []
      for (let i = 0; i <= rounds; i++) {
        const start = performance.now()
        await run()
        if (i > 0) times.push(performance.now() - start)
        await new Promise((resolve) => setTimeout(resolve, patienceMs))
      }
      figures.push({ name: `${name}: p50`, value: quantile(times, 0.5), unit: 'ms' })
      figures.push({ name: `${name}: p95`, value: quantile(times, 0.95), unit: 'ms', goal: { atMost: 150 } })
    }
    report('sessions', figures)
    await inbox.stop()
  } finally {
    await instance.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
}

/** Sessions of half an hour, one after another over 30 days; every hundredth event of their telemetry got lost. */
export async function fillSessions(client: ClickHouseClient): Promise<void> {
  const startOf = `now64(3) - toIntervalSecond((${sessions} - s) * ${Math.floor((30 * 86_400) / sessions)})`
  const at = `${startOf} + toIntervalSecond(i * 10)`
  const chunk = Math.ceil(sessions / 10)
  for (let from = 0; from < sessions; from += chunk) {
    const count = Math.min(chunk, sessions - from)
    const numbers = `SELECT intDiv(number, ${turns}) + ${from} AS s, number % ${turns} AS i FROM numbers(${count * turns})`
    await client.command({
      query: `INSERT INTO otel_logs
        (TenantId, EventId, ReceivedAt, BatchId, Seq, Timestamp, ObservedTimestamp, ServiceName, EventName, ResourceAttributes, ScopeName, LogAttributes)
      SELECT 'default', toString(generateUUIDv7()), at, toUUID('0193f0a0-0000-7000-8000-000000000002'), s * 1000 + i, at, at, 'claude-code', event,
        map('service.name', 'claude-code', 'service.version', '2.1.63', 'os.type', 'darwin'), 'com.anthropic.claude_code.events',
        map('event.name', event, 'session.id', concat('s-', toString(s)), 'user.id', hex(cityHash64(s % 50)), 'event.sequence', toString(i),
          'event.timestamp', toString(at), 'terminal.type', 'iTerm.app', 'prompt.id', toString(cityHash64(s, intDiv(i, 20))),
          'tool_use_id', if(i % 4 IN (1, 2), concat('t-', toString(s), '-', toString(intDiv(i, 4))), ''), 'tool_name', if(i % 4 IN (1, 2), 'Bash', ''),
          'success', if(i % 4 = 2, 'true', ''), 'decision', if(i % 4 = 1, 'accept', ''), 'duration_ms', toString(i * 7),
          'request_id', if(i % 4 = 3, concat('r-', toString(s), '-', toString(i)), ''), 'message.uuid', if(i % 4 = 0, concat('u-', toString(s), '-', toString(i)), ''))
      FROM (SELECT s, i, ${at} AS at, ['user_prompt', 'tool_decision', 'tool_result', 'api_request'][i % 4 + 1] AS event FROM (${numbers}))
      WHERE cityHash64(s, i) % 100 != 0`,
    })
    await client.command({
      query: `INSERT INTO session_turn_rows
        (tenant, user_name, session_file, version, parser_version, turn_index, line, uuid, session_id, occurred_at, role, kind, tool_name,
         tool_use_id, request_id, text, text_bytes, target, first_received_at)
      SELECT 'default', concat('user-', toString(s % 50)), concat('session-', toString(s)), 'main', 1, i, i + 1, concat('u-', toString(s), '-', toString(i)),
        concat('s-', toString(s)), ${at}, if(i % 4 IN (0, 2), 'user', 'assistant'), ['prompt', 'tool_use', 'tool_result', 'text'][i % 4 + 1],
        if(i % 4 IN (1, 2), 'Bash', ''), if(i % 4 IN (1, 2), concat('t-', toString(s), '-', toString(intDiv(i, 4))), ''),
        if(i % 4 = 3, concat('r-', toString(s), '-', toString(i)), ''), randomPrintableASCII(300), 300, if(i % 4 = 1, 'npm test', ''), ${startOf}
      FROM (${numbers})`,
    })
  }
  const file = `'default' AS tenant, concat('user-', toString(s % 50)) AS user_name, concat('session-', toString(s)) AS session_file, 'main' AS version`
  const each = `(SELECT number AS s FROM numbers(${sessions}))`
  await client.command({
    query: `INSERT INTO session_files (tenant, user_name, session_file, version, lines, bytes, file_hash, first_received_at, received_at, source)
      SELECT ${file}, ${turns}, 400000, hex(s), ${startOf}, ${startOf} + toIntervalHour(1), 'upload' FROM ${each}`,
  })
  await client.command({
    query: `INSERT INTO session_summaries (tenant, user_name, session_file, version, rank, parser_version, file_hash, lines, turn_rows, session_id, session_ids,
        started_at, ended_at, turns, prompts, messages, tool_calls, title, prompts_text, models, tools, first_received_at, processed_at)
      SELECT ${file}, 1, 1, hex(s), ${turns}, ${turns}, concat('s-', toString(s)), [concat('s-', toString(s))], ${startOf}, ${startOf} + toIntervalSecond(2000),
        ${turns}, 50, 50, 50, 'Mend the basket', randomPrintableASCII(2000), ['claude-sonnet-4-5'], ['Bash', 'Edit', 'Read'], ${startOf}, now64(3) FROM ${each}`,
  })
  await client.command({
    query: `INSERT INTO session_scans (tenant, user_name, session_file, version, rank, processor_version, file_hash, lines, session_ids, scan_id, scanned_at,
        findings.finding_id, findings.type, findings.class, findings.severity, findings.session_id, findings.turn_index, findings.line, findings.uuid,
        findings.tool_use_id, findings.tool_name, findings.occurred_at, findings.excerpt, findings.rule, findings.rule_version, findings.advice)
      SELECT ${file}, 1, 1, hex(s), ${turns}, [concat('s-', toString(s))], generateUUIDv4(), now64(3),
        arrayMap(k -> hex(cityHash64(s, k)), ks), arrayMap(k -> if(k = 0, 'loop', 'tool_error'), ks), arrayMap(k -> if(k = 0, 'same_call', 'shell_exit'), ks),
        arrayMap(k -> if(k = 0, 'warning', 'info'), ks), arrayMap(k -> concat('s-', toString(s)), ks), arrayMap(k -> toUInt32(k * 20 + 2), ks),
        arrayMap(k -> toUInt32(k * 20 + 3), ks), arrayMap(k -> '', ks), arrayMap(k -> '', ks), arrayMap(k -> 'Bash', ks), arrayMap(k -> toNullable(${startOf}), ks),
        arrayMap(k -> 'Exit code 1: npm test failed in the basket', ks), arrayMap(k -> 'x', ks), arrayMap(k -> toUInt16(1), ks), arrayMap(k -> '', ks)
      FROM (SELECT number AS s, range(s % 8) AS ks FROM numbers(${sessions}))`,
  })
}
