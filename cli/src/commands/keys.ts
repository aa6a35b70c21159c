import type { ApiKey, ClickHouseClient } from '@agnes/clickhouse'
import { type Config, isScope, type Scope, scopes } from '@agnes/config'
import { type Command, InvalidArgumentError } from 'commander'
import { adminKeyFile, followRotation } from '../admin-key.ts'
import { duration, instantAhead, tenant, wholeNumber } from '../arguments.ts'
import { audit, describeKey, keyAudit } from '../audit.ts'
import { withClickHouse } from '../connect.ts'
import { log } from '../output/streams.ts'
import { renderTable } from '../output/table.ts'
import { harmlessJson } from '../output/text.ts'

export function registerKeys(program: Command): void {
  const keys = program
    .command('keys')
    .description('API keys: who may send events, and as which tenant')
    .addHelpText(
      'after',
      `
A change takes effect within five seconds on every gateway, and leaves an audit event.

Examples:
  agnes keys create --scope ingest --note "orders service"
  agnes keys list
  agnes keys rotate abcd1234 --grace 2h
  agnes keys revoke abcd1234
`,
    )
  registerCreate(keys)
  registerList(keys)
  registerRotate(keys)
  registerRevoke(keys)
}

interface CreateOptions {
  readonly scope: readonly Scope[]
  readonly tenant: string
  readonly project?: string
  readonly expires?: Date
  readonly note?: string
  readonly recordsPerSecond?: number
  readonly bytesPerSecond?: number
  readonly json?: boolean
}

const mostPerSecond = 1_000_000_000_000

function registerCreate(keys: Command): void {
  keys
    .command('create')
    .description('Create a key; it is shown once')
    .requiredOption('--scope <scope>', `what it allows, may be repeated: ${scopes.join(', ')} (admin: all)`, scopeList)
    .option('--tenant <tenant>', 'whose the events are that are sent with it', tenant, 'default')
    .option('--project <project>', 'project it belongs to')
    .option('--expires <time>', 'when it ends: in 90d, or on 2027-01-31', instantAhead)
    .option('--note <text>', 'what it is for')
    .option('--records-per-second <number>', 'records it may send a second (default: no limit)', perSecond)
    .option('--bytes-per-second <number>', 'decoded bytes it may send a second (default: no limit)', perSecond)
    .option('--json', 'print the key and what is known of it as JSON')
    .addHelpText(
      'after',
      `
The key is the only thing on standard output.

Examples:
  agnes keys create --scope ingest
  agnes keys create --scope ingest --tenant acme --expires 90d --records-per-second 5000
  export OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer $(agnes keys create --scope ingest)"
`,
    )
    .action(async (options: CreateOptions) => {
      await withKeys(async (client, { createKey }) => {
        const { scope, tenant, project, expires, note, recordsPerSecond, bytesPerSecond, json } = options
        const { key, text } = await createKey(client, {
          tenant,
          scopes: scope,
          ...(project && { project }),
          ...(note && { note }),
          ...(expires && { expiresAt: expires }),
          ...(recordsPerSecond && { recordsPerSecond }),
          ...(bytesPerSecond && { bytesPerSecond }),
        })
        tell(key, text, json)
        await record(keyAudit('keys.create', key))
      })
    })
}

function registerList(keys: Command): void {
  keys
    .command('list')
    .description('Which keys there are, never their secrets')
    .option('--all', 'also revoked ones')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExamples:\n  agnes keys list\n  agnes keys list --all --json | jq ".[].id"\n')
    .action(async ({ all, json }: { all?: boolean; json?: boolean }) => {
      await withKeys(async (client, { fetchKeys }) => {
        const now = new Date()
        const found = (await fetchKeys(client)).filter(({ revokedAt }) => all || revokedAt === undefined)
        if (json) {
          const described = found.map((key) => ({ ...describeKey(key), status: statusOf(key, now) }))
          process.stdout.write(`${harmlessJson(described, 2)}\n`)
        } else if (found.length === 0) log('there is no key: "agnes keys create --scope ingest" makes one')
        else process.stdout.write(renderKeys(found, now))
      })
    })
}

