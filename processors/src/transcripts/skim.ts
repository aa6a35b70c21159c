/**
 * One line → one RawRecord, without parsing what nobody asks for: results in the client's own form (`toolUseResult`),
 * snapshots, images and the like are most of the bytes of a transcript.
 */
import { crc32 } from 'node:zlib'
import { createFields, type Fields, isTrue, numberOf, type ObjectList, readObject, stringOf } from './fields.ts'
import { cutAt, decodeString, Interner, keyTable, skipSpace } from './json-bytes.ts'
import { emptyBlock, maxBlocks, maxNameLength, type RawBlock, type RawMessage, type RawRecord } from './raw-record.ts'
import type { IndexedLine } from './structure.ts'
import { maxTargetLength, targetKeys, targetOf } from './target.ts'
import { parseTime } from './time.ts'
import type { TokenUsage } from './turn.ts'

/** Bytes that are missing from strings of a line, by where the string starts: see `lines.ts`. */
export type Missing = ReadonlyMap<number, number>

export interface Skimmer {
  /** The record that begins at `start` and ends with the line; undefined if it is no JSON object. */
  skim(line: IndexedLine, start: number, missing?: Missing): RawRecord | undefined
}

const top = names(
  'type',
  'subtype',
  'uuid',
  'parentUuid',
  'sessionId',
  'timestamp',
  'cwd',
  'gitBranch',
  'version',
  'requestId',
  'agentId',
  'permissionMode',
  'attributionSkill',
  'attributionMcpServer',
  'isSidechain',
  'isMeta',
  'isCompactSummary',
  'isApiErrorMessage',
  'isVisibleInTranscriptOnly',
  'costUSD',
  'apiErrorStatus',
  'origin',
  'content',
  'summary',
  'aiTitle',
  'customTitle',
  'lastPrompt',
  'error',
  'mode',
  'operation',
  'compactMetadata',
  'microcompactMetadata',
  'data',
  'attachment',
  'message',
)
/** Where the text of a record without a message stands; the first that is there counts. */
const textKeys = [
  top.at.content,
  top.at.summary,
  top.at.aiTitle,
  top.at.customTitle,
  top.at.lastPrompt,
  top.at.error,
  top.at.mode,
  top.at.operation,
]
const message = names('role', 'id', 'model', 'stop_reason', 'usage', 'content')
const usage = names('input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens')
const block = names('type', 'text', 'thinking', 'id', 'name', 'input', 'tool_use_id', 'content', 'is_error')
const part = names('type', 'text')
const input = names(...targetKeys)
const detail = names('type', 'hookEvent', 'prompt')
const origin = names('kind')
const compact = names('trigger', 'preTokens')

/** The members of a message, wherever it stands, and its blocks. */
class Blocks implements ObjectList {
  count = 0
  missing: Missing | undefined
  private readonly pool: Block[] = []

  begin(): void {
    this.count = 0
  }

  element(line: IndexedLine, k: number): number {
    if (this.count === maxBlocks) return readObject(ignored, line, k)
    let next = this.pool[this.count]
    if (next === undefined) {
      next = new Block(this)
      this.pool.push(next)
    }
    this.count++
    next.input.first.fill(0)
    next.parts.begin()
    return readObject(next.fields, line, k)
  }

  at(index: number): Block {
    return this.pool[index] as Block
  }
}

class Block {
  readonly input = createFields(input.table)
  readonly parts: Parts
  readonly fields: Fields

  constructor(blocks: Blocks) {
    this.parts = new Parts(blocks)
    this.fields = createFields(block.table, { input: this.input }, { content: this.parts })
  }
}

/** Content of a tool_result that is an array: its texts count. */
class Parts implements ObjectList {
  /** The first text that is not empty, and the bytes of all of them. */
  start = -1
  end = -1
  bytes = 0

  constructor(private readonly blocks: Blocks) {}

  begin(): void {
    this.start = -1
    this.bytes = 0
  }

  element(line: IndexedLine, k: number): number {
    const after = readObject(partFields, line, k)
    if (partFields.first[part.at.text] === 0x22) {
      const start = partFields.start[part.at.text] as number
      const end = partFields.end[part.at.text] as number
      if (this.start < 0 && end > start) {
        this.start = start
        this.end = end
      }
      this.bytes += end - start + (this.blocks.missing?.get(start) ?? 0)
    }
    return after
  }
}

const ignored = createFields(keyTable([]))
const partFields = createFields(part.table)

