/**
 * ExportLogsServiceRequest (protobuf) → rows, in one pass and without objects in between.
 *
 * Messages may carry their fields in any order, and RowBinary needs columns in one order and counts first. So each
 * message is walked twice: once over its tags to note where the fields are (values are jumped over), once to write.
 * Repeated occurrences of a singular field: the last one wins.
 * @see opentelemetry-proto, logs/v1/logs.proto and common/v1/common.proto
 */
import { isUtf8 } from 'node:buffer'
import { hasCandidate, type Redactor } from '@agnes/redaction'
import { giveBack } from '../buffer-pool.ts'
import type { IdFilter } from '../event-ids.ts'
import { ProtobufError, Reader } from './reader.ts'
import { base64Length, type ResourcePrefix, RowWriter, resourcePrefix, writeGroupRedactions } from './row-writer.ts'
import {
  asRequestError,
  attributeNames,
  claudeCodeId,
  defaultLimits,
  doubleText,
  eventNameFromBody,
  maxContainers,
  maxRowBytes,
  maxUnfoldedBytes,
  Notes,
  paths,
  RecordError,
  RequestError,
  type Rows,
  reasons,
  type TranscodeLimits,
  type TranscodeOptions,
  tooManyContainers,
  tooManyRecords,
  tooManyRowBytes,
  tooManyUnfoldedBytes,
  unfoldedGroup,
} from './rows.ts'

/** Tags (`field << 3 | wire type`) of the messages we read. A known field with another wire type is an unknown field. */
const requestTag = { resourceLogs: 0x0a } as const
const resourceLogsTag = { resource: 0x0a, scopeLogs: 0x12, schemaUrl: 0x1a } as const
const resourceTag = { attributes: 0x0a } as const
const scopeLogsTag = { scope: 0x0a, logRecords: 0x12, schemaUrl: 0x1a } as const
const scopeTag = { name: 0x0a, version: 0x12, attributes: 0x1a } as const
const recordTag = {
  timeUnixNano: 0x09,
  severityNumber: 0x10,
  severityText: 0x1a,
  body: 0x2a,
  attributes: 0x32,
  flags: 0x45,
  traceId: 0x4a,
  spanId: 0x52,
  observedTimeUnixNano: 0x59,
  eventName: 0x62,
} as const
const keyValueTag = { key: 0x0a, value: 0x12 } as const
const anyValueTag = {
  string: 0x0a,
  bool: 0x10,
  int: 0x18,
  double: 0x21,
  array: 0x2a,
  kvlist: 0x32,
  bytes: 0x3a,
} as const
const listTag = { values: 0x0a } as const

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)
const serviceNameKey = ascii('service.name')
const eventNameKey = ascii(attributeNames.eventName)
const uidKey = ascii(attributeNames.uid)
const eventIdKey = ascii(attributeNames.eventId)
const sessionIdKey = ascii(attributeNames.sessionId)
const sequenceKey = ascii(attributeNames.sequence)
const timestampKey = ascii(attributeNames.timestamp)
const lenientUtf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/**
 * Transcodes one request.
 * @param body the message's bytes, inflated; they are only read
 * @param receivedAtNs time of arrival, nanoseconds since 1970: the time of records that carry none
 * @throws RequestError 400 if the bytes are not such a message, 413 if it holds too many records
 */
export function transcodeProtobuf(body: Uint8Array, receivedAtNs: bigint, options: TranscodeOptions = {}): Rows {
  const transcoder = new Transcoder(body, receivedAtNs, options)
  try {
    transcoder.request()
  } catch (error) {
    if (error instanceof ProtobufError) {
      throw new RequestError(400, `the body is not a valid ExportLogsServiceRequest in protobuf: ${error.message}`)
    }
    throw error
  }
  return transcoder.rows()
}

/** Where a length-delimited field lies; absent = -1. A class of two numbers, reused, so that nothing is allocated a record. */
class Span {
  start = -1
  end = -1

  clear(): void {
    this.start = -1
    this.end = -1
  }

  set(start: number, end: number): void {
    this.start = start
    this.end = end
  }
}

