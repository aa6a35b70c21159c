/**
 * What a report is about, whatever words people found for it: the tool that failed last, how, and its error with all that
 * differs from machine to machine masked. Reports of one cause have one key.
 *
 * The classes are coarser than those of findings: here they only keep apart what should not be grouped.
 */
import { createHash } from 'node:crypto'
import { type FeedbackTurn, joinedLines } from '@agnes/events'

export interface Cause {
  /** 16 hex digits. */
  readonly key: string
  readonly tool: string
  readonly errorClass: string
  /** Masked. */
  readonly text: string
  /** As it was said. */
  readonly rawText: string
}

/** Of the last turn that failed; undefined if none did. */
export function causeOf(turns: readonly FeedbackTurn[]): Cause | undefined {
  const failed = turns.findLast(hasFailed)
  if (failed === undefined) return undefined
  const rawText = joinedLines(failed.text)
  const tool = failed.tool ?? ''
  const errorClass = failed.kind === 'api_error' ? 'api_error' : classOf(tool, rawText)
  const text = maskText(tellingLine(rawText))
  const key = createHash('sha256')
    .update(JSON.stringify([tool, errorClass, text]))
    .digest('hex')
    .slice(0, 16)
  return { key, tool, errorClass, text, rawText }
}

/** What the user themselves stopped is not what they are stuck with. */
function hasFailed(turn: FeedbackTurn): boolean {
  if (turn.kind === 'api_error') return true
  return turn.is_error === true && !byUser.test(joinedLines(turn.text))
}

const byUser =
  /^(?:<tool_use_error>)?(?:The user doesn['’]t want to |\[Request interrupted by user|Interrupted by user|User (?:rejected|declined)|(?:Error: )?(?:Sibling tool call errored|Cancelled: parallel tool call))/

function classOf(tool: string, text: string): string {
  if (/^Permission to |^Claude requested permissions? to |^Permission for this /.test(text)) return 'permission_denied'
  if (/^<tool_use_error>|^InputValidationError|^(?:Error: )?No such tool available/.test(text))
    return 'harness_validation'
  if (/^[^\n]{0,160}?(?:timed out|ETIMEDOUT)/.test(text)) return 'timeout'
  if (/^Exit code -?\d+/.test(text)) return 'shell_exit'
  return tool.startsWith('mcp__') ? 'mcp' : 'other'
}

const looksLikeError =
  /error|fail|not found|denied|cannot|can't|no such|exception|fatal|unknown|invalid|refused|unable|timed? ?out|does not exist/i
/** How Python, Node and others begin the line that names an exception. */
const namedError = /^\s*(?:Uncaught )?[\w.]*(?:Error|Exception)\b[^\n]*/
const searchedBytes = 20_000

/** The line that says what went wrong: a traceback says it last, most programs say it first. */
function tellingLine(text: string): string {
  const lines = text
    .slice(0, searchedBytes)
    .replace(/<\/?tool_use_error>/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '' && !/^Exit code -?\d+\s*$/.test(line))
  return (
    lines.findLast((line) => namedError.test(line)) ?? lines.find((line) => looksLikeError.test(line)) ?? lines[0] ?? ''
  )
}

const longestMasked = 300
/** Of a text; the patterns are quadratic in it at worst. */
const maskedBytes = 2_000

/**
 * Numbers, ids, paths, addresses and secrets' marks by a word each, so that texts that differ in nothing else are equal.
 * Masking what is masked changes nothing.
 */
export function maskText(text: string): string {
  let masked = text.slice(0, maskedBytes).toWellFormed()
  for (const [pattern, word] of masks) masked = masked.replace(pattern, word)
  masked = masked.trim()
  if (masked.length <= longestMasked) return masked
  // Not within a word of ours.
  return masked
    .slice(0, longestMasked)
    .replace(/[\ud800-\udbff]$/, '')
    .replace(/<[a-z]{0,6}$/, '')
    .trim()
}

const masks: readonly (readonly [RegExp, string])[] = [
  // Colours, and whatever else moves a cursor: an escape sequence is a control character and what follows it.
  [/(?![\t\n\r])\p{Cc}(?:\[[0-9;?]*[A-Za-z])?|\r/gu, ''],
  [/\[redacted [a-z0-9_]+(?: x[0-9a-f]{16})?\]/g, '<secret>'],
  [/\b[a-z][a-z0-9+.-]{1,15}:\/\/[^\s"'`<>)]+/gi, '<url>'],
  [/\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g, '<email>'],
  [/\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b/gi, '<id>'],
  [/\b[A-Za-z]:\\[^\s"'`<>:|]+/g, '<path>'],
  [/(?<![\w<>.@+-])(?:~|\.{1,2})?\/[^\s"'`<>:,;()[\]]+/g, '<path>'],
  [/(?<![\w<>/])[\w@.-]+(?:\/[\w@.+-]+)+/g, '<path>'],
  // With a digit in it: words have none.
  [/\b(?=[\w-]*\d)[\w-]{12,}(?![\w>-])/g, '<id>'],
  [/\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{6,}\b/gi, '<id>'],
  [/\b0x[0-9a-f]+\b/gi, '<n>'],
  [/\p{Nd}+(?:[.,:]\p{Nd}+)*/gu, '<n>'],
  [/\s+/g, ' '],
]
