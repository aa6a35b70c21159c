/**
 * "What happened in this session?": its turns in the order of the file, page by page, with what was found at each.
 * A page is one stretch of the primary key.
 */
import type { ClickHouseClient } from '@clickhouse/client'
import { selectRows } from './rows.ts'
import { parseCursor, type RawSession, type SessionRow, sessionColumns, sessionRowOf } from './sessions.ts'
import { badFilter, defaultTenant } from './where.ts'

export interface ReplayRequest {
  /** `default` unless told. */
  readonly tenant?: string
  readonly user: string
  readonly file: string
  /** `main` unless told. */
  readonly version?: string
  /** `nextCursor` of the page before. */
  readonly cursor?: string
  /** Begin at this turn, to show a finding; a cursor wins. */
  readonly fromTurn?: number
  /** 1 to 1000, 100 unless told. */
  readonly limit?: number
}

export interface SessionFinding {
  readonly id: string
  readonly type: string
  readonly class: string
  readonly severity: string
  readonly turnIndex: number
  readonly toolUseId: string
  readonly toolName: string
  /** ISO 8601; null where the record has no time. */
  readonly occurredAt: string | null
  readonly excerpt: string
  readonly rule: string
  readonly ruleVersion: number
  readonly advice: string
}

export interface ReplayTurn {
  readonly index: number
  readonly line: number
  readonly uuid: string
  readonly parentUuid: string
  readonly sessionId: string
  /** ISO 8601; null where the record has no time. */
  readonly occurredAt: string | null
  readonly role: string
  readonly kind: string
  readonly toolName: string
  readonly toolUseId: string
  readonly isError: boolean
  readonly errorClass: string
  readonly model: string
  readonly messageId: string
  readonly inputTokens: number
  readonly outputTokens: number
  /** A preview; `textBytes` says how much there is. */
  readonly text: string
  readonly textBytes: number
  readonly target: string
  readonly isSidechain: boolean
  readonly agentId: string
  readonly findings: readonly SessionFinding[]
}

export interface Replay {
  readonly session: SessionRow
  readonly turns: readonly ReplayTurn[]
  /** All findings of the session, so that a page can lead to them. */
  readonly findings: readonly SessionFinding[]
  readonly nextCursor: string | null
}

/**
 * @returns undefined if there is no such session
 * @throws UserError (status 400, exit code 2) for a bad cursor or limit
 */
export async function fetchReplay(client: ClickHouseClient, request: ReplayRequest): Promise<Replay | undefined> {
  const { limit = 100 } = request
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw badFilter(`a page cannot have ${limit} turns`, 'limit is a whole number from 1 to 1000')
  }
  const from = request.cursor === undefined ? wholeTurn(request.fromTurn ?? 0) : decodeReplayCursor(request.cursor)
  const key = {
    tenant: request.tenant ?? defaultTenant,
    user: request.user,
    file: request.file,
    version: request.version ?? 'main',
  }
  const [[session], turns, findings] = await Promise.all([
    selectRows<RawSession>(client, `SELECT ${sessionColumns} FROM sessions WHERE ${ofSession}`, key),
    selectTurns(client, key, from, limit + 1),
    selectRows<RawFinding>(
      client,
      // What the view session_findings shows of a session that is there, at half the cost of planning.
      `SELECT f.finding_id AS finding_id, f.type AS type, f.class AS class, f.severity AS severity, f.turn_index AS turn_index,
  f.tool_use_id AS tool_use_id, f.tool_name AS tool_name, f.occurred_at AS occurred_at, f.excerpt AS excerpt, f.rule AS rule,
  f.rule_version AS rule_version, f.advice AS advice
FROM session_scans FINAL ARRAY JOIN findings AS f WHERE ${ofSession} ORDER BY turn_index, type`,
      key,
    ),
  ])
  if (session === undefined) return undefined
  const found = findings.map(findingOf)
  const byTurn = new Map<number, SessionFinding[]>()
  for (const finding of found) byTurn.set(finding.turnIndex, [...(byTurn.get(finding.turnIndex) ?? []), finding])
  const next = turns[limit]
  return {
    session: sessionRowOf(session),
    turns: turns.slice(0, limit).map((turn) => turnOf(turn, byTurn.get(turn.turn_index) ?? [])),
    findings: found,
    nextCursor: next === undefined ? null : encodeReplayCursor(next.turn_index),
  }
}

