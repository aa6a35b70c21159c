/**
 * Every environment variable we read, with its default and meaning.
 * Configuration is parsed once, at the door of a process, and passed down as plain arguments;
 * `docs/configuration.md` is generated from this table.
 */
import { isIP } from 'node:net'
import { z } from 'zod'
import { type ConfiguredKey, parseKeys, showKeys } from './keys.ts'
import { type LogLevel, logLevels } from './log.ts'

const port = z.coerce.number({ error: 'must be a port number' }).int().min(0).max(65_535)
const positiveInt = z.coerce.number({ error: 'must be a whole number' }).int().positive()

const perSecond = z.coerce.number({ error: 'must be a whole number' }).int().min(0)

const httpUrl = (form: string): z.ZodType =>
  z.string().refine(
    (text) => {
      try {
        const url = new URL(text)
        return url.protocol === 'http:' || url.protocol === 'https:'
      } catch {
        return false
      }
    },
    { error: `must look like ${form}` },
  )

const inboxUrl = httpUrl('http(s)://host:8080').transform((text) => new URL(text as string).origin)

const keys = z.string().transform((text, context) => {
  const parsed = parseKeys(text)
  if (!('problem' in parsed)) return parsed
  context.addIssue({ code: 'custom', message: parsed.problem })
  return z.NEVER
})

/** No message repeats what was typed: it may be half of a token. */
const telegramToken = z.string().regex(/^\d{3,20}:[\w-]{20,100}$/, {
  error: 'must be the token @BotFather gave: digits, a colon, then letters, digits, "_" and "-"',
})

/** Without a slash at the end. */
const webAddress = z
  .string()
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), {
    error: 'must look like http(s)://host:port',
  })
  .refine((text) => !URL.canParse(text) || /^[^?#@]*$/.test(text), {
    error: 'must have neither a password nor "?" or "#"',
  })
  .transform((text) => text.replace(/\/+$/, ''))

/** A word that stands for ranges, an address, or a range in CIDR notation (RFC 4632, RFC 4291). */
function isProxy(text: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(text)) return true
  const [address = '', bits, ...more] = text.split('/')
  const width = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  if (more.length > 0 || width < 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= width)
}

const proxies = z.string().transform((text, context) => {
  const list = text.split(',').map((one) => one.trim())
  const wrong = list.find((one) => !isProxy(one))
  if (wrong === undefined) return list
  context.addIssue({
    code: 'custom',
    message: `must be addresses, ranges like 10.1.0.0/16, loopback, uniquelocal or linklocal, separated by commas: "${wrong.slice(0, 60)}" is none`,
  })
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
  AGNES_GATEWAY_URL: {
    schema: z
      .string()
      .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), {
        error: 'must look like http(s)://host:4318',
      })
      .transform((text) => new URL(text).origin),
    default: undefined,
    description:
      'Where processors, inbox and commands find the gateway: `http(s)://host:4318`; on this machine unless set.',
  },
  AGNES_GATEWAY_KEY: {
    schema: z.string().min(1),
    default: undefined,
    secret: true,
    show: () => '***',
    description: 'The key they send it; that of `<data>/admin.key` unless set.',
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
  AGNES_TRUSTED_PROXIES: {
    schema: proxies,
    default: 'loopback',
    description:
      'Proxies in front of the inbox that are believed who asks and that it was by https (X-Forwarded-For, X-Forwarded-Proto), separated by commas: addresses, ranges like 10.1.0.0/16, loopback, uniquelocal (private addresses, as containers see their host), linklocal. They must replace what their clients send in these headers.',
  },
  AGNES_PUBLIC_URL: {
    schema: webAddress,
    default: undefined,
    description:
      'Address under which people reach the inbox: links in Telegram messages lead there, and its webhook. Unset: no links.',
  },
  TELEGRAM_BOT_TOKEN: {
    schema: telegramToken,
    default: undefined,
    secret: true,
    show: (text) => `${text.split(':', 1)[0]}:***`,
    description: 'Token of the Telegram bot, from @BotFather: the inbox then runs it (docs/telegram.md).',
  },
  TELEGRAM_API_ROOT: {
    schema: webAddress,
    default: 'https://api.telegram.org',
    description: 'Bot API server to use instead, such as one of your own.',
  },
  AGNES_TELEGRAM_MODE: {
    schema: z.enum(['polling', 'webhook'], { error: 'must be polling or webhook' }),
    default: 'polling',
    description:
      'How messages of admins come in: `polling` asks Telegram and works behind any firewall; `webhook` has Telegram call AGNES_PUBLIC_URL, which must be HTTPS.',
  },
  AGNES_TELEGRAM_INTERVAL_SECONDS: {
    schema: z.coerce.number({ error: 'must be a whole number' }).int().min(0).max(86_400),
    default: '300',
    description:
      'Each chat gets at most one notification in this many seconds; what else happens comes in the daily digest. 0 = every one at once.',
  },
  AGNES_TELEGRAM_DIGEST_AT: {
    schema: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, { error: 'must be a time of day such as 08:00' }),
    default: '08:00',
    description: 'When the daily digest is sent, in UTC.',
  },
  AGNES_CLICKHOUSE_PORT: {
    schema: port,
    default: '8123',
    description: "Port of the embedded engine's ClickHouse HTTP interface; 0 picks a free port.",
  },
  CLICKHOUSE_URL: {
    schema: httpUrl('http(s)://user:password@host:8123/database'),
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
  AGNES_ISSUE_REPOSITORY: {
    schema: z.string().regex(/^[\w.-]+\/[\w.-]+$/, { error: 'must look like owner/name' }),
    default: 'keboola/agnes-the-ai-analyst',
    description: 'Repository on GitHub that "Create GitHub issue" on the page of a report leads to: `owner/name`.',
  },
  AGNES_REPORT_URL: {
    schema: inboxUrl,
    default: undefined,
    description: 'Where `agnes report` sends reports: `http(s)://host:8080`; the inbox of this machine unless set.',
  },
  AGNES_REPORT_KEY: {
    schema: z.string().min(1),
    default: undefined,
    secret: true,
    show: () => '***',
    description: 'The key `agnes report` sends them with: one of scope `feedback`.',
  },
  AGNES_SESSIONS_DIR: {
    schema: z.string().min(1),
    default: undefined,
    description:
      'Directory with transcripts in the layout `<dir>/<user>/*.jsonl`: the gateway takes them in as tenant `default`, and what they grow by (docs/sessions.md).',
  },
  AGNES_PUSH_URL: {
    schema: httpUrl('http(s)://host:4318'),
    default: undefined,
    description: 'Where `agnes push` sends sessions: `http(s)://host:4318`; the gateway of this machine unless set.',
  },
  AGNES_PUSH_KEY: {
    schema: z.string().min(1),
    default: undefined,
    secret: true,
    show: () => '***',
    description: 'The key `agnes push` sends them with: one of scope `sessions`.',
  },
  AGNES_ALERTS_DAILY_BUDGET_USD: {
    schema: z.coerce.number({ error: 'must be an amount of US dollars' }).positive().max(1e9),
    default: '100',
    description:
      'Cost of language models within 24 hours, in US dollars a tenant, above which the alert "Cost is above the budget" fires (docs/alerts.md).',
  },
  AGNES_SPOOL_MAX_BYTES: {
    schema: positiveInt,
    default: undefined,
    description:
      'The spool may grow to this many bytes; beyond it requests are refused for now (503 with Retry-After), and health warns from 80 %. Unset: until the disk has less than 5 % and less than 1 GiB free; health warns below 20 % and 4 GiB.',
  },
} as const satisfies Record<string, Variable>

