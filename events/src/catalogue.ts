/**
 * The catalogue: every event we define, as a zod schema over the fields a sender fills in.
 *
 * A field is a property name with its attribute (`.meta({ attribute })`), type and meaning. Emitters take their types
 * from here, `attributesOf` maps them, `validateEvent` checks what arrives, and docs/events.md is generated.
 */
import { z } from 'zod'
import { type AttributeName, attribute } from './attributes.ts'
import { clientKinds } from './vocabulary.ts'

type Field<T extends z.ZodType> = T

/** A field: its schema, the attribute it travels as, what it means. */
function field<T extends z.ZodType>(schema: T, name: AttributeName, description: string): Field<T> {
  return schema.meta({ attribute: name, description }) as Field<T>
}

const text = z.string()
const count = z.number().int().nonnegative()
/** Any JSON value; it travels as JSON text. */
const json = z.unknown()

/** Who, from where, in which connection: fields every event may carry; filled from the request context. */
const who = {
  userId: field(text.optional(), attribute.userId, "id of the user in Agnes' users table"),
  clientKind: field(z.enum(clientKinds).optional(), attribute.clientKind, 'what kind of client called'),
  clientAddress: field(text.optional(), attribute.clientAddress, 'address of the client'),
  correlationId: field(text.optional(), attribute.correlationId, 'ties together what one request caused'),
  sessionId: field(text.optional(), attribute.sessionId, 'session the event belongs to'),
}
const outcome = {
  result: field(text.optional(), attribute.result, 'success, error…, denied, skipped, … (see result classes)'),
  durationMs: field(z.number().nonnegative().optional(), attribute.durationMs, 'how long it took, milliseconds'),
}
const params = {
  params: field(json.optional(), attribute.params, 'parameters, as JSON'),
  paramsBefore: field(json.optional(), attribute.paramsBefore, 'the state before a change, as JSON'),
}

const run = {
  runId: field(text, attribute.runId, 'id of the agent run'),
  agentName: field(text.optional(), attribute.genAiAgentName, 'name of the agent'),
}

