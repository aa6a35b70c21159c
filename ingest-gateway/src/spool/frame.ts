/**
 * A frame: one acknowledged request on disk.
 *
 * Segments are insert payloads, so a frame is itself one RowBinary row: a header of fixed columns and the request's
 * groups as its last column. ClickHouse reads a segment file as it lies there; we read the same bytes back to find
 * torn tails and bit rot. All integers are little-endian.
 *
 * | offset | bytes | column |
 * |---|---|---|
 * | 0 | 4 | Magic "AGF1" (the digit is the format's version) |
 * | 4 | 4 | HeaderCrc: CRC-32 (IEEE) of the header after this field |
 * | 8 | 4 | PayloadBytes: length of Groups |
 * | 12 | 4 | PayloadCrc: CRC-32 of Groups |
 * | 16 | 4 | FrameRecords |
 * | 20 | 8 | FrameSeq: sequence number of the first record |
 * | 28 | 8 | ReceivedAt, nanoseconds since 1970 |
 * | 36 | 16 | BatchId, a UUID as ClickHouse writes it (two UInt64) |
 * | 52 | 16 | RequestHash: what the retry of the same request is recognised by |
 * | 68 | 1 + n | TenantId, n < 128 |
 * | 69 + n | PayloadBytes | Groups |
 *
 * Header and payload have a CRC each, so that a damaged payload can still be stepped over by a trusted length.
 */
import { crc32 } from 'node:zlib'
import { groupsType } from '../otlp/layout.ts'

const magic = 0x31464741
const fixedHeaderBytes = 69
const maxTenantBytes = 127

/** ClickHouse structure of a segment file in RowBinary. */
export const frameStructure = [
  'Magic UInt32',
  'HeaderCrc UInt32',
  'PayloadBytes UInt32',
  'PayloadCrc UInt32',
  'FrameRecords UInt32',
  'FrameSeq UInt64',
  'ReceivedAt DateTime64(9)',
  'BatchId UUID',
  'RequestHash FixedString(16)',
  'TenantId String',
  `Groups ${groupsType}`,
].join(', ')

export interface FrameHeader {
  readonly seq: bigint
  readonly batchId: string
  readonly tenant: string
  readonly receivedAtNs: bigint
  /** 16 bytes. */
  readonly requestHash: Uint8Array
  readonly records: number
  readonly payloadBytes: number
  readonly payloadCrc: number
  /** Length of the header itself. */
  readonly headerBytes: number
}

export interface FrameInput {
  readonly seq: bigint
  readonly batchId: string
  readonly tenant: string
  readonly receivedAtNs: bigint
  readonly requestHash: Uint8Array
  readonly records: number
  readonly payload: Uint8Array
}

/** The header that goes before `payload` on disk. */
export function encodeFrameHeader(frame: FrameInput): Buffer {
  const tenant = Buffer.from(frame.tenant)
  if (tenant.length > maxTenantBytes) throw new RangeError(`tenant is longer than ${maxTenantBytes} bytes`)
  const header = Buffer.allocUnsafe(fixedHeaderBytes + tenant.length)
  header.writeUInt32LE(magic, 0)
  header.writeUInt32LE(frame.payload.length, 8)
  header.writeUInt32LE(crc32(frame.payload), 12)
  header.writeUInt32LE(frame.records, 16)
  header.writeBigUInt64LE(frame.seq, 20)
  header.writeBigInt64LE(frame.receivedAtNs, 28)
  writeUuid(header, frame.batchId, 36)
  header.set(frame.requestHash, 52)
  header[68] = tenant.length
  header.set(tenant, fixedHeaderBytes)
  header.writeUInt32LE(crc32(header.subarray(8)), 4)
  return header
}

/**
 * Reads a header at the start of `bytes`.
 * @returns undefined if there is no valid header: torn, damaged, or no frame at all
 */
export function decodeFrameHeader(bytes: Buffer): FrameHeader | undefined {
  if (bytes.length < fixedHeaderBytes || bytes.readUInt32LE(0) !== magic) return undefined
  const tenantBytes = bytes.readUInt8(68)
  const headerBytes = fixedHeaderBytes + tenantBytes
  if (tenantBytes > maxTenantBytes || bytes.length < headerBytes) return undefined
  if (crc32(bytes.subarray(8, headerBytes)) !== bytes.readUInt32LE(4)) return undefined
  return {
    payloadBytes: bytes.readUInt32LE(8),
    payloadCrc: bytes.readUInt32LE(12),
    records: bytes.readUInt32LE(16),
    seq: bytes.readBigUInt64LE(20),
    receivedAtNs: bytes.readBigInt64LE(28),
    batchId: readUuid(bytes, 36),
    requestHash: Uint8Array.from(bytes.subarray(52, 68)),
    tenant: bytes.toString('utf8', fixedHeaderBytes, headerBytes),
    headerBytes,
  }
}

/** Offset of the next byte sequence that could start a frame, or -1. */
export function findMagic(bytes: Buffer, from: number): number {
  return bytes.indexOf('AGF1', from, 'latin1')
}

/** ClickHouse writes a UUID as two little-endian UInt64, the high one first. */
function writeUuid(target: Buffer, uuid: string, at: number): void {
  const hex = uuid.replaceAll('-', '')
  target.writeBigUInt64LE(BigInt(`0x${hex.slice(0, 16)}`), at)
  target.writeBigUInt64LE(BigInt(`0x${hex.slice(16)}`), at + 8)
}

function readUuid(source: Buffer, at: number): string {
  const hex = (offset: number) => source.readBigUInt64LE(offset).toString(16).padStart(16, '0')
  const all = hex(at) + hex(at + 8)
  return `${all.slice(0, 8)}-${all.slice(8, 12)}-${all.slice(12, 16)}-${all.slice(16, 20)}-${all.slice(20)}`
}
