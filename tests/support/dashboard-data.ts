/**
 * A week of an instance for dashboards: what `agnes demo` tells, and what it leaves to others to send: heartbeats of the
 * gateway, Claude Code's own telemetry, redactions, events that miss something, names that try to break out of a query.
 */
import type { ClickHouseClient } from '@agnes/clickhouse'
import { createRecorder } from '@agnes/instrumentation'
import { daysBefore, simulate } from '../../cli/src/demo/simulation.ts'

/** The instant that dashboards are looked at. A Friday. */
export const now = new Date('2026-11-20T14:00:00Z')
export const dayBefore = new Date(now.getTime() - 86_400_000)

/** Users whose names would end the text they stand in, were they not escaped. */
export const hostileNames = [
  "o'brien",
  'CORP\\anna',
  "x' OR 1=1 --",
  "y\\' OR 1=1 --",
  'z\\',
  '$__timeFilter(Timestamp)',
  '${tenant}',
  '日本, (語)',
] as const

type LogRecord = Parameters<Parameters<typeof createRecorder>[0]['emit']>[0]
type Row = Readonly<Record<string, unknown>>

export async function insertWeek(client: ClickHouseClient, days = 7): Promise<void> {
  const rows = [...demo(days), ...heartbeats(days), ...claudeCode(days), ...oddities()]
  await client.insert({
    table: 'otel_logs',
    values: rows,
    format: 'JSONEachRow',
    clickhouse_settings: { date_time_input_format: 'best_effort' },
  })
}

/** Transcripts, what processors made of them, and reports: as their own code would have stored them. */
export async function insertSessionsAndFeedback(client: ClickHouseClient): Promise<void> {
  const insert = (table: string, values: readonly Row[]): Promise<unknown> =>
    client.insert({
      table,
      values: [...values],
      format: 'JSONEachRow',
      clickhouse_settings: { date_time_input_format: 'best_effort' },
    })
  const files = Array.from({ length: 30 }, (_, n) => {
    const at = new Date(now.getTime() - n * 5 * 3_600_000 - 600_000).toISOString()
    const user_name = ['anna', 'boris', "o'brien"][n % 3] as string
    return { n, at, key: { tenant: 'default', user_name, session_file: `session-${n}`, version: 'main' } }
  })
  await insert(
    'session_files',
    files.map(({ key, at, n }) => ({
      ...key,
      lines: 40 + n,
      bytes: 9_000,
      file_hash: `hash-${n}`,
      first_received_at: at,
      received_at: at,
      source: 'upload',
    })),
  )
  await insert(
    'session_summaries',
    files.slice(2).map(({ key, at, n }) => ({
      ...key,
      rank: '1',
      file_hash: `hash-${n}`,
      lines: 40 + n,
      turns: 30,
      errors: n % 5,
      compactions: n % 2,
      active_minutes: 12,
      cost_usd_micros: 90_000 * n,
      title: 'Why is revenue of last week lower?',
      first_received_at: at,
      processed_at: at,
    })),
  )
  await insert(
    'session_scans',
    files.slice(2).map(({ key, at, n }) => {
      const types = ['tool_error', 'loop', 'permission_denied', 'api_error'].slice(0, n % 5)
      const same = (value: unknown): unknown[] => types.map(() => value)
      return {
        ...key,
        rank: '1',
        file_hash: `hash-${n}`,
        lines: 40 + n,
        scan_id: '0193f0a0-0000-7000-8000-000000000001',
        scanned_at: at,
        'findings.finding_id': types.map((type) => `${n}-${type}`),
        'findings.type': types,
        'findings.class': same('shell_exit'),
        'findings.severity': types.map((type) => (type === 'loop' ? 'info' : 'warning')),
        'findings.session_id': same(`id-${n}`),
        'findings.turn_index': same(7),
        'findings.line': same(9),
        'findings.uuid': same(''),
        'findings.tool_use_id': same(''),
        'findings.tool_name': same('Bash'),
        'findings.occurred_at': same(at),
        'findings.excerpt': same('exit code 1'),
        'findings.rule': same('shell-exit'),
        'findings.rule_version': same(1),
        'findings.advice': same('Give it the path of the project.'),
      }
    }),
  )
  await insert(
    'session_usage',
    [0, 1, 2].flatMap((daysAgo) =>
      ['anna', 'boris'].map((user_name) => ({
        tenant: 'default',
        user_name,
        day: daysBefore(now, daysAgo).toISOString().slice(0, 10),
        rank: '1',
        computed_at: now.toISOString(),
        'slices.dimension': ['total', 'tool'],
        'slices.name': ['', 'Bash'],
        ...Object.fromEntries(
          [
            'sessions',
            'turns',
            'prompts',
            'messages',
            'tool_calls',
            'input_tokens',
            'output_tokens',
            'cache_read_tokens',
            'cache_creation_tokens',
            'errors',
            'active_minutes',
          ].map((name) => [`slices.${name}`, [5, 5]]),
        ),
      })),
    ),
  )
  await insert(
    'feedback_reports',
    ['open', 'open', 'triaged', 'resolved', 'wontfix'].map((status, n) => ({
      tenant: 'default',
      id: `fb-${n}`,
      version: 1,
      created_at: new Date(now.getTime() - (n * 5 + 3) * 3_600_000).toISOString(),
      reporter_user: n % 2 === 0 ? 'anna' : "x\\' OR 1=1 --",
      message: 'The query tool says "permission denied" since this morning',
      cause_key: n < 3 ? 'one cause' : '',
      cause_tool: 'mcp__agnes__query',
      cause_text: 'permission denied for table N',
      status,
      tags: ['query'],
      ...(n > 2 ? { resolved_at: now.toISOString(), resolved_by: 'chloe', resolution: 'granted' } : {}),
    })),
  )
}