/** A class, so that all transcripts share the optimised code. */
class LineSkimmer implements Skimmer {
  private readonly blocks = new Blocks()
  private readonly usageFields = createFields(usage.table)
  private readonly originFields = createFields(origin.table)
  private readonly compactFields = createFields(compact.table)
  private readonly detailFields = createFields(detail.table)
  private readonly messageFields = createFields(message.table, { usage: this.usageFields }, { content: this.blocks })
  private readonly topFields = createFields(top.table, {
    message: this.messageFields,
    origin: this.originFields,
    compactMetadata: this.compactFields,
    microcompactMetadata: this.compactFields,
    data: this.detailFields,
    attachment: this.detailFields,
  })
  private readonly names = new Interner(maxNameLength)
  private missing: Missing | undefined

  constructor(private readonly previewCharacters: number) {}

  skim(line: IndexedLine, start: number, missing?: Missing): RawRecord | undefined {
    const { bytes, tokens, end } = line
    const { topFields } = this
    this.missing = missing
    this.blocks.missing = missing
    this.detailFields.first.fill(0)
    if (skipSpace(bytes, start) !== tokens[0]) return undefined
    const after = readObject(topFields, line, 0)
    if (after < 0 || skipSpace(bytes, (tokens[after - 1] as number) + 1) !== end) return undefined
    const textKey = this.textKey()
    const hasDetail = topFields.first[top.at.data] === 0x7b || topFields.first[top.at.attachment] === 0x7b
    const hasCompact =
      topFields.first[top.at.compactMetadata] === 0x7b || topFields.first[top.at.microcompactMetadata] === 0x7b
    const time = top.at.timestamp
    return {
      type: this.name(topFields, top.at.type, bytes),
      subtype: this.name(topFields, top.at.subtype, bytes),
      uuid: this.name(topFields, top.at.uuid, bytes),
      parentUuid: this.name(topFields, top.at.parentUuid, bytes),
      sessionId: this.name(topFields, top.at.sessionId, bytes),
      timeMs:
        topFields.first[time] === 0x22
          ? parseTime(bytes, topFields.start[time] as number, topFields.end[time] as number)
          : undefined,
      cwd: this.name(topFields, top.at.cwd, bytes),
      gitBranch: this.name(topFields, top.at.gitBranch, bytes),
      version: this.name(topFields, top.at.version, bytes),
      requestId: this.name(topFields, top.at.requestId, bytes),
      agentId: this.name(topFields, top.at.agentId, bytes),
      permissionMode: this.name(topFields, top.at.permissionMode, bytes),
      attributionSkill: this.name(topFields, top.at.attributionSkill, bytes),
      attributionMcpServer: this.name(topFields, top.at.attributionMcpServer, bytes),
      isSidechain: isTrue(topFields, top.at.isSidechain),
      isMeta: isTrue(topFields, top.at.isMeta),
      isCompactSummary: isTrue(topFields, top.at.isCompactSummary),
      isApiErrorMessage: isTrue(topFields, top.at.isApiErrorMessage),
      isVisibleInTranscriptOnly: isTrue(topFields, top.at.isVisibleInTranscriptOnly),
      costUsd: numberOf(topFields, top.at.costUSD, bytes),
      apiErrorStatus: numberOf(topFields, top.at.apiErrorStatus, bytes),
      originKind: topFields.first[top.at.origin] === 0x7b ? this.name(this.originFields, origin.at.kind, bytes) : '',
      text:
        textKey >= 0
          ? this.textOf(textKey, bytes)
          : hasDetail
            ? stringOf(this.detailFields, detail.at.prompt, bytes, this.previewCharacters)
            : '',
      textBytes: textKey >= 0 ? this.lengthOf(topFields, textKey) : 0,
      compactTrigger: hasCompact ? this.name(this.compactFields, compact.at.trigger, bytes) : '',
      compactPreTokens: hasCompact ? numberOf(this.compactFields, compact.at.preTokens, bytes) : undefined,
      detailType: hasDetail ? this.name(this.detailFields, detail.at.type, bytes) : '',
      hookEvent: hasDetail ? this.name(this.detailFields, detail.at.hookEvent, bytes) : '',
      message: topFields.first[top.at.message] === 0x7b ? this.message(bytes) : undefined,
    }
  }

  /** The member with the record's own text, -1 if there is none. */
  private textKey(): number {
    const { first } = this.topFields
    for (let i = 0; i < textKeys.length; i++) {
      const key = textKeys[i] as number
      if (first[key] !== 0 && first[key] !== 0x6e) return key
    }
    return -1
  }

