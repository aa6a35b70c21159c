/** A turn as a row of `session_turn_rows`. */
import { createHash } from 'node:crypto'
import type { Session } from '../processor.ts'
import type { Turn } from './turn.ts'

export function turnRow({ tenant, firstReceivedAt }: Session, turn: Turn): Record<string, unknown> {
  return wellFormed({
    turn_index: turn.index,
    line: turn.line,
    block: turn.block,
    record_type: turn.recordType,
    uuid: turn.uuid,
    parent_uuid: turn.parentUuid,
    session_id: turn.sessionId,
    occurred_at: timeOf(turn.timeMs),
    role: turn.role,
    kind: turn.kind,
    tool_name: turn.toolName,
    tool_use_id: turn.toolUseId,
    is_error: turn.isError,
    error_class: turn.errorClass,
    model: turn.model,
    message_id: turn.messageId,
    request_id: turn.requestId,
    stop_reason: turn.stopReason,
    input_tokens: countOf(turn.usage?.inputTokens),
    output_tokens: countOf(turn.usage?.outputTokens),
    cache_read_tokens: countOf(turn.usage?.cacheReadTokens),
    cache_creation_tokens: countOf(turn.usage?.cacheCreationTokens),
    cost_usd_micros: microsOf(turn.costUsd),
    text: turn.text,
    text_bytes: turn.textBytes,
    target: turn.target,
    is_sidechain: turn.isSidechain,
    is_meta: turn.isMeta,
    agent_id: turn.agentId,
    skill: turn.skill,
    mcp_server: turn.mcpServer,
    cwd_hash: cwdHash(tenant, turn.cwd),
    git_branch: turn.gitBranch,
    client_version: turn.clientVersion,
    permission_mode: turn.permissionMode,
    compaction_trigger: turn.compaction?.trigger ?? '',
    compaction_pre_tokens: turn.compaction?.preTokens === undefined ? null : countOf(turn.compaction.preTokens),
    first_received_at: firstReceivedAt.toISOString(),
  })
}

/** 2299 is the last year of DateTime64(3). */
const latestMs = Date.UTC(2299, 0)

/** ISO 8601; null where there is none that ClickHouse could hold. */
export function timeOf(timeMs: number | undefined): string | null {
  return timeMs === undefined || !(timeMs >= 0 && timeMs < latestMs) ? null : new Date(timeMs).toISOString()
}

/** Whatever a line says, what is counted is a whole number that is not negative. */
export function countOf(value: number | undefined): number {
  return value === undefined || !(value > 0) ? 0 : Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER)
}

export function microsOf(costUsd: number | undefined): number | null {
  return costUsd === undefined || !Number.isFinite(costUsd) ? null : countOf(Math.round(costUsd * 1e6))
}

let lastCwd = ''
let lastHash = ''

/** 16 hexadecimal digits; another tenant's same directory has others. */
export function cwdHash(tenant: string, cwd: string): string {
  if (cwd === '') return ''
  const named = `${tenant}\0${cwd}`
  // Lines of a session say the same directory over and over.
  if (named !== lastCwd) {
    lastHash = createHash('sha256').update(named).digest('hex').slice(0, 16)
    lastCwd = named
  }
  return lastHash
}

/** A preview may be cut within a pair of surrogates, and transcripts may hold half ones: ClickHouse refuses them. */
export function wellFormed(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const fixed: Record<string, unknown> = { ...row }
  for (const name in fixed) {
    const value = fixed[name]
    if (typeof value === 'string') fixed[name] = wholeText(value)
    else if (Array.isArray(value)) fixed[name] = value.map((one) => (typeof one === 'string' ? wholeText(one) : one))
  }
  return fixed
}

function wholeText(text: string): string {
  return /\p{Surrogate}/u.test(text) ? Buffer.from(text, 'utf8').toString('utf8') : text
}
