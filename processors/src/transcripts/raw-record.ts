/**
 * A record of a transcript as its line has it, reduced to what somebody asks for. `skim.ts` makes it of bytes; that it is
 * what JSON.parse would have found is held by a property test.
 */
import type { TokenUsage } from './turn.ts'

export interface RawBlock {
  readonly type: string
  /** Text, thinking, or what a tool answered, cut to the preview's length. */
  readonly text: string
  /** Bytes of the whole text as the line writes it. */
  readonly textBytes: number
  /** `tool_use`: its id, the tool's name, what it is about. */
  readonly id: string
  readonly name: string
  readonly target: string
  readonly skill: string
  /** `tool_result`. */
  readonly toolUseId: string
  readonly isError: boolean
  readonly contentHash: string
}

export const emptyBlock: RawBlock = {
  type: '',
  text: '',
  textBytes: 0,
  id: '',
  name: '',
  target: '',
  skill: '',
  toolUseId: '',
  isError: false,
  contentHash: '',
}

export interface RawMessage {
  readonly role: string
  readonly id: string
  readonly model: string
  readonly stopReason: string
  readonly usage: TokenUsage | undefined
  /** Content that is one string has one block of type `text`; undefined if there is no content that can be read. */
  readonly blocks: readonly RawBlock[] | undefined
}

export interface RawRecord {
  readonly type: string
  readonly subtype: string
  readonly uuid: string
  readonly parentUuid: string
  readonly sessionId: string
  readonly timeMs: number | undefined
  readonly cwd: string
  readonly gitBranch: string
  readonly version: string
  readonly requestId: string
  readonly agentId: string
  readonly permissionMode: string
  readonly attributionSkill: string
  readonly attributionMcpServer: string
  readonly isSidechain: boolean
  readonly isMeta: boolean
  readonly isCompactSummary: boolean
  readonly isApiErrorMessage: boolean
  readonly isVisibleInTranscriptOnly: boolean
  readonly costUsd: number | undefined
  readonly apiErrorStatus: number | undefined
  /** `origin.kind` of user records: `human`, `task-notification` … */
  readonly originKind: string
  /** Text of the record beside its message: content of a system record, a title, a summary, a queued prompt, an error. */
  readonly text: string
  readonly textBytes: number
  readonly compactTrigger: string
  readonly compactPreTokens: number | undefined
  /** `data.type` or `attachment.type`, and the hook's event: `hook_progress`, `SessionEnd`. */
  readonly detailType: string
  readonly hookEvent: string
  readonly message: RawMessage | undefined
}

/** UTF-16 units of identifiers, paths and the like that are kept. */
export const maxNameLength = 512
/** Blocks of one record that are read; real ones have fewer than ten. */
export const maxBlocks = 4096