class Transcoder {
  private readonly reader: Reader
  private readonly writer: RowWriter
  private readonly limits: TranscodeLimits
  private readonly notes = new Notes()
  private readonly receivedLow: number
  private readonly receivedHigh: number
  private records = 0
  private duplicates = 0
  private readonly ids: IdFilter | undefined
  private containers = 0
  /** Bytes of resources written so far, those of scopes that were taken back included: it bounds the work. */
  private copiedBytes = 0
  private unfoldedBytes = 0
  /** Place of the resource and the scope that is being read, for messages. */
  private resourceIndex = -1
  private scopeIndex = -1

  // Fields of the record (or key-value, or any-value) that is being read.
  private readonly severityText = new Span()
  private readonly body = new Span()
  private readonly traceId = new Span()
  private readonly spanId = new Span()
  private readonly eventName = new Span()
  private readonly key = new Span()
  private readonly value = new Span()
  private readonly namedEvent = new Span()
  private readonly uid = new Span()
  private readonly eventId = new Span()
  private readonly sessionId = new Span()
  private readonly sequence = new Span()
  private readonly timestamp = new Span()
  private readonly serviceName = new Span()
  /** Start and end of each attribute of the message that is being read. */
  private attributes = new Int32Array(128)
  private attributeCount = 0
  private timeLow = 0
  private timeHigh = 0

  private readonly redactor: Redactor | undefined
  /** Where the request could hold a secret; undefined: anywhere. */
  private readonly candidates: Int32Array | undefined
  /** The message that is being read may hold a secret: every text of it is looked at. */
  private careful = false
  /** Where the value stands that is being looked at. */
  private path = ''
  /** Holds a value while it is looked at. */
  private scratch: RowWriter | undefined

  constructor(body: Uint8Array, receivedAtNs: bigint, { limits = defaultLimits, redactor, ids }: TranscodeOptions) {
    this.reader = new Reader(body)
    this.redactor = redactor
    this.ids = ids
    this.candidates = redactor?.candidates(body)
    // Rows are a little larger or smaller than the message; the resource no longer repeats, so this rarely grows.
    this.writer = new RowWriter(body.length + (body.length >>> 3) + 256)
    this.limits = limits
    this.receivedLow = Number(receivedAtNs & 0xffffffffn)
    this.receivedHigh = Number(receivedAtNs >> 32n)
  }

  rows(): Rows {
    if (this.writer.repairedStrings > 0) this.notes.repair(reasons.utf8, this.writer.repairedStrings)
    return {
      bytes: this.writer.written(),
      unfoldedBytes: this.unfoldedBytes,
      records: this.records,
      duplicates: this.duplicates,
      rejected: this.notes.rejected,
      notes: this.notes.sentences(),
    }
  }

