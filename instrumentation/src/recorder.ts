/**
 * The typed recorder: one method an event of the catalogue. A method never throws and never waits; what it can't emit
 * it counts. Context (actor, address, correlation) is filled in where the caller gave none.
 */
import { randomFillSync } from 'node:crypto'
import {
  type AttributeValue,
  attribute,
  attributesOf,
  type EventFields,
  type EventName,
  fieldsOf,
  resultClass,
} from '@agnes/events'
import type { HrTime } from '@opentelemetry/api'
import { type Logger, SeverityNumber } from '@opentelemetry/api-logs'
import { currentContext } from './context.ts'
import { boundedText, jsonText } from './json-text.ts'

export interface EmitOptions {
  /** Id of the event (`log.record.uid`), by which a second one can be told; a UUIDv7 unless told. */
  readonly uid?: string
}

type Emit<N extends EventName> = (fields: EventFields<N>, options?: EmitOptions) => void

export interface RecorderStats {
  readonly emitted: number
  /** Events that could not be emitted at all. */
  readonly failed: number
}

export interface Recorder {
  readonly audit: Emit<'agnes.audit'>
  readonly sync: Emit<'agnes.sync'>
  readonly sessionProcessor: Emit<'agnes.session_processor'>
  readonly sessionFindings: Emit<'agnes.session.findings'>
  readonly feedback: Emit<'agnes.feedback'>
  readonly agentRunStart: Emit<'agnes.agent_run.start'>
  readonly agentRunFinish: Emit<'agnes.agent_run.finish'>
  readonly runStep: Emit<'agnes.run.step'>
  readonly llmGeneration: Emit<'agnes.llm.generation'>
  readonly exception: Emit<'agnes.exception'>
  readonly device: Emit<'agnes.device'>
  readonly system: Emit<'agnes.system'>
  /** The same recorder for things that happened at another time than now, e.g. when history is imported. */
  at(timestamp: Date): Recorder
  stats(): RecorderStats
}

/** @param logger where records go; see {@link startTelemetry} for one that sends them by OTLP */
export function createRecorder(logger: Logger): Recorder {
  let emitted = 0
  let failed = 0

  function emitter<N extends EventName>(name: N, timestamp: Date | undefined): Emit<N> {
    return (fields, options = {}) => {
      try {
        const attributes = attributesOf(name, readFields(name, fields), jsonText)
        attributes[attribute.logRecordUid] = options.uid ?? uuidV7()
        for (const key in attributes) {
          const value = attributes[key]
          if (typeof value === 'string') attributes[key] = boundedText(value)
        }
        const at = toHrTime(timestamp)
        logger.emit({
          eventName: name,
          timestamp: at,
          observedTimestamp: toHrTime(undefined),
          ...severityOf(name, attributes),
          attributes,
        })
        emitted++
      } catch {
        failed++
      }
    }
  }

  function recorder(timestamp: Date | undefined): Recorder {
    return {
      audit: emitter('agnes.audit', timestamp),
      sync: emitter('agnes.sync', timestamp),
      sessionProcessor: emitter('agnes.session_processor', timestamp),
      sessionFindings: emitter('agnes.session.findings', timestamp),
      feedback: emitter('agnes.feedback', timestamp),
      agentRunStart: emitter('agnes.agent_run.start', timestamp),
      agentRunFinish: emitter('agnes.agent_run.finish', timestamp),
      runStep: emitter('agnes.run.step', timestamp),
      llmGeneration: emitter('agnes.llm.generation', timestamp),
      exception: emitter('agnes.exception', timestamp),
      device: emitter('agnes.device', timestamp),
      system: emitter('agnes.system', timestamp),
      at: recorder,
      stats: () => ({ emitted, failed }),
    }
  }

  return recorder(undefined)
}

const contextFields = ['userId', 'clientKind', 'clientAddress', 'correlationId', 'sessionId'] as const

/** A field that can't be read costs itself, not the event. */
function readFields<N extends EventName>(name: N, fields: EventFields<N>): EventFields<N> {
  if (typeof fields !== 'object' || fields === null) throw new TypeError(`${name}: no fields`)
  const read: Record<string, unknown> = {}
  const source = fields as Readonly<Record<string, unknown>>
  for (const { property } of fieldsOf(name)) {
    try {
      read[property] = source[property]
    } catch {
      read[property] = '[unreadable]'
    }
  }
  const context = currentContext()
  for (const property of contextFields) read[property] ??= context?.[property]
  return read as EventFields<N>
}

function severityOf(name: EventName, attributes: Readonly<Record<string, AttributeValue>>) {
  const error = { severityNumber: SeverityNumber.ERROR, severityText: 'ERROR' }
  if (name === 'agnes.exception' || attributes[attribute.systemEvent] === 'crash') return error
  const result = attributes[attribute.result] ?? attributes[attribute.syncStatus] ?? attributes[attribute.runStatus]
  const outcome = resultClass(result === undefined ? undefined : String(result))
  if (outcome === 'error') return error
  if (outcome === 'denied') return { severityNumber: SeverityNumber.WARN, severityText: 'WARN' }
  return { severityNumber: SeverityNumber.INFO, severityText: 'INFO' }
}

/** 2554-07-21: OTLP counts nanoseconds since 1970 in 64 bits, without a sign. */
const maxTimeMs = 2 ** 64 / 1e6

/**
 * Seconds and nanoseconds: a number of nanoseconds since 1970 does not fit a double.
 * @throws RangeError for a time OTLP can't hold; in the exporter it would cost the whole batch
 */
function toHrTime(date: Date | undefined): HrTime {
  const ms = date === undefined ? wallClockMs() : date.getTime()
  if (!(ms >= 0 && ms < maxTimeMs)) throw new RangeError(`no time for OTLP: ${ms}`)
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)]
}

let clockOrigin = performance.timeOrigin
/** Below it the wall clock's own steps of a millisecond cannot be told from a clock that was set. */
const maxDriftMs = 2

/** The wall clock with microseconds. The monotonic clock stands still while the host sleeps, and knows of no clock that was set. */
function wallClockMs(): number {
  const monotonic = performance.now()
  const wall = Date.now()
  if (Math.abs(clockOrigin + monotonic - wall) > maxDriftMs) clockOrigin = wall - monotonic
  return clockOrigin + monotonic
}

/** RFC 9562, section 5.7: 48 bits of milliseconds, then random bits. */
function uuidV7(): string {
  const bytes = randomFillSync(Buffer.alloc(16))
  bytes.writeUIntBE(Date.now(), 0, 6)
  bytes[6] = 0x70 | ((bytes[6] ?? 0) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
