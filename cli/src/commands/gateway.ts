import type { Command } from 'commander'
import { findInstance } from '../instance.ts'
import { runService } from '../service/run.ts'

export function registerGateway(program: Command): void {
  program
    .command('gateway')
    .description('Run the ingest gateway alone')
    .addHelpText(
      'after',
      `
Examples:
  agnes gateway
  CLICKHOUSE_URL=https://agnes:secret@db.example:8443/agnes agnes gateway
`,
    )
    .action(() =>
      runService('gateway', async (config, log) => {
        const { startGateway } = await import('@agnes/ingest-gateway')
        return startGateway({ config, clickhouseUrl: findInstance(config).clickhouseUrl, log })
      }),
    )
}
