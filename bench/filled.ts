/** What SQL makes: 30 days of a busy Agnes with its reports and sessions, for the benches of what people wait for. */
import { setTimeout as pause } from 'node:timers/promises'
import type { ClickHouseClient } from '@agnes/clickhouse'

export const busyRows = 5_000_000
const insertRows = 500_000
const days = 30
const settleMs = 30_000

/** Rows as the gateway writes them, spread over the days before now. */
export async function fill(client: ClickHouseClient, rows: number = busyRows): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < rows) {
      const from = next
      next += insertRows
      await insert(client, from, Math.min(insertRows, rows - from), rows)
    }
  }
  await Promise.all([worker(), worker()])
}

/** 5 million rows in a minute leave merges behind that thirty days of use would not. */
export async function settled(client: ClickHouseClient): Promise<void> {
  for (const start = performance.now(); performance.now() - start < settleMs; await pause(500)) {
    const result = await client.query({ query: 'SELECT count() AS n FROM system.merges', format: 'JSONEachRow' })
    const [row] = await result.json<{ n: number }>()
    if (row?.n === 0) return
  }
}

async function insert(client: ClickHouseClient, from: number, count: number, rows: number): Promise<void> {
  await client.command({
    query: `INSERT INTO otel_logs
        (TenantId, EventId, ReceivedAt, BatchId, Seq, Timestamp, ObservedTimestamp, SeverityText, SeverityNumber,
         ServiceName, EventName, ResourceAttributes, ScopeName, LogAttributes)
      WITH
        {from:UInt64} + number AS n,
        fromUnixTimestamp64Nano(toInt64(toUnixTimestamp64Nano(now64(9)) - (${rows} - n) * ${Math.floor((days * 86_400e9) / rows)})) AS at,
        cityHash64(n) AS h,
        cityHash64(n, 'user') AS u,
        cityHash64(n, 'event') AS e
      SELECT 'default', toString(generateUUIDv7()), at, toUUID('0193f0a0-0000-7000-8000-000000000001'), n, at, at, 'INFO', 9,
        'agnes',
        multiIf(e % 100 < 90, 'agnes.audit', e % 100 < 95, 'agnes.sync', e % 100 < 98, 'agnes.session_processor', 'agnes.system'),
        map('service.name', 'agnes', 'service.version', '1.42.0', 'deployment.environment.name', 'production'),
        'agnes.recorder',
        map('log.record.uid', toString(n),
            'user.id', concat('user-', toString(u % 50)),
            'agnes.action', ['run_verification', 'sync.trigger', 'query.local', 'data.download', 'token.create'][h % 5 + 1],
            'agnes.resource', concat('table:orders_', toString(h % 200)),
            'agnes.result', if(h % 20 = 0, 'error', 'success'),
            'agnes.duration_ms', toString(h % 5000),
            'agnes.client_kind', if(h % 5 = 0, 'scheduler', 'cli'),
            'agnes.correlation_id', toString(h),
            'agnes.sync.table_id', concat('orders_', toString(h % 200)),
            'agnes.sync.status', if(h % 50 = 0, 'error', 'ok'),
            'agnes.params', concat('{"table":"orders_', toString(n), '","rows":', toString(h % 100000), '}'))
      FROM numbers({count:UInt64})`,
    query_params: { from, count },
  })
}

/** Turns of each session. */
const turnsOfSession = 100
const insertSessions = 1_000