function demo(days: number): Row[] {
  const rows: Row[] = []
  const recorder = createRecorder({ emit: (record) => rows.push(rowOf(record)), enabled: () => true })
  const since = daysBefore(now, days)
  for (const { at, emit } of simulate({ seed: 1, since, until: now })) emit(recorder.at(at))
  return rows
}

function rowOf({ timestamp, eventName = '', attributes = {} }: LogRecord): Row {
  const [seconds, nanoseconds] = timestamp as [number, number]
  return row(new Date(seconds * 1000 + nanoseconds / 1e6), eventName, attributes as Row, {
    ServiceName: 'agnes',
    environment: 'production',
  })
}

interface Extra {
  readonly tenant?: string
  readonly scope?: string
  readonly environment?: string
  readonly version?: string
  readonly [column: string]: unknown
}

function row(at: Date, name: string, attributes: Row, extra: Extra = {}): Row {
  const { tenant = 'default', scope = '', environment = 'production', version = '1.42.0', ...columns } = extra
  const text = (value: unknown): string => (typeof value === 'object' ? JSON.stringify(value) : String(value))
  return {
    TenantId: tenant,
    Timestamp: at.toISOString(),
    ReceivedAt: new Date(at.getTime() + 20).toISOString(),
    StoredAt: new Date(at.getTime() + 700).toISOString(),
    SeverityText: 'INFO',
    ...(name === '' ? {} : { EventName: name }),
    ScopeName: scope,
    ResourceAttributes: { 'deployment.environment.name': environment, 'service.version': version },
    LogAttributes: Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, text(value)])),
    RedactionRules: 'a1b2c3d4e5f60718',
    ...columns,
  }
}

function* every(days: number, stepMs: number): Generator<[Date, number]> {
  const end = now.getTime()
  let n = 0
  for (let at = end - days * 86_400_000; at < end; at += stepMs) yield [new Date(at), n++]
}

/** One gateway that restarts in the middle of the last day, so that its counters begin anew. */
function heartbeats(days: number): Row[] {
  const restart = now.getTime() - 6 * 3_600_000
  const gateway = { ServiceName: 'agnes-ingest-gateway' }
  const system = (at: Date, event: string, more: Row = {}, extra: Extra = {}): Row =>
    row(
      at,
      'agnes.system',
      { 'agnes.system.component': 'ingest-gateway', 'agnes.system.event': event, ...more },
      { ...gateway, ...extra },
    )
  const rows: Row[] = [
    system(new Date(restart - 3_000), 'stop'),
    system(new Date(restart), 'start', { 'agnes.system.message': 'listening' }, { version: '1.43.0' }),
    system(daysBefore(now, days), 'start', { 'agnes.system.message': 'listening' }),
    system(new Date(now.getTime() - 3_600_000), 'diagnose', { 'agnes.system.warnings': 2 }),
  ]
  let stored = 0
  for (const [at, n] of every(days, 120_000)) {
    if (at.getTime() >= restart && at.getTime() - 120_000 < restart) stored = 0
    stored += 20 + (n % 60)
    rows.push(
      system(at, 'heartbeat', {
        'agnes.pipeline.received': stored + 5,
        'agnes.pipeline.stored': stored,
        'agnes.pipeline.duplicate': Math.floor(stored / 500),
        'agnes.pipeline.rejected': Math.floor(stored / 2000),
        'agnes.pipeline.rejected_last_hour': n % 400 === 0 ? 3 : 0,
        'agnes.pipeline.backlog_bytes': (n % 50) * 1_000,
        'agnes.pipeline.backlog_records': n % 50,
        'agnes.pipeline.oldest_seconds': n % 7,
        'agnes.pipeline.lag_p99_ms': 400 + (n % 90) * 10,
        'agnes.pipeline.redaction_rules': 40,
      }),
    )
  }
  return rows
}

