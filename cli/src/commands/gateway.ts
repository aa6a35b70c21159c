import { loadConfig } from '@agnes/config'
import type { Command } from 'commander'
import { findInstance } from '../instance.ts'
import { log, runService } from './service.ts'

export function registerGateway(program: Command): void {
  program
    .command('gateway')
    .description('Run the ingest gateway alone')
    .addHelpText(
      'after',
      '\nExamples:\n  agnes gateway\n  CLICKHOUSE_URL=https://agnes:secret@db:8443/agnes agnes gateway\n',
    )
    .action(() =>
      runService('gateway', async () => {
        const { config } = loadConfig()
        const { startGateway } = await import('@agnes/ingest-gateway')
        return startGateway({ config, clickhouseUrl: findInstance(config).clickhouseUrl, log })
      }),
    )
}