/** Sessions as the processors leave them: every fourth with findings, of eight types. */
export async function fillSessions(client: ClickHouseClient, sessions: number): Promise<void> {
  const run = (query: string, params: Record<string, unknown>): Promise<unknown> =>
    client.command({ query, query_params: params })
  const key = `'default' AS tenant, concat('user-', toString(cityHash64(n, 'user') % 50)) AS user_name,
  concat('session-', leftPad(toString(n), 6, '0')) AS session_file, 'main' AS version, hex(n) AS file_hash,
  toDateTime64(now() - toIntervalSecond(cityHash64(n, 'at') % ${days * 86_400}), 3, 'UTC') AS at`
  for (let from = 0; from < sessions; from += insertSessions) {
    const count = Math.min(insertSessions, sessions - from)
    const ns = 'FROM (SELECT {from:UInt64} + number AS n FROM numbers({count:UInt64}))'
    await run(
      `INSERT INTO session_files (tenant, user_name, session_file, version, lines, bytes, file_hash, first_received_at, received_at, source)
SELECT tenant, user_name, session_file, version, ${turnsOfSession}, 250000, file_hash, at, at, 'directory' FROM (SELECT ${key} ${ns})`,
      { from, count },
    )
    await run(
      `INSERT INTO session_summaries (tenant, user_name, session_file, version, rank, parser_version, file_hash, lines,
  turn_rows, session_id, session_ids, started_at, ended_at, turns, prompts, messages, tool_calls, errors, input_tokens,
  output_tokens, active_minutes, models, tools, git_branch, client_version, title, prompts_text, first_received_at, processed_at)
SELECT tenant, user_name, session_file, version, 1, 1, file_hash, ${turnsOfSession}, ${turnsOfSession}, session_file,
  [session_file], at - INTERVAL 1 HOUR, at, ${turnsOfSession}, 12, 40, 25, 3, 40000, 9000, 35, ['claude-sonnet-4-5'],
  ['Bash', 'Read', 'Edit'], 'main', '2.1.214', concat('Why does table orders_', toString(n % 200), ' not load?'),
  repeat(concat('Why does table orders_', toString(n % 200), ' not load? Look at the log of the last run. '), 12), at, at
FROM (SELECT n, ${key} ${ns})`,
      { from, count },
    )
    await run(
      `INSERT INTO session_scans (tenant, user_name, session_file, version, rank, processor_version, file_hash, lines, session_ids,
  scan_id, scanned_at, findings.finding_id, findings.type, findings.class, findings.severity, findings.session_id,
  findings.turn_index, findings.line, findings.uuid, findings.tool_use_id, findings.tool_name, findings.occurred_at,
  findings.excerpt, findings.rule, findings.rule_version, findings.advice)
WITH if(n % 4 = 0, range(1 + cityHash64(n, 'found') % 6), []) AS found
SELECT tenant, user_name, session_file, version, 1, 1, file_hash, ${turnsOfSession}, [session_file], generateUUIDv4(), at,
  arrayMap(i -> hex(cityHash64(n, i)), found),
  arrayMap(i -> ['tool_error', 'permission_denied', 'user_rejection', 'loop', 'abrupt_end', 'api_error', 'context_pressure', 'repeated_correction'][(n + i) % 8 + 1], found),
  arrayMap(i -> 'shell_exit', found), arrayMap(i -> if(i % 3 = 0, 'warning', 'info'), found), arrayMap(i -> session_file, found),
  arrayMap(i -> i * 7, found), arrayMap(i -> i * 7 + 1, found), arrayMap(i -> '', found),
  arrayMap(i -> concat('toolu_', toString(i)), found), arrayMap(i -> 'Bash', found), arrayMap(i -> toNullable(at), found),
  arrayMap(i -> concat('Exit code 1 Error: no such table: orders_', toString(n % 200)), found), arrayMap(i -> 'failed_call', found),
  arrayMap(i -> 1, found), arrayMap(i -> 'Look at the command and its output.', found)
FROM (SELECT n, ${key} ${ns})`,
      { from, count },
    )
    await run(
      `INSERT INTO session_turn_rows (tenant, user_name, session_file, version, parser_version, turn_index, line, uuid, session_id,
  occurred_at, role, kind, tool_name, tool_use_id, model, text, text_bytes, target, first_received_at)
SELECT tenant, user_name, session_file, version, 1, turn, turn + 1, concat(session_file, '-', toString(turn)), session_file,
  at - INTERVAL 1 HOUR + toIntervalSecond(turn), if(turn % 2 = 0, 'assistant', 'user'), ['tool_use', 'tool_result', 'text', 'prompt'][turn % 4 + 1],
  if(turn % 4 < 2, 'Bash', ''), concat('toolu_', toString(intDiv(turn, 2))), 'claude-sonnet-4-5',
  repeat(concat('turn ', toString(turn), ' of ', session_file, ' says what it says. '), 12), 600, 'ls', at
FROM (SELECT ${key} ${ns}) ARRAY JOIN range(${turnsOfSession}) AS turn`,
      { from, count },
    )
  }
}

const turnsOfReport = 50
const insertReports = 2_000

/** Reports of forty causes, as the inbox stores them: each with the end of a session. */
export async function fillReports(client: ClickHouseClient, reports: number): Promise<void> {
  for (let from = 0; from < reports; from += insertReports) {
    await client.command({
      query: `INSERT INTO feedback_reports (tenant, id, version, change_id, created_at, changed_at, reporter_user, reporter_key,
  message, session_excerpt, session_file, session_id, environment, fingerprint, dup_key, cause_key, cause_tool, cause_class,
  cause_text, preview_sha256, preview_bytes, preview_answer, bundle_version, status, history.version, history.at, history.actor,
  history.action, history.detail)
WITH cityHash64(n, 'report') AS h, concat('session-', leftPad(toString(n), 6, '0')) AS file,
  toDateTime64(now() - toIntervalSecond(h % ${days * 86_400}), 3, 'UTC') AS at
SELECT 'default', lower(hex(h)), 1, generateUUIDv4(), at, at, concat('user-', toString(h % 300)), 'k1',
  concat('the nightly sync of orders_', toString(h % 200), ' does not start since this morning'),
  arrayStringConcat(arrayMap(i -> concat('{"role":"user","kind":"tool_result","tool":"Bash","tool_use_id":"toolu_', toString(i),
    '","is_error":true,"text":"Exit code 1\\\\n', repeat('a line of output ', 12), 'Error: no such table: orders_', toString(h % 200), '"}'), range(${turnsOfReport})), '\\n'),
  file, file, map('agnes', '0.1.0', 'os', 'linux', 'node', 'v20.20.2'), hex(h), hex(h), lower(hex(cityHash64(h % 40))), 'Bash',
  'shell_exit', concat('Error: no such table: kind ', toString(h % 40)), lower(hex(h)), 12000, 'asked', 1,
  ['open', 'open', 'triaged', 'resolved'][h % 4 + 1], [1], [at], [concat('user-', toString(h % 300))], ['report'], ['']
FROM (SELECT {from:UInt64} + number AS n FROM numbers({count:UInt64}))`,
      query_params: { from, count: Math.min(insertReports, reports - from) },
    })
  }
}