export const catalogue = {
  'agnes.audit': {
    description: 'Something a person or a job did. The audit trail.',
    fields: z.object({
      action: field(text.min(1), attribute.action, 'what was done: `<family>.<verb>`'),
      resource: field(text.optional(), attribute.resource, 'what it was done to: `table:<id>`, `session:<id>`, …'),
      ...outcome,
      ...params,
      ...who,
    }),
  },
  'agnes.sync': {
    description: 'A table was synced, or was not.',
    fields: z.object({
      tableId: field(text.min(1), attribute.syncTableId, 'id of the table'),
      status: field(text.min(1), attribute.syncStatus, '`ok`, `error`, `skipped`'),
      rows: field(count.optional(), attribute.syncRows, 'rows written'),
      error: field(text.optional(), attribute.syncError, 'why it failed'),
      durationMs: outcome.durationMs,
      ...who,
    }),
  },
  'agnes.session_processor': {
    description: 'A processor looked at a session file.',
    fields: z.object({
      processor: field(text.min(1), attribute.processorName, 'name of the processor: verification, usage, …'),
      sessionFile: field(text.optional(), attribute.sessionFile, 'file it looked at'),
      items: field(count.optional(), attribute.processorItems, 'items it extracted'),
      fileHash: field(text.optional(), attribute.processorFileHash, 'hash of the file'),
      error: field(text.optional(), attribute.processorError, 'why it failed'),
      ...outcome,
      ...who,
    }),
  },
  'agnes.session.findings': {
    description: 'A place in a session where the assistant got stuck.',
    fields: z.object({
      sessionFile: field(text.min(1), attribute.sessionFile, 'file of the session'),
      type: field(text.min(1), attribute.findingType, 'tool_error, permission_denied, loop, …'),
      severity: field(z.enum(['info', 'warning', 'error']), attribute.findingSeverity, 'how bad it is'),
      turnIndex: field(count.optional(), attribute.findingTurn, 'turn it was found at'),
      ...params,
      ...who,
    }),
  },
  'agnes.feedback': {
    description: 'An analyst reported something.',
    fields: z.object({
      feedbackId: field(text.min(1), attribute.feedbackId, 'id of the report'),
      message: field(text.optional(), attribute.feedbackMessage, 'what the analyst wrote'),
      ...params,
      ...who,
    }),
  },
  'agnes.agent_run.start': {
    description: 'An agent run began.',
    fields: z.object({ ...run, ...params, ...who }),
  },
  'agnes.agent_run.finish': {
    description: 'An agent run ended.',
    fields: z.object({
      ...run,
      status: field(text.min(1), attribute.runStatus, '`succeeded`, `failed`, `cancelled`'),
      ...outcome,
      ...params,
      ...who,
    }),
  },
  'agnes.run.step': {
    description: 'A step within an agent run.',
    fields: z.object({
      ...run,
      stepIndex: field(count, attribute.stepIndex, 'place in the run, from 0'),
      kind: field(text.min(1), attribute.stepKind, '`llm`, `tool`, `decision`, …'),
      toolName: field(text.optional(), attribute.genAiToolName, 'tool that was called'),
      ...outcome,
      ...params,
      ...who,
    }),
  },
  'agnes.llm.generation': {
    description: 'A call of a language model.',
    fields: z.object({
      model: field(text.min(1), attribute.genAiRequestModel, 'model asked for'),
      responseModel: field(text.optional(), attribute.genAiResponseModel, 'model that answered'),
      provider: field(text.optional(), attribute.genAiProviderName, 'anthropic, openai, …'),
      operation: field(text.optional(), attribute.genAiOperationName, 'chat, …'),
      inputTokens: field(count.optional(), attribute.genAiInputTokens, 'tokens read'),
      outputTokens: field(count.optional(), attribute.genAiOutputTokens, 'tokens written'),
      cacheReadTokens: field(count.optional(), attribute.genAiCacheReadTokens, 'tokens read from the cache'),
      cacheWriteTokens: field(count.optional(), attribute.genAiCacheWriteTokens, 'tokens written to the cache'),
      costUsdMicros: field(count.optional(), attribute.costUsdMicros, 'cost in millionths of a US dollar'),
      runId: field(text.optional(), attribute.runId, 'agent run it belongs to'),
      ...outcome,
      ...who,
    }),
  },
  'agnes.exception': {
    description: 'An error nobody handled.',
    fields: z.object({
      type: field(text.min(1), attribute.exceptionType, 'class of the error'),
      message: field(text.optional(), attribute.exceptionMessage, 'its message'),
      stacktrace: field(text.optional(), attribute.exceptionStacktrace, 'its stack'),
      action: field(text.optional(), attribute.action, 'what was being done'),
      ...who,
    }),
  },
  'agnes.device': {
    description: 'A machine that runs the Agnes CLI said hello.',
    fields: z.object({
      deviceId: field(text.min(1), attribute.deviceId, 'random id of the installation'),
      os: field(text.optional(), attribute.deviceOs, 'operating system'),
      agnesVersion: field(text.optional(), attribute.deviceVersion, 'version of the Agnes CLI'),
      ...who,
    }),
  },
  'agnes.system': {
    description: 'Life cycle and pulse of our own services.',
    fields: z.object({
      component: field(text.min(1), attribute.systemComponent, 'engine, ingest-gateway, cli, …'),
      event: field(text.min(1), attribute.systemEvent, 'start, ready, stop, crash, restart, heartbeat, diagnose, …'),
      message: field(text.optional(), attribute.systemMessage, 'one line for people'),
      warnings: field(count.optional(), attribute.systemWarnings, 'warnings found (event diagnose)'),
      received: field(count.optional(), attribute.pipelineReceived, 'records received since start (heartbeat)'),
      stored: field(count.optional(), attribute.pipelineStored, 'records stored since start (heartbeat)'),
      duplicate: field(count.optional(), attribute.pipelineDuplicate, 'records recognised as retries (heartbeat)'),
      rejected: field(count.optional(), attribute.pipelineRejected, 'records rejected (heartbeat)'),
      rejectedLastHour: field(
        count.optional(),
        attribute.pipelineRejectedLastHour,
        'records rejected in the last hour (heartbeat)',
      ),
      backlogBytes: field(count.optional(), attribute.pipelineBacklogBytes, 'bytes waiting on disk (heartbeat)'),
      backlogRecords: field(count.optional(), attribute.pipelineBacklogRecords, 'records waiting on disk (heartbeat)'),
      oldestSeconds: field(
        z.number().nonnegative().optional(),
        attribute.pipelineOldestSeconds,
        'age of the oldest waiting record, seconds (heartbeat)',
      ),
      lagP99Ms: field(
        z.number().nonnegative().optional(),
        attribute.pipelineLagP99Ms,
        'received to queryable, 99th percentile since the last heartbeat, milliseconds',
      ),
      redactionRules: field(
        count.optional(),
        attribute.pipelineRedactionRules,
        'redaction rules that hold, 0 when redaction is off (heartbeat)',
      ),
      ...who,
    }),
  },
} as const satisfies Readonly<Record<string, { readonly description: string; readonly fields: z.ZodObject }>>

export type EventName = keyof typeof catalogue

/** The fields of an event, as a sender fills them in. */
export type EventFields<N extends EventName> = z.input<(typeof catalogue)[N]['fields']>

export const eventNames = Object.keys(catalogue) as readonly EventName[]

export interface FieldDescription {
  readonly property: string
  readonly attribute: AttributeName
  readonly description: string
  readonly required: boolean
  readonly schema: z.ZodType
}

/** The fields of an event in the order of the catalogue. */
export function fieldsOf(name: EventName): readonly FieldDescription[] {
  return described[name]
}

function describe(name: EventName): readonly FieldDescription[] {
  return Object.entries(catalogue[name].fields.shape as Record<string, z.ZodType>).map(([property, schema]) => {
    const meta = schema.meta() as { attribute: AttributeName; description: string }
    return {
      property,
      attribute: meta.attribute,
      description: meta.description,
      required: !schema.safeParse(undefined).success,
      schema,
    }
  })
}

const described = Object.fromEntries(eventNames.map((name) => [name, describe(name)])) as Record<
  EventName,
  readonly FieldDescription[]
>
