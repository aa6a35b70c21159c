/**
 * Grafana's ClickHouse plugin as the engine sees it: clickhouse-go in HTTP mode. It says hello, pings, and sends each
 * query as the plugin's backend does; answers come as Native blocks, gzipped.
 */
import { request as httpRequest } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { type NativeColumn, readNative } from './native.ts'

export interface Answer {
  readonly columns: readonly NativeColumn[]
  readonly rows: number
}

export interface Plugin {
  /** What `hello` was answered. */
  readonly server: { readonly name: string; readonly version: string; readonly timezone: string }
  /** @throws Error with ClickHouse's message */
  query(sql: string): Promise<Answer>
}

/** What the driver decodes the first answer with; later ones with the revision that this one names. */
const driverRevision = 54_460

/** Connects as a fresh connection of the plugin's pool does. @param engineUrl with the database as its path */
export async function connectPlugin(engineUrl: string): Promise<Plugin> {
  const url = new URL(engineUrl)
  const database = url.pathname.slice(1)
  url.pathname = '/'

  async function ask(sql: string, seconds: number): Promise<Buffer> {
    url.search = new URLSearchParams({
      database,
      default_format: 'Native',
      client_protocol_version: String(driverRevision),
      max_execution_time: String(seconds),
    }).toString()
    const { status, body } = await post(url, sql)
    if (status !== 200) throw new Error(body.toString('utf8'))
    return body
  }

  const hello = await ask('SELECT displayName(), version(), revision(), timezone()', 14)
  const [name, version, timezone] = readHello(hello)
  const ping = readNative(await ask('SELECT 1', 14))
  if (ping[0]?.name !== '1') throw new Error('SELECT 1 must answer one column named 1')
  return {
    server: { name, version, timezone },
    async query(sql) {
      const columns = readNative(await ask(sql, 64))
      return { columns, rows: columns[0]?.values.length ?? 0 }
    },
  }
}

function post(url: URL, sql: string): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      url,
      {
        method: 'POST',
        headers: {
          Authorization: `Basic ${Buffer.from('grafana:').toString('base64')}`,
          'Accept-Encoding': 'gzip',
          'Content-Length': Buffer.byteLength(sql),
          'User-Agent': 'grafana/13.0.2 clickhouse-datasource/4.20.0 clickhouse-go/2.47.0 (lv:go/1.26.5; os:linux)',
        },
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const received = Buffer.concat(chunks)
          const body = response.headers['content-encoding'] === 'gzip' ? gunzipSync(received) : received
          resolve({ status: response.statusCode ?? 0, body })
        })
      },
    )
    request.on('error', reject)
    request.end(sql)
  })
}

/** One block at the driver's own revision: block info, and a byte of serialization before each column. */
function readHello(bytes: Buffer): [name: string, version: string, timezone: string] {
  const expected = [0x01, 0x00, 0x02, 0xff, 0xff, 0xff, 0xff, 0x00, 4, 1]
  if (!bytes.subarray(0, 10).equals(Buffer.from(expected))) throw new Error('the hello is not one block of one row')
  let at = 10
  const text = (): string => {
    const length = bytes[at] as number
    at += 1 + length
    return bytes.subarray(at - length, at).toString('utf8')
  }
  const values: string[] = []
  for (let i = 0; i < 4; i++) {
    text()
    const type = text()
    if (bytes[at++] !== 0) throw new Error('a column has a serialization of its own')
    if (type === 'String') values.push(text())
    else {
      const revision = bytes.readUInt32LE(at)
      if (revision !== 0) throw new Error(`the driver would decode later blocks at revision ${revision}`)
      at += 4
    }
  }
  return values as [string, string, string]
}