function registerRotate(keys: Command): void {
  keys
    .command('rotate')
    .argument('<id>', 'the key, by its id')
    .description('Give a key a new secret, shown once; the old one stays valid for a while')
    .option('--grace <time>', 'how long the old secret stays valid: 0s, 30m, 24h, 7d', duration, 86_400_000)
    .option('--json', 'print the key and what is known of it as JSON')
    .addHelpText(
      'after',
      `
A secret that has leaked is ended at once by --grace 0s.

Examples:
  agnes keys rotate abcd1234
  agnes keys rotate abcd1234 --grace 0s
`,
    )
    .action(async (id: string, { grace, json }: { grace: number; json?: boolean }) => {
      await withKeys(async (client, { rotateKey }, config) => {
        const { before, after, text } = await rotateKey(client, idOf(id), grace)
        tell(after, text, json)
        if (grace > 0) log(`the old secret is valid until ${new Date(Date.now() + grace).toISOString()}`)
        if (await followRotation(config, text)) log(`it is the admin key: ${adminKeyFile(config)} has the new one`)
        await record(keyAudit('keys.rotate', after, before))
      })
    })
}

function registerRevoke(keys: Command): void {
  keys
    .command('revoke')
    .argument('<id>', 'the key, by its id')
    .description('End a key for good, within five seconds')
    .option('--json', 'print what is known of it as JSON')
    .addHelpText('after', '\nExamples:\n  agnes keys revoke abcd1234\n')
    .action(async (id: string, { json }: { json?: boolean }) => {
      await withKeys(async (client, { revokeKey }) => {
        const { before, after } = await revokeKey(client, idOf(id))
        if (json) process.stdout.write(`${harmlessJson(describeKey(after), 2)}\n`)
        if (before === after) log(`key ${after.id} was revoked before, at ${after.revokedAt?.toISOString()}`)
        else {
          log(`key ${after.id} is revoked; gateways refuse it within five seconds`)
          await record(keyAudit('keys.revoke', after, before))
        }
      })
    })
}

async function withKeys(
  work: (client: ClickHouseClient, room: typeof import('@agnes/clickhouse'), config: Config) => Promise<void>,
): Promise<void> {
  await withClickHouse(async (client, config) => work(client, await import('@agnes/clickhouse'), config))
}

function tell(key: ApiKey, text: string, json: boolean | undefined): void {
  process.stdout.write(json ? `${harmlessJson({ key: text, ...describeKey(key) }, 2)}\n` : `${text}\n`)
  const what = `${key.scopes.join(', ')} for tenant ${key.tenant}`
  const until = key.expiresAt === undefined ? '' : `, until ${key.expiresAt.toISOString()}`
  log(`key ${key.id} (${what}${until}) is shown this once; it works within five seconds`)
}

async function record(fields: Parameters<typeof audit>[0]): Promise<void> {
  if (!(await audit(fields))) log('this change is not in the audit trail: no gateway took the event')
}

/** A key that was pasted whole is not repeated; its id is what is meant. */
function idOf(text: string): string {
  return /^agn_([A-Za-z0-9]{8})(_|$)/.exec(text)?.[1] ?? text
}

type KeyStatus = 'active' | 'expired' | 'revoked'

function statusOf({ revokedAt, expiresAt }: ApiKey, now: Date): KeyStatus {
  if (revokedAt !== undefined) return 'revoked'
  return expiresAt !== undefined && expiresAt <= now ? 'expired' : 'active'
}

export function renderKeys(keys: readonly ApiKey[], now: Date, width?: number): string {
  const color = { active: 'green', expired: 'yellow', revoked: 'dim' } as const
  return renderTable(
    keys,
    [
      { title: 'id', text: ({ id }) => id },
      { title: 'ends with', text: ({ secretEnd }) => `…${secretEnd}` },
      { title: 'tenant', text: ({ tenant }) => tenant, flexible: true },
      { title: 'scopes', text: ({ scopes }) => scopes.join('+'), flexible: true },
      { title: 'status', text: (key) => statusOf(key, now), color: (key) => color[statusOf(key, now)] },
      { title: 'until', text: ({ expiresAt }) => expiresAt?.toISOString().slice(0, 10) ?? '–' },
      { title: 'note', text: ({ note, project }) => [project, note].filter(Boolean).join(': '), flexible: true },
    ],
    width,
  )
}

function scopeList(text: string, before: readonly Scope[] = []): readonly Scope[] {
  const words = text.split(/[+,]/)
  const unknown = words.find((word) => !isScope(word))
  if (unknown !== undefined) throw new InvalidArgumentError(`Allowed choices are ${scopes.join(', ')}.`)
  return [...new Set([...before, ...words.filter(isScope)])]
}

function perSecond(text: string): number {
  return wholeNumber(1, mostPerSecond)(text)
}
