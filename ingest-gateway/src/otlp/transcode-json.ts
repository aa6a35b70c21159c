/**
 * ExportLogsServiceRequest (OTLP/JSON) → the same rows as the protobuf path.
 *
 * JSON may take the object path: it is parsed by the runtime and walked. OTLP/JSON is ProtoJSON with hexadecimal trace
 * and span ids and integer enums; unknown fields are ignored, null means absent, int64 comes as a string or a number.
 * @see OTLP specification, "JSON Protobuf Encoding"
 */
import { Buffer, isUtf8 } from 'node:buffer'
import type { Redactor } from '@agnes/redaction'
import { giveBack } from '../buffer-pool.ts'
import type { IdFilter } from '../event-ids.ts'
import { type ResourcePrefix, RowWriter, resourcePrefix, writeGroupRedactions } from './row-writer.ts'
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

type JsonObject = Readonly<Record<string, unknown>>

const maxInt64 = 2n ** 63n - 1n
const minInt64 = -(2n ** 63n)
const maxUint32 = 2n ** 32n - 1n
const maxUint64 = 2n ** 64n - 1n

/**
 * A parsed list or object costs up to 60 bytes and a microsecond however little it holds: 64 MiB of `{},` are 1.4 GB and
 * half a minute (measured). Log records need one for each 25 bytes of text, so this is reached beyond 25 MB of them.
 */
const maxJsonContainers = 1_000_000

const jsonReasons = {
  int64Number:
    'integer beyond 2^53 was sent as a JSON number and may have lost its last digits before it reached us; send int64 as a string',
  noLogs: 'request without resourceLogs stored nothing; OTLP/JSON names are in lowerCamelCase',
} as const

/**
 * Transcodes one request.
 * @param body UTF-8 text, inflated
 * @param receivedAtNs time of arrival, nanoseconds since 1970: the time of records that carry none
 * @throws RequestError 400 if the text is not such a message, 413 if it holds too many records
 */
export function transcodeJson(body: Buffer, receivedAtNs: bigint, options: TranscodeOptions = {}): Rows {
  const request = parse(body)
  const walk = new Walk(body, receivedAtNs, options)
  walk.request(request)
  return walk.rows()
}

function parse(body: Buffer): JsonObject {
  if (body.length === 0) throw new RequestError(400, 'the body is empty: the smallest request in JSON is {}')
  if (!isUtf8(body)) throw new RequestError(400, 'the body is not UTF-8: send JSON in UTF-8 (RFC 8259, section 8.1)')
  refuseTooManyContainers(body)
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new RequestError(400, `the body is not valid JSON: ${jsonMistake((error as Error).message)}`)
  }
  if (!isObject(value)) throw new RequestError(400, `the body must be a JSON object, but is ${kindOf(value)}`)
  return value
}

/** The runtime's message quotes the text around the mistake; it must not carry a client's data into logs, so only the place stays. */
function jsonMistake(message: string): string {
  if (message.startsWith('Unexpected end')) return 'it ends too early'
  const place = /at position \d+( \(line \d+ column \d+\))?$/.exec(message)?.[0]
  return place === undefined ? 'check it with a JSON parser' : `mistake ${place}`
}

function refuseTooManyContainers(body: Buffer): void {
  if (body.length <= maxJsonContainers) return
  let containers = 0
  let inString = false
  for (let i = 0; i < body.length; i++) {
    switch (body[i]) {
      case 0x22: // "
        inString = !inString
        break
      case 0x5c: // \
        if (inString) i++
        break
      case 0x5b: // [
      case 0x7b: // {
        if (!inString) containers++
    }
  }
  if (containers > maxJsonContainers) {
    throw new RequestError(413, `the body holds more than ${maxJsonContainers} lists and objects: send smaller batches`)
  }
}

/** Escapes and base64 could hide what the look over the bytes goes by. */
const disguises = ['\\u', '\\/', 'bytesValue']

function mayHoldSecret(body: Buffer, redactor: Redactor): boolean {
  const candidates = redactor.candidates(body)
  return candidates === undefined || candidates.length > 0 || disguises.some((text) => body.includes(text))
}

class Walk {
  private readonly writer: RowWriter
  private readonly limits: TranscodeLimits
  private readonly notes = new Notes()
  private readonly receivedAtNs: bigint
  private records = 0
  private containers = 0
  /** Bytes of resources written so far, those of scopes that were taken back included: it bounds the work. */
  private copiedBytes = 0
  private unfoldedBytes = 0
  private namedEvent = ''
  private uid = ''
  private eventId = ''
  private sessionId = ''
  private sequence = ''
  private timestamp = ''
  private duplicates = 0
  private readonly ids: IdFilter | undefined

