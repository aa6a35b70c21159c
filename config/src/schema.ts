/**
 * Every environment variable we read, with its default and meaning.
 * Configuration is parsed once, at the door of a process, and passed down as plain arguments;
 * `docs/configuration.md` is generated from this table.
 */
import { z } from 'zod'
import { type ConfiguredKey, parseKeys, showKeys } from './keys.ts'
import { type LogLevel, logLevels } from './log.ts'

const port = z.coerce.number({ error: 'must be a port number' }).int().min(0).max(65_535)
const positiveInt = z.coerce.number({ error: 'must be a whole number' }).int().positive()

const perSecond = z.coerce.number({ error: 'must be a whole number' }).int().min(0)

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

const keys = z.string().transform((text, context) => {
  const parsed = parseKeys(text)
  if (!('problem' in parsed)) return parsed
  context.addIssue({ code: 'custom', message: parsed.problem })
  return z.NEVER
})

export interface Variable {
  readonly schema: z.ZodType
  /** The default as a user would type it; undefined = unset. */
  readonly default: string | undefined
  readonly description: string
  readonly secret?: boolean
  /** How a secret value is printed; a URL without its password unless told. */
  readonly show?: (text: string) => string
}

export const variables = {
  AGNES_DATA_DIR: {
    schema: z.string().min(1),
    default: './data',
    description: 'Directory of the spool and the embedded database; created with mode 0700.',
  },
  AGNES_HOST: {
    schema: z.string().regex(/^[\w.:%-]+$/, { error: 'must be an address or the name of a host' }),
    default: '127.0.0.1',
    description:
      "Address the gateway binds to. Beyond loopback every request needs a key, and one with scope `ingest` must exist. The embedded engine's port stays on loopback.",
  },
  AGNES_KEYS: {
    schema: keys,
    default: undefined,
    secret: true,
    show: showKeys,
    description:
      'Keys beside those of `agnes keys create`: `name:scope+scope:secret,…`, or `name@tenant:…` (tenant `default` unless told). Clients send the secret as `Authorization: Bearer`; at least 32 characters.',
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
  AGNES_DECODE_THREADS: {
    schema: z.coerce.number({ error: 'must be a whole number' }).int().min(0).max(64),
    default: undefined,
    description:
      'Threads of the gateway that decode requests of 1 MiB and more, at most; they start when one comes. 0 decodes all on the thread that answers. Unless set one less than there are cores, 1 to 4.',
  },
  AGNES_TLS_CERT_FILE: {
    schema: z.string().min(1),
    default: undefined,
    description:
      'Certificate (PEM, with its chain): OTLP/HTTP and OTLP/gRPC then speak TLS 1.2 or newer. Read again when it changes. Needs AGNES_TLS_KEY_FILE.',
  },
  AGNES_TLS_KEY_FILE: {
    schema: z.string().min(1),
    default: undefined,
    description:
      'Private key of the certificate (PEM, without passphrase); a file that everyone may read is refused. Needs AGNES_TLS_CERT_FILE.',
  },
  AGNES_TLS_CLIENT_CA_FILE: {
    schema: z.string().min(1),
    default: undefined,
    description:
      'Certificates (PEM) that sign those of clients: senders without such a certificate are refused (mutual TLS). Needs AGNES_TLS_CERT_FILE.',
  },
  AGNES_HTTP_PORT: {
    schema: port,
    default: '8080',
    description: 'Port of the inbox: admin pages and their API; 0 picks a free port.',
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
  AGNES_TENANT_RECORDS_PER_SECOND: {
    schema: perSecond,
    default: '0',
    description:
      'Records each tenant may send a second, two seconds worth at once; beyond it 429. 0 = no limit. Keys may have limits of their own.',
  },
  AGNES_TENANT_BYTES_PER_SECOND: {
    schema: perSecond,
    default: '0',
    description: 'Decoded bytes each tenant may send a second, likewise.',
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
  AGNES_LOG_LEVEL: {
    schema: z.enum(logLevels, { error: `must be one of ${logLevels.join(', ')}` }),
    default: 'info',
    description: `The least serious messages the services log: ${logLevels.map((level) => `\`${level}\``).join(', ')}.`,
  },
  AGNES_LOG_FORMAT: {
    schema: z.enum(['text', 'json'], { error: 'must be text or json' }),
    default: undefined,
    description:
      'How the services log on standard error: `text`, or `json` (one object a line). Unset: text on a terminal, else JSON.',
  },
  AGNES_REDACTION: {
    schema: z.enum(['on', 'off'], { error: 'must be on or off' }),
    default: 'on',
    description: 'Redaction of secrets before anything is written; `off` turns health yellow.',
  },
  AGNES_REDACTION_RULES: {
    schema: z.string().min(1),
    default: undefined,
    description: 'YAML or JSON file with redaction rules beside the built-in ones (docs/redaction.md).',
  },
  AGNES_REDACTION_KEY_FILE: {
    schema: z.string().min(1),
    default: undefined,
    description:
      'File with the 32 bytes redacted values are marked with, made on first use; `<data>/redaction.key` unless set. Gateways that share it give equal secrets equal marks.',
  },
  AGNES_SPOOL_MAX_BYTES: {
    schema: positiveInt,
    default: undefined,
    description:
      'The spool may grow to this many bytes; beyond it requests are refused for now (503 with Retry-After), and health warns from 80 %. Unset: until the disk has less than 5 % and less than 1 GiB free; health warns below 20 % and 4 GiB.',
  },
} as const satisfies Record<string, Variable>

export type VariableName = keyof typeof variables

/** Absolute paths of PEM files. */
export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly clientCaFile: string | undefined
}

/** Effective configuration. Absolute paths, numbers as numbers, unset = undefined. */
export interface Config {
  readonly dataDir: string
  readonly host: string
  readonly otlpPort: number
  readonly otlpGrpcPort: number
  readonly decodeThreads: number | undefined
  readonly tls: TlsFiles | undefined
  readonly httpPort: number
  readonly clickhousePort: number
  readonly clickhouseUrl: string | undefined
  readonly clickhouseCluster: string | undefined
  readonly maxBodyBytes: number
  readonly maxDecodedBytes: number
  readonly logLevel: LogLevel
  readonly logFormat: 'text' | 'json' | undefined
  /** Of each tenant; 0 = no limit. */
  readonly tenantRecordsPerSecond: number
  readonly tenantBytesPerSecond: number
  /** Of AGNES_KEYS. */
  readonly keys: readonly ConfiguredKey[]
  readonly redaction: boolean
  readonly redactionRules: string | undefined
  readonly redactionKeyFile: string | undefined
  readonly spoolMaxBytes: number | undefined
}
