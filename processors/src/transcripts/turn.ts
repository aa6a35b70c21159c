/**
 * What a transcript is made of, whatever version of Claude Code wrote it.
 *
 * One turn is one content block of one record. Every line that is not blank has at least one turn, also one that nobody
 * understands, so that the turns of a file account for all of its lines.
 */

/** Who speaks: `other` is bookkeeping of the client (snapshots, queue, titles …) and whatever is not known. */
export type TurnRole = 'user' | 'assistant' | 'system' | 'other'

export type TurnKind =
  /** What a person typed. */
  | 'prompt'
  /** What the client put into the conversation in the user's name: caveats, skills, reminders, pasted context. */
  | 'note'
  /** A slash command, or a `!` shell line, of the user; and what it printed. */
  | 'command'
  | 'command_output'
  /** An image or a document that came with a prompt, and records of type `attachment`. */
  | 'attachment'
  /** "[Request interrupted by user]". */
  | 'interrupt'
  /** What the model answered, thought, called; and what came back. */
  | 'text'
  | 'thinking'
  | 'tool_use'
  | 'tool_result'
  /** The API refused or failed: the message that ended the turn, or one attempt that was retried. */
  | 'api_error'
  /** The context was compacted (also microcompact), and the summary that goes on from there. */
  | 'compaction'
  | 'compaction_summary'
  /** Other system records: durations, hooks, notices. */
  | 'system'
  /** Progress of a tool, a hook or a sub-agent. */
  | 'progress'
  /** State of the client: titles, modes, queue, snapshots, links, costs. */
  | 'state'
  /** A record or a block of a type this reader does not know. */
  | 'unknown'
  /** A line that is not a JSON object. */
  | 'bad_line'

/** As the line says. One API message spans several lines: who sums takes the last line of a `messageId`. */
export interface TokenUsage {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly cacheReadTokens: number
  readonly cacheCreationTokens: number
}

export interface Compaction {
  /** `auto`, `manual`, `micro`, or what the record says. */
  readonly trigger: string
  readonly preTokens: number | undefined
}

export interface Turn {
  /** Counts the turns of the file from 0; never changes when the file grows. */
  readonly index: number
  /** Line of the file from 1, blank lines counted; and the block within its record from 0. */
  readonly line: number
  readonly block: number
  /** `type` of the record, with `subtype` where there is one: `user`, `system:api_error`. */
  readonly recordType: string
  readonly uuid: string
  readonly parentUuid: string
  readonly sessionId: string
  /** Milliseconds since 1970, from `timestamp`. */
  readonly timeMs: number | undefined
  readonly role: TurnRole
  readonly kind: TurnKind
  /** Of a tool_use; of a tool_result too, where its call stands in the same file before it. */
  readonly toolName: string
  readonly toolUseId: string
  readonly isError: boolean
  /** Why a tool_result with `isError`, or an api_error, failed; empty elsewhere. */
  readonly errorClass: string
  readonly model: string
  readonly messageId: string
  readonly requestId: string
  readonly stopReason: string
  readonly usage: TokenUsage | undefined
  readonly costUsd: number | undefined
  /** The text, cut to `previewCharacters` of the reader. */
  readonly text: string
  /** UTF-8 bytes of the whole text. */
  readonly textBytes: number
  /** Of a tool_use: the file, command, URL, pattern … it is about, on one line. */
  readonly target: string
  /** Of a tool_use and a tool_result: equal for equal inputs and for equal results, `''` elsewhere. */
  readonly contentHash: string
  readonly isSidechain: boolean
  readonly isMeta: boolean
  readonly agentId: string
  readonly skill: string
  readonly mcpServer: string
  readonly cwd: string
  readonly gitBranch: string
  readonly clientVersion: string
  readonly permissionMode: string
  readonly compaction: Compaction | undefined
}
