/**
 * A frame: one acknowledged request on disk.
 *
 * Segments are insert payloads, so a frame is itself one RowBinary row: a header of fixed columns and the request's
 * groups as its last column. ClickHouse reads a segment file as it lies there; we read the same bytes back to find
 * torn tails and bit rot. All integers are little-endian.
 *
 * | offset | bytes | column |
 * |---|---|---|
 * | 0 | 4 | Magic "AGF2" (the digit is the format's version) |
 * | 4 | 4 | HeaderCrc: CRC-32 (IEEE) of the header after this field |
 * | 8 | 4 | HeaderBytes: length of everything before Groups |
 * | 12 | 4 | PayloadBytes: length of Groups |
 * | 16 | 4 | PayloadCrc: CRC-32 of Groups |
 * | 20 | 4 | FrameRecords |
 * | 24 | 8 | FrameSeq: sequence number of the first record |
 * | 32 | 8 | ReceivedAt, nanoseconds since 1970 |
 * | 40 | 16 | BatchId, a UUID as ClickHouse writes it (two UInt64) |
 * | 56 | 16 | RequestHash: what the retry of the same request is recognised by |
 * | 72 | 8 | RuleSet: which redaction rules held; zeros for none |
 * | 80 | 1 + n | TenantId, n < 128 |
 * | 81 + n | 1–5 + 8 i | Ids: what events with an id are recognised by, 8 bytes each |
 * | HeaderBytes | PayloadBytes | Groups |
 *
 * Header and payload have a CRC each, so that a damaged payload can still be stepped over by a trusted length.
 */
import { crc32 } from 'node:zlib'
import { groupsType, groupsTypeWithoutRedactions } from '../otlp/layout.ts'

/** Written since redaction exists; the first format lacks HeaderBytes, RuleSet, Ids and what was redacted. */
const magic = 0x32464741
const firstMagic = 0x31464741
const fixedHeaderBytes = 81
const firstFixedHeaderBytes = 69
const maxTenantBytes = 127
const noRuleSet = new Uint8Array(8)
const noIds = new Uint8Array(0)

/** Columns of a frame; those of the first format have the same order. */
const columns = [
  { column: 'Magic UInt32', inFirst: true },
  { column: 'HeaderCrc UInt32', inFirst: true },
  { column: 'HeaderBytes UInt32', inFirst: false },
  { column: 'PayloadBytes UInt32', inFirst: true },
  { column: 'PayloadCrc UInt32', inFirst: true },
  { column: 'FrameRecords UInt32', inFirst: true },
  { column: 'FrameSeq UInt64', inFirst: true },
  { column: 'ReceivedAt DateTime64(9)', inFirst: true },
  { column: 'BatchId UUID', inFirst: true },
  { column: 'RequestHash FixedString(16)', inFirst: true },
  { column: 'RuleSet FixedString(8)', inFirst: false },
  { column: 'TenantId String', inFirst: true },
  { column: 'Ids String', inFirst: false },
] as const

const structureOf = (header: readonly { readonly column: string }[], groups: string): string =>
  [...header.map(({ column }) => column), `Groups ${groups}`].join(', ')

/** ClickHouse structure of a segment file in RowBinary. */
export const frameStructure = structureOf(columns, groupsType)

/** The structure of a segment in the first format. */
export const firstFrameStructure = structureOf(
  columns.filter(({ inFirst }) => inFirst),
  groupsTypeWithoutRedactions,
)

/** Whether a segment that begins with these bytes is in the first format. A segment holds frames of one format. */
export function isFirstFormat(start: Buffer): boolean {
  return start.length >= 4 && start.readUInt32LE(0) === firstMagic
}

export interface FrameHeader {
  /** Version of the format: 1 knows nothing of redaction. */
  readonly format: 1 | 2
  readonly seq: bigint
  readonly batchId: string
  readonly tenant: string
  readonly receivedAtNs: bigint
  /** 16 bytes. */
  readonly requestHash: Uint8Array
  readonly records: number
  readonly payloadBytes: number
  readonly payloadCrc: number
  /** 8 bytes; zeros for none. */
  readonly ruleSet: Uint8Array
  /** 8 bytes an event. */
  readonly ids: Uint8Array
  /** Length of the header itself. */
  readonly headerBytes: number
}

export interface FrameInput {
  readonly tenant: string
  readonly receivedAtNs: bigint
  readonly requestHash: Uint8Array
  readonly records: number
  readonly ruleSet?: Uint8Array
  readonly ids?: Uint8Array
  readonly payload: Uint8Array
}

/**
 * The header that goes before `payload` on disk.
 * @param seq sequence number of its first record
 * @param batchId of its segment, a UUID
 */
export function encodeFrameHeader(frame: FrameInput, seq: bigint, batchId: string): Buffer {
  const { ruleSet = noRuleSet, ids = noIds } = frame
  const tenantBytes = Buffer.byteLength(frame.tenant)
  if (tenantBytes > maxTenantBytes) throw new RangeError(`tenant is longer than ${maxTenantBytes} bytes`)
  const idsAt = fixedHeaderBytes + tenantBytes
  const header = Buffer.allocUnsafe(idsAt + varintBytes(ids.length) + ids.length)
  header.writeUInt32LE(magic, 0)
  header.writeUInt32LE(header.length, 8)
  header.writeUInt32LE(frame.payload.length, 12)
  header.writeUInt32LE(crc32(frame.payload), 16)
  header.writeUInt32LE(frame.records, 20)
  header.writeBigUInt64LE(seq, 24)
  header.writeBigInt64LE(frame.receivedAtNs, 32)
  writeUuid(header, batchId, 40)
  header.set(frame.requestHash, 56)
  header.set(ruleSet, 72)
  header[80] = tenantBytes
  header.write(frame.tenant, fixedHeaderBytes)
  writeVarint(header, ids.length, idsAt)
  header.set(ids, header.length - ids.length)
  header.writeUInt32LE(crc32(header.subarray(8)), 4)
  return header
}