  /** An error can be an object: its JSON is the text then. */
  private textOf(key: number, bytes: Buffer): string {
    const { first, start, end } = this.topFields
    if (first[key] === 0x22) return stringOf(this.topFields, key, bytes, this.previewCharacters)
    const from = start[key] as number
    return cutAt(
      bytes.toString('utf8', from, Math.min(end[key] as number, from + 3 * this.previewCharacters)),
      this.previewCharacters,
    )
  }

  private message(bytes: Buffer): RawMessage {
    const { messageFields } = this
    return {
      role: this.name(messageFields, message.at.role, bytes),
      id: this.name(messageFields, message.at.id, bytes),
      model: this.name(messageFields, message.at.model, bytes),
      stopReason: this.name(messageFields, message.at.stop_reason, bytes),
      usage: messageFields.first[message.at.usage] === 0x7b ? usageOf(this.usageFields, bytes) : undefined,
      blocks: this.content(bytes),
    }
  }

  private content(bytes: Buffer): RawBlock[] | undefined {
    const { messageFields, blocks, previewCharacters } = this
    const first = messageFields.first[message.at.content]
    if (first === 0x22) {
      const text = stringOf(messageFields, message.at.content, bytes, previewCharacters)
      return [{ ...emptyBlock, type: 'text', text, textBytes: this.lengthOf(messageFields, message.at.content) }]
    }
    if (first !== 0x5b) return undefined
    const read: RawBlock[] = []
    for (let i = 0; i < blocks.count; i++) read.push(this.block(blocks.at(i), bytes))
    return read
  }

  private block({ fields, input: inputFields, parts }: Block, bytes: Buffer): RawBlock {
    const { first } = fields
    const textKey =
      first[block.at.text] === 0x22
        ? block.at.text
        : first[block.at.thinking] === 0x22
          ? block.at.thinking
          : block.at.content
    let text = ''
    let textBytes = 0
    if (first[textKey] === 0x22) {
      text = stringOf(fields, textKey, bytes, this.previewCharacters)
      textBytes = this.lengthOf(fields, textKey)
    } else if (first[block.at.content] === 0x5b && parts.start >= 0) {
      text = decodeString(bytes, parts.start, parts.end, this.previewCharacters)
      textBytes = parts.bytes
    }
    const isCall = first[block.at.input] === 0x7b
    const hashed = first[block.at.input] !== 0 ? block.at.input : block.at.content
    return {
      type: this.name(fields, block.at.type, bytes),
      text,
      textBytes,
      id: this.name(fields, block.at.id, bytes),
      name: this.name(fields, block.at.name, bytes),
      target: isCall ? targetOf((key) => stringOf(inputFields, key, bytes, maxTargetLength)) : '',
      skill: isCall ? this.name(inputFields, input.at.skill, bytes) : '',
      toolUseId: this.name(fields, block.at.tool_use_id, bytes),
      isError: isTrue(fields, block.at.is_error),
      contentHash: first[hashed] === 0 ? '' : hashOf(fields, hashed, bytes),
    }
  }

  private name(fields: Fields, key: number, bytes: Buffer): string {
    if (fields.first[key] !== 0x22) return ''
    return this.names.text(bytes, fields.start[key] as number, fields.end[key] as number)
  }

  private lengthOf(fields: Fields, key: number): number {
    const start = fields.start[key] as number
    const length = (fields.end[key] as number) - start
    return this.missing === undefined ? length : length + (this.missing.get(start) ?? 0)
  }
}

export function createSkimmer(previewCharacters: number): Skimmer {
  return new LineSkimmer(previewCharacters)
}

function usageOf(fields: Fields, bytes: Buffer): TokenUsage {
  const count = (key: number): number => {
    const value = numberOf(fields, key, bytes) ?? 0
    return value > 0 && value <= Number.MAX_SAFE_INTEGER ? Math.trunc(value) : 0
  }
  return {
    inputTokens: count(usage.at.input_tokens),
    outputTokens: count(usage.at.output_tokens),
    cacheReadTokens: count(usage.at.cache_read_input_tokens),
    cacheCreationTokens: count(usage.at.cache_creation_input_tokens),
  }
}

/** Of the value as the line writes it. */
function hashOf(fields: Fields, key: number, bytes: Buffer): string {
  const start = fields.start[key] as number
  const end = fields.end[key] as number
  return `${crc32(bytes.subarray(start, end))}.${end - start}`
}

function names<const N extends readonly string[]>(...list: N) {
  const at = Object.fromEntries(list.map((name, index) => [name, index])) as Readonly<Record<N[number], number>>
  return { table: keyTable(list), at }
}
