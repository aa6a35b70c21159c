import type { Command } from 'commander'
import { withClickHouse } from '../connect.ts'
import { log } from '../output/streams.ts'
import { orTellParent } from '../service/run.ts'

export function registerMigrate(program: Command): void {
  program
    .command('migrate')
    .description('Bring the database to the newest schema')
    .addHelpText(
      'after',
      `
It is safe to run again, and by two processes at once.

Examples:
  agnes migrate
  CLICKHOUSE_URL=https://agnes:secret@db.example:8443/agnes CLICKHOUSE_CLUSTER=main agnes migrate
`,
    )
    .action(() => orTellParent(migrateSchema))
}

async function migrateSchema(): Promise<void> {
  await withClickHouse(async (client, { clickhouseUrl, clickhouseCluster: cluster }) => {
    const { databaseOf, migrate } = await import('@agnes/clickhouse')
    const { applied, alreadyApplied } = await migrate(client, {
      log,
      ...(clickhouseUrl === undefined ? {} : { database: databaseOf(clickhouseUrl) }),
      ...(cluster === undefined ? {} : { cluster }),
    })
    if (process.send !== undefined) return
    log(
      applied.length === 0
        ? `the schema is up to date (${alreadyApplied} migrations)`
        : `applied ${applied.length} of ${applied.length + alreadyApplied} migrations`,
    )
  })
}
