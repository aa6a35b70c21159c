import { createHash, randomBytes } from 'node:crypto'
import { loadConfig } from '@agnes/config'
import { type Command, InvalidArgumentError } from 'commander'
import { collect, tenant as tenantName } from '../arguments.ts'
import { log } from '../output/streams.ts'

export function registerTenants(program: Command): void {
  const tenants = program
    .command('tenants')
    .description('Tenants: what each may read on a ClickHouse server')
    .addHelpText(
      'after',
      '\nTenants come into being with their first key: "agnes keys create --tenant".\n\nExamples:\n  agnes tenants sql acme\n',
    )
  tenants
    .command('sql')
    .argument('<tenant>', 'the tenant', tenantName)
    .description('Print the SQL of a user that reads the rows of one tenant and no others')
    .option(
      '--full-access <user>',
      "user that goes on seeing all rows; may be repeated (default: CLICKHOUSE_URL's)",
      user,
    )
    .addHelpText(
      'after',
      `
For a ClickHouse server; the embedded engine has no users. Run it as a user with ACCESS MANAGEMENT, on a server with
settings_constraints_replace_previous (the default of its config.xml). The password is printed on standard error, once;
to run it again gives the user a new one. Every user that is not named by --full-access sees no rows from then on.

Examples:
  agnes tenants sql acme | clickhouse-client --host db.example.org --user admin --password
  agnes tenants sql acme --full-access agnes --full-access backup > acme.sql
`,
    )
    .action(async (tenant: string, { fullAccess }: { fullAccess?: readonly string[] }) => {
      const { config } = loadConfig()
      const { databaseOf, defaultDatabase, readerName, readerSql } = await import('@agnes/clickhouse')
      const url = config.clickhouseUrl
      const password = randomBytes(24).toString('base64url')
      const statements = readerSql({
        tenant,
        passwordHash: createHash('sha256').update(password).digest('hex'),
        fullAccess: fullAccess ?? [(url && decodeURIComponent(new URL(url).username)) || 'default'],
        database: url === undefined ? defaultDatabase : databaseOf(url),
        ...(config.clickhouseCluster && { cluster: config.clickhouseCluster }),
      })
      process.stdout.write(statements.map((statement) => `${statement};\n`).join(''))
      log(`user ${readerName(tenant)}, password ${password} (shown this once)`)
    })
}

function user(text: string, before?: readonly string[]): readonly string[] {
  if (!/^[A-Za-z0-9_.@-]{1,100}$/.test(text)) throw new InvalidArgumentError('Use the name of a ClickHouse user.')
  return collect(text, before)
}
