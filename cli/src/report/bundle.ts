/**
 * The bundle of a report: message, environment and the last turns, secrets taken out, as the very text that is shown and
 * sent. The text is JSON a terminal can show as it is, so that nothing stands between what people read and what they send.
 */
import { createHash, randomUUID } from 'node:crypto'
import { arch, release, type } from 'node:os'
import path from 'node:path'
import { excerptBytesOf, type FeedbackBundle, type FeedbackTurn, feedbackLimits } from '@agnes/events'
import type { Redactor } from '@agnes/redaction'
import { harmlessJson } from '../output/text.ts'
import type { FoundTurn, LastTurns } from './turns.ts'

export interface Bundle {
  readonly id: string
  /** What is shown and sent, byte by byte. */
  readonly text: string
  /** SHA-256 of it in UTF-8, hex. */
  readonly sha256: string
}

export interface BundleParts {
  readonly message: string
  readonly reporter: string
  /** Of agnes. */
  readonly version: string
  readonly session: (LastTurns & { readonly file: string }) | undefined
  readonly env: NodeJS.ProcessEnv
}

export function makeBundle({ message, reporter, version, session, env }: BundleParts, redactor: Redactor): Bundle {
  const redact = (text: string): string => redactText(redactor, text)
  const environment: Record<string, string> = {
    agnes: version,
    node: process.version,
    os: `${type()} ${release()} ${arch()}`,
    ...(env.SHELL ? { shell: path.basename(env.SHELL) } : {}),
    ...(session?.clientVersion ? { claude_code: session.clientVersion } : {}),
  }
  const bundle: FeedbackBundle = {
    version: 1,
    id: randomUUID(),
    created_at: new Date().toISOString(),
    reporter,
    message: inLines(redact(message)),
    environment: Object.fromEntries(Object.entries(environment).map(([name, value]) => [name, redact(value)])),
    ...(session && {
      session: {
        file: redact(path.basename(session.file, '.jsonl')).slice(0, longestName),
        ...(session.sessionId !== '' && { session_id: redact(session.sessionId).slice(0, longestName) }),
        turns: excerpt(session.turns, redact),
      },
    }),
  }
  const text = harmlessJson(bundle, 2)
  return { id: bundle.id ?? '', text, sha256: createHash('sha256').update(text).digest('hex') }
}

/** As a reporter's name may be written. */
export function reporterOf(name: string): string {
  const safe = name
    .replace(/[^\w.@+-]/g, '_')
    .replace(/^\.+/, '')
    .slice(0, 128)
  return safe === '' ? 'unknown' : safe
}

const longestName = 200
/** Characters that are kept of a text: its beginning and its end, where errors stand. */
const keptBefore = 4_000
const keptAfter = 2_000
/** Before something is cut it is redacted, or half a secret would look like none; so much of it on either side. */
const redactedBefore = 30_000

function excerpt(turns: readonly FoundTurn[], redact: (text: string) => string): FeedbackTurn[] {
  const made = turns.map((turn) => turnOf(turn, redact))
  while (excerptBytesOf(made) > feedbackLimits.excerptBytes) made.shift()
  return made
}

function turnOf({ text, input, ...turn }: FoundTurn, redact: (text: string) => string): FeedbackTurn {
  const whole = input === undefined ? redact(text) : inputText(redact(input))
  const named = (['tool', 'tool_use_id', 'uuid', 'time'] as const).flatMap((name) => {
    const value = turn[name]
    return value === undefined ? [] : [[name, redact(value).slice(0, name === 'time' ? 40 : longestName)] as const]
  })
  return {
    role: turn.role,
    kind: turn.kind,
    ...Object.fromEntries(named),
    ...(turn.is_error === true && { is_error: true }),
    text: inLines(cut(whole)),
  }
}

/** What a tool was called with, one line a parameter. */
function inputText(json: string): string {
  let input: unknown
  try {
    input = JSON.parse(json)
  } catch {
    return json
  }
  if (typeof input !== 'object' || input === null || Array.isArray(input)) return json
  return Object.entries(input)
    .map(([name, value]) => `${name}: ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('\n')
}

function redactText(redactor: Redactor, text: string): string {
  if (text.length <= 2 * redactedBefore) return redactor.text(text, 'report')
  const [head, tail] = [text.slice(0, redactedBefore), text.slice(-redactedBefore)]
  const left = leftOut(text.length - 2 * redactedBefore)
  return `${redactor.text(head, 'report').slice(0, keptBefore)}${left}${redactor.text(tail, 'report').slice(-keptAfter)}`
}

function cut(text: string): string {
  if (text.length <= keptBefore + keptAfter + 100) return text
  return `${text.slice(0, keptBefore)}${leftOut(text.length - keptBefore - keptAfter)}${text.slice(-keptAfter)}`.toWellFormed()
}

function leftOut(characters: number): string {
  return `\n[… ${characters} characters left out …]\n`
}

/** Several lines as a list: they are read before they are sent. */
function inLines(text: string): string | string[] {
  return text.includes('\n') ? text.split('\n') : text
}