  request(): void {
    const { reader, writer } = this
    const end = reader.bytes.length
    const groupsPlace = writer.reserveVarint()
    let groups = 0
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag !== requestTag.resourceLogs) {
        reader.skip(tag, end)
        continue
      }
      const length = reader.length(end)
      groups += this.resourceLogs(reader.at, reader.at + length)
    }
    writer.fillVarint(groupsPlace, groups)
  }

  /** @returns the groups written */
  private resourceLogs(start: number, end: number): number {
    const { reader } = this
    this.countContainer()
    this.resourceIndex++
    this.scopeIndex = -1
    let resourceStart = -1
    let resourceEnd = -1
    let urlStart = -1
    let urlEnd = -1
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag === resourceLogsTag.resource) {
        const length = reader.length(end)
        resourceStart = reader.at
        resourceEnd = reader.at += length
      } else if (tag === resourceLogsTag.schemaUrl) {
        const length = reader.length(end)
        urlStart = reader.at
        urlEnd = reader.at += length
      } else reader.skip(tag, end)
    }
    const resource = this.resource(resourceStart, resourceEnd, urlStart, urlEnd)

    let groups = 0
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag !== resourceLogsTag.scopeLogs) {
        reader.skip(tag, end)
        continue
      }
      const length = reader.length(end)
      const next = reader.at + length
      if (this.scopeLogs(resource, reader.at, next)) groups++
      reader.at = next
    }
    giveBack(resource.columns)
    reader.at = end
    return groups
  }

  /** ServiceName, ResourceSchemaUrl, ResourceAttributes and what was redacted in them, once for all scopes of the resource. */
  private resource(start: number, end: number, urlStart: number, urlEnd: number): ResourcePrefix {
    const writer = new RowWriter(end - start + 64)
    this.careful = this.mayHoldSecret(start, end) || this.mayHoldSecret(urlStart, urlEnd)
    try {
      this.collectAttributes(start, end, resourceTag.attributes)
      this.serviceName.clear()
      for (let i = 0; i < this.attributeCount; i++) {
        this.keyValue(this.attributes[2 * i] as number, this.attributes[2 * i + 1] as number)
        if (this.keyIs(serviceNameKey)) this.serviceName.set(this.value.start, this.value.end)
      }
      if (this.serviceName.start < 0) writer.uint8(0)
      else this.writeValue(writer, this.serviceName.start, this.serviceName.end, 'service.name', paths.serviceName)
      this.writeText(writer, urlStart, urlEnd, paths.resourceSchemaUrl)
      this.writeAttributes(writer, paths.resource)
    } catch (error) {
      throw asRequestError(error, `resourceLogs[${this.resourceIndex}].resource`)
    }
    this.writer.repairedStrings += writer.repairedStrings
    return resourcePrefix(writer.written(), this.attributeCount, this.redactor?.take() ?? [])
  }

  /** @returns whether a group was written: a scope without a record leaves none */
  private scopeLogs(resource: ResourcePrefix, start: number, end: number): boolean {
    const { reader, writer } = this
    this.countContainer()
    this.scopeIndex++
    let scopeStart = -1
    let scopeEnd = -1
    let urlStart = -1
    let urlEnd = -1
    let holdsRecords = false
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag === scopeLogsTag.logRecords) {
        holdsRecords = true
        reader.skip(tag, end)
      } else if (tag === scopeLogsTag.scope) {
        const length = reader.length(end)
        scopeStart = reader.at
        scopeEnd = reader.at += length
      } else if (tag === scopeLogsTag.schemaUrl) {
        const length = reader.length(end)
        urlStart = reader.at
        urlEnd = reader.at += length
      } else reader.skip(tag, end)
    }

    const groupStart = writer.at
    if (holdsRecords) {
      this.copiedBytes += resource.columns.length + resource.redactions.length
      if (this.copiedBytes > maxRowBytes) throw tooManyRowBytes()
      writer.raw(resource.columns)
    }
    this.careful = this.mayHoldSecret(scopeStart, scopeEnd) || this.mayHoldSecret(urlStart, urlEnd)
    this.writeText(writer, urlStart, urlEnd, paths.scopeSchemaUrl)
    this.scope(scopeStart, scopeEnd)
    const redactions = this.redactor?.take() ?? []
    if (!holdsRecords) {
      // The scope was only checked: mistakes in it are told whether or not it holds a record.
      writer.at = groupStart
      return false
    }
    writeGroupRedactions(writer, resource, redactions)
    const groupBytes = writer.at - groupStart
    const entries = resource.attributeCount + resource.redactionCount + this.attributeCount + redactions.length
    const recordsPlace = writer.reserveVarint()
    const recordsBefore = this.records
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag !== scopeLogsTag.logRecords) {
        reader.skip(tag, end)
        continue
      }
      const length = reader.length(end)
      const next = reader.at + length
      this.logRecord(reader.at, next)
      reader.at = next
    }
    const count = this.records - recordsBefore
    if (count === 0) {
      writer.at = groupStart
      return false
    }
    writer.fillVarint(recordsPlace, count)
    this.unfoldedBytes += unfoldedGroup(groupBytes, entries, count)
    if (this.unfoldedBytes > maxUnfoldedBytes) throw tooManyUnfoldedBytes()
    return true
  }

  /** ScopeName, ScopeVersion, ScopeAttributes. */
  private scope(start: number, end: number): void {
    const { reader, writer } = this
    let nameStart = 0
    let nameEnd = 0
    let versionStart = 0
    let versionEnd = 0
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag === scopeTag.name) {
        const length = reader.length(end)
        nameStart = reader.at
        nameEnd = reader.at += length
      } else if (tag === scopeTag.version) {
        const length = reader.length(end)
        versionStart = reader.at
        versionEnd = reader.at += length
      } else reader.skip(tag, end)
    }
    this.writeText(writer, nameStart, nameEnd, paths.scopeName)
    this.writeText(writer, versionStart, versionEnd, paths.scopeVersion)
    try {
      this.collectAttributes(start, end, scopeTag.attributes)
      this.writeAttributes(writer, paths.scope)
    } catch (error) {
      throw asRequestError(error, `resourceLogs[${this.resourceIndex}].scopeLogs[${this.scopeIndex}].scope`)
    }
  }

  private logRecord(start: number, end: number): void {
    if (this.records + this.duplicates + this.notes.rejected >= this.limits.maxRecords)
      throw tooManyRecords(this.limits.maxRecords)
    const rowStart = this.writer.at
    this.careful = this.mayHoldSecret(start, end)
    try {
      this.writeRecord(start, end)
      if (this.ids === undefined || !this.isKnown(this.ids)) this.records++
      else {
        this.writer.at = rowStart
        this.duplicates++
      }
    } catch (error) {
      if (!(error instanceof RecordError)) throw error
      this.writer.at = rowStart
      this.redactor?.take()
      this.notes.reject(error.message)
    }
  }

  private writeRecord(start: number, end: number): void {
    const { reader, writer } = this
    let timeLow = 0
    let timeHigh = 0
    let observedLow = 0
    let observedHigh = 0
    let severityNumber = 0
    let flags = 0
    let attributeCount = 0
    this.severityText.clear()
    this.body.clear()
    this.traceId.clear()
    this.spanId.clear()
    this.eventName.clear()

    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      switch (tag) {
        case recordTag.timeUnixNano:
          timeLow = reader.fixed64(end)
          timeHigh = reader.high
          break
        case recordTag.observedTimeUnixNano:
          observedLow = reader.fixed64(end)
          observedHigh = reader.high
          break
        case recordTag.severityNumber:
          severityNumber = reader.varint64(end)
          break
        case recordTag.flags:
          flags = reader.fixed32(end)
          break
        case recordTag.attributes:
          this.noteAttribute(attributeCount++, end)
          break
        case recordTag.body:
          this.readSpan(this.body, end)
          break
        case recordTag.severityText:
          this.readSpan(this.severityText, end)
          break
        case recordTag.traceId:
          this.readSpan(this.traceId, end)
          break
        case recordTag.spanId:
          this.readSpan(this.spanId, end)
          break
        case recordTag.eventName:
          this.readSpan(this.eventName, end)
          break
        default:
          reader.skip(tag, end)
      }
    }
    this.attributeCount = attributeCount

    writer.uint32(this.records)
    // Observed time first: it is what a record without a time falls back to.
    this.resolveTime(observedLow, observedHigh, this.receivedLow, this.receivedHigh)
    const fallbackLow = this.timeLow
    const fallbackHigh = this.timeHigh
    this.resolveTime(timeLow, timeHigh, fallbackLow, fallbackHigh)
    writer.uint64(this.timeLow, this.timeHigh)
    writer.uint64(fallbackLow, fallbackHigh)
    this.writeId(this.traceId, 16, reasons.traceId)
    this.writeId(this.spanId, 8, reasons.spanId)
    writer.uint8(flags & 0xff)
    this.writeText(writer, this.severityText.start, this.severityText.end, paths.severityText)
    if (severityNumber > 0xff) this.notes.repair(reasons.severity)
    writer.uint8(severityNumber <= 0xff ? severityNumber : 0)
    if (this.body.start < 0) writer.uint8(0)
    else this.writeValue(writer, this.body.start, this.body.end, '', paths.body)

    this.namedEvent.clear()
    this.uid.clear()
    this.eventId.clear()
    this.sessionId.clear()
    this.sequence.clear()
    this.timestamp.clear()
    this.writeAttributes(writer, paths.attributes)
    this.writeEventName()
    if (!this.writeStringValue(this.uid, paths.eventId) && !this.writeStringValue(this.eventId, paths.eventId)) {
      writer.uint8(0)
    }
    if (this.careful) writer.texts(this.redactor?.take() ?? [])
    else writer.uint8(0)
  }

  /** Whether the record that was just written came before. */
  private isKnown(ids: IdFilter): boolean {
    const { reader } = this
    const uid = this.textOfValue(this.uid)
    if (uid !== undefined) return ids.isKnown('uid', reader.bytes, reader.view, uid.start, uid.end)
    const eventId = this.textOfValue(this.eventId)
    if (eventId !== undefined) return ids.isKnown('eventId', reader.bytes, reader.view, eventId.start, eventId.end)
    if (this.sequence.start < 0 || this.timestamp.start < 0 || this.sessionId.start < 0) return false
    const id = claudeCodeId(
      this.readable(this.sessionId.start, this.sessionId.end),
      this.readable(this.sequence.start, this.sequence.end),
      this.readable(this.timestamp.start, this.timestamp.end),
    )
    return id !== undefined && ids.isKnownText('claudeCode', id)
  }

  private writeEventName(): void {
    const { reader, eventName } = this
    if (eventName.end > eventName.start) {
      this.writeText(this.writer, eventName.start, eventName.end, paths.eventName)
      return
    }
    if (this.writeStringValue(this.namedEvent, paths.eventName)) return
    const { body } = this
    const text = body.start < 0 ? undefined : this.stringValue(body.start, body.end)
    if (text === undefined || text.end - text.start > 256) this.writer.uint8(0)
    else {
      const name = eventNameFromBody(lenientUtf8.decode(reader.bytes.subarray(text.start, text.end)))
      this.writer.text(this.careful && this.redactor ? this.redactor.text(name, paths.eventName) : name)
    }
  }

  /** Writes the text of an AnyValue span if it is a string that is not empty. */
  private writeStringValue(span: Span, path: string): boolean {
    const text = this.textOfValue(span)
    if (text === undefined) return false
    this.writeText(this.writer, text.start, text.end, path)
    return true
  }

  /** The text's place if the value is there and a string that is not empty. */
  private textOfValue(span: Span): { start: number; end: number } | undefined {
    const text = span.start < 0 ? undefined : this.stringValue(span.start, span.end)
    return text === undefined || text.end === text.start ? undefined : text
  }

  /** The text's place if the AnyValue is a string. */
  private stringValue(start: number, end: number): { start: number; end: number } | undefined {
    const kind = this.anyValueKind(start, end)
    return kind === anyValueTag.string ? { start: this.valueStart, end: this.valueEnd } : undefined
  }

  private resolveTime(low: number, high: number, fallbackLow: number, fallbackHigh: number): void {
    // DateTime64(9) is an Int64 of nanoseconds: it ends in April 2262.
    const beyond = high > 0x7fffffff
    if (beyond) this.notes.repair(reasons.time)
    const usable = !beyond && (low !== 0 || high !== 0)
    this.timeLow = usable ? low : fallbackLow
    this.timeHigh = usable ? high : fallbackHigh
  }

  /** Ids of all zeros are invalid by the specification and mean none. */
  private writeId(span: Span, bytes: number, reason: string): void {
    const { writer, reader } = this
    const length = span.end - span.start
    if (length !== bytes) {
      if (length > 0) this.notes.repair(reason)
      writer.uint8(0)
      return
    }
    let seen = 0
    for (let i = span.start; i < span.end; i++) seen |= reader.bytes[i] as number
    if (seen === 0) writer.uint8(0)
    else writer.hexString(reader.bytes, span.start, span.end)
  }

  private mayHoldSecret(start: number, end: number): boolean {
    if (this.redactor === undefined || start < 0) return false
    return this.candidates === undefined || hasCandidate(this.candidates, start, end)
  }

  /** A String column from a text of the message; absent (-1) = empty. */
  private writeText(writer: RowWriter, start: number, end: number, path: string): void {
    if (start < 0) writer.uint8(0)
    else if (this.careful) this.writeRedacted(writer, this.textOf(writer, start, end), path)
    else writer.string(this.reader.bytes, this.reader.view, start, end)
  }

  private writeRedacted(writer: RowWriter, text: string, path: string): void {
    writer.text(this.redactor === undefined ? text : this.redactor.text(text, path))
  }

  private textOf(writer: RowWriter, start: number, end: number): string {
    const bytes = this.reader.bytes.subarray(start, end)
    if (!isUtf8(bytes)) writer.repairedStrings++
    return lenientUtf8.decode(bytes)
  }

  /** A String column from an AnyValue; what its name or its form says is a secret is left out. */
  private writeValue(writer: RowWriter, start: number, end: number, name: string, path: string): void {
    const { redactor } = this
    if (!this.careful || redactor === undefined) {
      this.writeAnyValue(writer, start, end)
      return
    }
    this.path = path
    const instead = redactor.named(name, () => this.readable(start, end), path)
    if (instead !== undefined) {
      writer.text(instead)
      return
    }
    switch (this.anyValueKind(start, end)) {
      case anyValueTag.string:
        writer.text(redactor.text(this.textOf(writer, this.valueStart, this.valueEnd), path))
        return
      case anyValueTag.bytes: {
        const mark = redactor.bytes(this.reader.bytes.subarray(this.valueStart, this.valueEnd), path)
        if (mark === undefined) this.writeAnyValue(writer, start, end)
        else writer.text(mark)
        return
      }
      default:
        // Numbers stay: only a name can make one a secret. Lists look at what is in them.
        this.writeAnyValue(writer, start, end)
    }
  }

  /** The text that {@link writeAnyValue} writes where nothing is redacted. */
  private readable(start: number, end: number): string {
    this.scratch ??= new RowWriter(1_024)
    const { scratch } = this
    scratch.at = 0
    const { careful } = this
    this.careful = false
    try {
      this.writeAnyValue(scratch, start, end)
    } finally {
      this.careful = careful
    }
    let at = 0
    while ((scratch.bytes[at] as number) > 0x7f) at++
    return lenientUtf8.decode(scratch.bytes.subarray(at + 1, scratch.at))
  }

  private readSpan(span: Span, end: number): void {
    const length = this.reader.length(end)
    span.start = this.reader.at
    this.reader.at += length
    span.end = this.reader.at
  }

  private countContainer(): void {
    if (++this.containers > maxContainers) throw tooManyContainers()
  }

  private collectAttributes(start: number, end: number, attributesTag: number): void {
    const { reader } = this
    this.attributeCount = 0
    if (start < 0) return
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag !== attributesTag) {
        reader.skip(tag, end)
        continue
      }
      this.noteAttribute(this.attributeCount++, end)
    }
  }

  /** Reads a length and jumps over as much: the attribute's place. */
  private noteAttribute(index: number, end: number): void {
    const { reader } = this
    const length = reader.length(end)
    if (index === this.limits.maxAttributes) throw new RecordError(reasons.attributes(this.limits.maxAttributes))
    if (index * 2 === this.attributes.length) {
      const larger = new Int32Array(this.attributes.length * 2)
      larger.set(this.attributes)
      this.attributes = larger
    }
    this.attributes[index * 2] = reader.at
    this.attributes[index * 2 + 1] = reader.at += length
  }

  /** Writes the collected attributes as a Map, and notes where those lie that become columns of their own. */
  private writeAttributes(writer: RowWriter, path: string): void {
    const { reader, key, value } = this
    const count = this.attributeCount
    writer.varint(count)
    if (this.careful) {
      this.writeAttributesCarefully(writer, path)
      return
    }
    for (let i = 0; i < count; i++) {
      const start = this.attributes[2 * i] as number
      const end = this.attributes[2 * i + 1] as number
      if (this.writePlainAttribute(writer, start, end)) continue
      this.keyValue(start, end)
      this.noteNamed(value.start, value.end)
      writer.string(reader.bytes, reader.view, key.start, key.end)
      if (value.start < 0) writer.uint8(0)
      else this.writeAnyValue(writer, value.start, value.end)
    }
  }

  private writeAttributesCarefully(writer: RowWriter, path: string): void {
    for (let i = 0; i < this.attributeCount; i++) {
      this.keyValue(this.attributes[2 * i] as number, this.attributes[2 * i + 1] as number)
      const { start, end } = this.value
      this.noteNamed(start, end)
      const name = this.textOf(writer, this.key.start, this.key.end)
      const shown = this.redactor?.text(name, `${path}*`) ?? name
      writer.text(shown)
      if (start < 0) writer.uint8(0)
      else this.writeValue(writer, start, end, name, path + shown)
    }
  }

  /**
   * The attribute nearly every sender writes: a short key, then a short string, no other field. Its bytes are checked
   * against exactly that form and copied; anything else takes the general way (-30 % of the time, bench/transcode).
   */
  private writePlainAttribute(writer: RowWriter, start: number, end: number): boolean {
    const { bytes, view } = this.reader
    if (end - start < 6 || end - start > 0x7f || bytes[start] !== keyValueTag.key) return false
    const keyEnd = start + 2 + (bytes[start + 1] as number)
    // Lengths below 128 are one byte; the sums below pin every one of them to the end of the attribute.
    if (keyEnd + 4 > end || bytes[keyEnd] !== keyValueTag.value || bytes[keyEnd + 2] !== anyValueTag.string)
      return false
    const text = keyEnd + 4
    if (keyEnd + 2 + (bytes[keyEnd + 1] as number) !== end || text + (bytes[keyEnd + 3] as number) !== end) return false
    writer.string(bytes, view, start + 2, keyEnd)
    writer.string(bytes, view, text, end)
    const keyLength = keyEnd - start - 2
    if (keyLength === 8 || keyLength === 10 || keyLength === 14 || keyLength === 15) {
      this.key.set(start + 2, keyEnd)
      this.noteNamed(keyEnd + 2, end)
    }
    return true
  }

  /** Remembers the value (-1 = absent) if the key is one of ours; the length tells most keys apart without comparing a byte. */
  private noteNamed(valueStart: number, valueEnd: number): void {
    switch (this.key.end - this.key.start) {
      case 8:
        if (this.keyIs(eventIdKey)) this.eventId.set(valueStart, valueEnd)
        return
      case 10:
        if (this.keyIs(sessionIdKey)) this.sessionId.set(valueStart, valueEnd)
        else if (this.keyIs(eventNameKey)) this.namedEvent.set(valueStart, valueEnd)
        return
      case 14:
        if (this.keyIs(uidKey)) this.uid.set(valueStart, valueEnd)
        else if (this.keyIs(sequenceKey)) this.sequence.set(valueStart, valueEnd)
        return
      case 15:
        if (this.keyIs(timestampKey)) this.timestamp.set(valueStart, valueEnd)
    }
  }

  private keyIs(name: Uint8Array): boolean {
    const { start, end } = this.key
    if (end - start !== name.length) return false
    for (let i = 0; i < name.length; i++) {
      if (this.reader.bytes[start + i] !== name[i]) return false
    }
    return true
  }

  /** Finds `key` and `value` of a KeyValue; a missing key is empty, a missing value absent. */
  private keyValue(start: number, end: number): void {
    const { reader, key, value } = this
    key.set(start, start)
    value.clear()
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      if (tag === keyValueTag.key) this.readSpan(key, end)
      else if (tag === keyValueTag.value) this.readSpan(value, end)
      else reader.skip(tag, end)
    }
  }

  // The member of the AnyValue that anyValueKind() found: its place, or its number.
  private valueStart = 0
  private valueEnd = 0
  private valueLow = 0
  private valueHigh = 0
  private valueDouble = 0

  /** The tag of the member that is set (the last one, as for every oneof), 0 for an empty value. */
  private anyValueKind(start: number, end: number): number {
    const { reader } = this
    let kind = 0
    reader.at = start
    while (reader.at < end) {
      const tag = reader.tag(end)
      switch (tag) {
        case anyValueTag.string:
        case anyValueTag.array:
        case anyValueTag.kvlist:
        case anyValueTag.bytes: {
          const length = reader.length(end)
          kind = tag
          this.valueStart = reader.at
          this.valueEnd = reader.at += length
          break
        }
        case anyValueTag.bool:
        case anyValueTag.int:
          kind = tag
          this.valueLow = reader.varint64(end)
          this.valueHigh = reader.high
          break
        case anyValueTag.double:
          kind = tag
          this.valueDouble = reader.double(end)
          break
        default:
          reader.skip(tag, end)
      }
    }
    return kind
  }

  /** A String column that holds the value readably: text as it is, numbers in decimal, lists as JSON, bytes as base64. */
  private writeAnyValue(writer: RowWriter, start: number, end: number): void {
    const { reader } = this
    switch (this.anyValueKind(start, end)) {
      case 0:
        writer.uint8(0)
        return
      case anyValueTag.string:
        writer.string(reader.bytes, reader.view, this.valueStart, this.valueEnd)
        return
      case anyValueTag.bool:
        writer.text(this.boolText())
        return
      case anyValueTag.int:
        writer.text(this.intText())
        return
      case anyValueTag.double:
        writer.text(doubleText(this.valueDouble))
        return
      case anyValueTag.bytes:
        writer.varint(base64Length(this.valueEnd - this.valueStart))
        writer.base64(reader.bytes, this.valueStart, this.valueEnd)
        return
      default: {
        const place = writer.reserveVarint()
        const first = writer.at
        this.writeJson(writer, start, end, 1)
        writer.fillVarint(place, writer.at - first)
      }
    }
  }

  /** An AnyValue as JSON. Recursion is bounded by `maxDepth`. */
  private writeJson(writer: RowWriter, start: number, end: number, depth: number): void {
    if (depth > this.limits.maxDepth) throw new RecordError(reasons.depth(this.limits.maxDepth))
    const { reader } = this
    switch (this.anyValueKind(start, end)) {
      case 0:
        writer.ascii('null')
        return
      case anyValueTag.string:
        if (this.careful) this.writeRedactedJson(writer, this.valueStart, this.valueEnd)
        else writer.jsonString(reader.bytes, this.valueStart, this.valueEnd)
        return
      case anyValueTag.bool:
        writer.ascii(this.boolText())
        return
      case anyValueTag.int:
        writer.ascii(this.intText())
        return
      case anyValueTag.double:
        // JSON has no word for these numbers; ProtoJSON writes them as strings.
        writer.ascii(Number.isFinite(this.valueDouble) ? doubleText(this.valueDouble) : `"${this.valueDouble}"`)
        return
      case anyValueTag.bytes:
        if (this.careful && this.writeRedactedBytes(writer)) return
        writer.ascii('"')
        writer.base64(reader.bytes, this.valueStart, this.valueEnd)
        writer.ascii('"')
        return
      case anyValueTag.array:
        this.writeJsonList(writer, this.valueStart, this.valueEnd, depth, false)
        return
      default:
        this.writeJsonList(writer, this.valueStart, this.valueEnd, depth, true)
    }
  }

  private writeRedactedJson(writer: RowWriter, start: number, end: number): void {
    const text = this.textOf(writer, start, end)
    writeJsonText(writer, this.redactor === undefined ? text : this.redactor.text(text, this.path))
  }

  private writeRedactedBytes(writer: RowWriter): boolean {
    const instead = this.redactor?.bytes(this.reader.bytes.subarray(this.valueStart, this.valueEnd), this.path)
    if (instead !== undefined) writeJsonText(writer, instead)
    return instead !== undefined
  }

  /** A value within a list whose name says that it is a secret. */
  private writeNamedSecret(writer: RowWriter, name: string, start: number, end: number): boolean {
    const instead = this.redactor?.named(name, () => this.readable(start, end), this.path)
    if (instead !== undefined) writeJsonText(writer, instead)
    return instead !== undefined
  }

  private writeJsonList(writer: RowWriter, start: number, end: number, depth: number, keyed: boolean): void {
    const { reader, key, value } = this
    writer.ascii(keyed ? '{' : '[')
    let first = true
    let at = start
    while (at < end) {
      reader.at = at
      const tag = reader.tag(end)
      if (tag !== listTag.values) {
        reader.skip(tag, end)
        at = reader.at
        continue
      }
      const length = reader.length(end)
      const itemStart = reader.at
      at = itemStart + length
      if (!first) writer.ascii(',')
      first = false
      if (!keyed) {
        this.writeJson(writer, itemStart, at, depth + 1)
        continue
      }
      this.keyValue(itemStart, at)
      let name = ''
      if (this.careful) {
        name = lenientUtf8.decode(reader.bytes.subarray(key.start, key.end))
        this.writeRedactedJson(writer, key.start, key.end)
      } else writer.jsonString(reader.bytes, key.start, key.end)
      writer.ascii(':')
      const { start: from, end: to } = value
      if (from < 0) writer.ascii('null')
      else if (!this.careful || !this.writeNamedSecret(writer, name, from, to))
        this.writeJson(writer, from, to, depth + 1)
    }
    writer.ascii(keyed ? '}' : ']')
  }

  private boolText(): string {
    return this.valueLow !== 0 || this.valueHigh !== 0 ? 'true' : 'false'
  }

  private intText(): string {
    const { valueLow, valueHigh } = this
    if (valueHigh === 0) return String(valueLow)
    return BigInt.asIntN(64, (BigInt(valueHigh) << 32n) | BigInt(valueLow)).toString()
  }
}

/** A JSON string literal, with the same escapes as for texts that are copied. */
function writeJsonText(writer: RowWriter, text: string): void {
  const bytes = Buffer.from(text)
  writer.jsonString(bytes, 0, bytes.length)
}
