/** One record → its turns: who speaks, what it is, and what a failed call failed of. */
import { apiErrorClass } from './api-errors.ts'
import { emptyBlock, type RawBlock, type RawRecord } from './raw-record.ts'
import { Recent } from './recent.ts'
import { type ToolErrorClass, toolErrorClass } from './tool-errors.ts'
import type { Compaction, Turn, TurnKind, TurnRole } from './turn.ts'

/** Records of the client about itself; none of them says anything to the model. */
const stateTypes = new Set([
  'file-history-snapshot',
  'queue-operation',
  'summary',
  'pr-link',
  'last-prompt',
  'mode',
  'permission-mode',
  'ai-title',
  'custom-title',
  'agent-name',
  'agent-color',
  'agent-setting',
  'cost-state',
  'worktree-state',
  'tag',
  'task-summary',
  'attribution-snapshot',
  'content-replacement',
  'marble-origami-commit',
  'marble-origami-snapshot',
  'speculation-accept',
  'session-start',
  'started',
  'result',
])

/** Calls whose results may still come. */
const maxOpenCalls = 10_000

export class TurnMaker {
  /** Name of the tool by the id of its call. */
  private readonly openCalls = new Recent<string>(maxOpenCalls)

  /** Calls `onTurn` for the turns of the record, which have indexes from `index` on; returns the next index. */
  turns(
    record: RawRecord,
    index: number,
    line: number,
    onTurn: (turn: Turn) => void,
    onUnknown: (type: string) => void,
  ): number {
    const { type, message } = record
    const speaks = type === 'user' || type === 'assistant'
    const blocks = speaks ? message?.blocks : undefined
    if (blocks === undefined || blocks.length === 0) {
      const kind = speaks ? (record.isApiErrorMessage ? 'api_error' : 'note') : kindOfRecord(record)
      if (kind === 'unknown') onUnknown(type || '(none)')
      const { text, textBytes } = record
      onTurn(turnOf(record, { ...emptyBlock, text, textBytes }, kind, index, line, 0, '', ''))
      return index + 1
    }
    for (let at = 0; at < blocks.length; at++) {
      const block = blocks[at] as RawBlock
      const kind = type === 'user' ? kindOfUserBlock(record, block) : kindOfAssistantBlock(record, block)
      if (kind === 'unknown') onUnknown(`${type}/${block.type || '(none)'}`)
      onTurn(this.turnOfBlock(record, block, kind, index + at, line, at))
    }
    return index + blocks.length
  }

  private turnOfBlock(record: RawRecord, of: RawBlock, kind: TurnKind, index: number, line: number, at: number): Turn {
    if (kind === 'tool_use') {
      this.openCalls.set(of.id, of.name)
      return turnOf(record, of, kind, index, line, at, of.name, of.id)
    }
    if (kind !== 'tool_result') return turnOf(record, of, kind, index, line, at, '', '')
    return turnOf(record, of, kind, index, line, at, this.openCalls.get(of.toolUseId) ?? '', of.toolUseId)
  }
}

export function badLine(index: number, line: number, text: string, textBytes: number): Turn {
  return turnOf(nothing, { ...emptyBlock, text, textBytes }, 'bad_line', index, line, 0, '', '')
}

function turnOf(
  record: RawRecord,
  of: RawBlock,
  kind: TurnKind,
  index: number,
  line: number,
  block: number,
  toolName: string,
  toolUseId: string,
): Turn {
  const { message } = record
  return {
    index,
    line,
    block,
    recordType: record.subtype === '' ? record.type : `${record.type}:${record.subtype}`,
    uuid: record.uuid,
    parentUuid: record.parentUuid,
    sessionId: record.sessionId,
    timeMs: record.timeMs,
    role: roleOf(record),
    kind,
    toolName,
    toolUseId,
    isError: of.isError || kind === 'api_error',
    errorClass: errorClassOf(record, of, kind, toolName),
    model: message === undefined ? '' : message.model,
    messageId: message === undefined ? '' : message.id,
    requestId: record.requestId,
    stopReason: message === undefined ? '' : message.stopReason,
    usage: message === undefined ? undefined : message.usage,
    costUsd: record.costUsd,
    text: of.text,
    textBytes: of.textBytes,
    target: kind === 'progress' || kind === 'attachment' ? record.hookEvent : of.target,
    contentHash: of.contentHash,
    isSidechain: record.isSidechain,
    isMeta: record.isMeta,
    agentId: record.agentId,
    skill: of.skill || record.attributionSkill,
    mcpServer: mcpServerOf(toolName) || record.attributionMcpServer,
    cwd: record.cwd,
    gitBranch: record.gitBranch,
    clientVersion: record.version,
    permissionMode: record.permissionMode,
    compaction: kind === 'compaction' ? compactionOf(record) : undefined,
  }
}

function roleOf({ type }: RawRecord): TurnRole {
  return type === 'user' || type === 'assistant' || type === 'system' ? type : 'other'
}