  /** undefined: the request holds no secret, or none is to be looked for. */
  private redactor: Redactor | undefined
  /** Where the value stands that is being looked at. */
  private path = ''

  constructor(body: Buffer, receivedAtNs: bigint, { limits = defaultLimits, redactor, ids }: TranscodeOptions) {
    this.ids = ids
    this.writer = new RowWriter((body.length >>> 1) + 256)
    this.limits = limits
    this.receivedAtNs = receivedAtNs
    this.redactor = redactor !== undefined && mayHoldSecret(body, redactor) ? redactor : undefined
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

  request(request: JsonObject): void {
    const place = this.writer.reserveVarint()
    // Unknown fields are ignored, but a sender who wrote writtenlogs or sent spans here will want to know.
    if (request.resourceLogs === undefined && Object.keys(request).length > 0) this.notes.repair(jsonReasons.noLogs)
    let groups = 0
    for (const [i, resourceLogs] of listOf(request, 'resourceLogs', 'resourceLogs').entries()) {
      groups += this.resourceLogs(resourceLogs, `resourceLogs[${i}]`)
    }
    this.writer.fillVarint(place, groups)
  }

  private resourceLogs(resourceLogs: JsonObject, at: string): number {
    this.countContainer()
    const resource = objectOf(resourceLogs, 'resource', `${at}.resource`)
    const prefix = new RowWriter(256)
    let attributes: readonly Attribute[]
    try {
      attributes = this.attributesOf(resource)
      const serviceName = attributes.findLast((attribute) => attribute.key === 'service.name')
      const serviceText = this.valueText(serviceName?.value, 'service.name', paths.serviceName)
      prefix.text(serviceText)
      prefix.text(this.redacted(stringOf(resourceLogs, 'schemaUrl'), paths.resourceSchemaUrl))
      this.attributes(prefix, attributes, paths.resource)
    } catch (error) {
      throw asRequestError(error, `${at}.resource`)
    }
    this.writer.repairedStrings += prefix.repairedStrings
    const written = resourcePrefix(prefix.written(), attributes.length, this.redactor?.take() ?? [])
    let groups = 0
    for (const [i, scopeLogs] of listOf(resourceLogs, 'scopeLogs', `${at}.scopeLogs`).entries()) {
      if (this.scopeLogs(written, scopeLogs, `${at}.scopeLogs[${i}]`)) groups++
    }
    giveBack(written.columns)
    return groups
  }

  private scopeLogs(resource: ResourcePrefix, scopeLogs: JsonObject, at: string): boolean {
    const { writer } = this
    this.countContainer()
    const scope = objectOf(scopeLogs, 'scope', `${at}.scope`)
    const logRecords = listOf(scopeLogs, 'logRecords', `${at}.logRecords`)
    const groupStart = writer.at
    if (logRecords.length > 0) {
      this.copiedBytes += resource.columns.length + resource.redactions.length
      if (this.copiedBytes > maxRowBytes) throw tooManyRowBytes()
      writer.raw(resource.columns)
    }
    let attributes: readonly Attribute[]
    try {
      writer.text(this.redacted(stringOf(scopeLogs, 'schemaUrl'), paths.scopeSchemaUrl))
      writer.text(this.redacted(stringOf(scope, 'name'), paths.scopeName))
      writer.text(this.redacted(stringOf(scope, 'version'), paths.scopeVersion))
      attributes = this.attributesOf(scope)
      this.attributes(writer, attributes, paths.scope)
    } catch (error) {
      throw asRequestError(error, `${at}.scope`)
    }
    const redactions = this.redactor?.take() ?? []
    if (logRecords.length === 0) {
      // The scope was only checked: mistakes in it are told whether or not it holds a record.
      writer.at = groupStart
      return false
    }
    writeGroupRedactions(writer, resource, redactions)
    const groupBytes = writer.at - groupStart
    const entries = resource.attributeCount + resource.redactionCount + attributes.length + redactions.length
    const place = writer.reserveVarint()
    const before = this.records
    for (const record of logRecords) this.logRecord(record)
    const count = this.records - before
    if (count === 0) {
      writer.at = groupStart
      return false
    }
    writer.fillVarint(place, count)
    this.unfoldedBytes += unfoldedGroup(groupBytes, entries, count)
    if (this.unfoldedBytes > maxUnfoldedBytes) throw tooManyUnfoldedBytes()
    return true
  }

  private logRecord(record: JsonObject): void {
    if (this.records + this.duplicates + this.notes.rejected >= this.limits.maxRecords)
      throw tooManyRecords(this.limits.maxRecords)
    const rowStart = this.writer.at
    try {
      this.writeRecord(record)
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

  private writeRecord(record: JsonObject): void {
    const { writer } = this
    const attributes = this.attributesOf(record)
    writer.uint32(this.records)
    const observed = this.time(record, 'observedTimeUnixNano') ?? this.receivedAtNs
    const time = this.time(record, 'timeUnixNano') ?? observed
    writeUint64(writer, time)
    writeUint64(writer, observed)
    writer.text(this.id(record, 'traceId', 32, reasons.traceId))
    writer.text(this.id(record, 'spanId', 16, reasons.spanId))
    writer.uint8(this.flags(record) & 0xff)
    writer.text(this.redacted(stringOf(record, 'severityText'), paths.severityText))
    writer.uint8(this.severity(record))
    const { body } = record
    writer.text(this.valueText(body, '', paths.body))
    this.namedEvent = ''
    this.uid = ''
    this.eventId = ''
    this.sessionId = ''
    this.sequence = ''
    this.timestamp = ''
    this.attributes(writer, attributes, paths.attributes)
    const bodyText = isObject(body) && typeof body.stringValue === 'string' ? body.stringValue : ''
    const eventName = stringOf(record, 'eventName') || this.namedEvent || eventNameFromBody(bodyText)
    writer.text(this.redacted(eventName, paths.eventName))
    writer.text(this.redacted(this.uid || this.eventId, paths.eventId))
    writer.texts(this.redactor?.take() ?? [])
  }

  /** Whether the record that was just written came before. */
  private isKnown(ids: IdFilter): boolean {
    if (this.uid !== '') return ids.isKnownText('uid', this.uid)
    if (this.eventId !== '') return ids.isKnownText('eventId', this.eventId)
    const id = claudeCodeId(this.sessionId, this.sequence, this.timestamp)
    return id !== undefined && ids.isKnownText('claudeCode', id)
  }

  private redacted(text: string, path: string): string {
    return this.redactor === undefined ? text : this.redactor.text(text, path)
  }

  private countContainer(): void {
    if (++this.containers > maxContainers) throw tooManyContainers()
  }

  private attributesOf(owner: JsonObject): Attribute[] {
    const entries = fieldList(owner, 'attributes')
    if (entries.length > this.limits.maxAttributes) {
      throw new RecordError(reasons.attributes(this.limits.maxAttributes))
    }
    return entries.map((entry) => {
      if (!isObject(entry)) throw wrongType('attributes', 'a list of {key, value}', entry)
      return { key: stringOf(entry, 'key'), value: entry.value ?? undefined }
    })
  }

  private attributes(writer: RowWriter, attributes: readonly Attribute[], path: string): void {
    writer.varint(attributes.length)
    for (const { key, value } of attributes) {
      const shown = this.redacted(key, `${path}*`)
      writer.text(shown)
      writer.text(this.valueText(value, key, path + shown))
      this.noteNamed(key, value)
    }
  }

  private noteNamed(key: string, value: unknown): void {
    const text = isObject(value) && typeof value.stringValue === 'string' ? value.stringValue : ''
    if (key === attributeNames.eventName) this.namedEvent = text
    else if (key === attributeNames.uid) this.uid = text
    else if (key === attributeNames.eventId) this.eventId = text
    else if (key === attributeNames.sessionId) this.sessionId = this.plainly(value)
    else if (key === attributeNames.sequence) this.sequence = this.plainly(value)
    else if (key === attributeNames.timestamp) this.timestamp = this.plainly(value)
  }

  private time(record: JsonObject, field: string): bigint | undefined {
    const value = record[field]
    if (value === undefined || value === null) return undefined
    const nanoseconds = this.integer(value, field)
    if (nanoseconds < 0n || nanoseconds > maxUint64) throw outOfRange(field, 'nanoseconds since 1970, from 0 to 2^64-1')
    if (nanoseconds > maxInt64) {
      this.notes.repair(reasons.time)
      return undefined
    }
    return nanoseconds === 0n ? undefined : nanoseconds
  }

  private id(record: JsonObject, field: string, digits: number, reason: string): string {
    const text = stringOf(record, field)
    if (text === '') return ''
    if (text.length !== digits || !/^[0-9a-f]+$/i.test(text)) {
      this.notes.repair(reason)
      return ''
    }
    return /^0+$/.test(text) ? '' : text.toLowerCase()
  }

  private severity(record: JsonObject): number {
    const { severityNumber } = record
    if (severityNumber === undefined || severityNumber === null) return 0
    if (Number.isInteger(severityNumber) && Number(severityNumber) >= 0 && Number(severityNumber) <= 0xff) {
      return Number(severityNumber)
    }
    this.notes.repair(reasons.severity)
    return 0
  }

  private flags(record: JsonObject): number {
    const { flags } = record
    if (flags === undefined || flags === null) return 0
    const bits = this.integer(flags, 'flags')
    if (bits < 0n || bits > maxUint32) throw outOfRange('flags', 'from 0 to 2^32-1')
    return Number(bits)
  }

  /** An AnyValue readably, without what its name or its form says is a secret. */
  private valueText(value: unknown, name: string, path: string): string {
    const { redactor } = this
    const member = memberOf(value)
    if (redactor === undefined || member === undefined) return this.readable(value)
    this.path = path
    const instead = redactor.named(name, () => this.plainly(value), path)
    if (instead !== undefined) return instead
    const text = this.readable(value)
    switch (member[0]) {
      case 'stringValue':
        return redactor.text(text, path)
      case 'bytesValue':
        return redactor.bytes(Buffer.from(text, 'base64'), path) ?? text
      default:
        // Numbers stay: only a name can make one a secret. Lists have looked at what is in them.
        return text
    }
  }

  /** The text {@link readable} gives where nothing is redacted. */
  private plainly(value: unknown): string {
    const { redactor } = this
    const { repairedStrings } = this.writer
    this.redactor = undefined
    try {
      return this.readable(value)
    } finally {
      this.redactor = redactor
      // Looked at twice, repaired once.
      this.writer.repairedStrings = repairedStrings
    }
  }

  /** An AnyValue readably: text as it is, numbers in decimal, lists as JSON, bytes as base64. */
  private readable(value: unknown): string {
    const member = memberOf(value)
    if (member === undefined) return ''
    const [kind, content] = member
    switch (kind) {
      case 'stringValue':
        return stringContent(content)
      case 'doubleValue':
        return doubleText(doubleContent(content))
      case 'bytesValue':
        return base64Content(content)
      default:
        return this.valueJson(value, 1)
    }
  }

  /** An AnyValue as JSON. Recursion is bounded by `maxDepth`. */
  private valueJson(value: unknown, depth: number): string {
    if (depth > this.limits.maxDepth) throw new RecordError(reasons.depth(this.limits.maxDepth))
    const member = memberOf(value)
    if (member === undefined) return 'null'
    const [kind, content] = member
    switch (kind) {
      case 'stringValue':
        return this.quote(this.redacted(stringContent(content), this.path))
      case 'boolValue':
        if (typeof content !== 'boolean') throw wrongType(kind, 'true or false', content)
        return String(content)
      case 'intValue':
        return this.int64Text(content)
      case 'doubleValue': {
        const number = doubleContent(content)
        return Number.isFinite(number) ? doubleText(number) : `"${number}"`
      }
      case 'bytesValue': {
        const base64 = base64Content(content)
        return JSON.stringify(this.redactor?.bytes(Buffer.from(base64, 'base64'), this.path) ?? base64)
      }
      case 'arrayValue':
        return `[${valuesOf(content, kind)
          .map((item) => this.valueJson(item, depth + 1))
          .join(',')}]`
      case 'kvlistValue':
        return `{${valuesOf(content, kind)
          .map((item) => this.entryJson(item, depth + 1))
          .join(',')}}`
    }
  }

  private entryJson(entry: unknown, depth: number): string {
    if (!isObject(entry)) throw wrongType('kvlistValue.values', 'a list of {key, value}', entry)
    const { value } = entry
    const name = stringOf(entry, 'key')
    const key = this.quote(this.redacted(name, this.path))
    if (value === undefined || value === null) return `${key}:null`
    const instead = this.redactor?.named(name, () => this.plainly(value), this.path)
    return `${key}:${instead === undefined ? this.valueJson(value, depth) : this.quote(instead)}`
  }

  /** JSON.stringify keeps a lone surrogate as an escape; the rows hold UTF-8, so it becomes U+FFFD as everywhere else. */
  private quote(text: string): string {
    if (text.isWellFormed()) return JSON.stringify(text)
    this.writer.repairedStrings++
    return JSON.stringify(text.toWellFormed())
  }

  private int64Text(content: unknown): string {
    const integer = this.integer(content, 'intValue')
    if (integer > maxInt64 || integer < minInt64) throw outOfRange('intValue', 'from -2^63 to 2^63-1')
    return integer.toString()
  }

  private integer(value: unknown, field: string): bigint {
    if (typeof value === 'number' && Number.isInteger(value)) {
      if (!Number.isSafeInteger(value)) this.notes.repair(jsonReasons.int64Number)
      return BigInt(value)
    }
    if (typeof value === 'string' && /^-?\d{1,20}$/.test(value)) return BigInt(value)
    throw wrongType(field, 'an integer, as a string or a number', value)
  }
}

interface Attribute {
  readonly key: string
  readonly value: unknown
}

const memberNames = [
  'stringValue',
  'boolValue',
  'intValue',
  'doubleValue',
  'bytesValue',
  'arrayValue',
  'kvlistValue',
] as const

/** The member of an AnyValue that is set; undefined for an empty value. */
function memberOf(value: unknown): readonly [(typeof memberNames)[number], unknown] | undefined {
  if (value === undefined || value === null) return undefined
  if (!isObject(value)) throw wrongType('value', 'an object such as {"stringValue": "…"}', value)
  let member: readonly [(typeof memberNames)[number], unknown] | undefined
  for (const name of memberNames) {
    const content = Object.hasOwn(value, name) ? value[name] : undefined
    if (content === undefined || content === null) continue
    if (member !== undefined) {
      throw new RecordError(`record rejected: a value holds both ${member[0]} and ${name}; send one of them`)
    }
    member = [name, content]
  }
  return member
}

function fieldList(owner: JsonObject, field: string): readonly unknown[] {
  const value = owner[field]
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw wrongType(field, 'a list', value)
  return value
}

function valuesOf(content: unknown, kind: string): readonly unknown[] {
  if (!isObject(content)) throw wrongType(kind, 'an object {"values": […]}', content)
  return fieldList(content, 'values')
}

/** A list of messages: its mistakes concern the whole request, since the records below can't be told. */
function listOf(owner: JsonObject, field: string, at: string): readonly JsonObject[] {
  const value = owner[field]
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw new RequestError(400, `${at} must be a list, but is ${kindOf(value)}`)
  for (const [i, item] of value.entries()) {
    if (!isObject(item)) throw new RequestError(400, `${at}[${i}] must be an object, but is ${kindOf(item)}`)
  }
  return value as JsonObject[]
}

function objectOf(owner: JsonObject, field: string, at: string): JsonObject {
  const value = owner[field]
  if (value === undefined || value === null) return {}
  if (!isObject(value)) throw new RequestError(400, `${at} must be an object, but is ${kindOf(value)}`)
  return value
}

function stringOf(owner: JsonObject, field: string): string {
  const value = owner[field]
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw wrongType(field, 'a string', value)
  return value
}

function stringContent(content: unknown): string {
  if (typeof content !== 'string') throw wrongType('stringValue', 'a string', content)
  return content
}

function doubleContent(content: unknown): number {
  if (typeof content === 'number') return content
  if (typeof content === 'string' && content.trim() !== '') {
    const number = Number(content)
    if (!Number.isNaN(number) || content === 'NaN') return number
  }
  throw wrongType('doubleValue', 'a number, "NaN", "Infinity" or "-Infinity"', content)
}

/** Standard or URL-safe base64 (ProtoJSON accepts both), stored as standard base64 with padding. */
function base64Content(content: unknown): string {
  if (typeof content !== 'string') throw wrongType('bytesValue', 'base64 text', content)
  const digits = /^([\w+/-]*)={0,2}$/.exec(content)?.[1]
  // One digit over holds six bits: text that was cut off.
  if (digits === undefined || digits.length % 4 === 1) {
    throw new RecordError('record rejected: bytesValue was not base64; encode bytes as RFC 4648 says')
  }
  return Buffer.from(content, 'base64').toString('base64')
}

function writeUint64(writer: RowWriter, value: bigint): void {
  writer.uint64(Number(value & 0xffffffffn), Number(value >> 32n))
}

function wrongType(field: string, expected: string, value: unknown): RecordError {
  return new RecordError(`record rejected: ${field} must be ${expected}, but is ${kindOf(value)}`)
}

function outOfRange(field: string, range: string): RecordError {
  return new RecordError(`record rejected: ${field} is out of range, it must be ${range}`)
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The kind of a JSON value, never its content: messages go back to the client and into logs. */
function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'an object'
  return `a ${typeof value}`
}