/** What the view session_turns shows. All rows of a session lie in one partition, which FINAL would not see. */
async function selectTurns(
  client: ClickHouseClient,
  key: Readonly<Record<string, string>>,
  from: number,
  limit: number,
): Promise<RawTurn[]> {
  const [counted] = await selectRows<{ parser: number; turns: number; first_ms: string }>(
    client,
    `SELECT parser_version AS parser, turn_rows AS turns, toUnixTimestamp64Milli(first_received_at) AS first_ms
FROM session_summaries FINAL WHERE ${ofSession}`,
    key,
  )
  if (counted === undefined) return []
  return selectRows<RawTurn>(
    client,
    `SELECT turn_index, line, uuid, parent_uuid, session_id, occurred_at, role, kind, tool_name, tool_use_id, is_error, error_class,
  model, message_id, input_tokens, output_tokens, text, text_bytes, target, is_sidechain, agent_id
FROM session_turn_rows
WHERE ${ofSession} AND parser_version = {parser:UInt16} AND first_received_at = fromUnixTimestamp64Milli({first:Int64})
  AND turn_index >= {from:UInt32} AND turn_index < {turns:UInt32}
ORDER BY turn_index LIMIT 1 BY turn_index LIMIT {limit:UInt32}`,
    { ...key, parser: counted.parser, turns: counted.turns, first: counted.first_ms, from, limit },
  )
}

/** Files of this name: whose they are, and their versions. */
export async function fetchSessionNames(
  client: ClickHouseClient,
  file: string,
  tenant: string = defaultTenant,
): Promise<{ readonly user: string; readonly version: string }[]> {
  return selectRows(
    client,
    `SELECT user_name AS user, version FROM current_session_files
WHERE tenant = {tenant:String} AND session_file = {file:String} ORDER BY user, version`,
    { tenant, file: file.slice(0, 1000) },
  )
}

const ofSession =
  'tenant = {tenant:String} AND user_name = {user:String} AND session_file = {file:String} AND version = {version:String}'

function encodeReplayCursor(turn: number): string {
  return Buffer.from(JSON.stringify(['turn', String(turn)])).toString('base64url')
}

/** @throws UserError (status 400, exit code 2) */
function decodeReplayCursor(text: string): number {
  const [kind, turn = ''] = parseCursor(text.slice(0, 1000))
  if (kind !== 'turn' || !/^\d{1,10}$/.test(turn)) {
    throw badFilter('the cursor is not one of ours', 'use the cursor of the page before, unchanged')
  }
  return wholeTurn(Number(turn))
}

function wholeTurn(turn: number): number {
  if (Number.isInteger(turn) && turn >= 0 && turn < 2 ** 32) return turn
  throw badFilter('a turn is a whole number', 'use one of the session, from 0')
}

interface RawTurn {
  readonly turn_index: number
  readonly line: number
  readonly uuid: string
  readonly parent_uuid: string
  readonly session_id: string
  readonly occurred_at: string | null
  readonly role: string
  readonly kind: string
  readonly tool_name: string
  readonly tool_use_id: string
  readonly is_error: boolean
  readonly error_class: string
  readonly model: string
  readonly message_id: string
  readonly input_tokens: string
  readonly output_tokens: string
  readonly text: string
  readonly text_bytes: string
  readonly target: string
  readonly is_sidechain: boolean
  readonly agent_id: string
}

interface RawFinding {
  readonly finding_id: string
  readonly type: string
  readonly class: string
  readonly severity: string
  readonly turn_index: number
  readonly tool_use_id: string
  readonly tool_name: string
  readonly occurred_at: string | null
  readonly excerpt: string
  readonly rule: string
  readonly rule_version: number
  readonly advice: string
}

function findingOf(row: RawFinding): SessionFinding {
  return {
    id: row.finding_id,
    type: row.type,
    class: row.class,
    severity: row.severity,
    turnIndex: row.turn_index,
    toolUseId: row.tool_use_id,
    toolName: row.tool_name,
    occurredAt: row.occurred_at,
    excerpt: row.excerpt,
    rule: row.rule,
    ruleVersion: row.rule_version,
    advice: row.advice,
  }
}

function turnOf(row: RawTurn, findings: readonly SessionFinding[]): ReplayTurn {
  return {
    index: row.turn_index,
    line: row.line,
    uuid: row.uuid,
    parentUuid: row.parent_uuid,
    sessionId: row.session_id,
    occurredAt: row.occurred_at,
    role: row.role,
    kind: row.kind,
    toolName: row.tool_name,
    toolUseId: row.tool_use_id,
    isError: row.is_error,
    errorClass: row.error_class,
    model: row.model,
    messageId: row.message_id,
    inputTokens: Number(row.input_tokens),
    outputTokens: Number(row.output_tokens),
    text: row.text,
    textBytes: Number(row.text_bytes),
    target: row.target,
    isSidechain: row.is_sidechain,
    agentId: row.agent_id,
    findings,
  }
}