export type VariableName = keyof typeof variables

/** Not one variable but as many as there are processors; which these are, their room knows. */
export const processorInterval = {
  pattern: /^AGNES_PROCESSOR_([A-Z0-9]+(?:_[A-Z0-9]+)*)_INTERVAL$/,
  /** As the reference shows it. */
  name: 'AGNES_PROCESSOR_<NAME>_INTERVAL',
  schema: z.coerce.number({ error: 'must be a whole number of seconds' }).int().min(0).max(604_800),
  default: undefined,
  description:
    'Seconds between two runs of a processor, at most a week; 0 switches it off. Unset: `TRANSCRIPTS` 600, `FAILURE_SCAN` 900, `USAGE` 600, `ALERTS` 60 (docs/processors.md).',
} as const satisfies Variable & { readonly pattern: RegExp; readonly name: string }

/** Absolute paths of PEM files. */
export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly clientCaFile: string | undefined
}

export interface TelegramConfig {
  readonly token: string | undefined
  /** Without a slash at the end. */
  readonly apiRoot: string
  readonly mode: 'polling' | 'webhook'
  /** Between two notifications to a chat; 0 = no limit. */
  readonly intervalSeconds: number
  /** `HH:MM`, UTC. */
  readonly digestAt: string
}

/** Effective configuration. Absolute paths, numbers as numbers, unset = undefined. */
export interface Config {
  readonly dataDir: string
  readonly host: string
  readonly otlpPort: number
  readonly otlpGrpcPort: number
  /** Origin. */
  readonly gatewayUrl: string | undefined
  readonly gatewayKey: string | undefined
  readonly decodeThreads: number | undefined
  readonly tls: TlsFiles | undefined
  readonly httpPort: number
  /** Addresses, ranges and words that stand for ranges. */
  readonly trustedProxies: readonly string[]
  /** Of the inbox, without a slash at the end. */
  readonly publicUrl: string | undefined
  readonly telegram: TelegramConfig
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
  /** `owner/name` on GitHub. */
  readonly issueRepository: string
  /** Origin. */
  readonly reportUrl: string | undefined
  readonly reportKey: string | undefined
  readonly spoolMaxBytes: number | undefined
  readonly sessionsDir: string | undefined
  readonly pushUrl: string | undefined
  readonly pushKey: string | undefined
  /** US dollars a tenant. */
  readonly alertsDailyBudgetUsd: number
  /** Seconds by name of the processor in lower case, where one is set; 0 = off. */
  readonly processorIntervals: Readonly<Record<string, number>>
}
