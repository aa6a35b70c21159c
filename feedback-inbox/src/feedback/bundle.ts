/** What a client sent, made a report: read, checked against what its sender was shown, redacted once more. */
import { createHash } from 'node:crypto'
import type { FeedbackReport } from '@agnes/clickhouse'
import { exitCodes, UserError } from '@agnes/config'
import { excerptBytesOf, type FeedbackTurn, feedbackBundle, feedbackLimits, joinedLines } from '@agnes/events'
import type { Redactor } from '@agnes/redaction'
import { causeOf } from './cause.ts'

export interface Sent {
  /** As they came over the wire. */
  readonly body: Uint8Array
  /** SHA-256 of what the sender was shown, hex. */
  readonly previewSha256: string | undefined
  readonly answer: string
  /** `Idempotency-Key`, which goes before the id in the bundle. */
  readonly idempotencyKey: string | undefined
  readonly tenant: string
  readonly keyId: string
  readonly now: Date
}

/**
 * The report in a bundle, as it is stored.
 * @throws UserError (400, 413, 422) that says what is wrong with it
 */
export function readBundle(sent: Sent, redactor: Redactor): FeedbackReport {
  const { body, tenant, keyId, now } = sent
  const sha256 = createHash('sha256').update(body).digest('hex')
  checkPreview(sent, sha256)
  const bundle = parseBundle(body)
  const message = joinedLines(bundle.message)
  checkMessage(message)
  const turns = bundle.session?.turns ?? []
  const excerptBytes = excerptBytesOf(turns)
  if (excerptBytes > feedbackLimits.excerptBytes) {
    throw tooLarge(
      `the session excerpt has ${excerptBytes} bytes, and may have ${feedbackLimits.excerptBytes}`,
      'send fewer or shorter turns, or none (--no-session)',
    )
  }
  const reporter = bundle.reporter ?? `key:${keyId}`
  const text = (value: string, path: string): string => redactor.text(value.toWellFormed(), path)
  const redactedTurns = turns.map((turn, i) => redactTurn(turn, `session.turns.${i}`, text))
  const environment = Object.entries(bundle.environment ?? {}).slice(0, maxEnvironment)
  const redactedMessage = text(message, 'message')
  const cause = causeOf(redactedTurns)
  const dupKey = hashOf([reporter, sha256])
  const at = bundle.created_at === undefined ? Number.NaN : Date.parse(bundle.created_at)
  return {
    tenant,
    id: reportId(tenant, reporter, sent.idempotencyKey ?? bundle.id ?? sha256),
    version: 1,
    createdAt: now,
    changedAt: now,
    // What a clock says that is years off helps nobody, and the column ends in 2299.
    writtenAt: Math.abs(at - now.getTime()) < longestWaitMs ? new Date(at) : undefined,
    reporterUser: reporter,
    reporterKey: keyId,
    message: redactedMessage,
    sessionExcerpt: redactedTurns.map((turn) => JSON.stringify(turn)).join('\n'),
    sessionFile: text(bundle.session?.file ?? '', 'session.file'),
    sessionId: text(bundle.session?.session_id ?? '', 'session.session_id'),
    environment: Object.fromEntries(
      environment.map(([name, value]) => [
        name.toWellFormed(),
        redactor.named(name, () => value, `environment.${name}`) ?? text(value, `environment.${name}`),
      ]),
    ),
    fingerprint: hashOf([redactedMessage, cause?.rawText ?? '']),
    dupKey,
    causeKey: cause?.key ?? '',
    causeTool: cause?.tool ?? '',
    causeClass: cause?.errorClass ?? '',
    causeText: cause?.text ?? '',
    findingIds: [],
    previewSha256: sha256,
    previewBytes: body.length,
    previewAnswer: sent.answer,
    redactions: redactor.take(),
    bundleVersion: bundle.version,
    status: 'open',
    assignee: '',
    tags: [],
    resolution: '',
    resolvedAt: undefined,
    resolvedBy: '',
    history: [{ version: 1, at: now, actor: reporter, action: 'report', detail: '' }],
  }
}

const maxEnvironment = 50
const longestWaitMs = 2 * 366 * 86_400_000

function checkPreview({ previewSha256 }: Sent, sha256: string): void {
  if (previewSha256 === undefined || previewSha256 === '') {
    throw refused('not_previewed', 'the report does not say what its sender was shown', {
      status: 400,
      hint: 'send Agnes-Preview-SHA256 with the SHA-256 of the body that was shown, as "agnes report" does',
    })
  }
  if (previewSha256.toLowerCase() === sha256) return
  throw refused('preview_differs', 'what arrived is not what its sender was shown', {
    status: 422,
    hint: 'nothing was stored; send the body byte by byte as it was shown, and its SHA-256 in Agnes-Preview-SHA256',
  })
}

function parseBundle(body: Uint8Array) {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    throw refused('bad_report', 'the report is not UTF-8', { status: 400, hint: 'send JSON in UTF-8' })
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw refused('bad_report', 'the report is not JSON', { status: 400, hint: 'send one JSON object in UTF-8' })
  }
  const parsed = feedbackBundle.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue === undefined || issue.path.length === 0 ? 'the report' : issue.path.join('.').slice(0, 100)
  throw refused('bad_report', `${where}: ${issue?.message ?? 'is no report'}`, {
    status: 400,
    hint: 'docs/feedback.md shows what a report looks like',
  })
}

function checkMessage(message: string): void {
  // What nobody can see says nothing.
  if (/^[\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u115f\u1160\u3164]*$/u.test(message)) {
    throw refused('empty_message', 'the report has no message', {
      status: 400,
      hint: 'say in a sentence what you wanted and what happened instead',
    })
  }
  const length = message.length > feedbackLimits.messageCharacters ? [...message].length : message.length
  if (length <= feedbackLimits.messageCharacters) return
  throw tooLarge(
    `the message has ${length} characters, and may have ${feedbackLimits.messageCharacters}`,
    'shorten it; what the session says need not be repeated',
  )
}

function redactTurn(turn: FeedbackTurn, path: string, text: (value: string, path: string) => string): FeedbackTurn {
  const words = (['time', 'role', 'kind', 'tool', 'tool_use_id', 'uuid'] as const).flatMap((name) => {
    const value = turn[name]
    return value === undefined ? [] : [[name, text(value, `${path}.${name}`)] as const]
  })
  return {
    ...(Object.fromEntries(words) as Pick<FeedbackTurn, 'role' | 'kind'>),
    ...(turn.is_error === true && { is_error: true }),
    text: text(joinedLines(turn.text), `${path}.text`),
  }
}

/** Twelve of 32 letters without those that are mistaken for others: 60 bits. */
function reportId(tenant: string, reporter: string, key: string): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([tenant, reporter, key]))
    .digest()
  return Array.from(digest.subarray(0, 12), (byte) => alphabet[byte & 31]).join('')
}

const alphabet = 'abcdefghjkmnpqrstvwxyz0123456789'

function hashOf(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

function tooLarge(message: string, hint: string): UserError {
  return refused('too_large', message, { status: 413, hint })
}

function refused(code: string, message: string, { status, hint }: { status: number; hint: string }): UserError {
  return new UserError(message, { code, status, hint, exitCode: exitCodes.refused })
}
