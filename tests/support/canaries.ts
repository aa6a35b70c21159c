/** Secrets that nobody must find again, and requests that carry them in every place a request has. */
import type { AnyValue, ExportLogsRequest, KeyValue } from './otlp-reference.ts'

export interface Canary {
  /** The text with the secret in it. */
  readonly text: string
  /** What must be nowhere. */
  readonly secret: string
}

/** In two parts, or scanners of other people's repositories find them here. */
const key = (prefix: string, rest: string): Canary => ({ text: prefix + rest, secret: rest })

export const canaries: readonly Canary[] = [
  key('AKIA', 'IOSFODNN7EXAMPLQ'),
  key('sk-', 'ant-api03-Qk1canaryQk2canaryQk3'),
  key('ghp_', 'Canary0123456789abcdefghijklmnopqrst'),
  key('Bearer ', 'canary-bearer-0123456789'),
  key('eyJ', 'hbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlY2FuYXJ5'),
  { text: 'postgres://ann:canary-pw@db/x', secret: 'canary-pw' },
  { text: '-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----', secret: 'Y2FuYXJ5' },
  { text: '4539 1488 0343 6467', secret: '4539 1488 0343 6467' },
  { text: '4716461583322103', secret: '4716461583322103' },
  { text: 'password=canary-password', secret: 'canary-password' },
  { text: '{"user":"ann","clientSecret":"canary-client"}', secret: 'canary-client' },
  { text: 'X-Api-Key: canary-header', secret: 'canary-header' },
  { text: 'OPENAI__API__KEY=canary-dividers', secret: 'canary-dividers' },
  { text: 'Bearer\tcanary-tab-0123456789', secret: 'canary-tab-0123456789' },
]

/** The request with some of its texts replaced by canaries, as `pick` says: an index, or undefined to leave a text alone. */
export function plant(request: ExportLogsRequest, pick: () => Canary | undefined): ExportLogsRequest {
  const text = (value: string): string => {
    const canary = pick()
    return canary === undefined ? value : `${value} ${canary.text} ${value}`
  }
  const value = (any: AnyValue): AnyValue => {
    if (any.stringValue !== undefined) return { stringValue: text(any.stringValue) }
    if (any.bytesValue !== undefined) {
      const canary = pick()
      return canary === undefined
        ? any
        : { bytesValue: Buffer.concat([any.bytesValue, Buffer.from(` ${canary.text}`)]) }
    }
    if (any.arrayValue !== undefined) return { arrayValue: { values: (any.arrayValue.values ?? []).map(value) } }
    if (any.kvlistValue !== undefined) return { kvlistValue: { values: (any.kvlistValue.values ?? []).map(keyValue) } }
    return any
  }
  const keyValue = (pair: KeyValue): KeyValue => ({
    ...(pair.key === undefined ? {} : { key: text(pair.key) }),
    ...(pair.value === undefined ? {} : { value: value(pair.value) }),
  })
  const texts = <T extends object>(owner: T, ...names: (keyof T)[]): T => {
    const result = { ...owner }
    for (const name of names) {
      const old = result[name]
      if (typeof old === 'string') result[name] = text(old) as T[keyof T]
    }
    return result
  }
  return {
    resourceLogs: (request.resourceLogs ?? []).map((resourceLogs) => ({
      ...texts(resourceLogs, 'schemaUrl'),
      resource: { attributes: (resourceLogs.resource?.attributes ?? []).map(keyValue) },
      scopeLogs: (resourceLogs.scopeLogs ?? []).map((scopeLogs) => ({
        ...texts(scopeLogs, 'schemaUrl'),
        scope: {
          ...texts(scopeLogs.scope ?? {}, 'name', 'version'),
          attributes: (scopeLogs.scope?.attributes ?? []).map(keyValue),
        },
        logRecords: (scopeLogs.logRecords ?? []).map((record) => ({
          ...texts(record, 'severityText', 'eventName'),
          ...(record.body === undefined ? {} : { body: value(record.body) }),
          attributes: (record.attributes ?? []).map(keyValue),
        })),
      })),
    })),
  }
}

/** Whether any secret stands in the text, plainly or in base64 at any of its three alignments. */
export function secretIn(text: string): string | undefined {
  for (const { secret } of canaries) {
    if (text.includes(secret) || text.includes(JSON.stringify(secret).slice(1, -1))) return secret
    for (const shift of [0, 1, 2]) {
      const shifted = Buffer.concat([Buffer.alloc(shift), Buffer.from(secret)]).toString('base64')
      // Without the digits that share bits with what is around it.
      if (text.includes(shifted.slice(shift === 0 ? 0 : shift + 1, -4))) return secret
    }
  }
  return undefined
}