function compactionOf(record: RawRecord): Compaction {
  const trigger = record.subtype === 'microcompact_boundary' ? 'micro' : record.compactTrigger || 'auto'
  return { trigger, preTokens: record.compactPreTokens }
}

/** Of records without blocks. */
function kindOfRecord(record: RawRecord): TurnKind {
  if (record.type === 'system') {
    if (record.subtype === 'compact_boundary' || record.subtype === 'microcompact_boundary') return 'compaction'
    if (record.subtype === 'api_error') return 'api_error'
    if (record.subtype === 'local_command') return commandKind(record.text) ?? 'system'
    return 'system'
  }
  if (record.type === 'progress' || record.type === 'attachment') return record.type
  return stateTypes.has(record.type) ? 'state' : 'unknown'
}

function kindOfAssistantBlock(record: RawRecord, { type, text }: RawBlock): TurnKind {
  if (record.isApiErrorMessage) return 'api_error'
  switch (type) {
    case 'text':
      // Before the flag was written (1.0.2x) the text alone said it, in the client's own name.
      return record.message?.model === '<synthetic>' && text.startsWith('API Error') ? 'api_error' : 'text'
    case 'thinking':
    case 'redacted_thinking':
      return 'thinking'
    case 'tool_use':
    case 'server_tool_use':
    case 'mcp_tool_use':
      return 'tool_use'
    case 'tool_result':
      return 'tool_result'
    default:
      return type.endsWith('_tool_result') ? 'tool_result' : type === 'image' ? 'attachment' : 'unknown'
  }
}

function kindOfUserBlock(record: RawRecord, { type, text }: RawBlock): TurnKind {
  switch (type) {
    case 'tool_result':
      return 'tool_result'
    case 'image':
    case 'document':
      return 'attachment'
    case 'text':
      return kindOfUserText(record, text)
    default:
      return 'unknown'
  }
}

function kindOfUserText(record: RawRecord, text: string): TurnKind {
  if (record.isCompactSummary) return 'compaction_summary'
  if (isInterrupt(text)) return 'interrupt'
  const command = commandKind(text)
  if (command !== undefined) return command
  if (record.isMeta || record.isVisibleInTranscriptOnly) return 'note'
  if (record.originKind !== '' && record.originKind !== 'human') return 'note'
  return clientTexts.test(text) ? 'note' : 'prompt'
}

/** The client's own words: `[Request interrupted by user]`, `… for tool use]`; a prompt that quotes them is longer. */
function isInterrupt(text: string): boolean {
  return text.length < 80 && /^\s*\[Request interrupted by user[^\]]*\]\s*$/.test(text)
}

function commandKind(text: string): TurnKind | undefined {
  const tag = /^\s*<([a-z-]+)>/.exec(text)?.[1]
  switch (tag) {
    case 'command-name':
    case 'command-message':
    case 'bash-input':
      return 'command'
    case 'local-command-stdout':
    case 'local-command-stderr':
    case 'bash-stdout':
    case 'bash-stderr':
      return 'command_output'
    default:
      return undefined
  }
}

const clientTexts =
  /^\s*(?:<(?:local-command-caveat|system-reminder|task-notification|teammate-message|bash-notification|agent-notification|user-prompt-submit-hook|ide_opened_file|ide_selection)\b|Caveat: The messages below were generated|Operation stopped by hook:|Stop hook feedback:|Base directory for this skill:)/

function errorClassOf(record: RawRecord, of: RawBlock, kind: TurnKind, toolName: string): string {
  if (kind === 'api_error')
    return apiErrorClass(of.text === record.text ? of.text : `${record.text}\n${of.text}`, record.apiErrorStatus)
  if (kind !== 'tool_result' || !of.isError) return ''
  const errorClass: ToolErrorClass = toolErrorClass(toolName, of.text)
  return errorClass
}

function mcpServerOf(toolName: string): string {
  if (!toolName.startsWith('mcp__')) return ''
  const end = toolName.indexOf('__', 5)
  return end < 0 ? toolName.slice(5) : toolName.slice(5, end)
}

const nothing: RawRecord = {
  type: '',
  subtype: '',
  uuid: '',
  parentUuid: '',
  sessionId: '',
  timeMs: undefined,
  cwd: '',
  gitBranch: '',
  version: '',
  requestId: '',
  agentId: '',
  permissionMode: '',
  attributionSkill: '',
  attributionMcpServer: '',
  isSidechain: false,
  isMeta: false,
  isCompactSummary: false,
  isApiErrorMessage: false,
  isVisibleInTranscriptOnly: false,
  costUsd: undefined,
  apiErrorStatus: undefined,
  originKind: '',
  text: '',
  textBytes: 0,
  compactTrigger: '',
  compactPreTokens: undefined,
  detailType: '',
  hookEvent: '',
  message: undefined,
}
