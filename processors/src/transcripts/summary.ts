/** What a whole session comes to, turn by turn. Tokens are those of the last line of each API message. */
import { countOf, cwdHash, microsOf, timeOf } from './rows.ts'
import type { TokenUsage, Turn } from './turn.ts'

export interface Summary {
  add(turn: Turn): void
  /** Columns of `session_summaries`. */
  end(): SummaryRow
}

export type SummaryRow = ReturnType<ReturnType<typeof createSummary>['end']>

const titleCharacters = 200
/** Of all prompts together. */
const promptCharacters = 16_000
/** Distinct names of a kind that are kept; a transcript may hold any number of them. */
const maxNames = 200

/** @param tenant salts the hash of the working directory */
export function createSummary(tenant: string) {
  /** By message id; a message without one is its own. */
  const usage = new Map<string, TokenUsage>()
  const messages = new Set<string>()
  const minutes = new Set<number>()
  const sessionIds = new Set<string>()
  const models = new Set<string>()
  const tools = new Set<string>()
  const skills = new Set<string>()
  const mcpServers = new Set<string>()
  /** Lines that are bad or unknown, once each. */
  let lastBadLine = 0
  const counts = { turns: 0, prompts: 0, toolCalls: 0, errors: 0, compactions: 0, badLines: 0, unknown: 0 }
  let turnRows = 0
  let startedAtMs: number | undefined
  let endedAtMs: number | undefined
  let sessionId = ''
  let gitBranch = ''
  let cwd = ''
  let clientVersion = ''
  let title = ''
  let promptsText = ''
  let costUsd: number | undefined

  function note(names: Set<string>, name: string): void {
    if (name !== '' && names.size < maxNames) names.add(name)
  }

  return {
    add(turn: Turn): void {
      turnRows = turn.index + 1
      const speaks = turn.role === 'user' || turn.role === 'assistant'
      if (speaks) counts.turns++
      if (turn.timeMs !== undefined && timeOf(turn.timeMs) !== null) {
        startedAtMs = Math.min(startedAtMs ?? turn.timeMs, turn.timeMs)
        endedAtMs = Math.max(endedAtMs ?? turn.timeMs, turn.timeMs)
        if (speaks) minutes.add(Math.floor(turn.timeMs / 60_000))
      }
      if (turn.kind === 'prompt') counts.prompts++
      if (turn.kind === 'prompt' && title === '')
        title = turn.text.replace(/\s+/g, ' ').trim().slice(0, titleCharacters)
      if (turn.kind === 'prompt' && promptsText.length < promptCharacters) promptsText += `${turn.text}\n`
      if (turn.kind === 'tool_use') counts.toolCalls++
      if (turn.kind === 'tool_use') note(tools, turn.toolName)
      if (turn.kind === 'compaction') counts.compactions++
      if (turn.isError) counts.errors++
      if (turn.kind === 'unknown') counts.unknown++
      if (turn.kind === 'bad_line' && turn.line !== lastBadLine) {
        counts.badLines++
        lastBadLine = turn.line
      }
      if (turn.messageId !== '') messages.add(turn.messageId)
      if (turn.usage !== undefined) usage.set(turn.messageId || `${turn.line}`, turn.usage)
      // What a line costs stands with each of its blocks.
      if (turn.costUsd !== undefined && turn.block === 0) costUsd = (costUsd ?? 0) + turn.costUsd
      note(models, turn.model)
      note(skills, turn.skill)
      note(mcpServers, turn.mcpServer)
      note(sessionIds, turn.sessionId)
      sessionId = turn.sessionId || sessionId
      gitBranch = turn.gitBranch || gitBranch
      cwd = turn.cwd || cwd
      clientVersion = turn.clientVersion || clientVersion
    },
    end() {
      const tokens = { input: 0, output: 0, cacheRead: 0, cacheCreation: 0 }
      for (const one of usage.values()) {
        tokens.input += countOf(one.inputTokens)
        tokens.output += countOf(one.outputTokens)
        tokens.cacheRead += countOf(one.cacheReadTokens)
        tokens.cacheCreation += countOf(one.cacheCreationTokens)
      }
      return {
        turn_rows: turnRows,
        bad_lines: counts.badLines,
        unknown_records: counts.unknown,
        session_id: sessionId,
        session_ids: [...sessionIds],
        started_at: timeOf(startedAtMs),
        ended_at: timeOf(endedAtMs),
        turns: counts.turns,
        prompts: counts.prompts,
        messages: messages.size,
        tool_calls: counts.toolCalls,
        errors: counts.errors,
        compactions: counts.compactions,
        input_tokens: tokens.input,
        output_tokens: tokens.output,
        cache_read_tokens: tokens.cacheRead,
        cache_creation_tokens: tokens.cacheCreation,
        cost_usd_micros: microsOf(costUsd),
        active_minutes: minutes.size,
        models: [...models],
        tools: [...tools],
        skills: [...skills],
        mcp_servers: [...mcpServers],
        git_branch: gitBranch,
        cwd_hash: cwdHash(tenant, cwd),
        client_version: clientVersion,
        title,
        prompts_text: promptsText.slice(0, promptCharacters),
      }
    },
  }
}
