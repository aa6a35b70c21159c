/**
 * A feedback report as `agnes report` sends it: the contract between clients and servers of different versions. A client
 * may send fields that a server does not know, which it leaves out; a server asks for no more than stands here as required.
 */
import { z } from 'zod'

/** What a report may hold at most. */
export const feedbackLimits = {
  /** Unicode characters. */
  messageCharacters: 10_000,
  /** Bytes of the turns as JSON in UTF-8, see {@link excerptBytesOf}. */
  excerptBytes: 256 * 1024,
  /** Bytes of the whole bundle as it is shown and sent, with its indentation. */
  bundleBytes: 1024 * 1024,
  turns: 50,
  /** Of one reporter. */
  reportsPerHour: 10,
} as const

/** Says what the reporter was shown, as SHA-256 of the body in hex; a body with another hash is refused. */
export const previewHeader = 'agnes-preview-sha256'
/** `asked`: they were shown it and said yes; `yes`: they had said so before, with --yes. */
export const answerHeader = 'agnes-preview-answer'
export const previewAnswers = ['asked', 'yes'] as const

const name = z.string().max(200)
/** Text, or a list with one line each: a person reads it before it is sent. */
const lines = z.union([z.string(), z.array(z.string())])

export const feedbackTurn = z
  .object({
    time: z.string().max(40).optional().meta({ description: 'ISO 8601' }),
    role: z.string().max(40).meta({ description: 'user, assistant, system, …' }),
    kind: z.string().max(40).meta({ description: 'prompt, text, tool_use, tool_result, interrupt, api_error, …' }),
    tool: name.optional().meta({ description: 'tool of a call or its result' }),
    tool_use_id: name.optional(),
    uuid: name.optional().meta({ description: 'of the record in the transcript' }),
    is_error: z.boolean().optional(),
    text: lines.meta({ description: 'what was said; a list has one line each' }),
  })
  .meta({ description: 'One content block of the transcript.' })

export const feedbackBundle = z.object({
  version: z.number().int().min(1).max(65_535).meta({ description: 'of this form; 1 now' }),
  id: z
    .string()
    .regex(/^[\w-]{8,64}$/, { error: 'must be 8 to 64 letters, digits, "_" and "-"' })
    .optional()
    .meta({ description: 'what is sent again under the same id is the same report' }),
  created_at: z.string().max(40).optional().meta({ description: 'when it was written, ISO 8601' }),
  reporter: z
    .string()
    .regex(/^[\w@+-][\w.@+-]{0,127}$/, {
      error: 'must be 1 to 128 letters, digits, "_", "@", "+", "-" and ".", not beginning with "."',
    })
    .optional()
    .meta({ description: 'who reports; the key when missing' }),
  message: lines.meta({ description: `at most ${feedbackLimits.messageCharacters} characters` }),
  environment: z.record(z.string().max(60), z.string().max(500)).optional(),
  session: z
    .object({
      file: name.optional().meta({ description: 'name of the transcript without .jsonl' }),
      session_id: name.optional(),
      turns: z.array(feedbackTurn).max(500),
    })
    .optional(),
})

export type FeedbackTurn = z.infer<typeof feedbackTurn>
export type FeedbackBundle = z.infer<typeof feedbackBundle>

/** A text of a bundle as one. */
export function joinedLines(text: string | readonly string[]): string {
  return typeof text === 'string' ? text : text.join('\n')
}

/** What an excerpt counts: its turns as JSON without indentation, one a line. */
export function excerptBytesOf(turns: readonly FeedbackTurn[]): number {
  return turns.reduce((sum, turn) => sum + new TextEncoder().encode(JSON.stringify(turn)).length + 1, 0)
}