/** As Claude Code sends it: no event name but in an attribute and the body. */
function claudeCode(days: number): Row[] {
  const rows: Row[] = []
  const tools = ['Bash', 'Read', 'Edit', 'Grep', 'mcp__agnes__query'] as const
  for (const [at, n] of every(days, 9 * 60_000)) {
    const session = `00000000-0000-4000-8000-${String(Math.floor(n / 20)).padStart(12, '0')}`
    const event = (later: number, name: string, attributes: Row): void => {
      rows.push(
        row(
          new Date(at.getTime() + later * 1000),
          '',
          {
            'event.name': name,
            'session.id': session,
            'user.id': `install-${n % 5}`,
            'event.sequence': n,
            ...attributes,
          },
          {
            scope: 'com.anthropic.claude_code.events',
            ServiceName: 'claude-code',
            Body: `claude_code.${name}`,
            version: n % 3 === 0 ? '2.1.240' : '2.1.246',
          },
        ),
      )
    }
    const tool_name = tools[n % tools.length] as string
    const tool_use_id = `toolu_${n}`
    const rejected = n % 23 === 0
    event(0, 'user_prompt', { prompt_length: 100 + n, prompt: '<REDACTED>' })
    event(2, 'api_request', {
      model: n % 4 === 0 ? 'claude-opus-4-1' : 'claude-sonnet-4-5',
      cost_usd_micros: 12_000 + (n % 100) * 90,
      duration_ms: 2_000 + (n % 70) * 40,
      input_tokens: 400,
      output_tokens: 300 + (n % 90),
      cache_read_tokens: 30_000,
      cache_creation_tokens: 900,
      request_id: `req_${n}`,
    })
    if (n % 60 === 0)
      event(3, 'api_error', { model: 'claude-sonnet-4-5', error: 'Overloaded', status_code: 529, attempt: 10 })
    event(4, 'tool_decision', {
      tool_name,
      tool_use_id,
      decision: rejected ? 'reject' : 'accept',
      source: rejected ? (n % 2 === 0 ? 'config' : 'user_reject') : 'config',
    })
    if (!rejected) {
      event(6, 'tool_result', {
        tool_name,
        tool_use_id,
        success: n % 9 === 0 ? 'false' : 'true',
        duration_ms: 30 + (n % 40) * 25,
        ...(n % 9 === 0 ? { error_type: 'ShellError' } : {}),
      })
    }
    if (n % 50 === 0)
      event(7, 'compaction', {
        trigger: 'auto',
        success: 'true',
        pre_tokens: 160_000,
        post_tokens: 30_000,
        duration_ms: 9_000,
      })
  }
  return rows
}

function oddities(): Row[] {
  const at = (minutes: number): Date => new Date(now.getTime() - minutes * 60_000)
  const rows: Row[] = hostileNames.map((name, i) =>
    row(at(10 + i), 'agnes.audit', {
      'agnes.action': 'query.local',
      'agnes.result': 'error',
      'user.id': name,
      'agnes.resource': `table:${name}`,
    }),
  )
  rows.push(
    row(
      at(30),
      'agnes.audit',
      { 'agnes.action': 'query.local', 'user.id': 'mallory' },
      { tenant: 'acme', environment: 'staging' },
    ),
    row(at(31), 'agnes.audit', { 'agnes.result': 'success', 'user.id': 'anna' }),
    row(at(32), 'agnes.llm.generation', { 'agnes.duration_ms': 10 }),
    row(
      at(33),
      'agnes.audit',
      { 'agnes.action': 'token.create', 'user.id': 'boris', 'agnes.params': '{"token":"[REDACTED]"}' },
      {
        RedactionCount: 2,
        Redactions: ['attributes.agnes.params token 0123456789abcdef', 'attributes.agnes.params.note card_number 00ff'],
        environment: 'staging',
      },
    ),
    row(at(34), 'agnes.audit', {
      'agnes.action': 'query.local',
      'user.id': 'chloe',
      'agnes.params': 'no JSON {',
      'agnes.params_before': '{"a"',
    }),
    row(at(36), 'agnes.audit', {
      'agnes.action': 'retention.run',
      'agnes.result': 'success',
      'agnes.resource': 'stream:audit',
    }),
    // From a laptop that was offline.
    row(
      at(600),
      'agnes.audit',
      { 'agnes.action': 'query.local', 'user.id': 'greta' },
      { ReceivedAt: at(20).toISOString() },
    ),
    row(at(35), '', { plain: 'line' }, { Body: 'a plain line of a log' }),
  )
  return rows
}
