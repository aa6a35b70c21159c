/**
 * The first query of clickhouse-go, hence of Grafana's ClickHouse plugin:
 * `SELECT displayName(), version(), revision(), timezone()`.
 *
 * The driver decodes this one answer at its own protocol revision and every later block at the revision it was told.
 * chDB writes Native at revision 0 (no block info, no serialization byte), so the answer is one hand-made block that
 * says `revision() = 0`; all later answers then pass through as chDB writes them.
 */
import { Buffer } from 'node:buffer'

export function isHello(sql: string): boolean {
  return /^\s*SELECT\s+displayName\(\),\s*version\(\),\s*revision\(\),\s*timezone\(\)\s*;?\s*$/i.test(sql)
}

export function helloBlock(displayName: string, version: string): Buffer {
  const blockInfo = Buffer.from([0x01, 0x00, 0x02, 0xff, 0xff, 0xff, 0xff, 0x00])
  const shape = Buffer.from([4, 1]) // columns, rows
  return Buffer.concat([
    blockInfo,
    shape,
    column('displayName()', 'String', text(displayName)),
    column('version()', 'String', text(version)),
    column('revision()', 'UInt32', Buffer.alloc(4)),
    column('timezone()', 'String', text('UTC')),
  ])
}

function column(name: string, type: string, content: Buffer): Buffer {
  const customSerialization = Buffer.from([0])
  return Buffer.concat([text(name), text(type), customSerialization, content])
}

/** All our texts are shorter than 128 bytes: their length is one byte of varint. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}