/**
 * Length of the header that starts here, as far as its first bytes say; nothing is checked.
 * @param bytes at least 81 of a frame
 * @returns undefined if no header starts here
 */
export function frameHeaderBytes(bytes: Buffer): number | undefined {
  if (bytes.length < fixedHeaderBytes) return undefined
  if (isFirstFormat(bytes)) return firstFixedHeaderBytes + bytes.readUInt8(68)
  return bytes.readUInt32LE(0) === magic ? bytes.readUInt32LE(8) : undefined
}

/**
 * Reads a header at the start of `bytes`.
 * @returns undefined if there is no valid header: torn, damaged, or no frame at all
 */
export function decodeFrameHeader(bytes: Buffer): FrameHeader | undefined {
  if (isFirstFormat(bytes)) return decodeFirstHeader(bytes)
  if (bytes.length < fixedHeaderBytes || bytes.readUInt32LE(0) !== magic) return undefined
  const headerBytes = bytes.readUInt32LE(8)
  if (headerBytes <= fixedHeaderBytes || bytes.length < headerBytes) return undefined
  if (crc32(bytes.subarray(8, headerBytes)) !== bytes.readUInt32LE(4)) return undefined
  // The checksum holds, so the lengths below are those that were written.
  const tenantEnd = fixedHeaderBytes + bytes.readUInt8(80)
  let idsAt = tenantEnd
  while ((bytes[idsAt] as number) > 0x7f) idsAt++
  return {
    format: 2,
    payloadBytes: bytes.readUInt32LE(12),
    payloadCrc: bytes.readUInt32LE(16),
    records: bytes.readUInt32LE(20),
    seq: bytes.readBigUInt64LE(24),
    receivedAtNs: bytes.readBigInt64LE(32),
    batchId: readUuid(bytes, 40),
    requestHash: Uint8Array.from(bytes.subarray(56, 72)),
    ruleSet: Uint8Array.from(bytes.subarray(72, 80)),
    tenant: bytes.toString('utf8', fixedHeaderBytes, tenantEnd),
    ids: Uint8Array.from(bytes.subarray(idsAt + 1, headerBytes)),
    headerBytes,
  }
}

function decodeFirstHeader(bytes: Buffer): FrameHeader | undefined {
  if (bytes.length < firstFixedHeaderBytes) return undefined
  const tenantBytes = bytes.readUInt8(68)
  const headerBytes = firstFixedHeaderBytes + tenantBytes
  if (tenantBytes > maxTenantBytes || bytes.length < headerBytes) return undefined
  if (crc32(bytes.subarray(8, headerBytes)) !== bytes.readUInt32LE(4)) return undefined
  return {
    format: 1,
    payloadBytes: bytes.readUInt32LE(8),
    payloadCrc: bytes.readUInt32LE(12),
    records: bytes.readUInt32LE(16),
    seq: bytes.readBigUInt64LE(20),
    receivedAtNs: bytes.readBigInt64LE(28),
    batchId: readUuid(bytes, 36),
    requestHash: Uint8Array.from(bytes.subarray(52, 68)),
    ruleSet: noRuleSet,
    tenant: bytes.toString('utf8', firstFixedHeaderBytes, headerBytes),
    ids: noIds,
    headerBytes,
  }
}

function varintBytes(value: number): number {
  let count = 1
  for (let rest = value; rest > 0x7f; rest >>>= 7) count++
  return count
}

function writeVarint(target: Buffer, value: number, at: number): void {
  let rest = value
  let place = at
  for (; rest > 0x7f; rest >>>= 7) target[place++] = (rest & 0x7f) | 0x80
  target[place] = rest
}

/** Offset of the next byte sequence that could start a frame, or -1. */
export function findMagic(bytes: Buffer, from: number): number {
  // Either format: the last character tells them apart.
  for (let at = bytes.indexOf('AGF', from, 'latin1'); at >= 0; at = bytes.indexOf('AGF', at + 1, 'latin1')) {
    if (bytes[at + 3] === 0x31 || bytes[at + 3] === 0x32) return at
  }
  return -1
}

/** The last UUID and its bytes: all frames of a segment have the same. */
let lastUuid = ''
const lastUuidBytes = Buffer.alloc(16)

/** ClickHouse writes a UUID as two little-endian UInt64, the high one first. */
function writeUuid(target: Buffer, uuid: string, at: number): void {
  if (uuid !== lastUuid) {
    const hex = uuid.replaceAll('-', '')
    lastUuidBytes.writeBigUInt64LE(BigInt(`0x${hex.slice(0, 16)}`), 0)
    lastUuidBytes.writeBigUInt64LE(BigInt(`0x${hex.slice(16)}`), 8)
    lastUuid = uuid
  }
  target.set(lastUuidBytes, at)
}

function readUuid(source: Buffer, at: number): string {
  const hex = (offset: number) => source.readBigUInt64LE(offset).toString(16).padStart(16, '0')
  const all = hex(at) + hex(at + 8)
  return `${all.slice(0, 8)}-${all.slice(8, 12)}-${all.slice(12, 16)}-${all.slice(16, 20)}-${all.slice(20)}`
}
