/**
 * The two blocks of the Native format that chDB does not write for us.
 *
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

/**
 * A block of no rows at revision 0.
 * @param described the columns, as DESCRIBE prints them in JSONCompactEachRow: name and type first
 */
export function emptyBlock(described: string): Buffer {
  const columns = described
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as [string, string])
  const parts = columns.flatMap(([name, type]) => [text(name), text(type)])
  return Buffer.concat([varint(columns.length), Buffer.from([0]), ...parts])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([varint(bytes.length), bytes])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80)
    rest >>>= 7
  }
  return Buffer.from([...bytes, rest])
}
