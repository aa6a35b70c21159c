/**
 * Every environment variable we read, with its default and meaning.
 * Configuration is parsed once, at the door of a process, and passed down as plain arguments;
 * `docs/configuration.md` is generated from this table.
 */
import { z } from 'zod'

const port = z.coerce.number({ error: 'must be a port number' }).int().min(0).max(65_535)
const positiveInt = z.coerce.number({ error: 'must be a whole number' }).int().positive()

const clickhouseUrl = z.string().refine(
  (text) => {
    try {
      const url = new URL(text)
      return url.protocol === 'http:' || url.protocol === 'https:'
    } catch {
      return false
    }
  },
  { error: 'must look like http(s)://user:password@host:8123/database' },
)

export interface Variable {
  readonly schema: z.ZodType
  /** The default as a user would type it; undefined = unset. */
  readonly default: string | undefined
  readonly description: string
  readonly secret?: boolean
}

export const variables = {
  AGNES_DATA_DIR: {
    schema: z.string().min(1),
    default: './data',
    description: 'Directory of the spool and the embedded database; created with mode 0700.',
  },
  AGNES_HOST: {
    schema: z.string().min(1),
    default: '127.0.0.1',
    description: 'Address all listeners bind to. Addresses beyond loopback are refused while ingest needs no key.',
  },
  AGNES_OTLP_PORT: {
    schema: port,
    default: '4318',
    description: 'OTLP/HTTP port of the ingest gateway; 0 picks a free port.',
  },
  AGNES_OTLP_GRPC_PORT: {
    schema: port,
    default: '4317',
    description: 'OTLP/gRPC port of the ingest gateway; 0 picks a free port.',
  },
  AGNES_CLICKHOUSE_PORT: {
    schema: port,
    default: '8123',
    description: "Port of the embedded engine's ClickHouse HTTP interface; 0 picks a free port.",
  },
  CLICKHOUSE_URL: {
    schema: clickhouseUrl,
    default: undefined,
    secret: true,
    description:
      'Use this ClickHouse server instead of the embedded engine: `http(s)://user:password@host:8123/agnes`.',
  },
  CLICKHOUSE_CLUSTER: {
    schema: z.string().regex(/^[A-Za-z0-9_-]+$/, { error: 'must be a cluster name of letters, digits, "_" and "-"' }),
    default: undefined,
    description:
      'Cluster name: DDL runs `ON CLUSTER` with Replicated engines and Distributed tables. Needs CLICKHOUSE_URL.',
  },
  AGNES_MAX_BODY_BYTES: {
    schema: positiveInt,
    default: String(8 * 1024 * 1024),
    description: 'Largest request body the gateway reads, in bytes as sent (before inflating).',
  },
  AGNES_MAX_DECODED_BYTES: {
    schema: positiveInt,
    default: String(64 * 1024 * 1024),
    description: 'Largest request body after inflating, in bytes (the OTLP specification recommends 64 MiB).',
  },
  AGNES_SPOOL_MAX_BYTES: {
    schema: positiveInt,
    default: undefined,
    description:
      'The spool may grow to this many bytes; beyond it requests are refused for now (503 with Retry-After), and health warns from 80 %. Unset: until the disk has less than 5 % and less than 1 GiB free; health warns below 20 % and 4 GiB.',
  },
} as const satisfies Record<string, Variable>

export type VariableName = keyof typeof variables

/** Effective configuration. Absolute paths, numbers as numbers, unset = undefined. */
export interface Config {
  readonly dataDir: string
  readonly host: string
  readonly otlpPort: number
  readonly otlpGrpcPort: number
  readonly clickhousePort: number
  readonly clickhouseUrl: string | undefined
  readonly clickhouseCluster: string | undefined
  readonly maxBodyBytes: number
  readonly maxDecodedBytes: number
  readonly spoolMaxBytes: number | undefined
}
