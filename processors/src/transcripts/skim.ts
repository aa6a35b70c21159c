/**
 * One line → one RawRecord, without parsing what nobody asks for: results in the client's own form (`toolUseResult`),
 * snapshots, images and the like are most of the bytes of a transcript.
 */
import { crc32 } from 'node:zlib'
import { createFields, type Fields, isTrue, numberOf, readObject, stringOf } from './fields.ts'
import { decodeString, keyTable, skipSpace, skipValue } from './json-bytes.ts'
import { maxBlocks, maxNameLength, type RawBlock, type RawMessage, type RawRecord } from './raw-record.ts'
import { maxTargetLength, targetKeys, targetOf } from './target.ts'
import { parseTime } from './time.ts'
import type { TokenUsage } from './turn.ts'

/** Bytes that are missing from strings of a line, by where the string starts: see `lines.ts`. */
export type Missing = ReadonlyMap<number, number>

export interface Skimmer {
  /** The record between `start` and `end`, where a newline byte stands; undefined if it is no JSON object. */
  skim(bytes: Buffer, start: number, end: number, missing?: Missing): RawRecord | undefined
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

interface BlockFields {
  readonly fields: Fields
  readonly input: Fields
  /** The first text of a content that is an array, and the bytes of all its texts. */
  partStart: number
  partEnd: number
  partBytes: number
}

export function createSkimmer(previewCharacters: number): Skimmer {
  let missing: Missing | undefined
  const blocks: BlockFields[] = []
  let blockCount = 0
  let contentFirst = 0

  const usageFields = createFields(usage.table)
  const partFields = createFields(part.table)
  const originFields = createFields(origin.table)
  const compactFields = createFields(compact.table)
  const detailFields = createFields(detail.table)
  const messageFields = createFields(message.table, {
    usage: (bytes, i, end) => objectOrValue(usageFields, bytes, i, end),
    content: readContent,
  })
  const topFields = createFields(top.table, {
    message: (bytes, i, end) => {
      blockCount = 0
      contentFirst = 0
      return objectOrValue(messageFields, bytes, i, end)
    },
    origin: (bytes, i, end) => objectOrValue(originFields, bytes, i, end),
    compactMetadata: (bytes, i, end) => objectOrValue(compactFields, bytes, i, end),
    microcompactMetadata: (bytes, i, end) => objectOrValue(compactFields, bytes, i, end),
    data: (bytes, i, end) => objectOrValue(detailFields, bytes, i, end),
    attachment: (bytes, i, end) => objectOrValue(detailFields, bytes, i, end),
  })

  function newBlock(): BlockFields {
    const inputFields = createFields(input.table)
    const made: BlockFields = {
      input: inputFields,
      fields: createFields(block.table, {
        input: (bytes, i, end) => objectOrValue(inputFields, bytes, i, end),
        content: (bytes, i, end) => readParts(made, bytes, i, end),
      }),
      partStart: -1,
      partEnd: -1,
      partBytes: 0,
    }
    return made
  }

  /** Content of a message: a string, or an array of blocks. */
  function readContent(bytes: Buffer, i: number, end: number): number {
    blockCount = 0
    contentFirst = bytes[i] as number
    if (contentFirst !== 0x5b) return skipValue(bytes, i, end)
    return eachElement(bytes, i, (at) => {
      if (blockCount === maxBlocks || bytes[at] !== 0x7b) return skipValue(bytes, at, end)
      const next = blocks[blockCount] ?? newBlock()
      blocks[blockCount] = next
      next.input.first.fill(0)
      next.partStart = -1
      next.partBytes = 0
      blockCount++
      return readObject(next.fields, bytes, at, end)
    })
  }

  /** Content of a tool_result: a string, or an array of parts of which the texts count. */
  function readParts(into: BlockFields, bytes: Buffer, i: number, end: number): number {
    into.partStart = -1
    into.partBytes = 0
    if (bytes[i] !== 0x5b) return skipValue(bytes, i, end)
    return eachElement(bytes, i, (at) => {
      if (bytes[at] !== 0x7b) return skipValue(bytes, at, end)
      const after = readObject(partFields, bytes, at, end)
      if (after >= 0 && partFields.first[part.at.text] === 0x22) {
        const start = partFields.start[part.at.text] as number
        const stop = partFields.end[part.at.text] as number
        if (into.partStart < 0 && stop > start) {
          into.partStart = start
          into.partEnd = stop
        }
        into.partBytes += stop - start + (missing?.get(start) ?? 0)
      }
      return after
    })
  }

  const names: Recent = new Map()
  /** Names that stand in line after line share one string. */
  function recent(key: number, bytes: Buffer): string {
    if (topFields.first[key] !== 0x22) return ''
    const start = topFields.start[key] as number
    const end = topFields.end[key] as number
    return recentString(names, key, bytes, start, end)
  }
  const name = (fields: Fields, key: number, bytes: Buffer): string => stringOf(fields, key, bytes, maxNameLength)

  function blockOf(from: BlockFields, bytes: Buffer): RawBlock {
    const { fields } = from
    const type = name(fields, block.at.type, bytes)
    let text = ''
    let textBytes = 0
    let contentHash = ''
    const textKey =
      fields.first[block.at.text] === 0x22
        ? block.at.text
        : fields.first[block.at.thinking] === 0x22
          ? block.at.thinking
          : block.at.content
    if (fields.first[textKey] === 0x22) {
      text = stringOf(fields, textKey, bytes, previewCharacters)
      textBytes = lengthOf(fields, textKey)
    } else if (textKey === block.at.content && from.partStart >= 0) {
      text = decodeString(bytes, from.partStart, from.partEnd, previewCharacters)
      textBytes = from.partBytes
    }
    let target = ''
    let skill = ''
    const isCall = fields.first[block.at.input] !== 0
    if (isCall) {
      contentHash = hashOf(fields, block.at.input, bytes)
      if (fields.first[block.at.input] === 0x7b) {
        target = targetOf(targetKeys.map((_, key) => stringOf(from.input, key, bytes, maxTargetLength)))
        skill = name(from.input, input.at.skill, bytes)
      }
    } else if (fields.first[block.at.content] !== 0) contentHash = hashOf(fields, block.at.content, bytes)
    return {
      type,
      text,
      textBytes,
      id: name(fields, block.at.id, bytes),
      name: name(fields, block.at.name, bytes),
      target,
      skill,
      toolUseId: name(fields, block.at.tool_use_id, bytes),
      isError: isTrue(fields, block.at.is_error),
      contentHash,
    }
  }

  function lengthOf(fields: Fields, key: number): number {
    const start = fields.start[key] as number
    return (fields.end[key] as number) - start + (missing?.get(start) ?? 0)
  }

  function messageOf(bytes: Buffer): RawMessage | undefined {
    if (topFields.first[top.at.message] !== 0x7b) return undefined
    let read: RawBlock[] | undefined
    if (contentFirst === 0x5b) {
      read = []
      for (let i = 0; i < blockCount; i++) read.push(blockOf(blocks[i] as BlockFields, bytes))
    } else if (contentFirst === 0x22) {
      read = [
        {
          ...emptyBlock,
          type: 'text',
          text: stringOf(messageFields, message.at.content, bytes, previewCharacters),
          textBytes: lengthOf(messageFields, message.at.content),
        },
      ]
    }
    return {
      role: name(messageFields, message.at.role, bytes),
      id: name(messageFields, message.at.id, bytes),
      model: name(messageFields, message.at.model, bytes),
      stopReason: name(messageFields, message.at.stop_reason, bytes),
      usage: messageFields.first[message.at.usage] === 0x7b ? usageOf(usageFields, bytes) : undefined,
      blocks: read,
      isArray: contentFirst === 0x5b,
    }
  }

  function skim(bytes: Buffer, start: number, end: number, missingBytes?: Missing): RawRecord | undefined {
    missing = missingBytes
    detailFields.first.fill(0)
    const after = readObject(topFields, bytes, skipSpace(bytes, start), end)
    if (after < 0 || skipSpace(bytes, after) !== end) return undefined
    let text = ''
    let textBytes = 0
    for (const key of textKeys) {
      const first = topFields.first[key] as number
      if (first === 0 || first === 0x6e) continue
      // An error can be an object: its JSON is the text then.
      text = decodeStringOrJson(topFields, key, bytes)
      textBytes = lengthOf(topFields, key)
      break
    }
    const has = (key: number): boolean => topFields.first[key] === 0x7b
    const hasDetail = has(top.at.data) || has(top.at.attachment)
    if (text === '' && hasDetail) text = stringOf(detailFields, detail.at.prompt, bytes, previewCharacters)
    const hasCompact = has(top.at.compactMetadata) || has(top.at.microcompactMetadata)
    return {
      type: recent(top.at.type, bytes),
      subtype: recent(top.at.subtype, bytes),
      uuid: name(topFields, top.at.uuid, bytes),
      parentUuid: name(topFields, top.at.parentUuid, bytes),
      sessionId: recent(top.at.sessionId, bytes),
      timeMs:
        topFields.first[top.at.timestamp] === 0x22
          ? parseTime(bytes, topFields.start[top.at.timestamp] as number, topFields.end[top.at.timestamp] as number)
          : undefined,
      cwd: recent(top.at.cwd, bytes),
      gitBranch: recent(top.at.gitBranch, bytes),
      version: recent(top.at.version, bytes),
      requestId: name(topFields, top.at.requestId, bytes),
      agentId: recent(top.at.agentId, bytes),
      permissionMode: recent(top.at.permissionMode, bytes),
      attributionSkill: recent(top.at.attributionSkill, bytes),
      attributionMcpServer: recent(top.at.attributionMcpServer, bytes),
      isSidechain: isTrue(topFields, top.at.isSidechain),
      isMeta: isTrue(topFields, top.at.isMeta),
      isCompactSummary: isTrue(topFields, top.at.isCompactSummary),
      isApiErrorMessage: isTrue(topFields, top.at.isApiErrorMessage),
      isVisibleInTranscriptOnly: isTrue(topFields, top.at.isVisibleInTranscriptOnly),
      costUsd: numberOf(topFields, top.at.costUSD, bytes),
      apiErrorStatus: numberOf(topFields, top.at.apiErrorStatus, bytes),
      originKind: has(top.at.origin) ? name(originFields, origin.at.kind, bytes) : '',
      text,
      textBytes,
      compactTrigger: hasCompact ? name(compactFields, compact.at.trigger, bytes) : '',
      compactPreTokens: hasCompact ? numberOf(compactFields, compact.at.preTokens, bytes) : undefined,
      detailType: hasDetail ? name(detailFields, detail.at.type, bytes) : '',
      hookEvent: hasDetail ? name(detailFields, detail.at.hookEvent, bytes) : '',
      message: messageOf(bytes),
    }
  }

  function decodeStringOrJson(fields: Fields, key: number, bytes: Buffer): string {
    if (fields.first[key] === 0x22) return stringOf(fields, key, bytes, previewCharacters)
    const start = fields.start[key] as number
    return bytes.toString('utf8', start, Math.min(fields.end[key] as number, start + previewCharacters))
  }

  return { skim }
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

function objectOrValue(fields: Fields, bytes: Buffer, i: number, end: number): number {
  return bytes[i] === 0x7b ? readObject(fields, bytes, i, end) : skipValue(bytes, i, end)
}

/** Calls `visit` for each element of the array at `i`; it returns the index behind the element, or -1. */
function eachElement(bytes: Buffer, i: number, visit: (at: number) => number): number {
  i = skipSpace(bytes, i + 1)
  if (bytes[i] === 0x5d) return i + 1
  for (;;) {
    const after = visit(i)
    if (after < 0) return -1
    i = skipSpace(bytes, after)
    if (bytes[i] === 0x5d) return i + 1
    if (bytes[i] !== 0x2c) return -1
    i = skipSpace(bytes, i + 1)
  }
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
  return `${crc32(bytes.subarray(start, end)).toString(16)}.${(end - start).toString(16)}`
}

type Recent = Map<number, { readonly bytes: Buffer; readonly text: string }>

function recentString(known: Recent, key: number, bytes: Buffer, start: number, end: number): string {
  const last = known.get(key)
  if (last !== undefined && sameBytes(last.bytes, bytes, start, end)) return last.text
  const text = decodeString(bytes, start, end, maxNameLength)
  if (end - start <= maxNameLength) known.set(key, { bytes: Buffer.from(bytes.subarray(start, end)), text })
  return text
}

function sameBytes(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const { length } = known
  if (end - start !== length) return false
  for (let i = length - 1; i >= 0; i--) if (known[i] !== bytes[start + i]) return false
  return true
}

function names<const N extends readonly string[]>(...list: N) {
  const at = Object.fromEntries(list.map((name, index) => [name, index])) as Readonly<Record<N[number], number>>
  return { table: keyTable(list), at }
}
