import type { Command } from 'commander'
import { withClickHouse } from '../connect.ts'
import { log } from './service.ts'

export function registerMigrate(program: Command): void {
  program
    .command('migrate')
    .description('Bring the database to the newest schema; safe to run again')
    .addHelpText(
      'after',
      '\nExamples:\n  agnes migrate\n  CLICKHOUSE_URL=https://… CLICKHOUSE_CLUSTER=main agnes migrate\n',
    )
    .action(async () => {
      await withClickHouse(async (client, config) => {
        const { migrate } = await import('@agnes/clickhouse')
        const { clickhouseCluster: cluster } = config
        const { applied, alreadyApplied } = await migrate(client, {
          log,
          ...(cluster === undefined ? {} : { cluster }),
        })
        log(
          applied.length === 0
            ? `the schema is up to date (${alreadyApplied} migrations)`
            : `applied ${applied.length} migrations`,
        )
      })
    })
}
